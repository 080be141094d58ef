package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"otpbridge/server/otp"
)

// table describes a table whose rows are read and written a few at a time. Its columns are listed once, beside the row
// type, and all its statements are generated from them.
type table[R any] struct {
	name    string
	columns func(*R) []column
}

// column is one column and its field: a pointer to an id, a hash, a text, a number, a flag, a moment, bytes or a list
// of texts. The zero id, the zero moment and nil numbers, bytes and lists are NULL. A cell stores a field in a form of
// its own.
type column struct {
	name  string
	field any
}

// cell reads a column into its field, and returns what is written for it.
type cell interface {
	scan(column string, value any) error
	value() driver.Value
}

// Scan implements sql.Scanner.
func (c column) Scan(value any) error {
	ok := true
	switch field := c.field.(type) {
	case cell:
		return field.scan(c.name, value)
	case *otp.ID:
		*field = otp.ID{}
		ok = value == nil || copy(field[:], bytesOf(value)) == len(field)
	case *[32]byte:
		*field = [32]byte{}
		ok = value == nil || copy(field[:], bytesOf(value)) == len(field)
	case *[]byte:
		*field = append([]byte(nil), bytesOf(value)...)
	case *string:
		*field = string(bytesOf(value))
	case *otp.Millis:
		*field = otp.Millis(numberOf(value, &ok))
	case *int64:
		*field = numberOf(value, &ok)
	case *int:
		*field = int(numberOf(value, &ok))
	case **int:
		*field = nil
		if value != nil {
			number := int(numberOf(value, &ok))
			*field = &number
		}
	case *bool:
		number := numberOf(value, &ok)
		*field, ok = number == 1, ok && (number == 0 || number == 1)
	case *[]string:
		*field = nil
		// An unreadable list must not become none, which allows everything.
		ok = value == nil || json.Unmarshal(bytesOf(value), field) == nil && *field != nil
	default:
		panic(fmt.Sprintf("sql: a column cannot be kept in a %T", field))
	}
	if !ok {
		return fmt.Errorf("column %s holds a %T that is not what was expected", c.name, value)
	}
	return nil
}

// value returns the value to write.
func (c column) value() driver.Value {
	switch field := c.field.(type) {
	case cell:
		return field.value()
	case *otp.ID:
		if field.IsZero() {
			return nil
		}
		return field[:]
	case *[32]byte:
		if *field == [32]byte{} {
			return nil
		}
		return field[:]
	case *[]byte:
		return nullable(*field)
	case *string:
		return *field
	case *otp.Millis:
		return moment(*field)
	case *int64:
		return *field
	case *int:
		return int64(*field)
	case **int:
		return optionalInt(*field)
	case *bool:
		return bit(*field)
	case *[]string:
		if *field == nil {
			return nil
		}
		return textsJSON(*field)
	default:
		panic(fmt.Sprintf("sql: a column cannot be kept in a %T", field))
	}
}

func bytesOf(value any) []byte {
	switch value := value.(type) {
	case []byte:
		return value
	case string:
		return []byte(value)
	}
	return nil
}

func numberOf(value any, ok *bool) int64 {
	switch value := value.(type) {
	case nil:
		return 0
	case int64:
		return value
	case []byte:
		n, err := strconv.ParseInt(string(value), 10, 64)
		*ok = err == nil
		return n
	}
	*ok = false
	return 0
}

// selects returns a SELECT of all columns, up to and including WHERE.
func (t table[R]) selects() string {
	return `SELECT ` + t.names() + ` FROM ` + t.name + ` WHERE `
}

// layout returns the shape of the table's INSERTs.
func (t table[R]) layout(insert string) *layout { return newLayout(insert, t.name, t.names()) }

func (t table[R]) names() string {
	var names []string
	for _, c := range t.columns(new(R)) {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// find reads the rows that match a condition. It may end in ORDER BY and LIMIT.
func (t table[R]) find(ctx context.Context, s *Store, where string, args ...any) (all []R, err error) {
	err = s.each(ctx, "read "+t.name, t.selects()+where, args, func(rows *sql.Rows) error {
		var r R
		columns := t.columns(&r)
		targets := make([]any, len(columns))
		for i := range columns {
			targets[i] = columns[i]
		}
		err := rows.Scan(targets...)
		all = append(all, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// one is find for a condition that matches at most one row; ErrNotFound for none.
func (t table[R]) one(ctx context.Context, s *Store, where string, args ...any) (R, error) {
	return only(t.find(ctx, s, where, args...))
}

// only returns the first of what was found; ErrNotFound for none.
func only[R any](all []R, err error) (r R, _ error) {
	switch {
	case err != nil:
		return r, err
	case len(all) == 0:
		return r, ErrNotFound
	}
	return all[0], nil
}

// lock reads and locks the rows that match a condition, inside a transaction that will decide on them.
func (t table[R]) lock(ctx context.Context, tx *Tx, where string, args ...driver.Value) ([]R, error) {
	var all []R
	err := tx.query(ctx, t.selects()+where+tx.store.dialect.lock, args, func(found row) error {
		r, err := t.read(found)
		all = append(all, r)
		return err
	})
	return all, err
}

// read reads a row that a transaction selected.
func (t table[R]) read(found row) (r R, err error) {
	for i, c := range t.columns(&r) {
		if err := c.Scan(found[i]); err != nil {
			return r, err
		}
	}
	return r, nil
}

// values returns the values of a row, in the order of the columns.
func (t table[R]) values(r *R) []driver.Value {
	columns := t.columns(r)
	values := make([]driver.Value, len(columns))
	for i, c := range columns {
		values[i] = c.value()
	}
	return values
}

func (t table[R]) insert(ctx context.Context, tx *Tx, r *R) error {
	values := t.values(r)
	return tx.exec(ctx, insertText(`INSERT INTO `+t.name+` (`+t.names()+`) VALUES `, len(values), 1), values...)
}
