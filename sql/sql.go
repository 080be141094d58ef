// Package sql keeps the engine's state in a relational database: embedded SQLite now, any
// server that speaks MySQL's protocol through the same SQL text. It is the only package that
// knows that a table exists.
//
// It promises that an operation's answer is given after its COMMIT and never before, that a
// decision counts only if the guarded write that carries it changed exactly the rows it meant
// to, and that an operation whose COMMIT was cut off is either found again by its event or
// repeated, never doubled. All operations go through one queue and are committed in batches,
// because one fsync shared by two hundred callers is what makes durability affordable.
//
// What an operation decides is left to the rules it brings along; what is sealed or hashed
// arrives here sealed or hashed.
package sql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

//go:embed migrations
var migrations embed.FS

// Options say how a store is run. The zero value is for production.
type Options struct {
	// Sandbox makes every operation read its account's clock offset.
	Sandbox bool
	// SweepEvery is the pause between two sweeps; 0 leaves sweeping to calls of Sweep.
	SweepEvery time.Duration
}

// Store is safe for concurrent use. Several stores, in one process or many, may share a database.
type Store struct {
	options Options
	dialect dialect
	reads   *sqlx.DB

	writing sync.Mutex // held by whoever uses the writer: a batch or a single write
	writer  *writer

	queue   chan *Operation
	closing sync.RWMutex // write-locked once, when the queue closes
	closed  bool
	stop    chan struct{}
	done    sync.WaitGroup
}

// dialect is all in which the databases differ.
type dialect struct {
	goose goose.Dialect
	begin string // starts a transaction that is going to write
	lock  string // ends a SELECT whose rows the transaction is going to decide on
	fate  func(error) fate
	taken func(error) bool // a unique key was violated
}

// fate is what an error means for the batch that met it.
type fate int

const (
	faulty fate = iota // the data's fault: the batch is run again one by one
	again              // another writer's doing: the whole batch again
	lost               // the connection's fault: whatever was under way fails at once
)

var sqliteDialect = dialect{
	goose: goose.DialectSQLite3,
	// A deferred transaction that reads before it writes fails with SQLITE_BUSY_SNAPSHOT under
	// load, whatever the busy timeout; IMMEDIATE takes the write lock before the first read.
	begin: "BEGIN IMMEDIATE",
	fate: func(err error) fate {
		var e *sqlite.Error
		if !errors.As(err, &e) {
			return faulty
		}
		switch e.Code() {
		case 5, 517, 1555, 2067: // BUSY, BUSY_SNAPSHOT, CONSTRAINT_PRIMARYKEY, CONSTRAINT_UNIQUE
			return again
		case 10, 14: // IOERR, CANTOPEN
			return lost
		}
		return faulty
	},
	taken: func(err error) bool {
		var e *sqlite.Error
		return errors.As(err, &e) && (e.Code() == 1555 || e.Code() == 2067)
	},
}

// Open opens the database that databaseURL names, creates it if it is SQLite and missing, and
// brings its schema up to date.
func Open(ctx context.Context, databaseURL string, options Options) (*Store, error) {
	path, found := strings.CutPrefix(databaseURL, "sqlite:")
	if !found {
		scheme, _, _ := strings.Cut(databaseURL, ":")
		return nil, fmt.Errorf("database scheme %q is not supported; use sqlite:path/to/file.db", scheme)
	}
	return openSQLite(ctx, path, options)
}

func openSQLite(ctx context.Context, path string, options Options) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolve database path: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the database's folder: %w", err)
	}
	// The driver would create the file readable by everyone.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	writes, err := sql.Open("sqlite", sqliteURI(path, "journal_mode(WAL)", "synchronous(FULL)"))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	writes.SetMaxOpenConns(1)
	reads, err := sql.Open("sqlite", sqliteURI(path, "query_only(1)"))
	if err != nil {
		writes.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	reads.SetMaxOpenConns(4)
	reads.SetMaxIdleConns(4)
	sqlx.BindDriver("sqlite", sqlx.QUESTION)
	return start(ctx, sqliteDialect, writes, sqlx.NewDb(reads, "sqlite"), options)
}

// sqliteURI is built by net/url, because a '#' or '?' in a path would end a hand-built one early.
func sqliteURI(path string, pragmas ...string) string {
	query := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)"}, pragmas...)}
	uri := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: query.Encode()}
	return uri.String()
}

func start(ctx context.Context, d dialect, writes *sql.DB, reads *sqlx.DB, options Options) (*Store, error) {
	s := &Store{
		options: options,
		dialect: d,
		reads:   reads,
		writer:  &writer{db: writes},
		queue:   make(chan *Operation, QueueLength),
		stop:    make(chan struct{}),
	}
	if err := s.migrate(ctx); err != nil {
		writes.Close()
		reads.Close()
		return nil, fmt.Errorf("bring the database's schema up to date: %w", err)
	}
	s.done.Add(1)
	go s.commitBatches()
	if options.SweepEvery > 0 {
		s.done.Add(1)
		go s.keepSweeping(options.SweepEvery)
	}
	return s, nil
}

// migrate applies what is missing. Two servers that start at once both try; the loser meets a
// busy database or a table that exists by now, and finds nothing left to do when it looks again.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(s.dialect.goose, s.writer.db, files, goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		_, err := provider.Up(ctx)
		if err == nil || try == 5 || ctx.Err() != nil {
			return err
		}
		time.Sleep(jitter(try))
	}
}

// Close commits what is queued, refuses what comes later and closes the database.
func (s *Store) Close() error {
	s.closing.Lock()
	if s.closed {
		s.closing.Unlock()
		return nil
	}
	s.closed = true
	close(s.queue)
	close(s.stop)
	s.closing.Unlock()
	s.done.Wait()

	s.writing.Lock()
	defer s.writing.Unlock()
	return errors.Join(s.writer.close(), s.reads.Close())
}

// Ping tells whether the database answers and can be written to.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.reads.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return s.write(ctx, func(*writer) error { return nil })
}

// Queued is how many operations wait for their batch, of QueueLength.
func (s *Store) Queued() int { return len(s.queue) }

// write runs do in a transaction of its own, between two batches.
func (s *Store) write(ctx context.Context, do func(w *writer) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	for try := 1; ; try++ {
		err := s.writer.transaction(ctx, s.dialect.begin, do)
		if err == nil || s.fate(err) != again || s.dialect.taken(err) || try == maxTries {
			return err
		}
		time.Sleep(jitter(try))
	}
}
