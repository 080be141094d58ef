package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// If the connection breaks during a COMMIT, the COMMIT may have happened or not. These tests cut the connection before
// and after the database runs the COMMIT, for each kind of operation. The caller must get the same answer as without
// the cut, and nothing may be stored twice.

// victim is an account whose next operation will be cut.
type victim struct {
	t      *testing.T
	engine *engine.Engine
	caller *engine.Caller
	target engine.Target
	db     *sqlx.DB
	code   string // of the last generate
}

// traces counts what the operations on one recipient have left in the database.
type traces struct {
	Recipients, RecipientVersion, Seq, Run           int
	Challenges, Replaced                             int
	Version, Wrong, Used, Sends, Regenerations, Live int // of the live challenge
	Sent, Resent, WrongEvents, Verified              int // events
}

func (v *victim) traces() (found traces) {
	v.t.Helper()
	const challenges = `FROM challenges c JOIN recipients r ON r.id = c.recipient_id WHERE r.esme_address = a.esme_address`
	const live = challenges + ` AND c.replaced_at IS NULL`
	event := func(kind string) string {
		return `(SELECT COUNT(*) FROM events e WHERE e.esme_address = a.esme_address AND e.kind = '` + kind + `')`
	}
	require.NoError(v.t, v.db.Get(&found, `
		SELECT
			(SELECT COUNT(*) FROM recipients r WHERE r.esme_address = a.esme_address) AS recipients,
			(SELECT COALESCE(SUM(version), 0) FROM recipients r WHERE r.esme_address = a.esme_address) AS recipientversion,
			(SELECT COALESCE(SUM(seq), 0) FROM recipients r WHERE r.esme_address = a.esme_address) AS seq,
			(SELECT COALESCE(SUM(run), 0) FROM recipients r WHERE r.esme_address = a.esme_address) AS run,
			(SELECT COUNT(*) `+challenges+`) AS challenges,
			(SELECT COUNT(*) `+challenges+` AND c.replaced_at IS NOT NULL) AS replaced,
			(SELECT COUNT(*) `+live+`) AS live,
			(SELECT COALESCE(SUM(c.version), 0) `+live+`) AS version,
			(SELECT COALESCE(SUM(c.wrong), 0) `+live+`) AS wrong,
			(SELECT COUNT(c.used_at) `+live+`) AS used,
			(SELECT COALESCE(SUM(c.sends), 0) `+live+`) AS sends,
			(SELECT COALESCE(SUM(c.regenerations), 0) `+live+`) AS regenerations,
			`+event("sent")+` AS sent, `+event("resent")+` AS resent,
			`+event("wrong")+` AS wrongevents, `+event("verified")+` AS verified
		FROM otp_auth_config a
		WHERE a.esme_address = ?`, v.caller.Account.Address))
	return found
}

func (f traces) events() int { return f.Sent + f.Resent + f.WrongEvents + f.Verified }

// said returns an answer of the engine as text.
func said(err error) string {
	refusal, refused := errors.AsType[*otp.Error](err)
	switch {
	case err == nil:
		return "ok"
	case !refused:
		return "fault: " + err.Error()
	case refusal.Kind == otp.WrongCode:
		return fmt.Sprint("wrong, ", refusal.Remaining, " left")
	}
	return refusal.Kind.String()
}

func (v *victim) generate() string {
	sent, err := v.engine.Generate(v.t.Context(), v.caller, v.target)
	if err != nil {
		return said(err)
	}
	messages, err := v.engine.Inbox.List(v.t.Context(), engine.MessageQuery{Account: v.caller.Account.Address})
	if err != nil {
		return said(err)
	}
	for _, m := range messages {
		if m.ChallengeID == sent.Challenge.Text("otp") {
			v.code = m.Code
		}
	}
	return "ok"
}

func (v *victim) resend() string {
	_, err := v.engine.Resend(v.t.Context(), v.caller, v.target)
	return said(err)
}

func (v *victim) verify(guess string) string {
	return said(v.engine.Verify(v.t.Context(), v.caller, v.target, guess))
}

