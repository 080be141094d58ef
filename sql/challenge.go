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
	rows, err := c.store.reads.QueryContext(ctx, `
		SELECT `+challengeColumns+`
		FROM challenges
		WHERE recipient_id = (SELECT id FROM recipients WHERE hash = ?) AND slot = ? AND replaced_at IS NULL`, recipient[:], slot[:])
	if err != nil {
		return nil, fmt.Errorf("read challenge: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	challenge, err := scanChallenge(rows)
	if err != nil {
		return nil, fmt.Errorf("read challenge: %w", err)
	}
	return challenge, nil
}

// ByID reads the challenge with this id and its recipient outside any operation. Use it only to find which recipient
// an operation has to lock and who owns it: these never change. The error is ErrNotFound if there is none.
func (c *Challenges) ByID(ctx context.Context, id otp.ID) (*otp.Challenge, *otp.Recipient, error) {
	challenge, err := c.store.challenge(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("read challenge: %w", err)
	}
	var r otp.Recipient
	var sends, failures []byte
	err = c.store.reads.QueryRowContext(ctx, `
		SELECT id, hash, esme_address, environment, sealed, mask, sends, failures,
			run, COALESCE(run_at, 0), COALESCE(locked_until, 0), updated_at
		FROM recipients
		WHERE id = ?`, challenge.Recipient[:]).
		Scan(idScan{&r.ID}, idScan{&r.Hash}, &r.Account, &r.Environment, &r.Sealed, &r.Mask, &sends, &failures,
			&r.Run, &r.RunAt, &r.LockedUntil, &r.UpdatedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, ErrNotFound
	}
	if err == nil {
		r.Sends, err = decodeWindow(sends)
	}
	if err == nil {
		r.Failures, err = decodeWindow(failures)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read recipient: %w", err)
	}
	return challenge, &r, nil
}

func (s *Store) challenge(ctx context.Context, id otp.ID) (*otp.Challenge, error) {
	rows, err := s.reads.QueryContext(ctx, `SELECT `+challengeColumns+` FROM challenges WHERE id = ?`, id[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), ErrNotFound)
	}
	return scanChallenge(rows)
}

// History reads a challenge's events, oldest first. It outlives the challenge.
func (c *Challenges) History(ctx context.Context, challenge otp.ID) ([]otp.Event, error) {
	rows, err := c.store.reads.QueryContext(ctx, `
		SELECT id, at, esme_address, environment, kind, door, recipient_hash, send, channels, remaining, summary
		FROM events
		WHERE challenge_id = ?
		ORDER BY id`, challenge[:])
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer rows.Close()
	var events []otp.Event
	for rows.Next() {
		e := otp.Event{Challenge: challenge}
		var summary []byte
		err := rows.Scan(idScan{&e.ID}, &e.At, &e.Account, &e.Environment, &e.Kind, &e.Door, idScan{&e.Recipient},
			&e.Send, &e.Channels, &e.Remaining, &summary)
		if err == nil {
			e.Summary, err = decodeSummary(summary)
		}
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		events = append(events, e)
	}
	return events, rows.Err()
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
