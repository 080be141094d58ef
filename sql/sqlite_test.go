//go:build unix

package sql

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func writerOf(t *testing.T, path string, pragmas ...string) *sql.DB {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	db, err := sqliteWriter(path, pragmas...)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	do(t, db, `CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, value BLOB)`)
	return db
}

func strangerOf(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteURI(path))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// A path of Windows has a drive instead of a slash in front.
func TestSQLiteURI_HasNoHost(t *testing.T) {
	for path, start := range map[string]string{
		"/data/otp.db": "file:///data/otp.db?", "C:/Users/a b/otp.db": "file:///C:/Users/a%20b/otp.db?",
		"//host/share/otp.db": "file:////host/share/otp.db?", "/a#b?c": "file:///a%23b%3Fc?",
	} {
		require.True(t, strings.HasPrefix(sqliteURI(path), start), sqliteURI(path))
	}
}

func do(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
}

// sum returns a checksum of the table's content, after checking that the database is sound.
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

const insertRows = `
	INSERT INTO t (value)
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[2]d)
	SELECT RANDOMBLOB(%[1]d) FROM n`

func rowsToInsert(rows, size int) string { return fmt.Sprintf(insertRows, size, rows) }

// limitVariable is set in a child process whose writes the kernel refuses: a limit on this process would affect the
// other tests.
const limitVariable = "OTPBRIDGE_TEST_FILE_LIMIT"

// A write that the kernel makes in part and then refuses leaves the database as it was.
func TestSQLite_AFileThatCannotGrowFailsTheCommit(t *testing.T) {
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

// An open statement would keep SQLite's connection, with its files and locks.
func TestStore_CloseLeavesNoFileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	s, err := Open(ctx, "sqlite:"+path, Options{})
	require.NoError(t, err)
	require.NoError(t, s.Ready(ctx))
	require.NotEmpty(t, openBelow(t, filepath.Dir(path)), "open files are found")
	require.NoError(t, s.Close())
	require.Empty(t, openBelow(t, filepath.Dir(path)))
	require.NoFileExists(t, path+"-wal", "what the log held is in the database")
}

// openBelow lists the files below folder that this process has open.
func openBelow(t *testing.T, folder string) (open []string) {
	t.Helper()
	const descriptors = "/proc/self/fd"
	entries, err := os.ReadDir(descriptors)
	if err != nil {
		t.Skip("open files are listed on Linux only: ", err)
	}
	for _, entry := range entries {
		if path, err := os.Readlink(filepath.Join(descriptors, entry.Name())); err == nil && strings.HasPrefix(path, folder) {
			open = append(open, path)
		}
	}
	return open
}
