package sql

import (
	"context"
	"database/sql"
	"fmt"

	"otpbridge/server/otp"
)

const recipientColumns = `id, hash, esme_address, environment, sealed, mask, version, seq, sends, failures, run, run_at, locked_until, updated_at`

// loadRecipients reads and locks the recipients of a batch, in the order of their hashes.
func (s *Store) loadRecipients(ctx context.Context, w *writer, b *batch) error {
	list, args := in(b.order, idArg)
	return w.query(ctx, `
		SELECT `+recipientColumns+`
		FROM recipients
		WHERE hash IN `+list+`
		ORDER BY hash`+s.dialect.lock, args, func(rows *sql.Rows) error {
		row, err := scanRecipient(rows)
		if err != nil {
			return err
		}
		b.recipients[row.Hash] = row
		return nil
	})
}

func scanRecipient(rows *sql.Rows) (*recipientRow, error) {
	var row recipientRow
	var sends, failures sql.RawBytes
	var runAt, lockedUntil sql.NullInt64
	err := rows.Scan(idScan{&row.ID}, idScan{&row.Hash}, &row.Account, &row.Environment, &row.Sealed, &row.Mask, &row.Version, &row.Seq,
		&sends, &failures, &row.Run, &runAt, &lockedUntil, &row.UpdatedAt)
	if err != nil {
		return nil, err
	}
	row.RunAt, row.LockedUntil = otp.Millis(runAt.Int64), otp.Millis(lockedUntil.Int64)
	if row.Sends, err = decodeWindow(sends); err != nil {
		return nil, fmt.Errorf("sends: %w", err)
	}
	if row.Failures, err = decodeWindow(failures); err != nil {
		return nil, fmt.Errorf("failures: %w", err)
	}
	return &row, nil
}

const challengeColumns = `id, recipient_id, seq, slot, version, key_id, nonce, code_length, channels, mailbox,
	max_attempts, wrong, sends, regenerations, created_at, expires_at, updated_at, used_at, canceled_at, replaced_at`

// loadChallenges reads the newest challenge of each slot that a known recipient has, and those
// that operations name by id. The recipients' locks already keep other writers away from them.
func (s *Store) loadChallenges(ctx context.Context, w *writer, b *batch, operations []*Operation) error {
	var recipients, named []otp.ID
	for _, op := range operations {
		recipient := b.recipients[op.Recipient]
		switch {
		case recipient == nil: // new: it has no challenge
		case op.Challenge.IsZero():
			recipients = append(recipients, recipient.ID)
		default:
			named = append(named, op.Challenge)
		}
	}
	load := func(ids []otp.ID, where string) error {
		if len(ids) == 0 {
			return nil
		}
		list, args := in(sortIDs(ids), idArg)
		return w.query(ctx, `
			SELECT `+challengeColumns+`
			FROM challenges
			WHERE `+where+list+s.dialect.lock, args, func(rows *sql.Rows) error {
			c, err := scanChallenge(rows)
			if err != nil {
				return err
			}
			b.add(c)
			return nil
		})
	}
	// A slot's newest challenge is the one that no other has replaced.
	if err := load(recipients, `replaced_at IS NULL AND recipient_id IN `); err != nil {
		return err
	}
	return load(named, `id IN `)
}

// add takes a loaded challenge in; one that two SELECTs found is one row.
func (b *batch) add(c *otp.Challenge) {
	row := b.challenges[c.ID]
	if row == nil {
		row = &challengeRow{Challenge: *c}
		b.challenges[c.ID] = row
	}
	if newest := b.newest[c.Slot]; newest == nil || newest.Seq < c.Seq {
		b.newest[c.Slot] = row
	}
}

func scanChallenge(rows *sql.Rows) (*otp.Challenge, error) {
	var c otp.Challenge
	var usedAt, canceledAt, replacedAt sql.NullInt64
	err := rows.Scan(idScan{&c.ID}, idScan{&c.Recipient}, &c.Seq, idScan{&c.Slot}, &c.Version, &c.KeyID, idScan{&c.Nonce},
		&c.Length, &c.Channels, &c.Mailbox, &c.MaxAttempts, &c.Wrong, &c.Sends, &c.Regenerations,
		&c.CreatedAt, &c.ExpiresAt, &c.UpdatedAt, &usedAt, &canceledAt, &replacedAt)
	c.UsedAt, c.CanceledAt, c.ReplacedAt = otp.Millis(usedAt.Int64), otp.Millis(canceledAt.Int64), otp.Millis(replacedAt.Int64)
	return &c, err
}

