package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"otpbridge/server/otp"
)

// Challenges reads challenges outside of batches, with their history.
type Challenges struct{ store *Store }

// Newest reads a slot's newest challenge outside any operation, nil for none. Decisions must not be based on it: it
// may be replaced by the time it is returned.
func (c *Challenges) Newest(ctx context.Context, recipient, slot otp.ID) (*otp.Challenge, error) {
	found, err := challengeFields.find(ctx, c.store,
		`recipient_id = (SELECT id FROM recipients WHERE hash = ?) AND slot = ? AND replaced_at IS NULL`,
		recipient[:], slot[:])
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// ByID reads the challenge with this id and its recipient outside any operation. Use it only to find which recipient
// an operation has to lock and who owns it: these never change. The error is ErrNotFound if there is none.
func (c *Challenges) ByID(ctx context.Context, id otp.ID) (*otp.Challenge, *otp.Recipient, error) {
	challenge, err := challengeFields.one(ctx, c.store, `id = ?`, id[:])
	if err != nil {
		return nil, nil, err
	}
	recipient, err := recipientFields.one(ctx, c.store, `id = ?`, challenge.Recipient[:])
	if err != nil {
		return nil, nil, err
	}
	return &challenge, &recipient, nil
}

// historyFields are what a challenge's history shows.
var historyFields = eventFields.only("id", "at", "esme_address", "environment", "kind", "door", "recipient_hash",
	"challenge_id", "send", "channels", "remaining", "summary")

// History reads a challenge's events, oldest first. It outlives the challenge.
func (c *Challenges) History(ctx context.Context, challenge otp.ID) ([]otp.Event, error) {
	return historyFields.find(ctx, c.store, `challenge_id = ? ORDER BY id`, challenge[:])
}

// OfEvent returns the challenge that an event of the history is about. The error is ErrNotFound if there is no such
// event.
func (c *Challenges) OfEvent(ctx context.Context, event otp.ID) (challenge otp.ID, err error) {
	err = c.store.reads.QueryRowContext(ctx, `SELECT challenge_id FROM events WHERE id = ?`,
		event[:]).Scan(idScan{&challenge})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return challenge, ErrNotFound
	case err != nil:
		return challenge, fmt.Errorf("read history: %w", err)
	}
	return challenge, nil
}
