package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"otpbridge/server/otp"
)

// Recipient reads one by its hash, with its challenges, newest first; ErrNotFound for none.
func (c *Challenges) Recipient(ctx context.Context, hash otp.ID) (otp.Recipient, []otp.Challenge, error) {
	var r otp.Recipient
	var sends, failures []byte
	var runAt, locked sql.NullInt64
	err := c.store.reads.QueryRowxContext(ctx, `SELECT `+recipientColumns+` FROM recipients WHERE hash = ?`, hash[:]).Scan(
		idScan{&r.ID}, idScan{&r.Hash}, &r.Version, &r.Seq, &sends, &failures, &r.Run, &runAt, &locked, &r.UpdatedAt,
		&r.Account, &r.Environment, &r.Sealed, &r.Mask)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil, ErrNotFound
	}
	if err != nil {
		return r, nil, fmt.Errorf("read recipient: %w", err)
	}
	r.RunAt, r.LockedUntil = otp.Millis(runAt.Int64), otp.Millis(locked.Int64)
	if r.Sends, err = decodeWindow(sends); err != nil {
		return r, nil, fmt.Errorf("read recipient: %w", err)
	}
	if r.Failures, err = decodeWindow(failures); err != nil {
		return r, nil, fmt.Errorf("read recipient: %w", err)
	}
	rows, err := c.store.reads.QueryContext(ctx,
		`SELECT `+challengeColumns+` FROM challenges WHERE recipient_id = ? ORDER BY seq DESC`, r.ID[:])
	if err != nil {
		return r, nil, fmt.Errorf("read the recipient's challenges: %w", err)
	}
	defer rows.Close()
	var challenges []otp.Challenge
	for rows.Next() {
		challenge, err := scanChallenge(rows)
		if err != nil {
			return r, nil, fmt.Errorf("read the recipient's challenges: %w", err)
		}
		challenges = append(challenges, *challenge)
	}
	return r, challenges, rows.Err()
}
