package sql

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"

	"otpbridge/server/otp"
)

// recipientColumns are all columns of a recipient; decidedColumns are those that rules decide on. The others are
// written once and only shown.
const (
	decidedColumns   = `id, hash, version, seq, sends, failures, run, run_at, locked_until, updated_at`
	recipientColumns = decidedColumns + `, esme_address, environment, sealed, mask`
	// An erased recipient has its counters and no name.
	isErased = `, mask = ''`
)

// find completes operations that name only a challenge. It locks nothing, because recipients are locked first and in
// order. So it reads only columns that never change, and its results stay valid for every further try.
func (s *Store) find(ctx context.Context, w *session, b *batch, operations []*Operation) error {
	var asking []*Operation
	for _, op := range operations {
		if op.Found != nil && op.Recipient.IsZero() && op.failed == nil {
			asking = append(asking, op)
		}
	}
	if len(asking) == 0 {
		return nil
	}
	slices.SortFunc(asking, func(x, y *Operation) int { return bytes.Compare(x.Challenge[:], y.Challenge[:]) })
	list, args := in(asking, func(op *Operation) driver.Value { return b.values.id(op.Challenge) })
	return w.query(ctx, `
		SELECT c.id, c.channels, c.mailbox, r.id, r.hash, r.esme_address, r.environment, r.sealed
		FROM challenges c
		JOIN recipients r ON r.id = c.recipient_id
		WHERE c.id IN `+list, args, func(found row) error {
		in := reader{row: found}
		c := otp.Challenge{ID: in.id(), Channels: otp.Channels(in.number()), Mailbox: in.bytes()}
		r := otp.Recipient{
			ID: in.id(), Hash: in.id(), Account: in.text(), Environment: otp.Environment(in.text()), Sealed: in.bytes(),
		}
		if in.err != nil {
			return fmt.Errorf("challenge: %w", in.err)
		}
		at, _ := slices.BinarySearchFunc(asking, c.ID, func(op *Operation,
			id otp.ID) int {
			return bytes.Compare(op.Challenge[:], id[:])
		})
		for ; at < len(asking) && asking[at].Challenge == c.ID; at++ {
			op := asking[at]
			op.failed, _ = contain(func() error { return op.Found(&c, &r) })
		}
		return nil
	})
}

// loadRecipients reads and locks the recipients of a batch, in the order of their hashes, and loads the endpoints that
// are told of events.
func (s *Store) loadRecipients(ctx context.Context, w *session, b *batch) error {
	if len(b.order) == 0 {
		return nil // only marks
	}
	list, args := in(b.order, b.values.id)
	recipients := lookup{`
		SELECT ` + decidedColumns + isErased + `
		FROM recipients
		WHERE hash IN ` + list + `
		ORDER BY hash` + s.dialect.lock, args, func(found row) error {
		recipient := b.rows.recipients.next()
		if err := readRecipient(found, &recipient.Recipient); err != nil {
			return err
		}
		b.recipients[recipient.Hash] = recipient
		return nil
	}}
	if err := w.queryAll(ctx, []lookup{recipients, s.Webhooks.versionLookup()}); err != nil {
		return err
	}
	if err := s.Webhooks.refresh(ctx, w); err != nil {
		return err
	}
	b.listening = s.Webhooks.known
	return nil
}

func readRecipient(found row, recipient *otp.Recipient) error {
	r := reader{row: found}
	*recipient = otp.Recipient{
		ID: r.id(), Hash: r.id(), Version: r.number(), Seq: r.number(), Sends: r.window(), Failures: r.window(),
		Run: int(r.number()), RunAt: r.moment(), LockedUntil: r.moment(), UpdatedAt: r.moment(), Erased: r.number() == 1,
	}
	if r.err != nil {
		return fmt.Errorf("recipient: %w", r.err)
	}
	return nil
}

const challengeColumns = `id, recipient_id, seq, slot, version, key_id, nonce, code_length, channels, mailbox,
	max_attempts, wrong, sends, regenerations, created_at, expires_at, updated_at, used_at, canceled_at, replaced_at, details`

// challengesOf reads the newest challenge of each slot of a known recipient, and those that operations name by id. The
// recipients' locks already keep other writers away from them.
func (s *Store) challengesOf(b *batch, operations []*Operation) (lookups []lookup) {
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
	load := func(ids []otp.ID, where string) {
		if len(ids) == 0 {
			return
		}
		list, args := in(sortIDs(ids), b.values.id)
		lookups = append(lookups, lookup{`
			SELECT ` + challengeColumns + `
			FROM challenges
			WHERE ` + where + list + s.dialect.lock, args, func(found row) error {
			row := b.rows.challenges.next()
			if err := readChallenge(found, &row.Challenge); err != nil {
				return err
			}
			row.loaded = row.Challenge
			b.add(row)
			return nil
		}})
	}
	// A slot's newest challenge is the one that is not replaced.
	load(recipients, `replaced_at IS NULL AND recipient_id IN `)
	load(named, `id IN `)
	return lookups
}