// happened tells whether an earlier try of this very batch committed after all. Its operations
// share one transaction, so one event speaks for all of them, and what they decided then still
// stands in their err and in the variables of their rules.
func (s *Store) happened(ctx context.Context, w *writer, operations []*Operation) (bool, error) {
	events := make([]otp.ID, 0, len(operations))
	for _, op := range operations {
		events = append(events, op.Event)
	}
	list, args := in(events, idArg)
	found := false
	err := w.query(ctx, `SELECT id FROM events WHERE id IN `+list, args, func(*sql.Rows) error {
		found = true
		return nil
	})
	return found, err
}

// writeBatch writes each touched row once: new recipients by a plain INSERT, whose loser's
// duplicate key sends its batch round again; known rows by an UPDATE guarded by the version that
// the decision was made on.
func (s *Store) writeBatch(ctx context.Context, w *writer, b *batch) error {
	if err := b.writeRecipients(ctx, w); err != nil {
		return err
	}
	for _, row := range b.challenges {
		if !row.dirty || row.Version == 0 {
			continue
		}
		n, err := w.affect(ctx, `
			UPDATE challenges
			SET version = version + 1, wrong = ?, sends = ?, regenerations = ?, updated_at = ?,
				used_at = ?, canceled_at = ?, replaced_at = ?
			WHERE id = ? AND version = ?`,
			row.Wrong, row.Sends, row.Regenerations, row.UpdatedAt,
			moment(row.UsedAt), moment(row.CanceledAt), moment(row.ReplacedAt), row.ID[:], row.Version)
		if err != nil {
			return err
		}
		if n != 1 {
			return errGuard
		}
	}
	args := make([]any, 0, 20*len(b.inserts))
	for _, row := range b.inserts {
		args = append(args, row.ID[:], row.Recipient[:], row.Seq, row.Slot[:], 1, row.KeyID, row.Nonce[:], row.Length,
			uint8(row.Channels), row.Mailbox, row.MaxAttempts, row.Wrong, row.Sends, row.Regenerations,
			row.CreatedAt, row.ExpiresAt, row.UpdatedAt, moment(row.UsedAt), moment(row.CanceledAt), moment(row.ReplacedAt))
	}
	if err := w.insert(ctx, `INSERT INTO challenges (`+challengeColumns+`) VALUES `, 20, len(b.inserts), args); err != nil {
		return err
	}
	return b.writeEvents(ctx, w)
}

func (b *batch) writeRecipients(ctx context.Context, w *writer) error {
	inserts, args := 0, []any(nil)
	for _, hash := range b.order {
		row := b.recipients[hash]
		if row == nil || !row.dirty {
			continue
		}
		if row.Version == 0 {
			inserts++
			args = append(args, row.ID[:], row.Hash[:], row.Account, row.Environment, row.Sealed, row.Mask, 1, row.Seq,
				encodeWindow(row.Sends), encodeWindow(row.Failures), row.Run, moment(row.RunAt), moment(row.LockedUntil), row.UpdatedAt)
			continue
		}
		n, err := w.affect(ctx, `
			UPDATE recipients
			SET version = version + 1, seq = ?, sends = ?, failures = ?, run = ?, run_at = ?, locked_until = ?, updated_at = ?
			WHERE id = ? AND version = ?`,
			row.Seq, encodeWindow(row.Sends), encodeWindow(row.Failures), row.Run,
			moment(row.RunAt), moment(row.LockedUntil), row.UpdatedAt, row.ID[:], row.Version)
		if err != nil {
			return err
		}
		if n != 1 {
			return errGuard
		}
	}
	return w.insert(ctx, `INSERT INTO recipients (`+recipientColumns+`) VALUES `, 14, inserts, args)
}

const eventColumns = `id, at, esme_address, environment, kind, door, recipient_hash, challenge_id, send, channels, mailbox, remaining`

func (b *batch) writeEvents(ctx context.Context, w *writer) error {
	args := make([]any, 0, 12*len(b.events))
	for i := range b.events {
		e := &b.events[i]
		args = append(args, e.ID[:], e.At, e.Account, e.Environment, e.Kind, e.Door,
			e.Recipient[:], e.Challenge[:], e.Send, uint8(e.Channels), e.Mailbox, e.Remaining)
	}
	return w.insert(ctx, `INSERT INTO events (`+eventColumns+`) VALUES `, 12, len(b.events), args)
}

func idArg(id otp.ID) any { return id[:] }

// idScan reads an id column without a copy in between.
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

// moment is NULL for what has not happened.
func moment(at otp.Millis) any {
	if at == 0 {
		return nil
	}
	return int64(at)
}
