package sql

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// In these tests the writer goes through the VFS, and whoever looks at what it wrote, or writes
// in between, uses SQLite's own: as another process would.

func writerOf(t *testing.T, path string, pragmas ...string) *sql.DB {
	t.Helper()
	openFiles.RLock()
	openBefore = maps.Clone(openFiles.at)
	openFiles.RUnlock()
	db, err := sqliteWriter(path, pragmas...)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	do(t, db, `CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, value BLOB)`)
	return db
}

func strangerOf(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteURI(path, ""))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func do(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
}

// sum tells one content of the table from another, having checked that the database is sound.
func sum(t *testing.T, db *sql.DB) (content string) {
	t.Helper()
	var sound string
	require.NoError(t, db.QueryRow(`PRAGMA integrity_check`).Scan(&sound))
	require.Equal(t, "ok", sound)
	require.NoError(t, db.QueryRow(`
		SELECT COUNT(*) || ' rows, ' || TOTAL(id * LENGTH(value)) || ', ' || COALESCE(GROUP_CONCAT(HEX(SUBSTR(value, 1, 8)), ''), '')
		FROM (SELECT * FROM t ORDER BY id)`).Scan(&content))
	return content
}

// crashed copies what is on the disk, as a process that starts after a kill would find it.
func crashed(t *testing.T, path string) *sql.DB {
	t.Helper()
	folder := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		bytes, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "copy.db"+suffix), bytes, 0o600))
	}
	return strangerOf(t, filepath.Join(folder, "copy.db"))
}

const insertRows = `INSERT INTO t (value) SELECT RANDOMBLOB(%d) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n)`

func rowsToInsert(rows, size int) string { return fmt.Sprintf(insertRows, size, rows) }

func TestVFS_CommittedRowsAreThereForOthersAndAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	writer, stranger := writerOf(t, path), strangerOf(t, path)
	for _, rows := range []int{1, 1, 10, 100, 1000, 1} { // one frame to several writes
		do(t, writer, rowsToInsert(rows, 1000))
		now := sum(t, writer)
		require.Equal(t, now, sum(t, stranger))
		require.Equal(t, now, sum(t, crashed(t, path)))
	}
}

// What a transaction leaves behind that was rolled back must not end up in the frames that
// another process has committed since.
func TestVFS_RolledBackFramesAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	writer, stranger := writerOf(t, path, "cache_size(10)"), strangerOf(t, path)
	do(t, writer, rowsToInsert(10, 1000))
	before := sum(t, stranger)
	for range 5 {
		do(t, writer, `BEGIN IMMEDIATE`, rowsToInsert(100, 1000))
		require.NotEmpty(t, logOf(t).frames.bytes, "frames before COMMIT")
		require.Equal(t, before, sum(t, stranger), "seen before COMMIT")
		do(t, writer, `ROLLBACK`)
		do(t, stranger, rowsToInsert(30, 900))
		before = sum(t, stranger)
		require.Equal(t, before, sum(t, writer))
		require.Equal(t, before, sum(t, crashed(t, path)))
		do(t, writer, rowsToInsert(1, 100))
		before = sum(t, writer)
		require.Equal(t, before, sum(t, stranger))
	}
}

func TestVFS_ATransactionReadsItsOwnFrames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	writer, stranger := writerOf(t, path, "cache_size(10)"), strangerOf(t, path)
	do(t, writer, `BEGIN IMMEDIATE`, rowsToInsert(100, 1000))
	require.NotEmpty(t, logOf(t).frames.bytes, "frames before COMMIT")
	inside := sum(t, writer)
	do(t, writer, `COMMIT`)
	require.Equal(t, inside, sum(t, stranger))
}

// The writer syncs every COMMIT. If it did not, others would still see what it has committed.
func TestVFS_VisibilityDoesNotDependOnSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	writer, stranger := writerOf(t, path, "synchronous(OFF)", "cache_size(10)"), strangerOf(t, path)
	for _, rows := range []int{1, 10, 100, 1} {
		do(t, writer, rowsToInsert(rows, 1000))
		require.Equal(t, sum(t, writer), sum(t, stranger))
		do(t, writer, `BEGIN IMMEDIATE`, rowsToInsert(100, 1000), `UPDATE t SET value = RANDOMBLOB(900)`, `COMMIT`)
		require.Equal(t, sum(t, crashed(t, path)), sum(t, stranger))
	}
}

