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

// recipientHistory finds a recipient's events: the first event of each challenge by the recipient's index, the others
// by the challenge's. A challenge that began up to two days earlier may have had events since.
const recipientHistory = `
	SELECT e.id, e.at, e.kind, e.door, e.challenge_id, e.send, e.channels, e.remaining, e.summary
	FROM events s
	JOIN events e ON e.challenge_id = s.challenge_id
	WHERE s.recipient_hash = ? AND s.kind IN ('sent', 'unlocked') AND s.kind = 'sent' AND s.id >= ? AND e.id >= ?
		AND s.esme_address = ?
	UNION ALL
	SELECT id, at, kind, door, challenge_id, send, channels, remaining, summary
	FROM events
	WHERE recipient_hash = ? AND kind IN ('sent', 'unlocked') AND kind = 'unlocked' AND id >= ? AND esme_address = ?
	ORDER BY id DESC
	LIMIT ?`

// RecipientHistory reads a recipient's events since a moment, newest first, at most limit.
func (c *Challenges) RecipientHistory(ctx context.Context, account string, hash otp.ID, since otp.Millis, limit int) (
	events []otp.Event, err error) {
	begun, from := firstID(since-2*otp.Day), firstID(since)
	args := []any{hash[:], begun[:], from[:], account, hash[:], from[:], account, limit}
	err = c.store.each(ctx, "read the recipient's history", recipientHistory, args, func(rows *sql.Rows) error {
		e := otp.Event{Account: account, Recipient: hash}
		var summary []byte
		err := rows.Scan(idScan{&e.ID}, &e.At, &e.Kind, &e.Door, idScan{&e.Challenge}, &e.Send, &e.Channels, &e.Remaining,
			&summary)
		if err == nil {
			e.Summary, err = decodeSummary(summary)
		}
		events = append(events, e)
		return err
	})
	return events, err
}

// Recipient reads a recipient by its hash, with its challenges, newest first; ErrNotFound if there is none.
func (c *Challenges) Recipient(ctx context.Context, hash otp.ID) (otp.Recipient, []otp.Challenge, error) {
	r, err := recipientFields.one(ctx, c.store, `hash = ?`, hash[:])
	if err != nil {
		return r, nil, err
	}
	challenges, err := challengeFields.find(ctx, c.store, `recipient_id = ? ORDER BY seq DESC`, r.ID[:])
	return r, challenges, err
}