// add adds a loaded challenge; one that two SELECTs found is one row.
func (b *batch) add(c *challengeRow) {
	row := b.challenges[c.ID]
	if row == nil {
		row = c
		b.challenges[c.ID] = row
	}
	if newest := b.newest[c.Slot]; c.ReplacedAt == 0 && (newest == nil || newest.Seq < c.Seq) {
		b.newest[c.Slot] = row
	}
}

func readChallenge(found row, c *otp.Challenge) error {
	r := reader{row: found}
	*c = otp.Challenge{
		ID: r.id(), Recipient: r.id(), Seq: r.number(), Slot: r.id(), Version: r.number(),
		KeyID: r.text(), Nonce: r.id(), Length: int(r.number()), Channels: otp.Channels(r.number()), Mailbox: r.bytes(),
		MaxAttempts: int(r.number()), Wrong: int(r.number()), Sends: int(r.number()), Regenerations: int(r.number()),
		CreatedAt: r.moment(), ExpiresAt: r.moment(), UpdatedAt: r.moment(),
		UsedAt: r.moment(), CanceledAt: r.moment(), ReplacedAt: r.moment(), Details: r.details(),
	}
	if r.err != nil {
		return fmt.Errorf("challenge: %w", r.err)
	}
	return nil
}

// happened reports whether an earlier try of this batch committed after all. Its operations share one transaction, so
// one event proves all of them, and their decisions are still in their err and in the variables of their rules.
func (s *Store) happened(ctx context.Context, w *session, operations []*Operation) (bool, error) {
	events := make([]otp.ID, 0, len(operations))
	for _, op := range operations {
		if !op.Repeats && !op.decidesNothing() { // a repeated one's event may be from another batch
			events = append(events, op.Event)
		}
	}
	if len(events) == 0 {
		return false, nil
	}
	list, args := in(events, idValue)
	found := false
	err := w.query(ctx, `SELECT id FROM events WHERE id IN `+list, args, func(row) error {
		found = true
		return nil
	})
	return found, err
}

// loadRepeated looks up what operations that may repeat an earlier one have already done. It runs after the locks of
// their recipients, which the earlier operation held too.
func (s *Store) loadRepeated(ctx context.Context, w *session, operations []*Operation) error {
	var events []otp.ID
	for _, op := range operations {
		op.happened = false
		if op.Repeats {
			events = append(events, op.Event)
		}
	}
	if len(events) == 0 {
		return nil
	}
	list, args := in(events, idValue)
	return w.query(ctx, `SELECT id FROM events WHERE id IN `+list, args, func(found row) error {
		r := reader{row: found}
		id := r.id()
		for _, op := range operations {
			op.happened = op.happened || op.Repeats && op.Event == id
		}
		return r.err
	})
}

// recorded reports whether an earlier operation in the same batch recorded op's event.
func (b *batch) recorded(op *Operation) bool {
	return slices.ContainsFunc(b.events, func(e otp.Event) bool { return e.ID == op.Event })
}

// writeBatch writes each changed row once: new recipients by a plain INSERT, where a duplicate key makes the loser's
// batch run again; known rows by an UPDATE guarded by the version that was decided on.
func (s *Store) writeBatch(ctx context.Context, w *session, b *batch) error {
	var writes script
	b.writeRecipients(&writes)
	b.writeChallenges(&writes)
	b.writeEvents(&writes)
	b.writeChanges(&writes)
	b.writeDeliveries(&writes)
	b.writeMarks(&writes)
	b.writeCounters(&writes)
	b.writeTellings(&writes, s.Webhooks.version)
	for _, write := range b.asides {
		write(&writes)
	}
	if len(writes.writes) > 0 {
		s.witness.advance(&writes)
	}
	return w.play(ctx, &writes)
}

func (b *batch) writeRecipients(writes *script) {
	v := &b.values
	inserts := make([]driver.Value, 0, len(b.layouts.recipients.columns)*len(b.order))
	for _, hash := range b.order {
		r := b.recipients[hash]
		switch {
		case r == nil || !r.dirty:
		case r.Version == 0:
			inserts = append(inserts, v.id(r.ID), v.id(r.Hash), int64(1), r.Seq,
				v.window(r.Sends), v.window(r.Failures), int64(r.Run), v.moment(r.RunAt), v.moment(r.LockedUntil),
				v.moment(r.UpdatedAt),
				v.text(r.Account), v.text(string(r.Environment)), r.Sealed, r.Mask)
		default:
			writes.guard(`
				UPDATE recipients
				SET version = version + 1, seq = ?, sends = ?, failures = ?, run = ?, run_at = ?, locked_until = ?, updated_at = ?
				WHERE id = ? AND version = ?`,
				r.Seq, nullable(encodeWindow(r.Sends)), nullable(encodeWindow(r.Failures)), int64(r.Run),
				v.moment(r.RunAt), v.moment(r.LockedUntil), v.moment(r.UpdatedAt), v.id(r.ID), r.Version)
			if r.Erased && r.Sealed != nil { // it was erased and is named again
				writes.count(nil, `UPDATE recipients SET sealed = ?, mask = ? WHERE id = ?`, r.Sealed, r.Mask, v.id(r.ID))
			}
		}
	}
	writes.insert(b.layouts.recipients, inserts)
}