// A random history, with transactions larger than the cache, savepoints, checkpoints of both and
// writes of another: it must read the same from everywhere after each step.
func TestVFS_AnyHistoryReadsTheSame(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			path := filepath.Join(t.TempDir(), "otp.db")
			writer, stranger := writerOf(t, path, "cache_size(10)", "wal_autocheckpoint(200)"), strangerOf(t, path)
			change := func() string {
				switch id := random.IntN(400); random.IntN(4) {
				case 0:
					return fmt.Sprintf(`DELETE FROM t WHERE id BETWEEN %d AND %d`, id, id+random.IntN(100))
				case 1:
					return fmt.Sprintf(`UPDATE t SET value = RANDOMBLOB(%d) WHERE id > %d`, random.IntN(2000), id)
				}
				return rowsToInsert(1+random.IntN(100), random.IntN(1500))
			}
			for range 25 {
				before := sum(t, stranger)
				do(t, writer, `BEGIN IMMEDIATE`)
				for range random.IntN(5) {
					do(t, writer, change())
					if random.IntN(3) == 0 {
						do(t, writer, `SAVEPOINT s`, change(), change(), `ROLLBACK TO s`, `RELEASE s`)
					}
				}
				inside := sum(t, writer)
				require.Equal(t, before, sum(t, stranger), "seen before COMMIT")
				end := `COMMIT`
				if random.IntN(3) == 0 {
					end, inside = `ROLLBACK`, before
				}
				do(t, writer, end)
				require.Equal(t, inside, sum(t, writer))
				require.Equal(t, inside, sum(t, stranger))
				require.Equal(t, inside, sum(t, crashed(t, path)))
				switch random.IntN(8) {
				case 0:
					do(t, writer, `PRAGMA wal_checkpoint(TRUNCATE)`)
				case 1:
					do(t, stranger, `PRAGMA wal_checkpoint(RESTART)`)
				case 2:
					do(t, stranger, change())
				}
			}
			last := sum(t, writer)
			require.NoError(t, writer.Close())
			require.Equal(t, last, sum(t, stranger))
		})
	}
}

// openBefore are the files of other tests' stores, from before the last writerOf.
var openBefore map[uintptr]*openFile

// logOf finds the log of the database that was opened last.
func logOf(t *testing.T) *openFile {
	t.Helper()
	openFiles.RLock()
	defer openFiles.RUnlock()
	var logs []*openFile
	for address, f := range openFiles.at {
		if openBefore[address] != f && at[lib.Tsqlite3_io_methods](f.methods).FxWrite != f.own.FxWrite {
			logs = append(logs, f)
		}
	}
	require.Len(t, logs, 1, "logs that are open")
	return logs[0]
}

// watched takes the place of SQLite's own xWrite for a log.
var watched struct {
	own    uintptr
	writes []int32
	fails  int32 // SQLite's code for what to fail with, or 0
}

func xWriteWatched(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	watched.writes = append(watched.writes, n)
	if watched.fails != 0 {
		return watched.fails
	}
	return function[dataMethod](watched.own)(tls, file, data, n, offset)
}

func watch(t *testing.T) {
	f := logOf(t)
	watched.own, watched.writes, watched.fails = f.own.FxWrite, nil, 0
	f.own.FxWrite = pointer(xWriteWatched)
	t.Cleanup(func() { watched.fails = 0 })
}

func TestVFS_ATransactionIsOneWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	writer := writerOf(t, path)
	watch(t)
	const frame = 24 + 4096
	for range 3 {
		do(t, writer, rowsToInsert(20, 2000)) // 11 pages or so
		require.Len(t, watched.writes, 1)
		require.Zero(t, watched.writes[0]%frame)
		require.Greater(t, watched.writes[0], int32(9*frame))
		watched.writes = nil
	}
	do(t, writer, rowsToInsert(200, 2000)) // more than fits into a write
	require.Less(t, len(watched.writes), 8)
}

