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

// writer is the one connection that writes, with its prepared statements. Callers hold Store.writing.
//
// It uses the driver's connection directly, below database/sql, whose conversions, locks and copies took a tenth of an
// operation's time. So values must have the driver's types (int64, []byte, string, bool, nil), and a row is valid only
// until the next.
type writer struct {
	db         *sql.DB
	pipelines  bool // several statements can be sent in one packet
	file       *databaseFile
	conn       *sql.Conn
	statements map[string]driver.Stmt
	forgotten  bool                // the connection is in doubt
	args       []driver.NamedValue // of the running statement
	length     int                 // of the last packet of statements
	inserts    map[insertShape]string
}

// session is the writer inside a transaction.
type session struct {
	*writer
	conn driver.Conn
}

// errCommit marks an error of COMMIT itself: it is not known whether the transaction was committed.
var errCommit = errors.New("commit")

// errConnect marks any error of opening a connection.
var errConnect = errors.New("connect to the database")

// transaction runs do between begin and COMMIT, and rolls back if do returns an error or panics. If the connection may
// be unusable afterwards, the next transaction opens a new one.
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

// connect checks the connection, and opens a new one if there is none or it is unusable. Servers close idle
// connections, and all of them when they restart; this finds out before anything depends on the connection.
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

// forget marks the connection as unusable: the next transaction opens another.
func (w *writer) forget() { w.forgotten = true }

// release closes the statements: SQLite keeps a connection, its transaction and its lock as long as one of its
// statements is open.
func (w *writer) release() {
	for _, statement := range w.statements {
		_ = statement.Close()
	}
	w.statements = nil
}

// disconnect closes the connection instead of returning it to the pool: it may be in the middle of a transaction.
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

// control runs a statement that begins or ends a transaction, prepared if the database can prepare it; MySQL cannot.
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

// exec runs a prepared statement.
func (s *session) exec(ctx context.Context, text string, args ...driver.Value) error {
	_, err := s.affect(ctx, text, args...)
	return err
}

// affect runs a prepared statement and returns how many rows it matched.
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

// query runs a prepared SELECT and passes each row to scan.
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

// lookup is a SELECT and the function that reads its rows.
type lookup struct {
	text string
	args []driver.Value
	scan func(row) error
}

// queryAll runs SELECTs in order. If the database accepts it, they are sent in one packet, as text instead of
// prepared: parsing them again costs less than a round trip each.
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

// named numbers a statement's arguments, in memory that the next statement reuses.
func (w *writer) named(args []driver.Value) []driver.NamedValue {
	w.args = w.args[:0]
	w.more(args)
	return w.args
}

// more numbers the arguments of another statement in the same packet.
func (w *writer) more(args []driver.Value) {
	for _, arg := range args {
		w.args = append(w.args, driver.NamedValue{Ordinal: len(w.args) + 1, Value: arg})
	}
}

// jitter returns a random pause before the next try, longer each time: two servers that collided should not collide
// again.
func jitter(try int) time.Duration {
	return time.Duration(1+rand.Int64N(int64(5*try))) * time.Millisecond
}
