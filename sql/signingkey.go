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

// AddSigningKey adds the first key. ErrTaken means that another key was added under its number first.
func (box *Keyring) AddSigningKey(ctx context.Context, k SigningKey) error {
	err := box.store.write(ctx, func(w *session) error { return insertSigningKey(ctx, w, k) })
	if err != nil && box.store.dialect.taken(err) {
		return ErrTaken
	}
	return err
}

func insertSigningKey(ctx context.Context, w *session, k SigningKey) error {
	err := w.exec(ctx,
		`INSERT INTO signing_keys (number, id, public_key, sealed, created_at, signs_from) VALUES (?, ?, ?, ?, ?, ?)`,
		int64(k.Number), k.ID, k.Public, k.Sealed, int64(k.CreatedAt), int64(k.SignsFrom))
	if err != nil {
		return fmt.Errorf("store signing key: %w", err)
	}
	return nil
}

// ReplaceSigningKey adds a key and deletes those with the given numbers. If another key was added under its number
// first, Change returns ErrTaken.
func (box *Keyring) ReplaceSigningKey(tx *Tx, k SigningKey, expired ...int) error {
	err := insertSigningKey(tx.ctx, tx.session, k)
	for _, number := range expired {
		if err == nil {
			err = tx.exec(tx.ctx, `DELETE FROM signing_keys WHERE number = ?`, int64(number))
		}
	}
	return err
}
