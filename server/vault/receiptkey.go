package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The times of receipts and their keys.
const (
	// ReceiptLife is how long a receipt is good: enough for a browser to bring it to a backend.
	ReceiptLife = 10 * time.Minute
	// ReceiptKeysAge is how old what a server knows of the keys may be.
	ReceiptKeysAge = 3 * time.Second
	// publishedAhead is how long a new key is in every server's key set before any signs with it. The servers look
	// at most ReceiptKeysAge late, and their clocks differ by at most a second, or they are not ready.
	publishedAhead = 10 * time.Second
	// publishedBehind is how long a key stays in the set after its last receipt has expired: for verifiers whose
	// clocks are slow.
	publishedBehind = 5 * time.Minute
)

// SigningKey is one of the keys that receipts are signed with.
type SigningKey struct {
	ID        string
	Public    []byte
	Signer    *crypto.ReceiptKey
	SignsFrom otp.Millis

	number    int
	goodUntil otp.Millis // in the key set; 0 while nothing has taken its place
}

// Over reports whether every receipt that was signed with the key has expired.
func (k *SigningKey) Over(now otp.Millis) bool { return k.goodUntil != 0 && now >= k.goodUntil }

// SigningKeys reads all keys, newest first.
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
		if i > 0 { // rows[i-1] has taken its place
			key.goodUntil = rows[i-1].SignsFrom + otp.Span(ReceiptKeysAge+ReceiptLife+publishedBehind)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// EnsureSigningKey makes the first key of a new database. Of several servers that start at once one wins, and all
// sign with the winner's.
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

// newSigningKey makes a key to be stored.
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

// ReplacedKey is what operators are told of a new key of receipts.
type ReplacedKey struct {
	ID        string    `json:"id"` // a receipt's kid
	SignsFrom time.Time `json:"signs_from"`
	Removed   []string  `json:"removed"` // ids of keys that left the key set with it
}

// ReplaceSigningKey gives receipts a new key. Running servers take it up by themselves: they publish it at once and
// sign with it once all of them do. The former key stays in the key set until its last receipt has expired, and
// then leaves.
//
// If the former key is compromised, it and all before it are deleted instead: no receipt of theirs can be checked
// any more, a forged one or a good one. Nothing is left to sign with meanwhile, so the new key signs at once; a
// server may show it in its set up to 3 s later than another signs with it, and until then its receipts are
// refused, not believed.
func (v *Vault) ReplaceSigningKey(ctx context.Context, compromised bool) (ReplacedKey, error) {
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
	if err := v.store.Keyring.AddSigningKey(ctx, key, expired...); err != nil {
		if errors.Is(err, sql.ErrTaken) {
			err = errors.New("the key is being replaced by somebody else right now; look and try again")
		}
		return ReplacedKey{}, err
	}
	made.ID = key.ID
	return made, nil
}

// CertificateKey signs erasure certificates. It is derived from the index key, which outlives rotations of the keyring
// and is in every backup: a certificate can be checked for as long as somebody keeps it, and after a restore.
func (v *Vault) CertificateKey() (*crypto.ReceiptKey, error) {
	seed := v.Index.Sum32("erasure certificate key")
	return crypto.NewReceiptKey(crypto.NewSecret(seed[:]))
}
