package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"otpbridge/server/otp"
)

// Sandbox holds what only a sandbox has: clocks, an inbox, and resets.
type Sandbox struct{ store *Store }

// everyone is the row of sandbox_accounts that applies to all accounts.
const everyone = ""

// clockOffsets maps accounts to their offsets, including everyone.
type clockOffsets map[string]otp.Millis

// of returns the effective offset: the larger of the account's own and everyone's.
func (c clockOffsets) of(account string) otp.Millis { return max(c[everyone], c[account]) }

// clockOffsets reads the offsets inside the operations' own transaction: with a cached offset, another server could
// accept a code that the moved clock has expired.
func (s *Store) clockOffsets(ctx context.Context, w *session, operations []*Operation) (clockOffsets, error) {
	if !s.options.Sandbox {
		return nil, nil
	}
	offsets := clockOffsets{}
	accounts := []string{everyone}
	for _, op := range operations {
		if _, seen := offsets[op.Account]; !seen {
			offsets[op.Account] = 0
			accounts = append(accounts, op.Account)
		}
	}
	list, args := in(accounts, func(a string) driver.Value { return a })
	err := w.query(ctx, `SELECT esme_address, clock_offset FROM sandbox_accounts WHERE esme_address IN `+list, args,
		func(found row) error {
			r := reader{row: found}
			offsets[r.text()] = r.moment()
			return r.err
		})
	return offsets, err
}

// Clock returns the offset set for account ("" means everyone's) and the effective one.
func (box *Sandbox) Clock(ctx context.Context, account string) (set, effective time.Duration, err error) {
	read := func(of string) (time.Duration, error) {
		var offset otp.Millis
		err := box.store.reads.GetContext(ctx, &offset, `SELECT clock_offset FROM sandbox_accounts WHERE esme_address = ?`,
			of)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, nil
		}
		return offset.Duration(), err
	}
	if set, err = read(account); err != nil {
		return 0, 0, fmt.Errorf("read clock: %w", err)
	}
	all, err := read(everyone)
	if err != nil {
		return 0, 0, fmt.Errorf("read clock: %w", err)
	}
	return set, max(set, all), nil
}

// SetClock moves a clock forward. It reports false, and changes nothing, for an offset below the current one, which
// starts at 0.
func (box *Sandbox) SetClock(ctx context.Context, account string, offset time.Duration) (bool, error) {
	moved := false
	if offset < 0 {
		return false, nil
	}
	err := box.store.write(ctx, func(w *session) error {
		n, err := w.affect(ctx, `UPDATE sandbox_accounts SET clock_offset = ? WHERE esme_address = ? AND clock_offset <= ?`,
			offset.Milliseconds(), account, offset.Milliseconds())
		if err != nil || n == 1 {
			moved = n == 1
			return err
		}
		known := false
		err = w.query(ctx, `SELECT clock_offset FROM sandbox_accounts WHERE esme_address = ?`, []driver.Value{account},
			func(row) error { known = true; return nil })
		if err != nil || known {
			return err
		}
		moved = true
		return w.exec(ctx, `INSERT INTO sandbox_accounts (esme_address, throwaway, clock_offset) VALUES (?, 0, ?)`,
			account, offset.Milliseconds())
	})
	return moved, err
}

