// Package sql stores the engine's state in a relational database: embedded SQLite, or a server that speaks MySQL's
// protocol, with the same SQL text. Only this package knows the tables, and only this file knows how the databases
// differ.
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
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing/fstest"
	"time"

	"otpbridge/server/files"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	_ "modernc.org/sqlite" // the driver
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
	now       string                      // reads the server's clock in milliseconds; empty if it is this machine's
	fate      func(error) fate
	taken     func(error) bool // a unique key was violated
}

//go:embed migrations/*.sql
var migrationFiles embed.FS

// statement matches one statement of a migration. Marked ones are copied by goose; of others it examines each line with a
// buffer of 4 MiB.
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
		text = statement.ReplaceAll(own.ReplaceAll(text, []byte("$1")), []byte("-- +goose StatementBegin\n$0\n-- +goose StatementEnd"))
		files[name] = &fstest.MapFile{Data: text}
	}
	return files, nil
}

// Open opens the database at databaseURL, sqlite:path or mysql://user:password@host:port/schema, and brings its schema
// up to date. A missing SQLite file is created.
func Open(ctx context.Context, databaseURL string, options Options) (*Store, error) {
	scheme, rest, _ := strings.Cut(databaseURL, ":")
	options.url = databaseURL
	switch scheme {
	case "sqlite":
		return openSQLite(ctx, rest, options)
	case "mysql":
		return openMySQL(ctx, databaseURL, options)
	}
	return nil, fmt.Errorf("database scheme %q is not supported; use sqlite:path/to/file.db or "+
		"mysql://user:password@host:3306/otpauthapi", scheme)
}

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
	columns:  `SELECT m.name || '.' || p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'`,
	// A reader delays the checkpoint for milliseconds. Codes wait meanwhile, so it gives up after 200 ms.
	forget:   []string{`PRAGMA busy_timeout(200)`, `PRAGMA wal_checkpoint(TRUNCATE)`, `PRAGMA busy_timeout(10000)`},
	migrated: `CAST(strftime('%s', tstamp) AS INTEGER)`,
	tables:   `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name`,
	fate:     func(err error) fate { return sqliteFate(sqliteCode(err)) },
	taken:    func(err error) bool { return sqliteTaken(sqliteCode(err)) },
}

