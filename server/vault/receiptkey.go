package vault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The times of receipts and their keys.
const (
	// ReceiptLife is how long a receipt is valid: enough time for a browser to bring it to a backend.
	ReceiptLife = 10 * time.Minute
	// ReceiptKeysAge is how old a server's copy of the keys may be.
	ReceiptKeysAge = 3 * time.Second
	// publishedAhead is how long a new key is published before a server signs with it. Every server learns of it
	// within ReceiptKeysAge; a server whose clock differs by more than a second is not ready.
	publishedAhead = 10 * time.Second
	// publishedBehind is how long a key stays in the set after its last receipt has expired, for verifiers with slow
	// clocks.
	publishedBehind = 5 * time.Minute
)

// SigningKey is one of the keys that receipts are signed with.
type SigningKey struct {
	ID        string
	Public    []byte
	Signer    *crypto.ReceiptKey
	SignsFrom otp.Millis

	number    int
	goodUntil otp.Millis // when it leaves the key set; 0 until it is replaced
}

// Over reports whether every receipt that was signed with the key has expired.
func (k *SigningKey) Over(now otp.Millis) bool { return k.goodUntil != 0 && now >= k.goodUntil }

// SigningKeys returns all keys, newest first.
func (v *Vault) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	rows, err := v.store.Keyring.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	var keys []SigningKey
	for i, row := range rows {
		seed, err := v.Keyring.Open(ReceiptKey(row.ID), row.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open signing key %s: %w", row.ID, err)
		}
		signer, err := crypto.NewReceiptKey(crypto.NewSecret(seed))
		if err != nil {
			return nil, fmt.Errorf("open signing key %s: %w", row.ID, err)
		}
		key := SigningKey{number: row.Number, ID: row.ID, Public: row.Public, Signer: signer, SignsFrom: row.SignsFrom}
		if i > 0 { // rows[i-1] has replaced it
			key.goodUntil = rows[i-1].SignsFrom + otp.Span(ReceiptKeysAge+ReceiptLife+publishedBehind)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// EnsureSigningKey makes the first key of a new database. If several servers start at once, all use the key that was
// stored first.
func (v *Vault) EnsureSigningKey(ctx context.Context) error {
	keys, err := v.SigningKeys(ctx)
	if err != nil || len(keys) > 0 {
		return err
	}
	key, err := v.newSigningKey(1, 0)
	if err != nil {
		return err
	}
	if err := v.store.Keyring.AddSigningKey(ctx, key); !errors.Is(err, sql.ErrTaken) {
		return err
	}
	return nil
}

// newSigningKey returns the row of a new key.
func (v *Vault) newSigningKey(number int, signsFrom otp.Millis) (sql.SigningKey, error) {
	seed := crypto.RandomReceiptKey()
	key, err := crypto.NewReceiptKey(seed)
	if err != nil {
		return sql.SigningKey{}, err
	}
	return sql.SigningKey{
		Number: number, ID: key.ID(), Public: key.Public(),
		Sealed: v.Keyring.Seal(ReceiptKey(key.ID()), seed.Bytes()), CreatedAt: otp.At(time.Now()), SignsFrom: signsFrom,
	}, nil
}

// ReplacedKey is the result of ReplaceSigningKey, for operators.
type ReplacedKey struct {
	ID        string    `json:"id"` // a receipt's kid
	SignsFrom time.Time `json:"signs_from"`
	Removed   []string  `json:"removed"` // ids of keys that were removed from the key set
}

// ReplaceSigningKey makes a new key that signs receipts. Running servers find it themselves: they publish it at once,
// and sign with it when all of them publish it. The former key stays in the key set until its last receipt has
// expired.
//
// If the former key is compromised, it and all earlier keys are deleted: none of their receipts can be verified any
// more, forged or genuine. There is no other key to sign with, so the new key signs at once. A server may publish it
// up to 3 s after another signs with it; until then verifiers refuse its receipts.
//
// The audit log records who replaced it.
func (v *Vault) ReplaceSigningKey(ctx context.Context, by otp.Actor, compromised bool) (ReplacedKey, error) {
	keys, err := v.SigningKeys(ctx)
	if err != nil {
		return ReplacedKey{}, err
	}
	now := otp.At(time.Now())
	number, signsFrom := 1, now+otp.Span(publishedAhead)
	if compromised {
		signsFrom = now
	}
	var expired []int
	made := ReplacedKey{SignsFrom: signsFrom.Time().UTC(), Removed: []string{}}
	for _, key := range keys {
		number = max(number, key.number+1)
		if compromised || key.Over(now) {
			expired = append(expired, key.number)
			made.Removed = append(made.Removed, key.ID)
		}
	}
	key, err := v.newSigningKey(number, signsFrom)
	if err != nil {
		return ReplacedKey{}, err
	}
	err = v.store.Change(ctx, func(tx *sql.Tx) error {
		if err := v.store.Keyring.ReplaceSigningKey(tx, key, expired...); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.ReceiptKeyReplaced, Actor: by,
			Details: map[string]string{"key": key.ID, "removed": strings.Join(made.Removed, ", "),
				"compromised": strconv.FormatBool(compromised)}})
	})
	if err != nil {
		if errors.Is(err, sql.ErrTaken) {
			err = errors.New("the key is being replaced by somebody else right now; look and try again")
		}
		return ReplacedKey{}, err
	}
	made.ID = key.ID
	return made, nil
}

// CertificateKey returns the key that signs erasure certificates. It is derived from the index key, which survives
// rotations of the keyring and is in every backup, so that certificates can always be verified, also after a restore.
func (v *Vault) CertificateKey() (*crypto.ReceiptKey, error) {
	seed := v.Index.Sum32("erasure certificate key")
	return crypto.NewReceiptKey(crypto.NewSecret(seed[:]))
}
