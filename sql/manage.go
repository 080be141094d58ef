package sql

import (
	"context"
	"database/sql"

	"otpbridge/server/otp"
)

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
