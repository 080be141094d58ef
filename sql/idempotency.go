package sql

import (
	"context"
	"database/sql/driver"
	"fmt"

	"otpbridge/server/otp"
)

// Claims are the stored idempotency keys.
type Claims struct{ store *Store }

// IdempotencyMemory is how long a credential's idempotency key is stored.
const IdempotencyMemory = 24 * otp.Hour

// Claim is one request that runs once: the end of its lease, and its answer.
type Claim struct {
	Credential   otp.ID
	Key          otp.ID // keyed hash of the client's key
	Request      [32]byte
	Challenge    otp.ID     // the id for the challenge or event that the work makes
	ClaimedUntil otp.Millis // end of the worker's lease, by the real clock
	Status       int        // of the answer
	Answer       []byte     // sealed; nil: none yet
	CreatedAt    otp.Millis
}

var claims = table[Claim]{"idempotency_keys", func(c *Claim) []column {
	return []column{
		{"credential_id", &c.Credential}, {"key_hash", &c.Key}, {"request_hash", &c.Request}, {"challenge_id", &c.Challenge},
		{"claimed_until", &c.ClaimedUntil}, {"status", &c.Status}, {"answer", &c.Answer}, {"created_at", &c.CreatedAt},
	}
}}

// Insert stores a new claim. The error is ErrTaken if its key has one.
//
// The error is a refusal, Overloaded, if too many writes wait; nothing has been done for the request then.
func (box *Claims) Insert(ctx context.Context, c *Claim) error {
	if err := box.store.admitsWrite(); err != nil {
		return err
	}
	err := box.store.exec(ctx, `
		INSERT INTO idempotency_keys (credential_id, key_hash, request_hash, challenge_id, claimed_until, created_at)
		VALUES (?, ?, ?, ?, ?, ?)`,
		c.Credential[:], c.Key[:], c.Request[:], c.Challenge[:], int64(c.ClaimedUntil), int64(c.CreatedAt))
	switch {
	case err == nil:
		return nil
	case box.store.dialect.taken(err):
		return ErrTaken
	}
	return fmt.Errorf("store idempotency key: %w", err)
}

// Find reads the claim of a key. The error is ErrNotFound if there is none.
func (box *Claims) Find(ctx context.Context, credential, key otp.ID) (*Claim, error) {
	c, err := claims.one(ctx, box.store, `credential_id = ? AND key_hash = ?`, credential[:], key[:])
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// Hold moves the end of a claim's lease to until, if the lease still has c's end and there is no answer yet. It
// reports whether it did. It serves to renew, give up and take over a claim.
func (box *Claims) Hold(ctx context.Context, c *Claim, until otp.Millis) (bool, error) {
	return box.store.changeClaim(ctx, `
		UPDATE idempotency_keys
		SET claimed_until = ?
		WHERE credential_id = ? AND key_hash = ? AND challenge_id = ? AND claimed_until = ? AND status IS NULL`,
		int64(until), c.Credential[:], c.Key[:], c.Challenge[:], int64(c.ClaimedUntil))
}

// Answer stores the answer, if there is none yet, and reports whether it did.
func (box *Claims) Answer(ctx context.Context, c *Claim) (bool, error) {
	return box.store.changeClaim(ctx, `
		UPDATE idempotency_keys
		SET status = ?, answer = ?
		WHERE credential_id = ? AND key_hash = ? AND challenge_id = ? AND status IS NULL`,
		int64(c.Status), c.Answer, c.Credential[:], c.Key[:], c.Challenge[:])
}

// Drop removes a claim without an answer, for which nothing was done. It does not remove a claim that another server
// has taken over.
func (box *Claims) Drop(ctx context.Context, c *Claim) error {
	_, err := box.store.changeClaim(ctx, `
		DELETE FROM idempotency_keys
		WHERE credential_id = ? AND key_hash = ? AND challenge_id = ? AND claimed_until = ? AND status IS NULL`,
		c.Credential[:], c.Key[:], c.Challenge[:], int64(c.ClaimedUntil))
	return err
}

// Expire removes a claim that is older than IdempotencyMemory and was not swept yet.
func (box *Claims) Expire(ctx context.Context, c *Claim) error {
	_, err := box.store.changeClaim(ctx,
		`DELETE FROM idempotency_keys WHERE credential_id = ? AND key_hash = ? AND challenge_id = ?`,
		c.Credential[:], c.Key[:], c.Challenge[:])
	return err
}

func (s *Store) changeClaim(ctx context.Context, text string, args ...driver.Value) (bool, error) {
	changed := int64(0)
	err := s.write(ctx, func(w *session) (err error) {
		changed, err = w.affect(ctx, text, args...)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("change idempotency key: %w", err)
	}
	return changed == 1, nil
}
