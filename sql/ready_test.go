//go:build unix

package sql

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// ailing is a store, with other connections to its database.
type ailing struct {
	*Store
	t      *testing.T
	path   string // of the file; empty on MariaDB
	server *sqltest.Server
	user   string // the store's on MariaDB
	schema string
}

// asks calls Ready after forgetting earlier commits and probes, so that time does not matter.
func (a *ailing) asks() error {
	a.readiness.mu.Lock()
	a.readiness.succeeded, a.readiness.probe = time.Time{}, nil
	a.readiness.mu.Unlock()
	return a.Ready(ctx)
}

// asksBriefly is asks with a short timeout, for what never answers.
func (a *ailing) asksBriefly() error {
	a.readiness.mu.Lock()
	a.readiness.succeeded, a.readiness.probe = time.Time{}, nil
	a.readiness.mu.Unlock()
	brief, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	return a.Ready(brief)
}

func (a *ailing) sends() error {
	op, _ := generate(nextID(), nextID(), policy, noon)
	return a.Do(op)
}

// by runs statements on another connection.
func (a *ailing) by(statements ...string) {
	a.t.Helper()
	if a.path == "" {
		require.NoError(a.t, a.server.Exec(append([]string{"USE " + a.schema}, statements...)...))
		return
	}
	db := sqltest.Connect(a.t, "sqlite:"+a.path)
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(a.t, err, statement)
	}
}

// with gives the store another connection, with these pragmas.
func (a *ailing) with(pragmas ...string) {
	a.t.Helper()
	db, err := sqliteWriter(a.path, pragmas...)
	require.NoError(a.t, err)
	a.writing.Lock()
	defer a.writing.Unlock()
	require.NoError(a.t, a.writer.close())
	a.writer.db = db
}

// holds begins something on another connection and returns what ends it.
func (a *ailing) holds(driver, dsn string, statements ...string) (end func()) {
	a.t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(a.t, err)
	conn, err := db.Conn(ctx)
	require.NoError(a.t, err)
	for _, statement := range statements {
		_, err := conn.ExecContext(ctx, statement)
		require.NoError(a.t, err, statement)
	}
	return func() {
		require.NoError(a.t, conn.Close())
		require.NoError(a.t, db.Close())
	}
}

// illness is a way in which every write fails. strike returns a function that repairs it, or nil.
type illness struct {
	name   string
	strike func(a *ailing) (mend func())
}

func statements(breaks, mends string) func(a *ailing) func() {
	return func(a *ailing) func() {
		a.by(breaks)
		return func() { a.by(mends) }
	}
}

func onlyOnSQLite() []illness {
	return []illness{
		{"no more pages", func(a *ailing) func() {
			a.with("max_page_count(1)") // it accepts no fewer than there are
			for a.sends() == nil {
			}
			return func() { a.with() }
		}},
		{"set to read only", func(a *ailing) func() {
			a.with("query_only(1)")
			return func() { a.with() }
		}},
		{"LOCKED by another process", func(a *ailing) func() {
			return a.holds("sqlite", sqliteURI(a.path), "BEGIN IMMEDIATE")
		}},
		{"a trigger that refuses", statements(
			`CREATE TRIGGER refuse BEFORE INSERT ON challenges BEGIN SELECT RAISE(ABORT, 'no'); END`, `DROP TRIGGER refuse`)},
	}
}

