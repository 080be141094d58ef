package sql

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// fate is what an error means for its batch. This file alone assigns fates to the errors of databases.
type fate int

const (
	// faulty may be caused by one operation: the operations are run again one by one.
	faulty fate = iota
	// again is caused by another writer: the whole batch runs again.
	again
	// lost is a connection or a disk that failed: the batch fails at once. If its COMMIT failed, it may have happened.
	lost
	// refused is a database that would now refuse every batch: full, read-only, damaged or without the necessary
	// rights. The batch fails at once, and nothing of it happened.
	refused
)

// errGuard says that a guarded write did not find the version it was decided on.
var errGuard = errors.New("row changed between load and write")

// transact runs do in a transaction of the writer. It fails if the committed data is not in the file that the
// database's path names.
//
// After a failure the connection is opened again for the next transaction: a disk that was read-only when SQLite
// opened a file on it stays so for that connection. After a file was moved it is not, because a new connection would
// use the file in its place as the database.
func (s *Store) transact(ctx context.Context, do func(*session) error) error {
	err := s.writer.transaction(ctx, s.dialect.begin, func(w *session) error {
		if err := s.witness.settle(ctx, w); err != nil {
			return err
		}
		return do(w)
	})
	if err == nil {
		return cmp.Or(s.witness.committed(), s.writer.file.inPlace())
	}
	s.witness.failed()
	if errors.Is(err, ErrRestored) {
		s.outdate.Do(func() { close(s.outdated) })
	}
	if f := s.fate(err); (f == lost || f == refused) && !errors.Is(err, ErrMoved) {
		s.writer.forget()
	}
	return err
}

func (s *Store) fate(err error) fate {
	switch {
	case errors.Is(err, errGuard):
		return again
	case errors.Is(err, errConnect): // refused, full or gone, but not caused by an operation
		return lost
	case errors.Is(err, ErrMoved), errors.Is(err, ErrRestored):
		return refused
	}
	return s.dialect.fate(err)
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