// A COMMIT whose frames could not be written fails, and has happened for nobody.
func TestVFS_AFailedWriteFailsTheCommit(t *testing.T) {
	for _, tt := range []struct {
		code int32
		rows int
		name string
	}{
		{lib.SQLITE_IOERR_WRITE, 1, "error in a small transaction"},
		{lib.SQLITE_FULL, 10, "full disk"},
		{lib.SQLITE_FULL, 300, "full disk in several writes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "otp.db")
			writer, stranger := writerOf(t, path), strangerOf(t, path)
			do(t, writer, rowsToInsert(10, 1000))
			before := sum(t, stranger)
			watch(t)
			for range 3 {
				watched.fails = tt.code
				do(t, writer, `BEGIN IMMEDIATE`, rowsToInsert(tt.rows, 1000))
				_, err := writer.Exec(`COMMIT`)
				require.Equal(t, tt.code, int32(sqliteCode(err)), "%v", err)
				watched.fails = 0
				_, _ = writer.Exec(`ROLLBACK`) // which SQLite has done by itself already, or not
				require.Equal(t, before, sum(t, writer))
				require.Equal(t, before, sum(t, stranger))
				require.Equal(t, before, sum(t, crashed(t, path)))
				do(t, stranger, rowsToInsert(2, 1000))
				do(t, writer, rowsToInsert(5, 1000))
				before = sum(t, writer)
				require.Equal(t, before, sum(t, stranger))
				require.Equal(t, before, sum(t, crashed(t, path)))
			}
			require.NoError(t, writer.Close())
		})
	}
}

// An error may strike before the COMMIT, when a statement reads what the transaction wrote. Then
// the COMMIT is about all of it or fails.
func TestVFS_AFailedWriteWithinATransactionLosesNothing(t *testing.T) {
	for _, code := range []int32{lib.SQLITE_IOERR_WRITE, lib.SQLITE_FULL} {
		path := filepath.Join(t.TempDir(), "otp.db")
		writer, stranger := writerOf(t, path, "cache_size(10)"), strangerOf(t, path)
		do(t, writer, rowsToInsert(10, 1000))
		before := sum(t, stranger)
		watch(t)
		do(t, writer, `BEGIN IMMEDIATE`, rowsToInsert(100, 1000))
		require.NotEmpty(t, logOf(t).frames.bytes, "frames before COMMIT")
		watched.fails = code
		_, err := writer.Exec(`SELECT SUM(LENGTH(value)) FROM t`)
		require.Error(t, err)
		watched.fails = 0
		if _, err = writer.Exec(`COMMIT`); err == nil {
			var rows int
			require.NoError(t, stranger.QueryRow(`SELECT COUNT(*) FROM t`).Scan(&rows))
			require.Equal(t, 110, rows)
			require.Equal(t, sum(t, writer), sum(t, crashed(t, path)))
		} else {
			require.Equal(t, before, sum(t, stranger))
			require.Equal(t, before, sum(t, crashed(t, path)))
		}
		require.NoError(t, writer.Close())
	}
}

// limitVariable is set in a child, which has the kernel refuse its writes: a process cannot be
// limited without the tests beside this one.
const limitVariable = "OTPBRIDGE_TEST_FILE_LIMIT"

// A write that the kernel makes in part, and then refuses, leaves the database as it was.
func TestVFS_AFileThatCannotGrowFailsTheCommit(t *testing.T) {
	if os.Getenv(limitVariable) == "" {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
		child.Env = append(os.Environ(), limitVariable+"=1")
		out, err := child.CombinedOutput()
		require.NoError(t, err, string(out))
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	path := filepath.Join(t.TempDir(), "otp.db")
	writer, stranger := writerOf(t, path), strangerOf(t, path)
	do(t, writer, rowsToInsert(10, 1000))
	before := sum(t, stranger)
	log, err := os.Stat(path + "-wal")
	require.NoError(t, err)
	var free syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &free))
	limited := syscall.Rlimit{Cur: uint64(log.Size()) + 3*4120 + 1000, Max: free.Max}
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited))
	_, err = writer.Exec(rowsToInsert(100, 1000))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &free))
	require.Error(t, err)
	grown, err := os.Stat(path + "-wal")
	require.NoError(t, err)
	require.Greater(t, grown.Size(), log.Size(), "nothing was written in part")
	require.Equal(t, before, sum(t, stranger))
	require.Equal(t, before, sum(t, writer))
	require.Equal(t, before, sum(t, crashed(t, path)))
	do(t, writer, rowsToInsert(50, 1000))
	now := sum(t, writer)
	require.Equal(t, now, sum(t, stranger))
	require.Equal(t, now, sum(t, crashed(t, path)))
}

// A statement that is left would keep SQLite's connection, with its files and its locks.
func TestStore_CloseLeavesNoFileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	openFiles.RLock()
	before := len(openFiles.at)
	openFiles.RUnlock()
	s, err := Open(ctx, "sqlite:"+path, Options{})
	require.NoError(t, err)
	require.NoError(t, s.Ping(ctx))
	require.NoError(t, s.Close())
	openFiles.RLock()
	defer openFiles.RUnlock()
	require.Len(t, openFiles.at, before)
	require.NoFileExists(t, path+"-wal", "what the log held is in the database")
}
