package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"otpbridge/server/otp"
)

// fields describes a table whose rows batches read and write by the hundred. Each column is listed once, beside the
// row type, with how it is read and written. Unlike the columns of a table, they share values between the rows of a
// batch and allocate nothing for a row.
type fields[R any] struct {
	table string
	names string // as in a SELECT or an INSERT
	all   []field[R]
}

type field[R any] struct {
	name  string
	read  func(*reader, *R)
	write func(*values, *R) driver.Value
}

func fieldsOf[R any](table string, all ...field[R]) fields[R] {
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.name
	}
	return fields[R]{table, strings.Join(names, ", "), all}
}

// only returns the fields with these names, in their order, to read a part of each row.
func (f fields[R]) only(names ...string) fields[R] {
	var some []field[R]
	for _, name := range names {
		for _, one := range f.all {
			if one.name == name {
				some = append(some, one)
			}
		}
	}
	if len(some) != len(names) {
		panic("sql: a column is not among the fields: " + strings.Join(names, ", "))
	}
	return fieldsOf(f.table, some...)
}

// layout returns the shape of the table's INSERTs.
func (f fields[R]) layout(insert string) *layout { return newLayout(insert, f.table, f.names) }

// selects returns a SELECT of all fields, up to and including WHERE.
func (f fields[R]) selects() string { return `SELECT ` + f.names + ` FROM ` + f.table + ` WHERE ` }

// read reads the next columns into a row.
func (f fields[R]) read(from *reader, row *R) {
	for i := range f.all {
		f.all[i].read(from, row)
	}
}

// scan reads a whole row. The reader is used again for the next.
func (f fields[R]) scan(from *reader, found row, into *R) error {
	*from = reader{row: found}
	f.read(from, into)
	return f.fault(from)
}

// fault returns the reader's error, named.
func (f fields[R]) fault(from *reader) error {
	if from.err != nil {
		return fmt.Errorf("%s: %w", f.table, from.err)
	}
	return nil
}

// find reads the rows that match a condition, outside of batches. It may end in ORDER BY and LIMIT.
func (f fields[R]) find(ctx context.Context, s *Store, where string, args ...driver.Value) (all []R, err error) {
	var from reader
	err = s.look(ctx, "read "+f.table, lookup{f.selects() + where, args, func(found row) error {
		var r R
		err := f.scan(&from, found, &r)
		all = append(all, r)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// one is find for a condition that matches at most one row; ErrNotFound for none.
func (f fields[R]) one(ctx context.Context, s *Store, where string, args ...driver.Value) (R, error) {
	return only(f.find(ctx, s, where, args...))
}

// appendTo appends the values of a row to those of an INSERT.
func (f fields[R]) appendTo(inserts []driver.Value, v *values, row *R) []driver.Value {
	for i := range f.all {
		inserts = append(inserts, f.all[i].write(v, row))
	}
	return inserts
}

func idField[R any](name string, of func(*R) *otp.ID) field[R] {
	return field[R]{name,
		func(from *reader, row *R) { *of(row) = from.id() },
		func(v *values, row *R) driver.Value { return v.id(*of(row)) },
	}
}

// optionalIDField is NULL for the zero id.
func optionalIDField[R any](name string, of func(*R) *otp.ID) field[R] {
	return field[R]{name,
		func(from *reader, row *R) { *of(row) = from.optionalID() },
		func(v *values, row *R) driver.Value { return v.idOrNull(*of(row)) },
	}
}

// versionField is 1 in a new row, whose version in memory is 0.
func versionField[R any](of func(*R) *int64) field[R] {
	return field[R]{"version",
		func(from *reader, row *R) { *of(row) = from.number() },
		func(*values, *R) driver.Value { return int64(1) },
	}
}

func numberField[R any, N ~int | ~int64 | ~uint8](name string, of func(*R) *N) field[R] {
	return field[R]{name,
		func(from *reader, row *R) { *of(row) = N(from.number()) },
		func(_ *values, row *R) driver.Value { return int64(*of(row)) },
	}
}

// momentField is NULL for zero.
func momentField[R any](name string, of func(*R) *otp.Millis) field[R] {
	return field[R]{name,
		func(from *reader, row *R) { *of(row) = from.moment() },
		func(v *values, row *R) driver.Value { return v.moment(*of(row)) },
	}
}

// textField is a text that many rows of a batch share.
func textField[R any, T ~string](name string, of func(*R) *T) field[R] {
	return field[R]{name,
		func(from *reader, row *R) { *of(row) = T(from.text()) },
		func(v *values, row *R) driver.Value { return v.text(string(*of(row))) },
	}
}

// bytesField is NULL for nil.
func bytesField[R any](name string, of func(*R) *[]byte) field[R] {
	return field[R]{name,
		func(from *reader, row *R) { *of(row) = from.bytes() },
		func(_ *values, row *R) driver.Value { return nullable(*of(row)) },
	}
}

// windowField is NULL for an empty window.
func windowField[R any](name string, of func(*R) *otp.Window) field[R] {
	return field[R]{name,
		func(from *reader, row *R) { *of(row) = from.window() },
		func(v *values, row *R) driver.Value { return v.window(*of(row)) },
	}
}