func (b *batch) writeChallenges(writes *script) {
	v := &b.values
	var used []*challengeRow
	for _, c := range b.challenges {
		if !c.dirty || c.Version == 0 {
			continue
		}
		if c.used() {
			used = append(used, c)
			continue
		}
		writes.guard(`
			UPDATE challenges
			SET version = version + 1, wrong = ?, sends = ?, regenerations = ?, updated_at = ?,
				used_at = ?, canceled_at = ?, replaced_at = ?
			WHERE id = ? AND version = ?`,
			int64(c.Wrong), int64(c.Sends), int64(c.Regenerations), v.moment(c.UpdatedAt),
			v.moment(c.UsedAt), v.moment(c.CanceledAt), v.moment(c.ReplacedAt), v.id(c.ID), c.Version)
	}
	b.writeUsed(writes, used)
	inserts := make([]driver.Value, 0, len(b.layouts.challenges.columns)*len(b.inserts))
	for _, c := range b.inserts {
		inserts = append(inserts, v.id(c.ID), v.id(c.Recipient), c.Seq, v.id(c.Slot), int64(1), v.text(c.KeyID),
			v.id(c.Nonce), int64(c.Length),
			int64(c.Channels), nullable(c.Mailbox), int64(c.MaxAttempts), int64(c.Wrong), int64(c.Sends), int64(c.Regenerations),
			v.moment(c.CreatedAt), v.moment(c.ExpiresAt), v.moment(c.UpdatedAt), v.moment(c.UsedAt), v.moment(c.CanceledAt),
			v.moment(c.ReplacedAt), encodeDetails(c.Details))
	}
	writes.insert(b.layouts.challenges, inserts)
}

// writeUsed writes the challenges that only changed by their code being used, as after every right code: those with
// the same time and version together, and only the changed columns.
func (b *batch) writeUsed(writes *script, used []*challengeRow) {
	v := &b.values
	slices.SortFunc(used, func(x, y *challengeRow) int {
		return cmp.Or(cmp.Compare(x.UsedAt, y.UsedAt), cmp.Compare(x.UpdatedAt, y.UpdatedAt),
			cmp.Compare(x.Version, y.Version),
			bytes.Compare(x.ID[:], y.ID[:]))
	})
	for len(used) > 0 {
		first, n := used[0], 1
		for n < min(len(used), maxInsert) && used[n].UsedAt == first.UsedAt && used[n].UpdatedAt == first.UpdatedAt &&
			used[n].Version == first.Version {
			n++
		}
		list, ids := in(used[:n], func(c *challengeRow) driver.Value { return v.id(c.ID) })
		args := append([]driver.Value{v.moment(first.UsedAt), v.moment(first.UpdatedAt), first.Version}, ids...)
		writes.guardAll(n,
			`UPDATE challenges SET version = version + 1, used_at = ?, updated_at = ? WHERE version = ? AND id IN `+list,
			args...)
		used = used[n:]
	}
}

const eventColumns = `id, at, esme_address, environment, kind, door, recipient_hash, challenge_id, send, channels, mailbox, remaining, summary,
	user_hash, mailbox_hash`

func (b *batch) writeEvents(writes *script) {
	v := &b.values
	inserts := make([]driver.Value, 0, len(b.layouts.events.columns)*len(b.events))
	for i := range b.events {
		e := &b.events[i]
		inserts = append(inserts, v.id(e.ID), v.moment(e.At), v.text(e.Account), v.text(string(e.Environment)),
			v.text(string(e.Kind)), v.text(string(e.Door)),
			v.id(e.Recipient), v.id(e.Challenge), int64(e.Send), int64(e.Channels), nullable(e.Mailbox), int64(e.Remaining),
			encodeSummary(e.Summary), v.idOrNull(e.User), v.idOrNull(e.MailboxHash))
	}
	writes.insert(b.layouts.events, inserts)
}

func (b *batch) writeChanges(writes *script) {
	var inserts []driver.Value
	for _, c := range b.changes {
		row := rowOf(c)
		for _, column := range changes.columns(&row) {
			inserts = append(inserts, column.value())
		}
	}
	writes.insert(b.layouts.changes, inserts)
}

// nullable returns NULL for nil: a nil slice in an interface is not nil.
func nullable(b []byte) driver.Value {
	if b == nil {
		return nil
	}
	return b
}

func scanChallenge(rows *sql.Rows) (*otp.Challenge, error) {
	values, err := scanRow(rows)
	if err != nil {
		return nil, err
	}
	c := &otp.Challenge{}
	return c, readChallenge(values, c)
}
