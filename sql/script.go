package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/bits"
	"strings"
)

// insertShape is what the text of an INSERT depends on.
type insertShape struct {
	into string
	rows int
}

// script is the writes of one transaction, made together.
type script struct {
	writes []write
	args   []driver.Value // of the guarded writes, one after the other
}

// write is one statement of a script.
type write struct {
	text    string // up to and including VALUES for an INSERT
	args    []driver.Value
	width   int    // of an INSERT's row; 0 for an UPDATE
	guards  int    // the exact number of rows that it must match; 0: any number
	matched *int64 // receives how many rows it matched; may be nil
}

// guard adds an UPDATE that must find one row with the version it was decided on.
func (c *script) guard(text string, args ...driver.Value) { c.guardAll(1, text, args...) }

// guardAll adds an UPDATE that must find this number of rows with the version they were decided on.
func (c *script) guardAll(rows int, text string, args ...driver.Value) {
	from := len(c.args)
	c.args = append(c.args, args...)
	c.writes = append(c.writes, write{text: text, args: c.args[from:], guards: rows})
}

// count adds an UPDATE that may match any number of rows, and stores the number in matched unless that is nil.
func (c *script) count(matched *int64, text string, args ...driver.Value) {
	c.guard(text, args...)
	last := &c.writes[len(c.writes)-1]
	last.guards, last.matched = 0, matched
}

// layout is the columns of a table that a batch inserts into.
type layout struct {
	into    string // INSERT INTO and the table
	columns []string
	texts   map[uint64]string // INSERTs up to and including VALUES, by the omitted columns
}

func newLayout(insert, table, columns string) *layout {
	l := &layout{into: insert + " " + table, texts: map[uint64]string{}}
	for column := range strings.SplitSeq(columns, ",") {
		l.columns = append(l.columns, strings.TrimSpace(column))
	}
	return l
}

func (l *layout) without(nulls uint64) string {
	text, known := l.texts[nulls]
	if !known {
		var kept []string
		for i, column := range l.columns {
			if nulls&(1<<i) == 0 {
				kept = append(kept, column)
			}
		}
		text = l.into + " (" + strings.Join(kept, ", ") + ") VALUES "
		l.texts[nulls] = text
	}
	return text
}

// insert adds an INSERT of any number of rows. Columns that are NULL in all of them are left out, because every value
// costs time and most rows have NULL in a quarter of their columns.
func (c *script) insert(into *layout, args []driver.Value) {
	if len(args) == 0 {
		return
	}
	width := len(into.columns)
	nulls := uint64(1)<<width - 1
	for i, arg := range args {
		if arg != nil {
			nulls &^= 1 << (i % width)
		}
	}
	kept := args[:0]
	for i, arg := range args {
		if nulls&(1<<(i%width)) == 0 {
			kept = append(kept, arg)
		}
	}
	c.writes = append(c.writes, write{text: into.without(nulls), args: kept, width: width - bits.OnesCount64(nulls)})
}

// play executes a script's writes. If the database accepts several statements in a packet they are all sent in one,
// because a round trip per row would cost more than its write; otherwise they are sent one by one, prepared.
func (s *session) play(ctx context.Context, c *script) error {
	if len(c.writes) == 0 {
		return nil
	}
	if s.pipelines {
		return s.playAtOnce(ctx, c)
	}
	for i := range c.writes {
		if err := s.playOne(ctx, &c.writes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) playOne(ctx context.Context, w *write) error {
	if w.width == 0 {
		n, err := s.affect(ctx, w.text, w.args...)
		if err == nil {
			err = w.judge(n)
		}
		return err
	}
	// A statement is prepared once per size; any number of rows is a sum of powers of two.
	for args := w.args; len(args) > 0; {
		rows := maxInsert
		for rows*w.width > len(args) {
			rows /= 2
		}
		if err := s.exec(ctx, s.insertText(w.text, w.width, rows), args[:rows*w.width]...); err != nil {
			return err
		}
		args = args[rows*w.width:]
	}
	return nil
}

// judge checks how many rows the statement matched.
func (w *write) judge(n int64) error {
	if w.guards != 0 && n != int64(w.guards) {
		return errGuard
	}
	if w.matched != nil {
		*w.matched = n
	}
	return nil
}

// allAffected is the part of the MySQL driver's results that reports each statement separately.
type allAffected interface{ AllRowsAffected() []int64 }

func (s *session) playAtOnce(ctx context.Context, c *script) error {
	var text strings.Builder
	text.Grow(s.length)
	s.args = s.args[:0]
	for i, w := range c.writes {
		if i > 0 {
			text.WriteByte(';')
		}
		if w.width == 0 {
			text.WriteString(w.text)
		} else {
			text.WriteString(insertText(w.text, w.width, len(w.args)/w.width))
		}
		s.more(w.args)
	}
	s.length = text.Len()
	result, err := s.conn.(driver.ExecerContext).ExecContext(ctx, text.String(), s.args)
	if err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	affected := result.(allAffected).AllRowsAffected()
	if len(affected) != len(c.writes) {
		return fmt.Errorf("write batch: %d results for %d statements", len(affected), len(c.writes))
	}
	for i, w := range c.writes {
		if err := w.judge(affected[i]); err != nil {
			return err
		}
	}
	return nil
}

// maxInsert is the largest number of rows of a prepared INSERT: a power of two that keeps the widest row's parameters
// well below every database's limit.
const maxInsert = 64

// insertText caches the texts of prepared INSERTs, of which there are few.
func (w *writer) insertText(into string, width, rows int) string {
	shape := insertShape{into, rows}
	text, known := w.inserts[shape]
	if !known {
		if w.inserts == nil {
			w.inserts = map[insertShape]string{}
		}
		text = insertText(into, width, rows)
		w.inserts[shape] = text
	}
	return text
}

func insertText(into string, width, rows int) string {
	row := "(" + strings.Repeat("?,", width-1) + "?)"
	return into + strings.Repeat(row+",", rows-1) + row
}

// in returns the list of an IN condition and its arguments. Lists are padded with their last member to a few sizes, so
// that few prepared statements serve every batch.
func in[A, T any](members []T, arg func(T) A) (list string, args []A) {
	size := 1
	for size < len(members) {
		size += min(size, 8)
	}
	args = make([]A, size)
	for i := range args {
		args[i] = arg(members[min(i, len(members)-1)])
	}
	return "(" + strings.Repeat("?,", size-1) + "?)", args
}

// among returns the condition that a row is of one of these accounts, and its arguments. Nil accounts are all, and the
// rows without an account; an empty list matches no row.
func among(accounts []string) (condition string, args []any) {
	switch {
	case accounts == nil:
		return `1 = 1`, nil
	case len(accounts) == 0:
		return `1 = 0`, nil
	}
	list, args := in(accounts, func(a string) any { return a })
	return `esme_address IN ` + list, args
}

// verb returns the first words of a statement, for errors: never its values.
func verb(text string) string {
	words := strings.Fields(text)
	return strings.ToLower(strings.Join(words[:min(len(words), 3)], " "))
}
