package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// AddAccount adds an account with its access keys, all or nothing. ErrTaken means that the address
// or one of the keys is in use. Unlike InsertAccount it leaves no mark of a sandbox behind.
func (s *Store) AddAccount(ctx context.Context, account *otp.Account, keys []Credential) error {
	err := s.write(ctx, func(w *session) error {
		args := make([]driver.Value, len(accountColumns))
		for i, column := range accountColumns {
			args[i] = column.write(account)
		}
		if err := w.exec(ctx, insertText(`INSERT INTO otp_auth_config (`+accountColumnList()+`) VALUES `, len(args), 1), args...); err != nil {
			return err
		}
		for i := range keys {
			if err := addAccessKey(ctx, w, &keys[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && s.dialect.taken(err) {
		return ErrTaken
	}
	return err
}

// UpdateAccount writes the named columns of account, and no others: what somebody changes with
// plain SQL at the same time stays changed. ErrNotFound without such a row. A column that does
// not exist is a caller's bug.
func (s *Store) UpdateAccount(ctx context.Context, account *otp.Account, columns []string) error {
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
	return s.write(ctx, func(w *session) error {
		n, err := w.affect(ctx, `UPDATE otp_auth_config SET `+strings.Join(set, ", ")+` WHERE esme_address = ?`,
			append(args, account.Address)...)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return err
	})
}

// AddAccessKey adds one. ErrTaken means that the key is in use.
func (s *Store) AddAccessKey(ctx context.Context, key Credential) error {
	err := s.write(ctx, func(w *session) error { return addAccessKey(ctx, w, &key) })
	if err != nil && s.dialect.taken(err) {
		return ErrTaken
	}
	return err
}

func addAccessKey(ctx context.Context, w *session, c *Credential) error {
	return w.exec(ctx, `
		INSERT INTO credentials (id, esme_address, kind, environment, hash, last_four, allowed_ips, denied_ips, enabled, expires_at, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.ID[:], c.Address, c.Kind, string(c.Environment), c.Hash[:], c.LastFour,
		jsonList(c.AllowedIPs), jsonList(c.DeniedIPs), bit(c.Enabled), moment(c.ExpiresAt), int64(c.CreatedAt))
}

// jsonList is NULL for an empty list.
func jsonList(list []string) driver.Value {
	if len(list) == 0 {
		return nil
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings always have JSON
	}
	return string(encoded)
}

// AccessKeys are an account's credentials of a kind, oldest first.
func (s *Store) AccessKeys(ctx context.Context, address, kind string) ([]Credential, error) {
	rows, err := s.reads.QueryContext(ctx, `
		SELECT id, esme_address, kind, environment, last_four, allowed_ips, denied_ips, enabled, expires_at, created_at
		FROM credentials
		WHERE esme_address = ? AND kind = ?
		ORDER BY id`, address, kind)
	if err != nil {
		return nil, fmt.Errorf("read access keys: %w", err)
	}
	defer rows.Close()
	var keys []Credential
	for rows.Next() {
		var key Credential
		var allowed, denied sql.NullString
		var expires sql.NullInt64
		if err := rows.Scan(idScan{&key.ID}, &key.Address, &key.Kind, &key.Environment, &key.LastFour,
			&allowed, &denied, &key.Enabled, &expires, &key.CreatedAt); err != nil {
			return nil, fmt.Errorf("read access keys: %w", err)
		}
		key.ExpiresAt = otp.Millis(expires.Int64)
		key.AllowedIPs, key.DeniedIPs = shownList(allowed), shownList(denied)
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// shownList reads a list to be shown. One that cannot be read is shown as such; it allows nothing.
func shownList(text sql.NullString) (list []string) {
	if !text.Valid || strings.TrimSpace(text.String) == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text.String), &list); err != nil {
		return []string{"unreadable"}
	}
	return list
}

// RevokeAccessKey switches a key of this kind off for good. ErrNotFound without one.
func (s *Store) RevokeAccessKey(ctx context.Context, id otp.ID, kind string, now otp.Millis) error {
	return s.write(ctx, func(w *session) error {
		n, err := w.affect(ctx, `UPDATE credentials SET enabled = 0, revoked_at = COALESCE(revoked_at, ?) WHERE id = ? AND kind = ?`,
			int64(now), id[:], kind)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return err
	})
}

// Recipient reads one by its hash, with its challenges, newest first; ErrNotFound for none.
func (s *Store) Recipient(ctx context.Context, hash otp.ID) (otp.Recipient, []otp.Challenge, error) {
	var r otp.Recipient
	var sends, failures []byte
	var runAt, locked sql.NullInt64
	err := s.reads.QueryRowxContext(ctx, `SELECT `+recipientColumns+` FROM recipients WHERE hash = ?`, hash[:]).Scan(
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
	rows, err := s.reads.QueryContext(ctx, `SELECT `+challengeColumns+` FROM challenges WHERE recipient_id = ? ORDER BY seq DESC`, r.ID[:])
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
