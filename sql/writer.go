package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// writer is the one connection that writes, with its prepared statements. Whoever uses it holds
// Store.writing.
//
// It works on the driver's connection itself, one level below database/sql: every operation
// passes here, and the conversions, locks and copies in between took a tenth of its time. It
// gives in return what database/sql would do for it: values must be of the driver's own types
// (int64, []byte, string, bool, nil), and a row is only good until the next.
type writer struct {
	db         *sql.DB
	pipelines  bool // several statements travel in one packet
	file       *databaseFile
	conn       *sql.Conn
	statements map[string]driver.Stmt
	forgotten  bool                // the connection is in doubt
	args       []driver.NamedValue // of the statement that runs
	length     int                 // of the last packet of statements
	inserts    map[insertShape]string
}

// session is the writer inside a transaction.
type session struct {
	*writer
	conn driver.Conn
}

// errCommit marks an error of COMMIT itself, after which nobody knows what happened.
var errCommit = errors.New("commit")

// errConnect marks an error of opening a connection, whatever the database said.
var errConnect = errors.New("connect to the database")

// transaction runs do between begin and COMMIT, and rolls back if it returns an error or
// panics. After an error that leaves the connection in doubt the next transaction opens a new one.
func (w *writer) transaction(ctx context.Context, begin string, do func(*session) error) error {
	if err := w.connect(ctx); err != nil {
		return err
	}
	return w.conn.Raw(func(conn any) error {
		return w.run(ctx, &session{writer: w, conn: conn.(driver.Conn)}, begin, do)
	})
}

func (w *writer) run(ctx context.Context, s *session, begin string, do func(*session) error) error {
	if begin != "" {
		if err := s.control(ctx, begin); err != nil {
			w.forget()
			return fmt.Errorf("begin: %w", err)
		}
	}
	committed := false
	defer func() {
		if committed {
			return
		}
		if rollback := s.control(context.Background(), "ROLLBACK"); rollback != nil {
			w.forget()
		}
	}()
	if err := do(s); err != nil {
		return err
	}
	if err := s.control(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("%w: %w", errCommit, err)
	}
	committed = true
	return nil
}

// connect makes sure of a connection. One that the server has closed since its last use, as
// servers do after a while or when they restart, is found out before anything depends on it.
func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil && !w.forgotten {
		err := w.conn.Raw(func(conn any) error {
			if resetter, ok := conn.(driver.SessionResetter); ok {
				return resetter.ResetSession(ctx)
			}
			return nil
		})
		if err == nil {
			return nil
		}
	}
	w.forget()
	w.release()
	if w.file == nil {
		w.disconnect()
	}
	if err := w.file.connecting(); err != nil {
		return err
	}
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errConnect, err)
	}
	w.disconnect() // after the new one is open: see databaseFile
	w.conn, w.statements, w.forgotten = conn, map[string]driver.Stmt{}, false
	if err := w.file.inPlace(); err != nil {
		w.forget()
		return err
	}
	return nil
}

// forget gives the connection up: the next transaction opens another.
func (w *writer) forget() { w.forgotten = true }

// release closes the statements: SQLite keeps a connection, its transaction and its lock for as long
// as a statement of it is left.
func (w *writer) release() {
	for _, statement := range w.statements {
		_ = statement.Close()
	}
	w.statements = nil
}

// disconnect closes the connection for good rather than give it back: it may be in the middle of
// a transaction.
func (w *writer) disconnect() {
	if w.conn == nil {
		return
	}
	w.release()
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	w.conn.Close()
	w.conn = nil
}

func (w *writer) close() error {
	w.disconnect()
	return w.db.Close()
}

// control runs a statement that steers the transaction, prepared where the database can do
// that: MySQL cannot.
func (s *session) control(ctx context.Context, text string) error {
	if !s.pipelines {
		return s.exec(ctx, text)
	}
	_, err := s.conn.(driver.ExecerContext).ExecContext(ctx, text, nil)
	return err
}

func (s *session) prepared(ctx context.Context, text string) (driver.Stmt, error) {
	if statement, found := s.statements[text]; found {
		return statement, nil
	}
	statement, err := s.conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", verb(text), err)
	}
	s.statements[text] = statement
	return statement, nil
}

// exec runs a prepared statement whose row count does not matter.
func (s *session) exec(ctx context.Context, text string, args ...driver.Value) error {
	_, err := s.affect(ctx, text, args...)
	return err
}

// affect runs a prepared statement and tells how many rows it matched.
func (s *session) affect(ctx context.Context, text string, args ...driver.Value) (int64, error) {
	statement, err := s.prepared(ctx, text)
	if err != nil {
		return 0, err
	}
	result, err := statement.(driver.StmtExecContext).ExecContext(ctx, s.named(args))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", verb(text), err)
	}
	return result.RowsAffected()
}

// query runs a prepared SELECT and hands each row to scan.
func (s *session) query(ctx context.Context, text string, args []driver.Value, scan func(row) error) error {
	statement, err := s.prepared(ctx, text)
	if err != nil {
		return err
	}
	rows, err := statement.(driver.StmtQueryContext).QueryContext(ctx, s.named(args))
	if err != nil {
		return fmt.Errorf("%s: %w", verb(text), err)
	}
	defer rows.Close()
	return scanAll(rows, text, scan)
}

func scanAll(rows driver.Rows, text string, scan func(row) error) error {
	values := make(row, len(rows.Columns()))
	for {
		err := rows.Next(values)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = scan(values)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", verb(text), err)
		}
	}
}

// lookup is a SELECT with what is done with its rows.
type lookup struct {
	text string
	args []driver.Value
	scan func(row) error
}

// queryAll runs SELECTs in their order. Several of them travel in one packet where the database
// takes that, which then reads each as text: a round trip costs more.
func (s *session) queryAll(ctx context.Context, lookups []lookup) error {
	if !s.pipelines || len(lookups) < 2 {
		for _, l := range lookups {
			if err := s.query(ctx, l.text, l.args, l.scan); err != nil {
				return err
			}
		}
		return nil
	}
	var text strings.Builder
	s.args = s.args[:0]
	for i, l := range lookups {
		if i > 0 {
			text.WriteByte(';')
		}
		text.WriteString(l.text)
		s.more(l.args)
	}
	rows, err := s.conn.(driver.QueryerContext).QueryContext(ctx, text.String(), s.args)
	if err != nil {
		return fmt.Errorf("%s: %w", verb(lookups[0].text), err)
	}
	defer rows.Close()
	for i, l := range lookups {
		if i > 0 {
			if err := rows.(driver.RowsNextResultSet).NextResultSet(); err != nil {
				return fmt.Errorf("%s: %w", verb(l.text), err)
			}
		}
		if err := scanAll(rows, l.text, l.scan); err != nil {
			return err
		}
	}
	return nil
}

// named numbers a statement's arguments, in memory that the next statement uses again.
func (w *writer) named(args []driver.Value) []driver.NamedValue {
	w.args = w.args[:0]
	w.more(args)
	return w.args
}

// more numbers further arguments, of another statement that travels along.
func (w *writer) more(args []driver.Value) {
	for _, arg := range args {
		w.args = append(w.args, driver.NamedValue{Ordinal: len(w.args) + 1, Value: arg})
	}
}

// jitter is the pause before another try: random, so that two servers that collided once do not
// collide again, and longer each time.
func jitter(try int) time.Duration {
	return time.Duration(1+rand.Int64N(int64(5*try))) * time.Millisecond
}
