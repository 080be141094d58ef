package sql

import (
	"context"
	"database/sql"

	"otpbridge/server/otp"
)

// Guards are the counters that stop sends before they cost too much, for management.
type Guards struct{ store *Store }

var counters = table[otp.Counter]{"counters", func(c *otp.Counter) []column {
	return []column{
		{"id", &c.ID}, {"version", &c.Version}, {"total", &c.Total}, {"converted", &c.Converted},
		{"since", (*int64)(&c.Since)}, {"stopped_until", &c.StoppedUntil}, {"updated_at", (*int64)(&c.UpdatedAt)},
	}
}}

// Stop is a send after which its range of numbers was stopped.
type Stop struct {
	At          otp.Millis
	Environment otp.Environment
	Recipient   otp.ID // the id of the recipient's row
	Sealed      []byte // the number
}

// Stops reads an account's stops since a moment, newest first. It searches only the history since then, and only if
// something is stopped at now.
func (g *Guards) Stops(ctx context.Context, account string, since, now otp.Millis) (all []Stop, err error) {
	if stopped, err := counters.find(ctx, g.store, `stopped_until > ? LIMIT 1`, int64(now)); len(stopped) == 0 {
		return nil, err
	}
	from := firstID(since)
	err = g.store.each(ctx, "read stopped prefixes", `
		SELECT e.at, e.environment, r.id, r.sealed
		FROM events e
		JOIN recipients r ON r.hash = e.recipient_hash
		WHERE e.id >= ? AND e.esme_address = ? AND e.kind = ?
		ORDER BY e.id DESC`, []any{from[:], account, string(otp.EventPrefixStop)}, func(rows *sql.Rows) error {
		var s Stop
		err := rows.Scan(&s.At, &s.Environment, idScan{&s.Recipient}, &s.Sealed)
		all = append(all, s)
		return err
	})
	return all, err
}

// Counter reads a counter; ErrNotFound if there is none.
func (g *Guards) Counter(ctx context.Context, id otp.ID) (otp.Counter, error) {
	return counters.one(ctx, g.store, `id = ?`, id[:])
}

// Lift allows a stopped range of numbers again and restarts its count. It reports false, and changes nothing, if the
// range is not stopped at now.
func (g *Guards) Lift(tx *Tx, id otp.ID, now otp.Millis) (bool, error) {
	return tx.changed(`
		UPDATE counters
		SET version = version + 1, total = 0, converted = 0, since = ?, stopped_until = NULL, updated_at = ?
		WHERE id = ? AND stopped_until > ?`, int64(now), int64(now), id[:], int64(now))
}
