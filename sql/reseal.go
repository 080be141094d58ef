package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/server/otp"
)

// Sealed is a column that holds sealed bytes. Table and Column name it; the rest says how its rows are found and its
// bytes are written.
type Sealed struct {
	Table, Column string
	key           []string // the primary key
	with          []string // what else the sealed bytes are bound to
	form          form
}

// form is how sealed bytes are written in a column.
type form int

const (
	bare   form = iota
	coded       // in base64, for people who read the table in a terminal
	member      // in base64, as the member "metadata" of a JSON object
)

// Name returns the table and the column, for errors and reports.
func (c Sealed) Name() string { return c.Table + "." + c.Column }

// SealedColumns returns all columns that hold sealed bytes. If one were missing here, a rotation of the keyring could
// never drop the old key, so a test searches a filled database for others.
func SealedColumns() []Sealed {
	id := []string{"id"}
	return []Sealed{
		{Table: "index_key", Column: "sealed", key: id},
		{Table: "signing_keys", Column: "sealed", key: []string{"number"}, with: id},
		{Table: "otp_auth_config", Column: "cipher_key", key: []string{"esme_address"}, form: coded},
		{Table: "otp_auth_config", Column: "cipher_iv", key: []string{"esme_address"}, form: coded},
		{Table: "otp_auth_config", Column: "safe_list", key: []string{"esme_address"}, form: coded},
		{Table: "credentials", Column: "signing_secret", key: id, form: coded},
		{Table: "recipients", Column: "sealed", key: id},
		{Table: "challenges", Column: "mailbox", key: id},
		{Table: "challenges", Column: "details", key: id, form: member},
		{Table: "events", Column: "mailbox", key: id},
		{Table: "events", Column: "summary", key: id, with: []string{"challenge_id"}, form: member},
		{Table: "factors", Column: "secret", key: id},
		{Table: "idempotency_keys", Column: "answer", key: []string{"credential_id", "key_hash"},
			with: []string{"challenge_id"}},
		{Table: "test_recipients", Column: "number", key: id},
		{Table: "test_recipients", Column: "code", key: id},
		{Table: "webhook_endpoints", Column: "secret", key: id},
		{Table: "webhook_endpoints", Column: "old_secret", key: id},
		{Table: "webhook_texts", Column: "masked", key: id},
		{Table: "webhook_texts", Column: "whole", key: id},
		{Table: "webhook_deliveries", Column: "request", key: []string{"endpoint_id", "id"}},
		{Table: "webhook_deliveries", Column: "answer", key: []string{"endpoint_id", "id"}},
	}
}

// SealedRow is one value of a sealed column. Names are the row's primary key and what else the value is bound to, as
// stored.
type SealedRow struct {
	Names [][]byte
	Value []byte // nil if the column's text holds nothing sealed

	keys   []driver.Value
	stored []byte
}

// The chunk size of a walk through a sealed column: a chunk is one read, and its changed rows are one transaction,
// short enough that batches hardly wait for it.
const resealChunk = 200

// WalkSealed reads a sealed column in chunks, in the order of the primary key. visit gets each value and returns its
// replacement, nil for none. A value is replaced only if it has not changed since; otherwise the other change wins,
// which is not an error. done is called after each chunk with the number of rows read so far.
//
// The walk may be interrupted and repeated at any time, and several may run at once.
func (k *Keyring) WalkSealed(ctx context.Context, column Sealed, visit func(SealedRow) ([]byte, error),
	done func(looked int)) error {
	looked := 0
	var after []driver.Value
	for {
		chunk, err := k.store.sealedChunk(ctx, column, after)
		if err != nil || len(chunk) == 0 {
			return err
		}
		var changes [][]driver.Value // the arguments of replaceText
		for _, row := range chunk {
			if row.Value == nil {
				continue
			}
			value, err := visit(row)
			if err != nil {
				return fmt.Errorf("%s of row %s: %w", column.Name(), row.shown(), err)
			}
			if value != nil {
				change := append([]driver.Value{column.form.replace(row.stored, row.Value, value)}, row.keys...)
				changes = append(changes, append(change, column.form.stored(row.stored)))
			}
		}
		if err := k.store.replaceSealed(ctx, column, changes); err != nil {
			return fmt.Errorf("write %s: %w", column.Name(), err)
		}
		looked += len(chunk)
		done(looked)
		if len(chunk) < resealChunk {
			return nil
		}
		after = chunk[len(chunk)-1].keys
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-k.store.stop:
			return ErrClosed
		case <-time.After(time.Millisecond): // let a batch through
		}
	}
}

