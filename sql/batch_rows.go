package sql

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"otpbridge/server/otp"
)

// decidedFields are the columns of a recipient that rules decide on. The others are written once and only shown.
var (
	decidedFields = fieldsOf("recipients",
		idField("id", func(r *otp.Recipient) *otp.ID { return &r.ID }),
		idField("hash", func(r *otp.Recipient) *otp.ID { return &r.Hash }),
		versionField(func(r *otp.Recipient) *int64 { return &r.Version }),
		numberField("seq", func(r *otp.Recipient) *int64 { return &r.Seq }),
		windowField("sends", func(r *otp.Recipient) *otp.Window { return &r.Sends }),
		windowField("failures", func(r *otp.Recipient) *otp.Window { return &r.Failures }),
		numberField("run", func(r *otp.Recipient) *int { return &r.Run }),
		momentField("run_at", func(r *otp.Recipient) *otp.Millis { return &r.RunAt }),
		momentField("locked_until", func(r *otp.Recipient) *otp.Millis { return &r.LockedUntil }),
		momentField("updated_at", func(r *otp.Recipient) *otp.Millis { return &r.UpdatedAt }),
	)
	shownFields = fieldsOf("recipients",
		textField("esme_address", func(r *otp.Recipient) *string { return &r.Account }),
		textField("environment", func(r *otp.Recipient) *otp.Environment { return &r.Environment }),
		field[otp.Recipient]{"sealed",
			func(from *reader, r *otp.Recipient) { r.Sealed = from.bytes() },
			func(_ *values, r *otp.Recipient) driver.Value { return r.Sealed },
		},
		field[otp.Recipient]{"mask",
			func(from *reader, r *otp.Recipient) { r.Mask = from.text() },
			func(_ *values, r *otp.Recipient) driver.Value { return r.Mask },
		},
	)
	recipientFields = fieldsOf("recipients", slices.Concat(decidedFields.all, shownFields.all)...)
)

// An erased recipient has its counters and no name.
const isErased = `, mask = ''`

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
		SELECT ` + decidedFields.names + isErased + `
		FROM recipients
		WHERE hash IN ` + list + `
		ORDER BY hash` + s.dialect.lock, args, func(found row) error {
		recipient := b.rows.recipients.next()
		if err := readRecipient(&b.reader, found, &recipient.Recipient); err != nil {
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

func readRecipient(from *reader, found row, recipient *otp.Recipient) error {
	*from = reader{row: found}
	decidedFields.read(from, recipient)
	recipient.Erased = from.number() == 1
	return decidedFields.fault(from)
}

var challengeFields = fieldsOf("challenges",
	idField("id", func(c *otp.Challenge) *otp.ID { return &c.ID }),
	idField("recipient_id", func(c *otp.Challenge) *otp.ID { return &c.Recipient }),
	numberField("seq", func(c *otp.Challenge) *int64 { return &c.Seq }),
	idField("slot", func(c *otp.Challenge) *otp.ID { return &c.Slot }),
	versionField(func(c *otp.Challenge) *int64 { return &c.Version }),
	textField("key_id", func(c *otp.Challenge) *string { return &c.KeyID }),
	idField("nonce", func(c *otp.Challenge) *otp.ID { return &c.Nonce }),
	numberField("code_length", func(c *otp.Challenge) *int { return &c.Length }),
	numberField("channels", func(c *otp.Challenge) *otp.Channels { return &c.Channels }),
	bytesField("mailbox", func(c *otp.Challenge) *[]byte { return &c.Mailbox }),
	numberField("max_attempts", func(c *otp.Challenge) *int { return &c.MaxAttempts }),
	numberField("wrong", func(c *otp.Challenge) *int { return &c.Wrong }),
	numberField("sends", func(c *otp.Challenge) *int { return &c.Sends }),
	numberField("regenerations", func(c *otp.Challenge) *int { return &c.Regenerations }),
	momentField("created_at", func(c *otp.Challenge) *otp.Millis { return &c.CreatedAt }),
	momentField("expires_at", func(c *otp.Challenge) *otp.Millis { return &c.ExpiresAt }),
	momentField("updated_at", func(c *otp.Challenge) *otp.Millis { return &c.UpdatedAt }),
	momentField("used_at", func(c *otp.Challenge) *otp.Millis { return &c.UsedAt }),
	momentField("canceled_at", func(c *otp.Challenge) *otp.Millis { return &c.CanceledAt }),
	momentField("replaced_at", func(c *otp.Challenge) *otp.Millis { return &c.ReplacedAt }),
	field[otp.Challenge]{"details",
		func(from *reader, c *otp.Challenge) { c.Details = from.details() },
		func(_ *values, c *otp.Challenge) driver.Value { return encodeDetails(c.Details) },
	},
)

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
		text := challengeFields.selects() + where + list + s.dialect.lock
		lookups = append(lookups, lookup{text, args, func(found row) error {
			row := b.rows.challenges.next()
			if err := challengeFields.scan(&b.reader, found, &row.Challenge); err != nil {
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
			inserts = recipientFields.appendTo(inserts, v, &r.Recipient)
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
		inserts = challengeFields.appendTo(inserts, v, &c.Challenge)
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

var eventFields = fieldsOf("events",
	idField("id", func(e *otp.Event) *otp.ID { return &e.ID }),
	momentField("at", func(e *otp.Event) *otp.Millis { return &e.At }),
	textField("esme_address", func(e *otp.Event) *string { return &e.Account }),
	textField("environment", func(e *otp.Event) *otp.Environment { return &e.Environment }),
	textField("kind", func(e *otp.Event) *otp.EventKind { return &e.Kind }),
	textField("door", func(e *otp.Event) *otp.Door { return &e.Door }),
	idField("recipient_hash", func(e *otp.Event) *otp.ID { return &e.Recipient }),
	idField("challenge_id", func(e *otp.Event) *otp.ID { return &e.Challenge }),
	numberField("send", func(e *otp.Event) *int { return &e.Send }),
	numberField("channels", func(e *otp.Event) *otp.Channels { return &e.Channels }),
	bytesField("mailbox", func(e *otp.Event) *[]byte { return &e.Mailbox }),
	numberField("remaining", func(e *otp.Event) *int { return &e.Remaining }),
	field[otp.Event]{"summary",
		func(from *reader, e *otp.Event) { e.Summary = from.summary() },
		func(_ *values, e *otp.Event) driver.Value { return encodeSummary(e.Summary) },
	},
	optionalIDField("user_hash", func(e *otp.Event) *otp.ID { return &e.User }),
	optionalIDField("mailbox_hash", func(e *otp.Event) *otp.ID { return &e.MailboxHash }),
)

func (b *batch) writeEvents(writes *script) {
	v := &b.values
	inserts := make([]driver.Value, 0, len(b.layouts.events.columns)*len(b.events))
	for i := range b.events {
		inserts = eventFields.appendTo(inserts, v, &b.events[i])
	}
	writes.insert(b.layouts.events, inserts)
}

func (b *batch) writeChanges(writes *script) {
	var inserts []driver.Value
	for _, c := range b.changes {
		row := rowOf(c)
		inserts = append(inserts, changes.values(&row)...)
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
