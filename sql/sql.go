// Package sql stores the engine's state in a relational database: embedded SQLite, or a server that speaks MySQL's
// protocol, with the same SQL text. Only this package knows the tables, and only its files dialect_*.go know how the
// databases differ.
//
// An operation is answered after its COMMIT and never before. A decision counts only if its guarded write changed
// exactly the expected rows. An operation whose COMMIT was cut off is either found by its event or repeated, never
// doubled. All operations go through one queue and are committed in batches, because one fsync shared by two hundred
// callers is what makes durability affordable.
//
// An operation's rule decides; the store only runs it. Sealed and hashed values arrive here sealed and hashed.
package sql

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing/fstest"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// dialect holds all differences between the databases.
type dialect struct {
	name      string // in the suffix of migrations for this database only
	goose     goose.Dialect
	locker    func() (lock.Locker, error) // keeps two servers from migrating at once; nil for none
	pipelines bool                        // several statements can be sent in one packet
	begin     string                      // starts a writing transaction; empty if one is always open
	insert    string                      // begins an INSERT of many rows
	lock      string                      // ends a SELECT of rows that the transaction will decide on
	allocate  int                         // bytes of a row that needs new pages; 0 if no write can show that
	tables    string                      // counts the tables whose name follows
	columns   string                      // lists every column as table.column
	forget    []string                    // releases deleted data, outside transactions
	migrated  string                      // the time of a row of goose_db_version, in seconds since 1970
	order     string                      // follows SELECT to join tables in the order in which they are named
	now       string                      // reads the server's clock in milliseconds; empty if it is this machine's
	fate      func(error) fate
	taken     func(error) bool // a unique key was violated
	denied    func(error) bool // the user may not change the schema
	inspect   func(*Store, context.Context) (Condition, error)
	place     func(databaseURL string) string // where the database is, without what may change from start to start
}

//go:embed migrations/*.sql
var migrationFiles embed.FS

// statement matches one statement of a migration. Marked ones are copied by goose; of others it examines each line with
// a buffer of 4 MiB.
var statement = regexp.MustCompile(`(?ms)^[A-Z].*?;$`)

// migrations returns the files for this database: those without a database suffix and those with its name. Comments
// such as /*sqlite WITHOUT ROWID */ become code for the database they name, like MySQL's /*! … */.
func (d *dialect) migrations() (fs.FS, error) {
	own := regexp.MustCompile(`/\*` + d.name + ` (.*?)\*/`)
	files := fstest.MapFS{}
	paths, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	for _, file := range paths {
		name := path.Base(file)
		if suffix := path.Ext(strings.TrimSuffix(name, ".sql")); suffix != "" && suffix != "."+d.name {
			continue
		}
		text, err := migrationFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text = statement.ReplaceAll(own.ReplaceAll(text, []byte("$1")),
			[]byte("-- +goose StatementBegin\n$0\n-- +goose StatementEnd"))
		files[name] = &fstest.MapFile{Data: text}
	}
	return files, nil
}

// Open opens the database at databaseURL and brings its schema up to date. The URL's scheme says which kind of database
// it is, see databases. A database that is a file is created if it is missing.
func Open(ctx context.Context, databaseURL string, options Options) (*Store, error) {
	scheme, _, _ := strings.Cut(databaseURL, ":")
	options.url = databaseURL
	var forms []string
	for _, kind := range databases() {
		if kind.scheme == scheme {
			return kind.open(ctx, databaseURL, options)
		}
		forms = append(forms, kind.form)
	}
	return nil, fmt.Errorf("database scheme %q is not supported; use %s", scheme, strings.Join(forms, " or "))
}
