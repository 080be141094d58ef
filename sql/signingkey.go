package sql

import (
	"context"
	"fmt"

	"otpbridge/server/otp"
)

// SigningKey is one key that receipts are signed with.
type SigningKey struct {
	Number    int // from 1; of the keys that may sign, the highest signs
	ID        string
	Public    []byte
	Sealed    []byte
	CreatedAt otp.Millis
	SignsFrom otp.Millis // it is published earlier
}

// SigningKeys returns all stored keys, newest first.
func (box *Keyring) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := box.store.reads.QueryContext(ctx, `
		SELECT number, id, public_key, sealed, created_at, signs_from
		FROM signing_keys
		ORDER BY number DESC`)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	defer rows.Close()
	var keys []SigningKey
	for rows.Next() {
		var k SigningKey
		if err := rows.Scan(&k.Number, &k.ID, &k.Public, &k.Sealed, &k.CreatedAt, &k.SignsFrom); err != nil {
			return nil, fmt.Errorf("read signing keys: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// AddSigningKey adds a key and deletes those with the given numbers, all or nothing. ErrTaken means that another key
// was added under its number first.
func (box *Keyring) AddSigningKey(ctx context.Context, k SigningKey, expired ...int) error {
	err := box.store.write(ctx, func(w *session) error {
		err := w.exec(ctx,
			`INSERT INTO signing_keys (number, id, public_key, sealed, created_at, signs_from) VALUES (?, ?, ?, ?, ?, ?)`,
			int64(k.Number), k.ID, k.Public, k.Sealed, int64(k.CreatedAt), int64(k.SignsFrom))
		for _, number := range expired {
			if err == nil {
				err = w.exec(ctx, `DELETE FROM signing_keys WHERE number = ?`, int64(number))
			}
		}
		return err
	})
	switch {
	case err != nil && box.store.dialect.taken(err):
		return ErrTaken
	case err != nil:
		return fmt.Errorf("store signing key: %w", err)
	}
	return nil
}