func openSQLite(ctx context.Context, path string, options Options) (*Store, error) {
	path, err := filepath.Abs(path)
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

var mysqlDialect = dialect{
	name:  "mysql",
	goose: goose.DialectMySQL,
	locker: func() (lock.Locker, error) {
		// A row with a lease instead of GET_LOCK, which neither Galera nor TiDB replicates.
		return lock.NewMySQLTableLocker(lock.WithTableLeaseDuration(30*time.Second),
			lock.WithTableHeartbeatInterval(5*time.Second),
			lock.WithTableLockTimeout(time.Second, 30), lock.WithTableLogger(slog.New(slog.DiscardHandler)),
			// Waiting helps against another server's lock, not against a missing privilege.
			lock.WithTableRetryPolicy(func(err error) bool { return mysqlNumber(err) == 0 || mysqlFate(err) == again }))
	},
	pipelines: true,
	insert:    "INSERT INTO",
	lock:      " FOR UPDATE",
	columns:   `SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns WHERE table_schema = DATABASE()`,
	migrated:  `CAST(UNIX_TIMESTAMP(tstamp) AS SIGNED)`,
	tables:    `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name`,
	now:       "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
	fate:      mysqlFate,
	taken:     func(err error) bool { return mysqlTaken(mysqlNumber(err)) },
}

// Timeouts of a MySQL connection. The server waits for locks for at most two seconds, so if a statement has not
// answered after five, the connection is gone.
const (
	mysqlConnectTimeout   = 5 * time.Second
	mysqlStatementTimeout = 5 * time.Second
	mysqlReads            = 16 // connections that read
)

func openMySQL(ctx context.Context, databaseURL string, options Options) (*Store, error) {
	config, err := mysqlConfig(databaseURL)
	if err != nil {
		return nil, err
	}
	writing := config.Clone()
	writing.Params["autocommit"] = "0" // saves each batch the round trip of a BEGIN
	// One round trip for all guarded updates of a batch. Only constant texts of this package are sent, with every
	// value interpolated by the driver.
	writing.MultiStatements, writing.InterpolateParams = true, true
	open := func(config *mysql.Config, connections int) (*sql.DB, error) {
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
		db := sql.OpenDB(readCommitted{connector})
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
		db.SetConnMaxIdleTime(5 * time.Minute)
		return db, nil
	}
	writes, err := open(writing, 1)
	if err != nil {
		return nil, err
	}
	reads, err := open(config, mysqlReads)
	if err != nil {
		return nil, errors.Join(err, writes.Close())
	}
	migrating := config.Clone()
	migrating.ParseTime = true // goose's lock reads its lease as a time
	migrating.ReadTimeout = 0  // changing a large table can take long
	schema, err := open(migrating, 4)
	if err != nil {
		return nil, errors.Join(err, writes.Close(), reads.Close())
	}
	s, err := start(ctx, mysqlDialect, writes, sqlx.NewDb(reads, "mysql"), schema, options)
	if err := schema.Close(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	if options.Schema == AnySchema {
		return s, nil
	}
	if err := s.refuseCollation(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// mysqlConfig reads mysql://user:password@host:port/schema with the options tls (true, false, preferred, skip-verify),
// tls-ca, tls-cert and tls-key (PEM files), and socket (a path, instead of host and port).
func mysqlConfig(databaseURL string) (*mysql.Config, error) {
	parsed, err := url.Parse(databaseURL)
	if err != nil {
		return nil, errors.New("the database URL cannot be read; write mysql://user:password@host:3306/otpauthapi, with " +
			"special characters of the password percent-encoded")
	}
	config := mysql.NewConfig()
	config.User = parsed.User.Username()
	config.Passwd, _ = parsed.User.Password()
	config.DBName = strings.Trim(parsed.Path, "/")
	if config.DBName == "" {
		config.DBName = "otpauthapi"
	}
	port := parsed.Port()
	if port == "" {
		port = "3306"
	}
	config.Net, config.Addr = "tcp", net.JoinHostPort(parsed.Hostname(), port)
	query := parsed.Query()
	if socket := query.Get("socket"); socket != "" {
		config.Net, config.Addr = "unix", socket
	}
	if err := setTLS(config, parsed.Hostname(), query); err != nil {
		return nil, err
	}
	for name := range query {
		switch name {
		case "tls", "tls-ca", "tls-cert", "tls-key", "socket":
		default:
			return nil, fmt.Errorf("database option %q is unknown; known are tls, tls-ca, tls-cert, tls-key and socket", name)
		}
	}
	config.Collation = "utf8mb4_bin"
	config.Loc = time.UTC
	config.Timeout, config.ReadTimeout, config.WriteTimeout = mysqlConnectTimeout, mysqlStatementTimeout,
		mysqlStatementTimeout
	config.ClientFoundRows = true // else an UPDATE that changes nothing looks like one that found nothing
	config.RejectReadOnly = true  // after a failover: reconnect, to the writable server
	config.Logger = mysql.Logger(silent{})
	config.Params = map[string]string{
		"sql_mode":                 `'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'`,
		"time_zone":                `'+00:00'`,
		"innodb_lock_wait_timeout": "2",
	}
	return config, nil
}

func setTLS(config *mysql.Config, host string, query url.Values) error {
	config.TLSConfig = query.Get("tls")
	switch config.TLSConfig {
	case "", "true", "false", "preferred", "skip-verify":
	default:
		return fmt.Errorf("database option tls=%s: must be true, false, preferred or skip-verify", config.TLSConfig)
	}
	ca, cert, key := query.Get("tls-ca"), query.Get("tls-cert"), query.Get("tls-key")
	if ca == "" && cert == "" && key == "" {
		return nil
	}
	config.TLSConfig = ""
	config.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if ca != "" {
		pem, err := files.ReadPEM(ca)
		if err != nil {
			return files.Named("database option tls-ca", err)
		}
		config.TLS.RootCAs = x509.NewCertPool()
		if !config.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("database option tls-ca: %s holds no certificate in PEM form", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := files.KeyPair("tls-cert", cert, "tls-key", key)
		if err != nil {
			return fmt.Errorf("database options tls-cert and tls-key: %w", err)
		}
		config.TLS.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// silent drops the driver's own log lines: it also returns every error that it logs.
type silent struct{}

func (silent) Print(...any) {}

// readCommitted sets a new connection's isolation level. It uses the statement, because MariaDB 10.11 has no variable
// transaction_isolation and MySQL 8 none named tx_isolation.
//
// On a Galera cluster it also makes every statement wait for what other nodes have committed. Otherwise a refusal
// decided on outdated rows would be wrong, such as "nothing to verify" right after the code was generated on another
// node. Servers that do not know the variable do not need it.
type readCommitted struct{ driver.Connector }

// Connect implements driver.Connector.
func (c readCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	execer := conn.(driver.ExecerContext)
	_, err = execer.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil)
	if err == nil {
		_, err = execer.ExecContext(ctx, "SET SESSION wsrep_sync_wait = 3", nil)
		const unknownVariable = 1193
		if mysqlNumber(err) == unknownVariable {
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// refuseCollation refuses key columns that compare case-insensitively: two names that differ only in case would be
// one. The migrations set a binary collation; someone may have changed it.
func (s *Store) refuseCollation(ctx context.Context) error {
	columns, err := s.caseBlindColumns(ctx)
	if err != nil {
		return err
	}
	if len(columns) > 0 {
		return fmt.Errorf("key columns must not compare case-insensitively: %s; "+
			"run ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", strings.Join(columns, ", "))
	}
	return nil
}