// attempt is one kind of operation: the preparation, the operation that is cut, its expected answer and traces, and
// the expected answer of the next operation.
type attempt struct {
	name   string
	before func(*victim)
	do     func(*victim) string
	answer string
	leaves traces
	then   func(*victim) string
	next   string
}

func generated(v *victim) { require.Equal(v.t, "ok", v.generate()) }

func rightGuess(v *victim) string { return v.verify(v.code) }

func wrongGuess(v *victim) string { return v.verify("") }

// sent is the traces of one generate.
var sent = traces{Recipients: 1, RecipientVersion: 1, Seq: 1, Challenges: 1, Version: 1, Sends: 1, Live: 1, Sent: 1}

func sentAnd(change func(*traces)) traces {
	changed := sent
	change(&changed)
	return changed
}

var attempts = []attempt{
	{
		name: "a wrong guess", before: generated, do: wrongGuess, answer: "wrong, 2 left",
		leaves: sentAnd(func(f *traces) { f.RecipientVersion, f.Version, f.Run, f.Wrong, f.WrongEvents = 2, 2, 1, 1, 1 }),
		then:   wrongGuess, next: "wrong, 1 left",
	}, {
		name: "the right code", before: generated, do: rightGuess, answer: "ok",
		leaves: sentAnd(func(f *traces) { f.Version, f.Used, f.Verified = 2, 1, 1 }),
		then:   rightGuess, next: "used",
	}, {
		name: "a first generate", before: func(*victim) {}, do: (*victim).generate, answer: "ok",
		leaves: sent,
		then:   rightGuess, next: "ok",
	}, {
		name: "a second generate", before: generated, do: (*victim).generate, answer: "ok",
		leaves: sentAnd(func(f *traces) { f.RecipientVersion, f.Seq, f.Challenges, f.Replaced, f.Sent = 2, 2, 2, 1, 2 }),
		then:   rightGuess, next: "ok",
	}, {
		name: "a regenerate", before: generated, do: (*victim).resend, answer: "ok",
		leaves: sentAnd(func(f *traces) {
			f.RecipientVersion, f.Version, f.Sends, f.Regenerations, f.Resent = 2, 2, 2, 1,
				1
		}),
		then: rightGuess, next: "ok",
	}, {
		// The guesses may need several batches, of which one is cut; so the versions are not compared.
		name: "five wrong guesses at once", before: generated, do: fiveGuesses,
		answer: "1 of wrong, 0 left, 1 of wrong, 1 left, 1 of wrong, 2 left, 2 of attempts_exhausted",
		leaves: sentAnd(func(f *traces) { f.RecipientVersion, f.Version, f.Run, f.Wrong, f.WrongEvents = 0, 0, 3, 3, 3 }),
		then:   rightGuess, next: "attempts_exhausted",
	},
}

// whenNotBusy asks again for as long as the server is busy waiting for a connection that is silent: it has decided
// nothing.
func whenNotBusy(do func(*victim) string, v *victim) string {
	answer := do(v)
	for n := 0; n < 100 && answer == otp.Overloaded.String(); n++ {
		time.Sleep(50 * time.Millisecond)
		answer = do(v)
	}
	return answer
}

func fiveGuesses(v *victim) string {
	var counts []string
	for text, n := range atOnce(5, func(int) string { return whenNotBusy(wrongGuess, v) }) {
		counts = append(counts, fmt.Sprint(n, " of ", text))
	}
	slices.Sort(counts)
	return strings.Join(counts, ", ")
}

// cuts is one way to cut the connection.
type cuts struct {
	name      string
	cut       commitCut
	full, few int
}

var ways = []cuts{
	// A silent cut takes as long as the store waits for an answer.
	{"in silence before the COMMIT", commitCut{moment: cutBeforeCommit, silent: true}, 18, 2},
	{"in silence after it ran", commitCut{moment: cutAfterCommit, silent: true}, 18, 2},
	{"before the COMMIT", commitCut{moment: cutBeforeCommit}, 100, 10},
	{"after it ran", commitCut{moment: cutAfterCommit}, 100, 10},
	{"while it is on its way", commitCut{moment: cutDuringCommit}, 60, 6},
	{"after it ran, and the next connections are refused", commitCut{moment: cutAfterCommit, refused: 2}, 60, 6},
}

