package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"otpbridge/server/otp"
)

// row is one row as the driver returns it. Its bytes belong to the driver; copy them to keep them.
type row []driver.Value

// scanRow reads a row through database/sql in the form that the writer's connection returns.
func scanRow(rows *sql.Rows) (row, error) {
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make(row, len(columns))
	targets := make([]any, len(values))
	for i := range values {
		targets[i] = (*any)(&values[i])
	}
	return values, rows.Scan(targets...)
}

// each runs a SELECT outside the writer and calls scan for each row. An error begins with what was tried.
func (s *Store) each(ctx context.Context, what, text string, args []any, scan func(*sql.Rows) error) error {
	rows, err := s.reads.QueryContext(ctx, text, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return rows.Err()
}

// counts runs a SELECT of names and numbers.
func (s *Store) counts(ctx context.Context, what, text string, args ...any) (map[string]int, error) {
	counts := map[string]int{}
	return counts, s.each(ctx, what, text, args, func(rows *sql.Rows) error {
		var name string
		var n int
		err := rows.Scan(&name, &n)
		counts[name] = n
		return err
	})
}

// look is each for a lookup.
func (s *Store) look(ctx context.Context, what string, l lookup) error {
	args := make([]any, len(l.args))
	for i, arg := range l.args {
		args[i] = arg
	}
	return s.each(ctx, what, l.text, args, func(rows *sql.Rows) error {
		found, err := scanRow(rows)
		if err != nil {
			return err
		}
		return l.scan(found)
	})
}

// reader reads a row's columns one after the other and stores the first error.
type reader struct {
	row  row
	next int
	err  error
}

func (r *reader) value() driver.Value {
	value := r.row[r.next]
	r.next++
	return value
}

func (r *reader) fail(expected string, value driver.Value) {
	if r.err == nil {
		r.err = fmt.Errorf("column %d holds a %T where %s was expected", r.next, value, expected)
	}
}

// number reads an integer, 0 for NULL.
func (r *reader) number() int64 {
	switch value := r.value().(type) {
	case int64:
		return value
	case uint64:
		return int64(value)
	case nil:
		return 0
	default:
		r.fail("a number", value)
		return 0
	}
}

func (r *reader) moment() otp.Millis { return otp.Millis(r.number()) }

// borrowed reads bytes that are valid until the next row, nil for NULL.
func (r *reader) borrowed() []byte {
	switch value := r.value().(type) {
	case []byte:
		return value
	case string:
		return []byte(value)
	case nil:
		return nil
	default:
		r.fail("bytes", value)
		return nil
	}
}

func (r *reader) bytes() []byte {
	borrowed := r.borrowed()
	if borrowed == nil {
		return nil
	}
	return append([]byte{}, borrowed...)
}

func (r *reader) text() string {
	if text, isText := r.row[r.next].(string); isText {
		r.next++
		return text
	}
	return string(r.borrowed())
}

func (r *reader) id() (id otp.ID) {
	if raw := r.borrowed(); copy(id[:], raw) != len(id) || len(raw) != len(id) {
		r.fail("an id", raw)
	}
	return id
}

// optionalID reads an id, zero for NULL.
func (r *reader) optionalID() (id otp.ID) {
	if r.row[r.next] == nil {
		r.next++
		return id
	}
	return r.id()
}

// window reads a window that encodeWindow wrote.
func (r *reader) window() otp.Window { return decoded(r, decodeWindow) }

// decoded reads bytes and decodes them.
func decoded[T any](r *reader, decode func([]byte) (T, error)) T {
	value, err := decode(r.borrowed())
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("column %d: %w", r.next, err)
	}
	return value
}

// idScan reads an id column through database/sql without a copy in between.
type idScan struct{ id *otp.ID }

// Scan implements sql.Scanner.
func (s idScan) Scan(value any) error {
	raw, ok := value.([]byte)
	if !ok || len(raw) != len(s.id) {
		return fmt.Errorf("an id of %d bytes was expected, the row has %T of %d", len(s.id), value, len(raw))
	}
	copy(s.id[:], raw)
	return nil
}

func idArg(id otp.ID) any { return id[:] }

func idValue(id otp.ID) driver.Value { return id[:] }

// moment returns NULL for zero.
func moment(at otp.Millis) driver.Value {
	if at == 0 {
		return nil
	}
	return int64(at)
}

// values wraps what a batch writes in interfaces, and reuses the wrapped values in the next batch: a new value for
// each id and moment would be a third of a server's allocations. This is safe because a driver does not use a
// statement's values after the statement has ended.
type values struct {
	ids     []boxedID
	used    int // of ids, in this batch
	moments map[otp.Millis]driver.Value
	windows map[otp.Millis]driver.Value // of one moment
	texts   map[string]driver.Value
}

type boxedID struct {
	id    *otp.ID
	value driver.Value // a []byte over id
}

func newValues() values {
	return values{moments: make(map[otp.Millis]driver.Value, 16), windows: make(map[otp.Millis]driver.Value, 16),
		texts: make(map[string]driver.Value, 16)}
}

// reset releases the values of the last batch.
func (v *values) reset() {
	v.used = 0
	clear(v.moments)
	clear(v.windows)
	clear(v.texts)
}

func (v *values) id(id otp.ID) driver.Value {
	if v.used == len(v.ids) {
		held := new(otp.ID)
		v.ids = append(v.ids, boxedID{id: held, value: held[:]})
	}
	box := v.ids[v.used]
	v.used++
	*box.id = id
	return box.value
}

// idOrNull returns NULL for the zero id.
func (v *values) idOrNull(id otp.ID) driver.Value {
	if id.IsZero() {
		return nil
	}
	return v.id(id)
}

// moment returns NULL for zero. The operations of a batch share few moments.
func (v *values) moment(at otp.Millis) driver.Value {
	if at == 0 {
		return nil
	}
	value, known := v.moments[at]
	if !known {
		value = int64(at)
		v.moments[at] = value
	}
	return value
}

// window returns NULL for an empty window. A new recipient's window holds one moment, which others in the batch share.
func (v *values) window(w otp.Window) driver.Value {
	if len(w) != 1 {
		return nullable(encodeWindow(w))
	}
	value, known := v.windows[w[0]]
	if !known {
		value = encodeWindow(w)
		v.windows[w[0]] = value
	}
	return value
}

// text returns a string that many rows of a batch share.
func (v *values) text(s string) driver.Value {
	value, known := v.texts[s]
	if !known {
		value = s
		v.texts[s] = value
	}
	return value
}
