package sql

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/base64"
	"fmt"
	"time"
)

// Sealed is a column that holds sealed bytes. Table and Column name it; the rest is how its rows
// are found.
type Sealed struct {
	Table, Column string
	key           string // the primary key
	text          bool   // stored in base64, for people who read the table in a terminal
}

// Name is the table and the column, as errors and reports show it.
func (c Sealed) Name() string { return c.Table + "." + c.Column }

// SealedColumns are all columns that hold sealed bytes. What a rotation of the keyring does not
// find here keeps the old key needed for ever, so a test searches a filled database for more.
func SealedColumns() []Sealed {
	return []Sealed{
		{Table: "index_key", Column: "sealed", key: "id"},
		{Table: "otp_auth_config", Column: "cipher_key", key: "esme_address", text: true},
		{Table: "otp_auth_config", Column: "cipher_iv", key: "esme_address", text: true},
		{Table: "recipients", Column: "sealed", key: "id"},
		{Table: "challenges", Column: "mailbox", key: "id"},
		{Table: "events", Column: "mailbox", key: "id"},
	}
}

// SealedRow is one value of a sealed column. Key is the row's primary key as it is stored.
type SealedRow struct {
	Key   []byte
	Value []byte
}

// The size of a walk through a sealed column: a chunk is one read, and the rows of it that change
// are one transaction, short enough that no batch waits for it noticeably.
const resealChunk = 200

// WalkSealed goes through a sealed column in chunks, in the order of the primary key. Visit gets
// each value and gives what is to stand there instead, nil for the same. A value is replaced only
// if it is still the one that was visited; otherwise whoever changed it meanwhile has won, which
// is no error. Done is told how many rows were looked at so far, after each chunk.
//
// The walk may be interrupted and repeated at any time, and any number may run at once.
func (s *Store) WalkSealed(ctx context.Context, column Sealed, visit func(SealedRow) ([]byte, error), done func(looked int)) error {
	looked := 0
	for from, first := any(nil), true; ; first = false {
		chunk, err := s.sealedChunk(ctx, column, from, first)
		if err != nil {
			return fmt.Errorf("read %s: %w", column.Name(), err)
		}
		if len(chunk) == 0 {
			return nil
		}
		var fresh []SealedRow // beside the old ones in stale
		var stale []SealedRow
		for _, row := range chunk {
			value, err := visit(row)
			if err != nil {
				return fmt.Errorf("%s of row %s: %w", column.Name(), row.shown(column), err)
			}
			if value != nil {
				stale, fresh = append(stale, row), append(fresh, SealedRow{row.Key, value})
			}
		}
		if err := s.replaceSealed(ctx, column, stale, fresh); err != nil {
			return fmt.Errorf("write %s: %w", column.Name(), err)
		}
		looked += len(chunk)
		done(looked)
		if len(chunk) < resealChunk {
			return nil
		}
		from = column.keyValue(chunk[len(chunk)-1].Key)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop:
			return ErrClosed
		case <-time.After(time.Millisecond): // let a batch through
		}
	}
}

// shown names a row in an error.
func (r SealedRow) shown(column Sealed) string {
	if column.text {
		return string(r.Key)
	}
	return fmt.Sprintf("%x", r.Key)
}

func (s *Store) sealedChunk(ctx context.Context, column Sealed, from any, first bool) ([]SealedRow, error) {
	where, args := column.Column+` IS NOT NULL`, []any{}
	if !first {
		where, args = where+` AND `+column.key+` > ?`, append(args, from)
	}
	rows, err := s.reads.QueryContext(ctx, `SELECT `+column.key+`, `+column.Column+` FROM `+column.Table+
		` WHERE `+where+` ORDER BY `+column.key+` LIMIT ?`, append(args, resealChunk)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var chunk []SealedRow
	for rows.Next() {
		var row SealedRow
		if err := rows.Scan(&row.Key, &row.Value); err != nil {
			return nil, err
		}
		if column.text {
			// What is no base64 was put there by hand and is nothing that was ever sealed; it is
			// left to whoever opens it.
			if value, err := base64.StdEncoding.DecodeString(string(row.Value)); err == nil {
				row.Value = value
			}
		}
		chunk = append(chunk, row)
	}
	return chunk, rows.Err()
}

func (s *Store) replaceSealed(ctx context.Context, column Sealed, stale, fresh []SealedRow) error {
	if len(stale) == 0 {
		return nil
	}
	text := `UPDATE ` + column.Table + ` SET ` + column.Column + ` = ? WHERE ` + column.key + ` = ? AND ` + column.Column + ` = ?`
	return s.write(ctx, func(w *session) error {
		for i := range stale {
			if err := w.exec(ctx, text, column.stored(fresh[i].Value), column.keyValue(stale[i].Key), column.stored(stale[i].Value)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c Sealed) stored(value []byte) driver.Value {
	if c.text {
		return base64.StdEncoding.EncodeToString(value)
	}
	return bytes.Clone(value)
}

// keyValue is a primary key as the database compares it: SQLite does not take the bytes of a text
// or of a number for the same.
func (c Sealed) keyValue(key []byte) driver.Value {
	if c.text || c.Table == "index_key" {
		return string(key)
	}
	return bytes.Clone(key)
}

// CountDerived counts the challenges whose codes are derived under each key. Those can not be
// derived anew under another key, since the code was sent; they go by themselves, an hour after
// they expire.
func (s *Store) CountDerived(ctx context.Context) (map[string]int, error) {
	rows, err := s.reads.QueryContext(ctx, `SELECT key_id, COUNT(*) FROM challenges GROUP BY key_id`)
	if err != nil {
		return nil, fmt.Errorf("count the challenges of each key: %w", err)
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return nil, fmt.Errorf("count the challenges of each key: %w", err)
		}
		counts[id] = n
	}
	return counts, rows.Err()
}

// RemoveKeyCheck forgets a key, so that servers start without it.
func (s *Store) RemoveKeyCheck(ctx context.Context, id string) error {
	return s.write(ctx, func(w *session) error {
		return w.exec(ctx, `DELETE FROM keyring_keys WHERE id = ?`, id)
	})
}