// shown returns a row's name for errors: its text, or its bytes in hex.
func (r SealedRow) shown() string {
	if text, isText := r.keys[0].(string); isText {
		return text
	}
	return fmt.Sprintf("%x", r.Names[0])
}

func (s *Store) sealedChunk(ctx context.Context, column Sealed, after []driver.Value) (chunk []SealedRow, err error) {
	keys := strings.Join(column.key, ", ")
	where, args := column.Column+` IS NOT NULL`, []any{}
	if after != nil {
		where += ` AND (` + keys + `) > (` + strings.Repeat("?, ", len(after)-1) + `?)`
		for _, value := range after {
			args = append(args, value)
		}
	}
	names := slices.Concat(column.key, column.with)
	text := `SELECT ` + column.Column + `, ` + strings.Join(names, ", ") + ` FROM ` + column.Table + ` WHERE ` + where +
		` ORDER BY ` + keys + ` LIMIT ?`
	err = s.each(ctx, "read "+column.Name(), text, append(args, resealChunk), func(rows *sql.Rows) error {
		row := SealedRow{Names: make([][]byte, len(names))}
		targets := []any{&row.stored}
		for i := range names {
			targets = append(targets, &row.Names[i])
		}
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		row.Value = column.form.read(row.stored)
		for i, name := range column.key {
			row.keys = append(row.keys, keyValue(name, row.Names[i]))
		}
		chunk = append(chunk, row)
		return nil
	})
	return chunk, err
}

func (s *Store) replaceSealed(ctx context.Context, column Sealed, changes [][]driver.Value) error {
	if len(changes) == 0 {
		return nil
	}
	text := `UPDATE ` + column.Table + ` SET ` + column.Column + ` = ? WHERE ` +
		strings.Join(column.key, ` = ? AND `) + ` = ? AND ` + column.Column + ` = ?`
	return s.write(ctx, func(w *session) error {
		for _, change := range changes {
			if err := w.exec(ctx, text, change...); err != nil {
				return err
			}
		}
		return nil
	})
}

// read returns the sealed bytes in a stored value. A value that is not base64 was written by hand and never sealed;
// opening it reports the fault.
func (f form) read(stored []byte) []byte {
	switch f {
	case coded:
		value, err := base64.StdEncoding.DecodeString(string(stored))
		if err != nil {
			return nil
		}
		return value
	case member:
		var object struct {
			Metadata []byte `json:"metadata"`
		}
		if json.Unmarshal(stored, &object) != nil {
			return nil
		}
		return object.Metadata
	}
	if len(stored) == 0 { // of an erased recipient
		return nil
	}
	return stored
}

// replace replaces value with fresh in a stored value.
func (f form) replace(stored, value, fresh []byte) driver.Value {
	switch f {
	case coded:
		return base64.StdEncoding.EncodeToString(fresh)
	case member:
		return strings.Replace(string(stored), base64.StdEncoding.EncodeToString(value),
			base64.StdEncoding.EncodeToString(fresh), 1)
	}
	return fresh
}

// stored returns a value in the column's type, for comparisons: SQLite does not treat the bytes of a text as equal to
// the text.
func (f form) stored(value []byte) driver.Value {
	if f == bare {
		return value
	}
	return string(value)
}

// keyValue does the same for a part of a primary key: ids and hashes in bytes, except an address or a small number.
func keyValue(name string, value []byte) driver.Value {
	switch {
	case name == "esme_address":
		return string(value)
	case len(value) < len(otp.ID{}): // a small number
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			return n
		}
	}
	return value
}

// CountDerived counts the challenges whose codes are derived under each key. Their codes were sent, so they cannot be
// derived under another key; the challenges are swept an hour after they expire.
func (k *Keyring) CountDerived(ctx context.Context) (map[string]int, error) {
	return k.store.counts(ctx, "count the challenges of each key",
		`SELECT key_id, COUNT(*) FROM challenges GROUP BY key_id`)
}

// RemoveCheck removes a key's check value, so that servers start without the key.
func (k *Keyring) RemoveCheck(tx *Tx, id string) error {
	return tx.exec(tx.ctx, `DELETE FROM keyring_keys WHERE id = ?`, id)
}
