package sql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// SchemaPolicy says what opening a database does about its schema.
type SchemaPolicy int

const (
	// UpdateSchema brings it up to date, and makes a SQLite file that is missing. Servers do so.
	UpdateSchema SchemaPolicy = iota
	// RequireSchema refuses one that is not this program's, and a file that is missing: a command
	// that was pointed at the wrong database must not turn it into one of ours.
	RequireSchema
	// AnySchema takes it as it is, for those who are going to judge it.
	AnySchema
)

// ErrNoDatabase says that there is nothing at the path of a SQLite database.
var ErrNoDatabase = errors.New("there is no database file")

// ErrMayNotMigrate says that the schema has to change and the database's user may not change it.
var ErrMayNotMigrate = errors.New(`the schema has to change, and this user of the database may not change it; ` +
	`run "otpbridge migrate up" as one with CREATE, ALTER and INDEX on it`)

// SchemaError says that a schema is not this program's.
type SchemaError struct{ Schema }

// Error implements error and names the remedy.
func (e SchemaError) Error() string {
	if e.Version > e.Latest {
		return fmt.Sprintf("the schema is version %d, made by a newer program than this one, which knows %d; use that "+
			"program", e.Version, e.Latest)
	}
	return fmt.Sprintf(`the schema is version %d and this program needs %d; run "otpbridge migrate up"`, e.Version,
		e.Latest)
}

func (p SchemaPolicy) mayMake(path string) error {
	if p == UpdateSchema {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w at %s", ErrNoDatabase, path)
	}
	return nil
}

func (s *Store) settleSchema(ctx context.Context, schema *sql.DB) error {
	switch s.options.Schema {
	case AnySchema:
		return nil
	case RequireSchema:
		state, err := s.Schema(ctx)
		if err != nil {
			return err
		}
		if state.Version != state.Latest {
			return SchemaError{state}
		}
		return nil
	}
	// The library reads and takes apart every migration first, which takes a command longer than all else that it does.
	if state, err := s.schemaOf(ctx, sqlx.NewDb(schema, s.reads.DriverName())); err == nil && state.complete() {
		return nil
	}
	err := s.migrate(ctx, schema)
	if number := mysqlNumber(err); number == 1142 || number == 1044 { // denied on a table, on the schema
		return fmt.Errorf("%w: %w", ErrMayNotMigrate, err)
	}
	if err != nil {
		return fmt.Errorf("bring the database's schema up to date: %w", err)
	}
	return nil
}

// Schema is how far a database's schema has come.
type Schema struct {
	Version    int64       `json:"version"` // the newest that was applied, 0 for an empty database
	Latest     int64       `json:"latest"`  // what this program needs
	Migrations []Migration `json:"migrations"`
}

// Migration is one step of the schema that this program knows.
type Migration struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // nil: it is still to come
}

// complete reports whether every migration that this program knows was applied.
func (s Schema) complete() bool {
	return !slices.ContainsFunc(s.Migrations, func(m Migration) bool { return m.AppliedAt == nil })
}

// Schema reads the versions without changing anything, which the migrating library would: it
// makes its table when it looks.
func (s *Store) Schema(ctx context.Context) (Schema, error) { return s.schemaOf(ctx, s.reads) }

func (s *Store) schemaOf(ctx context.Context, db *sqlx.DB) (Schema, error) {
	applied, err := s.appliedMigrations(ctx, db)
	if err != nil {
		return Schema{}, err
	}
	var schema Schema
	for version := range applied {
		schema.Version = max(schema.Version, version)
	}
	files, err := s.dialect.migrations()
	if err != nil {
		return Schema{}, err
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return Schema{}, err
	}
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return Schema{}, fmt.Errorf("migration %s has no number: %w", name, err)
		}
		migration := Migration{Version: version, Name: name}
		if at, done := applied[version]; done {
			migration.AppliedAt = &at
		}
		schema.Latest = max(schema.Latest, version)
		schema.Migrations = append(schema.Migrations, migration)
	}
	slices.SortFunc(schema.Migrations, func(a, b Migration) int { return cmp.Compare(a.Version, b.Version) })
	return schema, nil
}

// appliedMigrations is when each version was applied. A database that lacks the table is empty.
func (s *Store) appliedMigrations(ctx context.Context, db *sqlx.DB) (map[int64]time.Time, error) {
	tables := 0
	if err := db.GetContext(ctx, &tables, s.dialect.tables+` = 'goose_db_version'`); err != nil {
		return nil, fmt.Errorf("look for the schema's version: %w", err)
	}
	applied := map[int64]time.Time{}
	if tables == 0 {
		return applied, nil
	}
	rows, err := db.QueryContext(ctx,
		`SELECT version_id, tstamp FROM goose_db_version WHERE version_id > 0 ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read the schema's version: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var version int64
		var at any
		if err := rows.Scan(&version, &at); err != nil {
			return nil, fmt.Errorf("read the schema's version: %w", err)
		}
		applied[version] = readTimestamp(at)
	}
	return applied, rows.Err()
}

// readTimestamp reads the one column of this schema that is a timestamp, which is not ours. It is
// for display; what cannot be read is the zero time.
func readTimestamp(value any) time.Time {
	switch value := value.(type) {
	case time.Time:
		return value.UTC()
	case []byte:
		at, _ := time.Parse(time.DateTime, string(value))
		return at
	case string:
		at, _ := time.Parse(time.DateTime, value)
		return at
	}
	return time.Time{}
}
