package sql

import (
	"context"
	"fmt"

	"otpbridge/server/otp"
)

// TestRecipients are accounts' numbers that get no message and have a fixed code.
type TestRecipients struct{ store *Store }

// TestRecipient is one test recipient. Challenges made from its creation to its expiry have its code.
type TestRecipient struct {
	ID        otp.ID
	Account   string
	Recipient otp.ID // its hash
	Number    []byte // sealed
	Code      []byte // sealed
	Mask      string
	Reason    string
	CreatedAt otp.Millis
	ExpiresAt otp.Millis
}

var testRecipients = table[TestRecipient]{"test_recipients", func(t *TestRecipient) []column {
	return []column{
		{"id", &t.ID}, {"esme_address", &t.Account}, {"recipient_hash", &t.Recipient}, {"number", &t.Number},
		{"code", &t.Code}, {"mask", &t.Mask}, {"reason", &t.Reason}, {"created_at", &t.CreatedAt},
		{"expires_at", &t.ExpiresAt},
	}
}}

// List reads an account's test recipients that have not expired at now, oldest first.
func (t *TestRecipients) List(ctx context.Context, account string, now otp.Millis) ([]TestRecipient, error) {
	return testRecipients.find(ctx, t.store, `esme_address = ? AND expires_at > ? ORDER BY id`, account, int64(now))
}

// Insert adds a test recipient and removes an expired one with the same number. It returns how many unexpired ones the
// account has then.
func (t *TestRecipients) Insert(tx *Tx, r TestRecipient) (int, error) {
	err := tx.exec(tx.ctx, `DELETE FROM test_recipients WHERE recipient_hash = ? AND expires_at <= ?`, r.Recipient[:],
		int64(r.CreatedAt))
	if err != nil {
		return 0, err
	}
	if err := testRecipients.insert(tx.ctx, tx, &r); err != nil {
		return 0, err
	}
	all, err := testRecipients.lock(tx.ctx, tx, `esme_address = ? AND expires_at > ?`, r.Account, int64(r.CreatedAt))
	return len(all), err
}

// Delete removes a test recipient of an account and returns it; false if there is none.
func (t *TestRecipients) Delete(tx *Tx, account string, id otp.ID) (TestRecipient, bool, error) {
	r, found, err := first(testRecipients.lock(tx.ctx, tx, `id = ? AND esme_address = ?`, id[:], account))
	if err != nil || !found {
		return r, false, err
	}
	found, err = tx.changed(`DELETE FROM test_recipients WHERE id = ?`, id[:])
	return r, found, err
}

// Verified reports whether a code that was really sent to an account's recipient was verified since a moment, as far
// as the history goes back. It reads all of the history since then.
func (t *TestRecipients) Verified(ctx context.Context, account string, recipient otp.ID, since otp.Millis) (bool,
	error) {
	from, n := firstID(since), 0
	err := t.store.reads.GetContext(ctx, &n, `
		SELECT COUNT(*)
		FROM events
		WHERE id >= ? AND esme_address = ? AND recipient_hash = ? AND kind = ? AND channels <> ?`,
		from[:], account, recipient[:], string(otp.EventVerified), int64(otp.Rehearsed))
	if err != nil {
		return false, fmt.Errorf("look for verifications of a recipient: %w", err)
	}
	return n > 0, nil
}
