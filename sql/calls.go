package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"

	"otpbridge/server/otp"
)

// Calls counts the calls of accounts per hour. It guards nothing: counts that a killed server had not yet written are
// lost.
type Calls struct{ store *Store }

// CallKey is what calls are counted by.
type CallKey struct {
	Hour       otp.Millis // start of the hour
	Account    string
	Door       string // servlet, v1, or shadow for calls that the local rules and an upstream decided differently
	Name       string // of the servlet or the route
	Credential otp.ID
	Address    string // of the peer; empty beyond the number of addresses counted separately
	Passed     string // the class of the upstream's answer; empty if none was asked
	Kind       string // this server's decision: ok, fault or a refusal's kind
}

// CallCount is how often calls with a key were made.
type CallCount struct {
	CallKey
	Calls  int64
	Micros int64 // total duration
	Bytes  int64 // total length of the answers
	LastAt otp.Millis
}

const callKeyColumns = `hour, server, esme_address, door, name, credential_id, address, passed, kind`

// CallsMemory is how long counts are kept.
const CallsMemory = 90 * otp.Day

// callsAtOnce bounds the rows of one transaction, so that decisions do not wait long for it.
const callsAtOnce = 100

// Add adds the counts of a server, and removes old ones.
func (c *Calls) Add(ctx context.Context, server otp.ID, counts []CallCount, now otp.Millis) error {
	for part := range slices.Chunk(counts, callsAtOnce) {
		err := c.store.write(ctx, func(w *session) error {
			for i := range part {
				if err := addCalls(ctx, w, server, &part[i]); err != nil {
					return err
				}
			}
			return w.exec(ctx, `DELETE FROM calls WHERE hour < ?`, int64(now-CallsMemory))
		})
		if err != nil {
			return fmt.Errorf("count calls: %w", err)
		}
	}
	return nil
}

func addCalls(ctx context.Context, w *session, server otp.ID, n *CallCount) error {
	key := []driver.Value{int64(n.Hour), server[:], n.Account, n.Door, n.Name, n.Credential[:], n.Address, n.Passed,
		n.Kind}
	counts := []driver.Value{n.Calls, n.Micros, n.Bytes, int64(n.LastAt)}
	added, err := w.affect(ctx, `
		UPDATE calls
		SET calls = calls + ?, micros = micros + ?, bytes = bytes + ?, last_at = ?
		WHERE hour = ? AND server = ? AND esme_address = ? AND door = ? AND name = ? AND credential_id = ?
			AND address = ? AND passed = ? AND kind = ?`, slices.Concat(counts, key)...)
	if err != nil || added > 0 {
		return err
	}
	return w.exec(ctx, insertText(`INSERT INTO calls (`+callKeyColumns+`, calls, micros, bytes, last_at) VALUES `,
		len(key)+len(counts), 1), slices.Concat(key, counts)...)
}

// CallTotal is how often an account was called through a door.
type CallTotal struct {
	Account string `db:"esme_address"`
	Door    string `db:"door"`
	Calls   int64  `db:"calls"`
}

// Totals adds up the counts of all servers for hours that began at since or later, of these accounts, nil for all.
func (c *Calls) Totals(ctx context.Context, since otp.Millis, accounts []string) (all []CallTotal, err error) {
	where, args := among(accounts)
	err = c.store.reads.SelectContext(ctx, &all, `
		SELECT esme_address, door, SUM(calls) AS calls
		FROM calls
		WHERE `+where+` AND hour >= ?
		GROUP BY esme_address, door`, append(args, int64(since))...)
	if err != nil {
		return nil, fmt.Errorf("add up calls: %w", err)
	}
	return all, nil
}

// Since reads the counts of all servers for hours that began at since or later, of these accounts, nil for all.
func (c *Calls) Since(ctx context.Context, since otp.Millis, accounts []string) (all []CallCount, err error) {
	where, args := among(accounts)
	err = c.store.each(ctx, "read calls", `
		SELECT hour, esme_address, door, name, credential_id, address, passed, kind,
			SUM(calls), SUM(micros), SUM(bytes), MAX(last_at)
		FROM calls
		WHERE `+where+` AND hour >= ?
		GROUP BY hour, esme_address, door, name, credential_id, address, passed, kind
		ORDER BY esme_address, door, name, hour, credential_id, address, passed, kind`, append(args, int64(since)), func(rows *sql.Rows) error {
		var n CallCount
		err := rows.Scan(&n.Hour, &n.Account, &n.Door, &n.Name, idScan{&n.Credential}, &n.Address, &n.Passed, &n.Kind,
			&n.Calls, &n.Micros, &n.Bytes, &n.LastAt)
		all = append(all, n)
		return err
	})
	return all, err
}
