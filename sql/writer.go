package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// writer is the one connection that writes, with its prepared statements. Whoever uses it holds
// Store.writing.
type writer struct {
	db         *sql.DB
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

// errCommit marks an error of COMMIT itself, after which nobody knows what happened.
var errCommit = errors.New("commit")

// errConnect marks an error of opening a connection, whatever the database said.
var errConnect = errors.New("connect to the database")

// transaction runs do between begin and COMMIT, and rolls back if it returns an error or
// panics. After an error that leaves the connection in doubt the next transaction opens a new one.
func (w *writer) transaction(ctx context.Context, begin string, do func(*writer) error) (err error) {
	if err := w.connect(ctx); err != nil {
		return err
	}
	if begin != "" {
		if err := w.control(ctx, begin); err != nil {
			w.disconnect()
			return fmt.Errorf("begin: %w", err)
		}
	}
	committed := false
	defer func() {
		if committed {
			return
		}
		if rollback := w.control(context.Background(), "ROLLBACK"); rollback != nil {
			w.disconnect()
		}
	}()
	if err := do(w); err != nil {
		return err
	}
	if err := w.control(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("%w: %w", errCommit, err)
	}
	committed = true
	return nil
}

// control runs a statement that steers the transaction; MySQL cannot prepare those.
func (w *writer) control(ctx context.Context, text string) error {
	_, err := w.conn.ExecContext(ctx, text)
	return err
}

// connect makes sure of a connection. One that the server has closed since its last use, as
// servers do after a while or when they restart, is found out before anything depends on it.
func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil {
		err := w.conn.Raw(func(conn any) error {
			if resetter, ok := conn.(driver.SessionResetter); ok {
				return resetter.ResetSession(ctx)
			}
			return nil
		})
		if err == nil {
			return nil
		}
		w.disconnect()
	}
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errConnect, err)
	}
	w.conn, w.statements = conn, map[string]*sql.Stmt{}
	return nil
}

func (w *writer) disconnect() {
	if w.conn == nil {
		return
	}
	for _, statement := range w.statements {
		statement.Close()
	}
	w.conn.Close()
	w.conn, w.statements = nil, nil
}

func (w *writer) close() error {
	w.disconnect()
	return w.db.Close()
}

func (w *writer) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	if statement, found := w.statements[text]; found {
		return statement, nil
	}
	statement, err := w.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", verb(text), err)
	}
	w.statements[text] = statement
	return statement, nil
}

// exec runs a prepared statement whose row count does not matter.
func (w *writer) exec(ctx context.Context, text string, args ...any) error {
	_, err := w.affect(ctx, text, args...)
	return err
}

// affect runs a prepared statement and tells how many rows it matched.
func (w *writer) affect(ctx context.Context, text string, args ...any) (int64, error) {
	statement, err := w.prepared(ctx, text)
	if err != nil {
		return 0, err
	}
	result, err := statement.ExecContext(ctx, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", verb(text), err)
	}
	return result.RowsAffected()
}

// query runs a prepared SELECT and hands each row to scan.
func (w *writer) query(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	statement, err := w.prepared(ctx, text)
	if err != nil {
		return err
	}
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", verb(text), err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("%s: %w", verb(text), err)
		}
	}
	return rows.Err()
}

// insert writes rows of width columns each with as few statements as the fixed sizes allow: a
// statement is prepared once for each size, and a batch of any size is a sum of powers of two.
func (w *writer) insert(ctx context.Context, into string, width, rows int, args []any) error {
	for first := 0; first < rows; {
		n := maxInsert
		for n > rows-first {
			n /= 2
		}
		if err := w.exec(ctx, insertText(into, width, n), args[first*width:(first+n)*width]...); err != nil {
			return err
		}
		first += n
	}
	return nil
}

// maxInsert is the most rows one INSERT carries: a power of two that keeps the widest row's
// parameters well below every database's limit.
const maxInsert = 64

func insertText(into string, width, rows int) string {
	row := "(" + strings.Repeat("?,", width-1) + "?)"
	return into + strings.Repeat(row+",", rows-1) + row
}

// in is the tail of an IN list and its arguments. Lists are padded to a power of two with their
// last member, so that a handful of prepared statements serves every batch.
func in[T any](members []T, arg func(T) any) (list string, args []any) {
	size := 1
	for size < len(members) {
		size *= 2
	}
	args = make([]any, size)
	for i := range args {
		args[i] = arg(members[min(i, len(members)-1)])
	}
	return "(" + strings.Repeat("?,", size-1) + "?)", args
}

// verb names a statement in errors: its first words, never its values.
func verb(text string) string {
	words := strings.Fields(text)
	return strings.ToLower(strings.Join(words[:min(len(words), 3)], " "))
}

// jitter is the pause before another try: random, so that two servers that collided once do not
// collide again, and longer each time.
func jitter(try int) time.Duration {
	return time.Duration(1+rand.Int64N(int64(5*try))) * time.Millisecond
}
