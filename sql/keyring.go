package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"otpbridge/server/otp"
)

// Keyring stores what belongs to the keyring: check values, the index key, the keys of receipts, and the sealed
// columns.
type Keyring struct{ store *Store }

// Checks returns the check values of every key that has sealed or derived something in this database, by id.
func (k *Keyring) Checks(ctx context.Context) (map[string][]byte, error) {
	checks := map[string][]byte{}
	return checks, k.store.each(ctx, "read keyring checks", `SELECT id, check_value FROM keyring_keys`, nil,
		func(rows *sql.Rows) error {
			var id string
			var check []byte
			err := rows.Scan(&id, &check)
			checks[id] = check
			return err
		})
}

// InsertCheck adds a key's check value, unless another server has already added it.
func (k *Keyring) InsertCheck(ctx context.Context, id string, check []byte, now int64) error {
	err := k.store.exec(ctx, `INSERT INTO keyring_keys (id, check_value, created_at) VALUES (?, ?, ?)`, id, check, now)
	if err != nil && k.store.dialect.taken(err) {
		return nil
	}
	return err
}

// IndexKey returns the sealed key of all look-up hashes. If there is none yet it stores fresh; of several servers that
// start at once one wins, and all get the winner's key.
func (k *Keyring) IndexKey(ctx context.Context, fresh []byte) ([]byte, error) {
	var sealed []byte
	read := func() error {
		return k.store.reads.GetContext(ctx, &sealed, `SELECT sealed FROM index_key WHERE id = 1`)
	}
	err := read()
	if !errors.Is(err, sql.ErrNoRows) {
		return sealed, err
	}
	err = k.store.exec(ctx, `INSERT INTO index_key (id, sealed) VALUES (1, ?)`, fresh)
	if err != nil && !k.store.dialect.taken(err) {
		return nil, fmt.Errorf("store the index key: %w", err)
	}
	return sealed, read()
}

// StoredIndexKey returns the sealed key of all look-up hashes, nil if there is none yet.
func (k *Keyring) StoredIndexKey(ctx context.Context) (sealed []byte, err error) {
	err = k.store.reads.GetContext(ctx, &sealed, `SELECT sealed FROM index_key WHERE id = 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the index key: %w", err)
	}
	return sealed, nil
}

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
