package main

import (
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/sql/sqltest"
)

// strikes has the results of a series of kills.
type strikes struct {
	*ledger
	loads    []*workload
	struck   int             // kills that met operations in flight
	inFlight int             // calls under way at a kill, of which nobody learnt the outcome
	happened int             // of those, what had been committed
	asked    []int           // acknowledged facts that the server was asked about after each
	back     []time.Duration // until it served again
}

// check runs after each kill. It looks up every acknowledged fact in the database, and then asks the server about it.
func (s *strikes) check(t *testing.T, w *workload, db *sqlx.DB, c client, back time.Duration) {
	t.Helper()
	s.loads, s.back = append(s.loads, w), append(s.back, back)
	if w.inFlight.Load() > 0 {
		s.struck++
	}
	s.inFlight += int(w.inFlight.Load())
	s.happened += w.lookUp(t, db)
	s.asked = append(s.asked, w.ask(c))
}

// conclude looks everything up once more after the last kill, and requires that kills met operations in flight.
func (s *strikes) conclude(t *testing.T, db *sqlx.DB) {
	t.Helper()
	for _, w := range s.loads {
		w.lookUp(t, db)
	}
	slices.Sort(s.back)
	s.note("%d of %d kills struck with operations in flight, %d in all, of which %d had been committed",
		s.struck, len(s.loads), s.inFlight, s.happened)
	s.note("%d to %d acknowledged facts asked for after each kill", slices.Min(s.asked), slices.Max(s.asked))
	s.note("serving again after %v, at most %v", s.back[len(s.back)/2].Round(time.Millisecond),
		s.back[len(s.back)-1].Round(time.Millisecond))
	s.report(t)
	if len(s.loads) >= 10 {
		require.GreaterOrEqual(t, s.struck*5, len(s.loads)*3, "kills with operations in flight")
	}
	require.NotZero(t, s.struck, "kills with operations in flight")
	require.GreaterOrEqual(t, slices.Min(s.asked), 200, "acknowledged facts after each kill")
}

// enough reports whether there were enough kills. If there are only a few and by chance none met an operation, there
// are some more.
func (s *strikes) enough(kills int) bool {
	return len(s.loads) >= kills && (s.struck > 0 || len(s.loads) >= kills+5)
}

// killServer kills the server process under load until there were enough kills or a violation.
func (s *strikes) killServer(t *testing.T, program string, kills int, db *sqlx.DB, environ []string) {
	t.Helper()
	environ = append(environ, "OTPBRIDGE_SANDBOX_FIXED_CODE="+loadCode)
	folder := t.TempDir()
	running := startProgram(t, program, folder, environ...)
	for !s.enough(kills) && !s.broken() {
		w := loadOn(s.ledger, running.client)
		var back time.Duration
		w.strike(t, running.kill, func(func()) {
			killed := time.Now()
			running = startProgram(t, program, folder, environ...)
			back = time.Since(killed)
		})
		s.check(t, w, db, running.client, back)
	}
}

func TestKill_ServerUnderLoadOnSQLite(t *testing.T) {
	t.Parallel()
	environ := variables(t)
	db := sqltest.Connect(t, databaseOf(t, environ))
	s := &strikes{ledger: new(ledger)}
	s.killServer(t, program(t), times(50, 3), db, environ)
	s.conclude(t, db)
}

func TestKill_ServerUnderLoadOnMariaDB(t *testing.T) {
	t.Parallel()
	database := sqltest.Shared(t).Schema(t)
	db := sqltest.Connect(t, database)
	s := &strikes{ledger: new(ledger)}
	s.killServer(t, program(t), times(20, 2), db, variables(t, "OTPBRIDGE_DATABASE_URL="+database))
	s.conclude(t, db)
}

// The server survives its database: when the database is back, it continues.
func TestKill_MariaDBUnderLoad(t *testing.T) {
	t.Parallel()
	s := &strikes{ledger: new(ledger)}
	database := sqltest.Own(t)
	address := database.Schema(t)
	db := sqltest.Connect(t, address)
	running := startChild(t, t.TempDir(), "OTPBRIDGE_DATABASE_URL="+address,
		"OTPBRIDGE_KEYRING="+crypto.NewKeyringText("k1"), "OTPBRIDGE_SANDBOX_FIXED_CODE="+loadCode)
	process := running.command.Process.Pid
	for !s.enough(times(10, 1)) {
		w := loadOn(s.ledger, running.client)
		var back time.Duration
		w.strike(t, database.Kill, func(goOn func()) {
			s.equal(503, running.do("GET", "/readyz", "").status, "ready without a database")
			require.NoError(t, database.Start())
			started, decided := time.Now(), w.decided.Load()
			goOn()
			eventually(t, "the server decides again", func() bool { return w.decided.Load() > decided })
			back = time.Since(started)
			eventually(t, "there is load again", func() bool { return w.decided.Load() > decided+200 })
			s.equal(200, running.do("GET", "/readyz", "").status, "ready with a database")
		})
		s.check(t, w, db, running.client, back)
	}
	require.Equal(t, process, running.command.Process.Pid)
	require.Nil(t, running.command.ProcessState, "the server went on all the time")
	s.conclude(t, db)
}
