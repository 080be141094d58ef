package sql

import (
	"context"
	"fmt"

	"otpbridge/server/otp"
)

// SigningKey is one key that receipts are signed with.
type SigningKey struct {
	Number    int // from 1; the highest signs
	ID        string
	Public    []byte
	Sealed    []byte
	CreatedAt otp.Millis
}

// SigningKeys are all keys that a receipt may have been signed with, newest first.
func (s *Store) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := s.reads.QueryContext(ctx, `
		SELECT number, id, public_key, sealed, created_at
		FROM signing_keys
		ORDER BY number DESC`)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	defer rows.Close()
	var keys []SigningKey
	for rows.Next() {
		var k SigningKey
		if err := rows.Scan(&k.Number, &k.ID, &k.Public, &k.Sealed, &k.CreatedAt); err != nil {
			return nil, fmt.Errorf("read signing keys: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// InsertSigningKey adds a key; one that another server added under the same number first stays.
func (s *Store) InsertSigningKey(ctx context.Context, k SigningKey) error {
	err := s.write(ctx, func(w *session) error {
		return w.exec(ctx, `INSERT INTO signing_keys (number, id, public_key, sealed, created_at) VALUES (?, ?, ?, ?, ?)`,
			int64(k.Number), k.ID, k.Public, k.Sealed, int64(k.CreatedAt))
	})
	if err != nil && !s.dialect.taken(err) {
		return fmt.Errorf("store signing key: %w", err)
	}
	return nil
}