func onlyOnMariaDB() []illness {
	grant := func(privilege, table string) func(a *ailing) func() {
		return func(a *ailing) func() {
			a.by(fmt.Sprintf("REVOKE %s ON %s.%s FROM %s", privilege, a.schema, table, a.user))
			return func() { a.by(fmt.Sprintf("GRANT %s ON %s.%s TO %s", privilege, a.schema, table, a.user)) }
		}
	}
	held := func(statements ...string) func(a *ailing) func() {
		return func(a *ailing) func() { return a.holds("mysql", a.server.DSN("mysql://x/"+a.schema), statements...) }
	}
	return []illness{
		{"no INSERT on challenges", grant("INSERT", "challenges")},
		{"no INSERT on events", grant("INSERT", "events")},
		{"no SELECT on recipients", grant("SELECT", "recipients")},
		{"read_only", statements(`SET GLOBAL read_only = 1`, `SET GLOBAL read_only = 0`)},
		{"a column that wants a value", statements(
			`ALTER TABLE challenges ADD COLUMN owner INT NOT NULL`, `ALTER TABLE challenges DROP COLUMN owner`)},
		{"a column that is too narrow", statements(
			`ALTER TABLE events MODIFY environment VARCHAR(1) NOT NULL`,
			`ALTER TABLE events MODIFY environment VARCHAR(8) NOT NULL`)},
		{"a constraint", statements(
			`ALTER TABLE recipients ADD CONSTRAINT never CHECK (seq < 0)`, `ALTER TABLE recipients DROP CONSTRAINT never`)},
		{"a trigger that refuses", statements(
			`CREATE TRIGGER refuse BEFORE INSERT ON recipients FOR EACH ROW SIGNAL SQLSTATE '45000'`, `DROP TRIGGER refuse`)},
		{"LOCK TABLES", held("LOCK TABLES events READ")},
		{"FLUSH TABLES WITH READ LOCK", held("FLUSH TABLES WITH READ LOCK")},
		{"the user may not log in", func(a *ailing) func() {
			a.by("ALTER USER "+a.user+" ACCOUNT LOCK", "KILL USER "+a.user)
			return func() { a.by("ALTER USER " + a.user + " ACCOUNT UNLOCK") }
		}},
		{"the schema is dropped", func(a *ailing) func() {
			a.by("DROP DATABASE " + a.schema)
			return nil
		}},
	}
}

// onEither returns those that SQL can make on any database.
func onEither() (all []illness) {
	for _, table := range []string{"recipients", "challenges", "events"} {
		all = append(all, illness{"no table " + table, statements(
			"ALTER TABLE "+table+" RENAME TO away", "ALTER TABLE away RENAME TO "+table)})
	}
	for _, column := range []string{"recipients.seq", "challenges.wrong", "events.door"} {
		table, column, _ := strings.Cut(column, ".")
		all = append(all, illness{"no column " + table + "." + column, statements(
			"ALTER TABLE "+table+" RENAME COLUMN "+column+" TO away", "ALTER TABLE "+table+" RENAME COLUMN away TO "+column)})
	}
	return all
}

// Readiness is about writes: while all fail no server may say that it is ready, and once they succeed it must say so
// by itself.
func TestReady_NotWhileNoWriteSucceeds(t *testing.T) {
	ill := func(t *testing.T, a *ailing, all []illness) {
		for _, i := range all {
			t.Run(i.name, func(t *testing.T) {
				a.t = t
				require.NoError(t, a.asks())
				a.by("DELETE FROM events", "DELETE FROM challenges", "DELETE FROM recipients")
				mend := i.strike(a)
				require.Error(t, a.asksBriefly(), "with nothing to commit")
				if !strings.Contains(i.name, "LOCK") { // there an operation waits while the lock is held
					require.Error(t, a.sends(), "the illness is one")
					require.Error(t, a.Ready(ctx), "right after a commit that failed")
				}
				if mend == nil {
					return
				}
				mend()
				require.Eventually(t, func() bool { return a.asks() == nil }, 10*time.Second, 10*time.Millisecond)
				require.NoError(t, a.sends())
			})
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "otp.db")
		ill(t, &ailing{Store: openTest(t, "sqlite:"+path, Options{}), path: path}, append(onEither(), onlyOnSQLite()...))
	})
	t.Run("mariadb", func(t *testing.T) {
		a := &ailing{Store: nil, server: sqltest.Shared(t)}
		at, err := url.Parse(a.server.Schema(t))
		require.NoError(t, err)
		a.t, a.schema = t, strings.Trim(at.Path, "/")
		a.user = a.schema + "@localhost"
		openTest(t, at.String(), Options{}) // makes the tables
		a.by("CREATE USER "+a.user, "GRANT SELECT, CREATE, ALTER, INDEX ON "+a.schema+".* TO "+a.user)
		for _, table := range []string{"recipients", "challenges", "events", "deliveries", "counters",
			"webhook_endpoints", "webhook_version", "webhook_events", "webhook_texts", "webhook_deliveries"} {
			a.by(fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s.%s TO %s", a.schema, table, a.user))
		}
		a.by(fmt.Sprintf("REVOKE SELECT ON %s.* FROM %s", a.schema, a.user))
		a.by(fmt.Sprintf("GRANT SELECT ON %s.goose_db_version TO %s", a.schema, a.user))
		at.User = url.User(a.schema)
		a.Store = openTest(t, at.String(), Options{Schema: AnySchema})
		ill(t, a, append(onEither(), onlyOnMariaDB()...))
	})
}

