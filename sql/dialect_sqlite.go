package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"otpbridge/server/files"
)

var sqliteDialect = dialect{
	name:  "sqlite",
	goose: goose.DialectSQLite3,
	// IMMEDIATE takes the write lock before the first read. A deferred transaction that reads before it writes fails
	// with SQLITE_BUSY_SNAPSHOT under load, however long the busy timeout.
	begin: "BEGIN IMMEDIATE",
	// With OR FAIL a failed statement is not undone on its own, so SQLite need not copy every page that it changes. If
	// a row is refused, the whole batch is rolled back anyway.
	insert: "INSERT OR FAIL INTO",
	// Four pages. A smaller row could fit into an existing page even if the disk is full.
	allocate: 16 << 10,
	columns: `
		SELECT m.name || '.' || p.name
		FROM sqlite_master m
		JOIN pragma_table_info(m.name) p
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'`,
	// A reader delays the checkpoint for milliseconds. Codes wait meanwhile, so it gives up after 200 ms.
	forget:   []string{`PRAGMA busy_timeout(200)`, `PRAGMA wal_checkpoint(TRUNCATE)`, `PRAGMA busy_timeout(10000)`},
	migrated: `CAST(strftime('%s', tstamp) AS INTEGER)`,
	tables:   `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name`,
	fate:     func(err error) fate { return sqliteFate(sqliteCode(err)) },
	taken:    func(err error) bool { return sqliteTaken(sqliteCode(err)) },
	denied:   func(error) bool { return false },
	inspect:  (*Store).inspectSQLite,
	place: func(databaseURL string) string {
		path, err := sqlitePath(databaseURL)
		if err != nil {
			return databaseURL
		}
		return "sqlite:" + path
	},
}

// sqlitePath returns the absolute path of the file that sqlite:path names.
func sqlitePath(databaseURL string) (string, error) {
	return filepath.Abs(strings.TrimPrefix(databaseURL, "sqlite:"))
}

func openSQLite(ctx context.Context, databaseURL string, options Options) (*Store, error) {
	path, err := sqlitePath(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("resolve database path: %w", err)
	}
	if err := options.Schema.mayMake(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the database's folder: %w", err)
	}
	// The driver would create the file readable by everyone.
	file, err := files.Open(path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open database: %s %w", path, err)
	}
	watched, err := watchFile(path, file)
	// Closed before SQLite opens it: closing any handle of a file releases all locks that the process has on it.
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	options.file = watched
	writes, err := sqliteWriter(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	reads, err := sql.Open("sqlite", sqliteURI(path, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), writes.Close())
	}
	reads.SetMaxOpenConns(4)
	reads.SetMaxIdleConns(4)
	sqlx.BindDriver("sqlite", sqlx.QUESTION)
	return start(ctx, sqliteDialect, writes, sqlx.NewDb(reads, "sqlite"), writes, options)
}

// sqliteWriter opens the connection that writes; the pragmas in more follow its own.
func sqliteWriter(path string, more ...string) (*sql.DB, error) {
	// A larger cache holds the pages of the one index with random keys. With a longer log, a page that changes often
	// is copied into the database once instead of ten times.
	pragmas := []string{"journal_mode(WAL)", "synchronous(FULL)", "temp_store(MEMORY)", "cache_size(-16384)",
		"wal_autocheckpoint(16000)", "secure_delete(1)"}
	db, err := sql.Open("sqlite", sqliteURI(path, append(pragmas, more...)...))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2) // the one in use, and the next before the one in doubt is closed
	return db, nil
}

// sqliteURI builds the URI with net/url, because a '#' or '?' in a path would end a hand-built one early. Its mode
// keeps SQLite from creating a file that somebody has deleted.
func sqliteURI(path string, pragmas ...string) string {
	path = "/" + strings.TrimPrefix(filepath.ToSlash(path), "/") // a drive of Windows too
	query := url.Values{"mode": {"rw"}, "_txlock": {"immediate"},
		"_pragma": append([]string{"busy_timeout(10000)"}, pragmas...)}
	uri := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	return uri.String()
}

// sqliteMemory opens an empty database in memory.
func sqliteMemory() (*Store, *sql.DB, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1) // each connection would have a separate memory
	return &Store{dialect: sqliteDialect, reads: sqlx.NewDb(db, "sqlite")}, db, nil
}

func (s *Store) inspectSQLite(ctx context.Context) (c Condition, err error) {
	c.Encrypted = true
	if err := s.reads.GetContext(ctx, &c.Version, `SELECT 'SQLite ' || sqlite_version()`); err != nil {
		return c, fmt.Errorf("read the database's version: %w", err)
	}
	if err := s.reads.GetContext(ctx, &c.Damage, `PRAGMA quick_check(1)`); err != nil {
		return c, fmt.Errorf("check the database file: %w", err)
	}
	if c.Damage == "ok" {
		c.Damage = ""
	}
	return c, nil
}

// sqliteFate goes by the class of a result code, its low byte, and by the whole code if a member of a class differs.
// See https://sqlite.org/rescode.html.
func sqliteFate(code int) fate {
	if sqliteTaken(code) {
		return again
	}
	switch code & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_PROTOCOL, lib.SQLITE_SCHEMA, lib.SQLITE_ABORT:
		return again
	case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN:
		return lost
	case lib.SQLITE_FULL, lib.SQLITE_READONLY, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_NOMEM,
		lib.SQLITE_PERM, lib.SQLITE_AUTH, lib.SQLITE_NOLFS, lib.SQLITE_FORMAT, lib.SQLITE_MISUSE:
		return refused
	}
	return faulty
}

// sqliteTaken reports whether a unique key was violated.
func sqliteTaken(code int) bool {
	switch code {
	case lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return false
}

// sqliteCode returns the extended result code of an error, 0 if it is not SQLite's.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}
