package sql

import (
	"context"

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

var signingKeys = table[SigningKey]{"signing_keys", func(k *SigningKey) []column {
	return []column{
		{"number", &k.Number}, {"id", &k.ID}, {"public_key", &k.Public}, {"sealed", &k.Sealed},
		{"created_at", (*int64)(&k.CreatedAt)}, {"signs_from", (*int64)(&k.SignsFrom)},
	}
}}

// SigningKeys returns all stored keys, newest first.
func (box *Keyring) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	return signingKeys.find(ctx, box.store, `1 = 1 ORDER BY number DESC`)
}

// AddSigningKey adds the first key. ErrTaken means that another key was added under its number first.
func (box *Keyring) AddSigningKey(ctx context.Context, k SigningKey) error {
	err := box.store.write(ctx, func(w *session) error {
		return signingKeys.insert(ctx, &Tx{session: w, store: box.store, ctx: ctx}, &k)
	})
	if err != nil && box.store.dialect.taken(err) {
		return ErrTaken
	}
	return err
}

// ReplaceSigningKey adds a key and deletes those with the given numbers. If another key was added under its number
// first, Change returns ErrTaken.
func (box *Keyring) ReplaceSigningKey(tx *Tx, k SigningKey, expired ...int) error {
	err := signingKeys.insert(tx.ctx, tx, &k)
	for _, number := range expired {
		if err == nil {
			err = tx.exec(tx.ctx, `DELETE FROM signing_keys WHERE number = ?`, int64(number))
		}
	}
	return err
}