// A disk without room, simulated by a limit on the size of files. The limit applies to a process, so this test runs in
// a separate one.
func TestReady_NotOnAFullDisk(t *testing.T) {
	if path := os.Getenv("OTP_FULL_DISK"); path != "" {
		a := &ailing{Store: openTest(t, "sqlite:"+path, Options{}), t: t, path: path}
		require.NoError(t, a.asks())
		limit := func(size uint64) {
			require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: ^uint64(0)}))
		}
		limit(4096)
		require.Error(t, a.asks())
		require.Error(t, a.sends())
		require.Error(t, a.asks())
		limit(^uint64(0))
		require.NoError(t, a.asks())
		require.NoError(t, a.sends())
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestReady_NotOnAFullDisk$", "-test.v")
	child.Env = append(os.Environ(), "OTP_FULL_DISK="+filepath.Join(t.TempDir(), "otp.db"))
	output, err := child.CombinedOutput()
	require.NoError(t, err, string(output))
	require.Contains(t, string(output), "--- PASS")
}

func TestReady_LeavesNothingBehind(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		for range 3 {
			require.NoError(t, (&ailing{Store: s}).asks())
		}
		for _, table := range []string{"recipients", "challenges", "events", "deliveries", "counters"} {
			require.Zero(t, count(t, s, `SELECT COUNT(*) FROM `+table), table)
		}
	})
}

// However many callers ask, an idle database is written to at most once a second, and a busy one not at all.
func TestReady_ProbesOnceASecondAndNotUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	openTest(t, "sqlite:"+path, Options{}) // migrations look at the real clock
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, "sqlite:"+path, Options{})
		began := map[*probe]bool{}
		ask := func() {
			require.NoError(t, s.Ready(ctx))
			began[s.readiness.probe] = true
		}
		for range 1000 {
			ask()
			time.Sleep(10 * time.Millisecond)
		}
		require.Len(t, began, 5, "each shows for two seconds that the database takes writes")

		s.readiness.failed = time.Now()
		probed := s.readiness.probe
		for range 100 {
			ask()
			time.Sleep(time.Millisecond)
		}
		require.NotSame(t, probed, s.readiness.probe, "a commit that failed asks for another")

		time.Sleep(3 * time.Second)
		probed = s.readiness.probe
		for range 1000 {
			op, _ := generate(nextID(), nextID(), policy, noon)
			require.NoError(t, s.Do(op))
			require.NoError(t, s.Ready(ctx))
			time.Sleep(10 * time.Millisecond)
		}
		require.Same(t, probed, s.readiness.probe)
	})
}

// A refusal by a rule commits nothing, so it proves nothing.
func TestReady_ARefusalIsNoProof(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		require.Equal(t, otp.NotFound, otp.KindOf(s.Do(verify(nextID(), nextID(), true, noon))))
		require.Zero(t, s.readiness.succeeded)
		require.NoError(t, s.Ready(ctx))
		require.NotNil(t, s.readiness.probe)
	})
}
