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

// SchemaPolicy says what opening a database does with its schema.
type SchemaPolicy int

const (
	// UpdateSchema brings the schema up to date, and creates a missing SQLite file. Servers use it.
	UpdateSchema SchemaPolicy = iota
	// RequireSchema refuses a schema that is not this program's, and a missing file: a command with the wrong database
	// URL must not turn that database into one of ours.
	RequireSchema
	// AnySchema accepts any schema, for commands that inspect it.
	AnySchema
)

// ErrNoDatabase says that there is no file at the path of a SQLite database.
var ErrNoDatabase = errors.New("there is no database file")

// ErrMayNotMigrate says that the schema must be updated and the database user lacks the rights.
var ErrMayNotMigrate = errors.New(`the schema has to change, and this user of the database may not change it; ` +
	`run "otpbridge migrate up" as one with CREATE, ALTER and INDEX on it`)

// SchemaError says that a schema is not this program's.
type SchemaError struct{ Schema }

// Error implements error. It names the remedy.
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
	// The library first reads and parses every migration, which would be most of a command's run time.
	if state, err := s.schemaOf(ctx, sqlx.NewDb(schema, s.reads.DriverName())); err == nil && state.complete() {
		return nil
	}
	err := s.migrate(ctx, schema)
	if s.dialect.denied(err) {
		return fmt.Errorf("%w: %w", ErrMayNotMigrate, err)
	}
	if err != nil {
		return fmt.Errorf("bring the database's schema up to date: %w", err)
	}
	return nil
}

// Schema is the state of a database's schema.
type Schema struct {
	Version    int64       `json:"version"` // the newest that was applied, 0 for an empty database
	Latest     int64       `json:"latest"`  // what this program needs
	Migrations []Migration `json:"migrations"`
}

// Migration is one step of the schema that this program knows.
type Migration struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // nil: not yet applied
}

// complete reports whether every migration that this program knows was applied.
func (s Schema) complete() bool {
	return !slices.ContainsFunc(s.Migrations, func(m Migration) bool { return m.AppliedAt == nil })
}

// Schema reads the versions without changing anything. The migration library would create its table.
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

// appliedMigrations returns when each version was applied. A database without the table is empty.
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

// readTimestamp reads the only timestamp column of the schema, which belongs to the migration library. It is for
// display; the zero time stands for a value that cannot be read.
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
