//go:build unix

package main

import (
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// The rows of a large database before the load begins.
const (
	largeEvents = 1_000_000
	largeLive   = 100_000 // challenges, with their recipients
)

// TestBenchLarge is the first part of make bench-large. It measures the cost of a long history and many live
// challenges. The empty database is new in each turn; the large one keeps growing.
func TestBenchLarge(t *testing.T) {
	bench(t)
	databases := map[string]func(*contender){"SQLite": (*contender).onSQLite}
	names := []string{"SQLite"}
	if _, err := exec.LookPath("mariadbd"); err == nil {
		server := sqltest.Own(t)
		databases["MariaDB"] = func(c *contender) { c.onMariaDB(server) }
		names = append(names, "MariaDB")
	} else {
		fmt.Println(withoutMariaDB)
	}
	var promises []promise
	for _, name := range names {
		promises = append(promises, benchLarge(t, name, databases[name])...)
	}
	fmt.Printf("\nmachine    %s\n\n", machineFacts())
	missed := printPromises(promises)
	fmt.Println()
	for _, what := range missed {
		t.Error("missed what must be:", what)
	}
}

func benchLarge(t *testing.T, name string, open func(*contender)) []promise {
	empty, large := newContender(t, name+", empty"), newContender(t, name+", large")
	open(large) // which makes its schema
	large.measured.stop(t)
	began := time.Now()
	fillHistory(t, large.db, time.Now(), largeEvents, largeLive)
	large.stored = rowsOf(t, large.db)
	require.Equal(t, largeEvents, large.stored.Sent+large.stored.Verified)
	require.Equal(t, largeLive, large.stored.Challenges)
	fmt.Printf("%s: stored %d events and %d live challenges in %v\n",
		name, largeEvents, largeLive, time.Since(began).Round(time.Second))
	large.start()
	ready := median(large.restart(5))
	large.drive(benchConcurrency, time.Second)
	large.pause(t)

	empty.renew = func() {
		if empty.measured != nil {
			empty.measured.stop(t)
		}
		open(empty)
		empty.drive(benchConcurrency, time.Second)
	}
	inTurn([]*contender{empty, large}, *benchTurns, benchConcurrency, *benchDuration)
	large.resume(t)
	large.measured.stop(t)
	empty.measured.stop(t)
	fmt.Printf("%s: rows are what was answered; the large one ends with %+v\n", name, large.stored)

	var costs, cpus []float64
	for i, ratio := range large.ratios(empty) {
		costs = append(costs, 1/ratio)
		cpus = append(cpus, float64(2*large.turns[i].cpu)/float64(empty.turns[i].cpu+empty.turns[i+1].cpu))
	}
	show := func(cost float64) string { return fmt.Sprintf("%.2f ×", cost) }
	promises := []promise{
		{what: fmt.Sprintf("%s, cost against empty (%s)", name, spelled("%.2f", costs)),
			value: median(costs), must: 1.5, goal: 1.2, show: show, fails: true},
		{what: fmt.Sprintf("%s, CPU a cycle against empty (%s)", name, spelled("%.2f", cpus)),
			value: median(cpus), show: show},
	}
	started := longest(name+", start to ready", ready, 0, 0)
	if name == "SQLite" {
		started.must, started.goal = float64(time.Second), float64(300*time.Millisecond)
	}
	return append(promises, started)
}

// fillHistory stores the rows of an older server: pairs of a send and its verification over the last 29 days, all
// within their retention, and the live challenges of the last five minutes with their recipients and sends. Values
// that are sealed or derived in real rows are random here, because a cycle opens only its own rows.
func fillHistory(t *testing.T, db *sql.DB, now time.Time, events, live int) {
	t.Helper()
	const account, environment, retention = "10000000000001", "test", 29 * 24 * time.Hour
	history := bulkInsert{t: t, db: db, into: `events (id, at, esme_address, environment, kind, door,
		recipient_hash, challenge_id, send, channels, mailbox, remaining)`}
	event := func(at time.Time, kind string, recipient, challenge []byte, send int) {
		history.add(timeOrderedID(at), at.UnixMilli(), account, environment, kind, "servlet",
			recipient, challenge, send, send, nil, 0)
	}
	pairs := (events - live) / 2
	for i := range pairs {
		at := now.Add(-retention + time.Duration(i)*(retention-time.Hour)/time.Duration(pairs))
		hash, challenge := random(16), timeOrderedID(at)
		event(at, "sent", hash, challenge, 1)
		event(at, "verified", hash, challenge, 0)
	}
	recipients := bulkInsert{t: t, db: db, into: `recipients (id, hash, esme_address, environment, sealed, mask,
		version, seq, sends, failures, run, run_at, locked_until, updated_at)`}
	challenges := bulkInsert{t: t, db: db, into: `challenges (id, recipient_id, seq, slot, version, key_id, nonce,
		code_length, channels, mailbox, max_attempts, wrong, sends, regenerations, created_at, expires_at, updated_at, used_at, canceled_at, replaced_at)`}
	for i := range live {
		at := now.Add(-5*time.Minute + time.Duration(i)*5*time.Minute/time.Duration(live))
		recipient, hash, challenge, millis := timeOrderedID(at), random(16), timeOrderedID(at), at.UnixMilli()
		event(at, "sent", hash, challenge, 1)
		// A window is stored as varints of its times; see the store.
		recipients.add(recipient, hash, account, environment, random(45), "+91••••••1234",
			1, 1, binary.AppendVarint(nil, millis), nil, 0, nil, nil, millis)
		challenges.add(challenge, recipient, 1, random(16), 1, "k1", random(16),
			6, 1, nil, 3, 0, 1, 0, millis, millis+(30*time.Minute).Milliseconds(), millis, nil, nil, nil)
	}
	history.flush()
	recipients.flush()
	challenges.flush()
}

// timeOrderedID returns a UUID of version 7 (RFC 9562, section 5.7).
func timeOrderedID(at time.Time) []byte {
	id := random(16)
	binary.BigEndian.PutUint64(id, uint64(at.UnixMilli())<<16|uint64(id[6])<<8|uint64(id[7]))
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// bulkInsert writes rows: many in a statement, and many statements in a transaction.
type bulkInsert struct {
	t    *testing.T
	db   *sql.DB
	into string
	rows int
	args []any
}

const bulkRows = 20_000

func (b *bulkInsert) add(values ...any) {
	b.args = append(b.args, values...)
	if b.rows++; b.rows == bulkRows {
		b.flush()
	}
}

func (b *bulkInsert) flush() {
	b.t.Helper()
	if b.rows == 0 {
		return
	}
	width := len(b.args) / b.rows
	row := "(" + strings.Repeat("?,", width-1) + "?)"
	tx, err := b.db.Begin()
	require.NoError(b.t, err)
	for len(b.args) > 0 {
		n := min(500, len(b.args)/width)
		_, err := tx.Exec(`INSERT INTO `+b.into+` VALUES `+strings.Repeat(row+",", n-1)+row, b.args[:n*width]...)
		require.NoError(b.t, err)
		b.args = b.args[n*width:]
	}
	require.NoError(b.t, tx.Commit())
	b.rows, b.args = 0, nil
}
