package sql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"otpbridge/server/files"
)

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
	columns: `
		SELECT CONCAT(table_name, '.', column_name)
		FROM information_schema.columns
		WHERE table_schema = DATABASE()`,
	migrated: `CAST(UNIX_TIMESTAMP(tstamp) AS SIGNED)`,
	tables:   `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name`,
	order:    "STRAIGHT_JOIN",
	now:      "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
	fate:     mysqlFate,
	taken:    func(err error) bool { return mysqlTaken(mysqlNumber(err)) },
	denied:   func(err error) bool { return mysqlDenied(mysqlNumber(err)) },
	inspect:  (*Store).inspectMySQL,
	place: func(databaseURL string) string { // without user and password
		parsed, err := url.Parse(databaseURL)
		if err != nil {
			return databaseURL
		}
		return parsed.Host + parsed.Path + parsed.Query().Get("socket")
	},
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

// mysqlFate goes by the server's error number; an error without one occurred before the server.
func mysqlFate(err error) fate {
	if number := mysqlNumber(err); number != 0 {
		return mysqlNumberFate(number)
	}
	network := (*net.OpError)(nil)
	for _, gone := range []error{driver.ErrBadConn, mysql.ErrInvalidConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF,
		context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, gone) {
			return lost
		}
	}
	if errors.As(err, &network) {
		return lost
	}
	return faulty
}

// mysqlNumberFate knows the numbers of MySQL, MariaDB, Galera and TiDB.
func mysqlNumberFate(number uint16) fate {
	if mysqlTaken(number) {
		return again
	}
	switch number {
	case 1020, // MariaDB: the row has changed since the snapshot
		1180,             // an error during COMMIT, which Galera reports for a conflict
		1205, 1213, 1614, // lock wait timeout, deadlock (on Galera a conflict, at COMMIT too), the same for XA
		1317,       // interrupted, as Galera does to the loser of a conflict
		1412, 1615, // a table was changed during the statement
		1637,                               // too many transactions at once
		3101,                               // rolled back by group replication
		3572,                               // a lock with NOWAIT
		8002, 8022, 8028, 9003, 9004, 9007: // TiDB: conflicts, a changed schema, a busy or locked store
		return again
	case 1047, 1053, 1077, 1078, 1079, 1080, 1152, 1184, // not prepared, shutting down, aborted
		1156, 1157, 1158, 1159, 1160, 1161, // packets that could not be read or written
		1927, 2006, 2013, 3032, 3168, 3169, 4031, // killed, gone, offline
		1969, 3024, // a statement took longer than the server allows
		1026, 1030, // error writing a file, or of the storage engine
		9001, 9002, 9005: // TiDB: a part of the cluster does not answer
		return lost
	case 1290, 1792, 1836, // read-only
		1021, 1114, 1197, 3019, 3573, // full: disk, table, transaction cache, undo log
		1037, 1038, 1041, 1135, 1206, // out of memory, threads or locks
		1040, 1129, 1130, 1203, 1226, // too many connections, or none for this host or user
		1044, 1045, 1142, 1143, 1227, 1370, 1820, // denied
		1034, 1035, 1194, 1195, 1712, 1812, 1813, 1932, // damaged
		1049, 1054, 1146, // the schema, a column or a table is not there
		3098, 3100: // group replication cannot take it
		return refused
	}
	return faulty
}

// mysqlTaken reports whether a unique key was violated.
func mysqlTaken(number uint16) bool {
	switch number {
	case 1022, 1062, 1169, 1586, 1859:
		return true
	}
	return false
}

// mysqlNumber returns the server's error number, 0 if the error is not the server's.
func mysqlNumber(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// mysqlDenied reports whether the user lacks a privilege on a table or on the schema.
func mysqlDenied(number uint16) bool { return number == 1142 || number == 1044 }
