package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// Update writes the named columns of account, and no others: what somebody changes with
// plain SQL at the same time stays changed. ErrNotFound without such a row. A column that does
// not exist is a caller's bug.
func (a *Accounts) Update(ctx context.Context, account *otp.Account, columns []string) error {
	var set []string
	var args []driver.Value
	for _, column := range accountColumns {
		if slices.Contains(columns, column.name) {
			set, args = append(set, column.name+" = ?"), append(args, column.write(account))
		}
	}
	if len(set) != len(columns) {
		panic("sql: UpdateAccount was given a column that otp_auth_config does not have")
	}
	return a.store.write(ctx, func(w *session) error {
		n, err := w.affect(ctx, `UPDATE otp_auth_config SET `+strings.Join(set, ", ")+` WHERE esme_address = ?`,
			append(args, account.Address)...)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return err
	})
}

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