func TestFault_ConnectionCutAroundCommit(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	type one struct {
		way     cuts
		attempt attempt
	}
	planned := make(chan one, 1000)
	for _, way := range ways {
		l.note("%d cut %s", times(way.full, way.few), way.name)
		for n := range times(way.full, way.few) {
			planned <- one{way, attempts[n%len(attempts)]}
		}
	}
	close(planned)
	// Run in parallel: each server has its own connection, and most of the time is waiting.
	var cutting sync.WaitGroup
	for range 8 {
		s := cuttable(t)
		cutting.Go(func() {
			for next := range planned {
				s.cut(l, next.way, next.attempt)
			}
		})
	}
	cutting.Wait()
	l.report(t)
}

// behindProxy is a server in this process whose connections to MariaDB can be cut.
type behindProxy struct {
	*booted
	proxy  *commitProxy
	schema string
	db     *sqlx.DB
}

func cuttable(t *testing.T) *behindProxy {
	t.Helper()
	direct := sqltest.Shared(t).SchemaTCP(t)
	proxy, proxied := proxiedURL(t, direct)
	s := boot(t, variables(t, "OTPBRIDGE_DATABASE_URL="+proxied)...)
	dsn := sqltest.Shared(t).DSN(direct)
	return &behindProxy{s, proxy, dsn[strings.LastIndex(dsn, "/")+1:], sqltest.Connect(t, direct)}
}

func (s *behindProxy) victim() *victim {
	s.t.Helper()
	ctx := context.Background()
	_, credentials, err := s.manage.Sandbox.CreateAccount(ctx, manage.NewAccount{Account: otp.DefaultAccount("")})
	require.NoError(s.t, err)
	caller, err := s.engine.Authenticate(ctx, otp.ServletDoor, credentials.AccessKey, netip.MustParseAddr("127.0.0.1"))
	require.NoError(s.t, err)
	target, err := caller.Target("919551492394", "203.0.113.7", "")
	require.NoError(s.t, err)
	return &victim{t: s.t, engine: s.engine, caller: caller, target: target, db: s.db}
}

// cut runs one attempt and cuts its connection. It checks the cut itself, the answer, the stored rows, and the answer
// of the next operation.
func (s *behindProxy) cut(l *ledger, way cuts, a attempt) {
	s.t.Helper()
	v := s.victim()
	a.before(v)
	before := v.traces()
	cut := way.cut
	cut.with = "INTO events" // the server keeps its audit log and its webhooks meanwhile
	cut.meanwhile = func() {
		found := v.traces()
		switch cut.moment {
		case cutBeforeCommit:
			l.equal(before, found, "%s cut %s: in the database so far", a.name, way.name)
		case cutAfterCommit:
			l.equal(true, found.events() > before.events(), "%s cut %s: in the database already", a.name, way.name)
		case cutDuringCommit:
			l.equal(before, found, "%s cut %s: in the database so far", a.name, way.name)
			l.equal(true, s.someoneWaits(), "%s cut %s: the next try waits for the rows", a.name, way.name)
		}
	}
	s.proxy.cut(&cut)
	answer := a.do(v)
	require.NoError(s.t, cut.made())
	l.inject(1)
	l.acknowledge(1)
	l.equal(a.answer, answer, "%s cut %s: answer", a.name, way.name)
	found := v.traces()
	if a.leaves.Version == 0 {
		found.Version, found.RecipientVersion = 0, 0
	}
	l.equal(a.leaves, found, "%s cut %s: stored", a.name, way.name)
	l.equal(a.next, a.then(v), "%s cut %s: next answer", a.name, way.name)
}

// someoneWaits reports whether a statement waits for a lock in this server's schema: the next try waits for the rows
// that the first one has locked.
func (s *behindProxy) someoneWaits() bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		waiting := 0
		err := s.db.Get(&waiting, `
			SELECT COUNT(*)
			FROM information_schema.processlist
			WHERE db = ? AND id <> CONNECTION_ID() AND command IN ('Query', 'Execute') AND time_ms > 50`, s.schema)
		if err == nil && waiting > 0 {
			return true
		}
	}
	return false
}