// AdvanceClock moves a clock forward by a span; everyone's clock takes along all clocks that are ahead of it. It
// reports false, and changes nothing, if the clock would then be more than limit ahead.
func (box *Sandbox) AdvanceClock(ctx context.Context, account string, by, limit time.Duration) (bool, error) {
	if _, err := box.SetClock(ctx, everyone, 0); err != nil { // creates everyone's row if it is missing
		return false, err
	}
	moved := false
	err := box.store.write(ctx, func(w *session) error {
		// This write changes nothing and locks the row, so that of two advances at once the second sees the first.
		if err := w.exec(ctx, `UPDATE sandbox_accounts SET clock_offset = clock_offset WHERE esme_address = ?`,
			everyone); err != nil {
			return err
		}
		offsets := clockOffsets{}
		err := w.query(ctx, `SELECT esme_address, clock_offset FROM sandbox_accounts`, nil, func(found row) error {
			r := reader{row: found}
			offsets[r.text()] = r.moment()
			return r.err
		})
		if err != nil {
			return err
		}
		advanced := offsets.of(account) + otp.Span(by)
		if moved = advanced <= otp.Span(limit); !moved {
			return nil
		}
		// Guarded, because a clock that is set at the same time must not go back.
		advance := func(of string, to otp.Millis) error {
			return w.exec(ctx, `UPDATE sandbox_accounts SET clock_offset = ? WHERE esme_address = ? AND clock_offset <= ?`,
				int64(to), of, int64(to))
		}
		if _, known := offsets[account]; !known {
			return w.exec(ctx, `INSERT INTO sandbox_accounts (esme_address, throwaway, clock_offset) VALUES (?, 0, ?)`,
				account, int64(advanced))
		}
		if account != everyone {
			return advance(account, advanced)
		}
		for of, offset := range offsets {
			if offset = min(offset+otp.Span(by), otp.Span(limit)); of == everyone || offset > advanced {
				if err := advance(of, offset); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return moved, err
}

// Reset removes an account's challenges, recipients, history, clock, inbox mark and the stored answers of idempotency
// keys. For "" it removes everyone's, and the throwaway accounts themselves.
func (box *Sandbox) Reset(ctx context.Context, account string) error {
	return box.store.write(ctx, func(w *session) error {
		if account != everyone {
			return execAll(ctx, w, []driver.Value{account},
				`DELETE FROM challenges WHERE recipient_id IN (SELECT id FROM recipients WHERE esme_address = ?)`,
				`DELETE FROM recipients WHERE esme_address = ?`,
				`DELETE FROM events WHERE esme_address = ?`,
				`DELETE FROM deliveries WHERE esme_address = ?`,
				`DELETE FROM statistics WHERE esme_address = ?`,
				`DELETE FROM calls WHERE esme_address = ?`,
				`DELETE FROM alerts WHERE esme_address = ?`,
				`DELETE FROM webhook_deliveries WHERE esme_address = ?`,
				`DELETE FROM webhook_texts WHERE esme_address = ?`,
				`DELETE FROM shadows WHERE esme_address = ?`,
				`DELETE FROM idempotency_keys WHERE credential_id IN (SELECT id FROM credentials WHERE esme_address = ?)`,
				`UPDATE sandbox_accounts SET clock_offset = 0, inbox_after = NULL WHERE esme_address = ?`)
		}
		return resetEveryone(ctx, w)
	})
}

// Seeded is an account to add, with its credentials.
type Seeded struct {
	Account     otp.Account
	Credentials []Credential
}

// ResetTo is Reset for everyone, followed by adding throwaway accounts.
func (box *Sandbox) ResetTo(tx *Tx, accounts []Seeded) error {
	if err := resetEveryone(tx.ctx, tx.session); err != nil {
		return err
	}
	for i := range accounts {
		if err := box.store.Accounts.Add(tx, &accounts[i], true); err != nil {
			return err
		}
	}
	return nil
}

func markSandboxAccount(ctx context.Context, w *session, address string, throwaway bool) error {
	return w.exec(ctx, `INSERT INTO sandbox_accounts (esme_address, throwaway, clock_offset) VALUES (?, ?, 0)`, address,
		bit(throwaway))
}

// Throwaway lists the accounts that the next reset removes.
func (box *Sandbox) Throwaway(ctx context.Context) ([]string, error) {
	var addresses []string
	err := box.store.reads.SelectContext(ctx, &addresses, `SELECT esme_address FROM sandbox_accounts WHERE throwaway = 1`)
	if err != nil {
		return nil, fmt.Errorf("read throwaway accounts: %w", err)
	}
	return addresses, nil
}

func resetEveryone(ctx context.Context, w *session) error {
	return execAll(ctx, w, nil,
		`DELETE FROM challenges`, `DELETE FROM recipients`, `DELETE FROM events`, `DELETE FROM idempotency_keys`,
		`DELETE FROM deliveries`, `DELETE FROM counters`, `DELETE FROM key_days`, `DELETE FROM statistics`, `DELETE FROM calls`,
		`DELETE FROM alerts`,
		`DELETE FROM webhook_events`, `DELETE FROM webhook_deliveries`, `DELETE FROM webhook_texts`,
		`DELETE FROM shadows`,
		`DELETE FROM webhook_endpoints WHERE esme_address IN (SELECT esme_address FROM sandbox_accounts WHERE throwaway = 1)`,
		`UPDATE webhook_version SET version = version + 1`,
		`DELETE FROM credentials WHERE esme_address IN (SELECT esme_address FROM sandbox_accounts WHERE throwaway = 1)`,
		`DELETE FROM otp_auth_config WHERE esme_address IN (SELECT esme_address FROM sandbox_accounts WHERE throwaway = 1)`,
		`DELETE FROM sandbox_accounts WHERE throwaway = 1`,
		`UPDATE sandbox_accounts SET clock_offset = 0, inbox_after = NULL`)
}

func execAll(ctx context.Context, w *session, args []driver.Value, texts ...string) error {
	for _, text := range texts {
		if err := w.exec(ctx, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// Remains lists the accounts that a sandbox has marked in this database.
func (box *Sandbox) Remains(ctx context.Context) ([]string, error) {
	var accounts []string
	err := box.store.reads.SelectContext(ctx, &accounts, `SELECT esme_address FROM sandbox_accounts ORDER BY esme_address`)
	if err != nil {
		return nil, fmt.Errorf("look for a sandbox's remains: %w", err)
	}
	return accounts, nil
}

// Send is one committed send, as the inbox shows it.
type Send struct {
	Event     otp.Event
	Challenge otp.Challenge
	Recipient otp.Recipient
}

// SendQuery selects sends. Zero fields select everything, but From and Limit are always required.
type SendQuery struct {
	Account    string
	Recipients []otp.ID // to any of these, by hash
	Only       otp.ID   // this one
	WithMail   bool     // only sends that went to a mailbox
	After      otp.ID   // only newer ones
	Before     otp.ID   // only older ones, to read page by page
	Since      otp.Millis
	From       otp.ID // see OldestSend
	Limit      int
}

// OldestSend returns the oldest event id whose challenge may still exist at now, so that a query need not read a long
// history. now is the real time, without sandbox offsets.
func OldestSend(now otp.Millis) otp.ID {
	const longest = 30*otp.Minute + otp.Memory // the longest lifetime, and the time after it
	return firstID(now - longest - otp.Hour)
}

// text returns the statement that reads what q selects. It begins with the newest events; MariaDB would begin with all
// live challenges and sort them. The refunds are counted, because for NOT EXISTS MariaDB may read all events.
func (q *SendQuery) text(d *dialect) (string, []any) {
	where, args := `e.kind IN ('sent', 'resent') AND e.id > ? AND e.id > ?`, []any{q.After[:], q.From[:]}
	if q.Account != "" {
		where, args = where+` AND e.esme_address = ?`, append(args, q.Account)
	}
	if len(q.Recipients) > 0 {
		list, ids := in(q.Recipients, idArg)
		where, args = where+` AND r.hash IN `+list, append(args, ids...)
	}
	if !q.Only.IsZero() {
		where, args = where+` AND e.id = ?`, append(args, q.Only[:])
	}
	if q.WithMail {
		where += ` AND e.mailbox IS NOT NULL`
	}
	if !q.Before.IsZero() {
		where, args = where+` AND e.id < ?`, append(args, q.Before[:])
	}
	if q.Since != 0 {
		where, args = where+` AND e.at > ?`, append(args, q.Since)
	}
	order := d.order
	if len(q.Recipients) > 0 {
		order = ""
	}
	return `
		SELECT ` + order + ` e.id, e.at, e.esme_address, e.environment, e.kind, e.challenge_id, e.send, e.channels, e.mailbox,
			c.slot, c.key_id, c.nonce, c.code_length, c.expires_at, c.created_at, c.details, r.id, r.sealed
		FROM events e
		JOIN challenges c ON c.id = e.challenge_id
		JOIN recipients r ON r.id = c.recipient_id
		LEFT JOIN sandbox_accounts mine ON mine.esme_address = e.esme_address
		LEFT JOIN sandbox_accounts everyone ON everyone.esme_address = ''
		WHERE ` + where + `
			AND (mine.inbox_after IS NULL OR e.id > mine.inbox_after)
			AND (everyone.inbox_after IS NULL OR e.id > everyone.inbox_after)
			AND 0 = (
				SELECT COUNT(*) FROM events u
				WHERE u.challenge_id = e.challenge_id AND u.kind = 'unsent' AND u.send = e.send)
		ORDER BY e.id DESC
		LIMIT ?`, append(args, q.Limit)
}

// Sends reads committed sends that were not refunded and whose challenge still exists, newest first.
func (box *Sandbox) Sends(ctx context.Context, q SendQuery) (sends []Send, err error) {
	text, args := q.text(&box.store.dialect)
	err = box.store.each(ctx, "read sends", text, args, func(rows *sql.Rows) error {
		var s Send
		e, c, r := &s.Event, &s.Challenge, &s.Recipient
		err := rows.Scan(idScan{&e.ID}, &e.At, &e.Account, &e.Environment, &e.Kind, idScan{&c.ID}, &e.Send, &e.Channels,
			&e.Mailbox, idScan{&c.Slot}, &c.KeyID, idScan{&c.Nonce}, &c.Length, &c.ExpiresAt, &c.CreatedAt,
			detailsScan{&c.Details}, idScan{&r.ID}, &r.Sealed)
		e.Challenge, e.Recipient, c.Recipient = c.ID, r.ID, r.ID
		sends = append(sends, s)
		return err
	})
	return sends, err
}

// ClearInbox moves everyone's inbox mark to after: sends up to it are no longer shown.
func (box *Sandbox) ClearInbox(ctx context.Context, after otp.ID) error {
	if _, err := box.SetClock(ctx, everyone, 0); err != nil { // creates everyone's row if it is missing
		return err
	}
	return box.store.exec(ctx, `UPDATE sandbox_accounts SET inbox_after = ? WHERE esme_address = ?`, after[:], everyone)
}
