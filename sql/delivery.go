package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"otpbridge/server/otp"
)

// Deliveries are messages on their way: the outbox.
type Deliveries struct{ store *Store }

// The outbox. Its rows are inserted by the operation that makes the send. A later step with consequences, such as a
// refund, is an operation too, decided on the locked row and guarded by its version; a step without consequences is a
// mark. All of them share a batch's transaction, so none costs an fsync of its own.

var deliveryFields = fieldsOf("deliveries",
	idField("id", func(d *otp.Delivery) *otp.ID { return &d.ID }),
	versionField(func(d *otp.Delivery) *int64 { return &d.Version }),
	idField("challenge_id", func(d *otp.Delivery) *otp.ID { return &d.Challenge }),
	idField("recipient_hash", func(d *otp.Delivery) *otp.ID { return &d.Recipient }),
	textField("esme_address", func(d *otp.Delivery) *string { return &d.Account }),
	textField("environment", func(d *otp.Delivery) *otp.Environment { return &d.Environment }),
	textField("door", func(d *otp.Delivery) *otp.Door { return &d.Door }),
	numberField("medium", func(d *otp.Delivery) *otp.Channels { return &d.Medium }),
	numberField("channels", func(d *otp.Delivery) *otp.Channels { return &d.Channels }),
	numberField("send", func(d *otp.Delivery) *int { return &d.Send }),
	bytesField("mailbox", func(d *otp.Delivery) *[]byte { return &d.Mailbox }),
	textField("department", func(d *otp.Delivery) *string { return &d.Department }),
	numberField("price", func(d *otp.Delivery) *int64 { return &d.Price }),
	momentField("sent_at", func(d *otp.Delivery) *otp.Millis { return &d.SentAt }),
	momentField("expires_at", func(d *otp.Delivery) *otp.Millis { return &d.ExpiresAt }),
	idField("owner", func(d *otp.Delivery) *otp.ID { return &d.Owner }),
	momentField("leased_until", func(d *otp.Delivery) *otp.Millis { return &d.LeasedUntil }),
	momentField("started_at", func(d *otp.Delivery) *otp.Millis { return &d.StartedAt }),
	textField("channel", func(d *otp.Delivery) *string { return &d.Channel }),
	textField("outcome", func(d *otp.Delivery) *otp.Outcome { return &d.Outcome }),
	optionalIDField("receipt", func(d *otp.Delivery) *otp.ID { return &d.Receipt }),
	momentField("created_at", func(d *otp.Delivery) *otp.Millis { return &d.CreatedAt }),
	momentField("finished_at", func(d *otp.Delivery) *otp.Millis { return &d.FinishedAt }),
)

// deliveryRow is a delivery in a batch.
type deliveryRow struct {
	otp.Delivery
	dirty bool
}

// changed reports whether a rule changed the row since the snapshot.
func (d *deliveryRow) changed(before *otp.Delivery) bool {
	return d.Owner != before.Owner || d.LeasedUntil != before.LeasedUntil || d.StartedAt != before.StartedAt ||
		d.Channel != before.Channel || d.Outcome != before.Outcome || d.Receipt != before.Receipt ||
		d.FinishedAt != before.FinishedAt
}

// counterRow is a counter in a batch.
type counterRow struct {
	otp.Counter
	dirty bool
}

// namedDeliveries reads and locks the deliveries that operations name. Every other writer of one holds its recipient
// first, except the renewal of leases.
func (s *Store) namedDeliveries(b *batch, operations []*Operation) []lookup {
	var ids []otp.ID
	for _, op := range operations {
		for _, id := range [...]otp.ID{op.Delivery, op.Sibling} {
			if !id.IsZero() {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	list, args := in(sortIDs(ids), b.values.id)
	text := deliveryFields.selects() + `id IN ` + list + ` ORDER BY id` + s.dialect.lock
	return []lookup{{text, args, func(found row) error {
		d := &deliveryRow{}
		if err := deliveryFields.scan(&b.reader, found, &d.Delivery); err != nil {
			return err
		}
		b.deliveries[d.ID] = d
		return nil
	}}}
}

// countersOf reads and locks the counters that operations name, in the order of their ids and after everything else.
func (s *Store) countersOf(b *batch, operations []*Operation) []lookup {
	var ids []otp.ID
	for _, op := range operations {
		ids = append(ids, op.Counters...)
	}
	if len(ids) == 0 {
		return nil
	}
	ids = sortIDs(ids)
	for _, id := range ids {
		b.counters[id] = &counterRow{Counter: otp.Counter{ID: id}}
	}
	list, args := in(ids, b.values.id)
	text := counters.selects() + `id IN ` + list + ` ORDER BY id` + s.dialect.lock
	return []lookup{{text, args, func(found row) error {
		c, err := counters.read(found)
		if err != nil {
			return fmt.Errorf("counter: %w", err)
		}
		b.counters[c.ID].Counter = c
		return nil
	}}}
}

func (b *batch) writeDeliveries(writes *script) {
	v := &b.values
	for _, d := range b.deliveries {
		if !d.dirty {
			continue
		}
		writes.guard(`
			UPDATE deliveries
			SET version = version + 1, owner = ?, leased_until = ?, started_at = ?, channel = ?, outcome = ?, receipt = ?, finished_at = ?
			WHERE id = ? AND version = ?`,
			v.id(d.Owner), v.moment(d.LeasedUntil), v.moment(d.StartedAt), v.text(d.Channel), v.text(string(d.Outcome)),
			v.idOrNull(d.Receipt), v.moment(d.FinishedAt), v.id(d.ID), d.Version)
	}
	inserts := make([]driver.Value, 0, len(b.layouts.deliveries.columns)*len(b.outbox))
	for i := range b.outbox {
		inserts = deliveryFields.appendTo(inserts, v, &b.outbox[i])
	}
	writes.insert(b.layouts.deliveries, inserts)
}

func (b *batch) writeCounters(writes *script) {
	v := &b.values
	var inserts []driver.Value
	for _, c := range b.counters {
		switch {
		case !c.dirty:
		case c.Version == 0:
			row := c.Counter
			row.Version = 1
			inserts = append(inserts, counters.values(&row)...)
		default:
			writes.guard(`
				UPDATE counters
				SET version = version + 1, total = ?, converted = ?, since = ?, stopped_until = ?, updated_at = ?
				WHERE id = ? AND version = ?`,
				c.Total, c.Converted, int64(c.Since), v.moment(c.StoppedUntil), int64(c.UpdatedAt), v.id(c.ID), c.Version)
		}
	}
	writes.insert(b.layouts.counters, inserts)
}

// Mark is a step of a delivery without other consequences. It is written only if the delivery still belongs to its
// owner.
type Mark struct {
	ID, Owner otp.ID
	Step      Step
	At        otp.Millis  // time of the hand-over or of the end, or the new end of the lease
	Channel   string      // Started
	Outcome   otp.Outcome // Ended
	Receipt   otp.ID      // Ended; zero for none

	matched   int64
	operation Operation // that carries it to its batch
}

// Step is the kind of a mark.
type Step int

// The steps.
const (
	Started Step = iota // a hand-over is about to begin
	Rested              // no hand-over is in progress, and the lease ends at At
	Ended
)

// Mark queues m, returns when it is committed, and reports whether the delivery belonged to its owner. For Ended
// without a receipt it always reports false, because many of these share an UPDATE. After a COMMIT that was not
// answered, Started and Rested are written again with the same effect, and Ended may report false. Errors are those of
// Do.
func (d *Deliveries) Mark(m *Mark) (held bool, err error) {
	m.operation = Operation{mark: m, Rank: Settling}
	err = d.store.Do(&m.operation)
	return err == nil && m.matched == 1, err
}

func (b *batch) writeMarks(writes *script) {
	const still = ` WHERE id = ? AND owner = ? AND leased_until IS NOT NULL`
	v := &b.values
	var alike []*Mark
	for _, m := range b.marks {
		switch {
		case m.Step == Started:
			writes.count(&m.matched, `UPDATE deliveries SET version = version + 1, started_at = ?, channel = ?`+still,
				v.moment(m.At), v.text(m.Channel), v.id(m.ID), v.id(m.Owner))
		case m.Step == Rested:
			writes.count(&m.matched, `UPDATE deliveries SET version = version + 1, started_at = NULL, leased_until = ?`+still,
				v.moment(m.At), v.id(m.ID), v.id(m.Owner))
		case m.Receipt.IsZero():
			alike = append(alike, m) // whether it was held is not needed
		default:
			writes.count(&m.matched,
				`UPDATE deliveries SET version = version + 1, leased_until = NULL, outcome = ?, receipt = ?, finished_at = ?`+still,
				v.text(string(m.Outcome)), v.id(m.Receipt), v.moment(m.At), v.id(m.ID), v.id(m.Owner))
		}
	}
	b.writeAlike(writes, alike)
}

// writeAlike writes the marks of deliveries that ended in the same way, without a receipt, in one UPDATE. They are
// most of an outbox's writes, and differ only in their ids. Their end is the time of the latest, less than a batch
// later. The condition that they are open uses the column without an index: an index over all open rows, including
// other servers', must not be chosen to find a few ids, since it would lock the rows it passes.
func (b *batch) writeAlike(writes *script, marks []*Mark) {
	v := &b.values
	for len(marks) > 0 {
		first, last := marks[0], otp.Millis(0)
		var ids []otp.ID
		marks = slices.DeleteFunc(marks, func(m *Mark) bool {
			alike := m.Owner == first.Owner && m.Outcome == first.Outcome && len(ids) < maxInsert
			if alike {
				ids, last = append(ids, m.ID), max(last, m.At)
			}
			return alike
		})
		list, args := in(sortIDs(ids), v.id)
		writes.count(nil, `
			UPDATE deliveries
			SET version = version + 1, leased_until = NULL, outcome = ?, finished_at = ?
			WHERE owner = ? AND finished_at IS NULL AND id IN `+list,
			append([]driver.Value{v.text(string(first.Outcome)), v.moment(last), v.id(first.Owner)}, args...)...)
	}
}

// touched holds the deliveries and counters of an operation, and their earlier values.
type touched struct {
	deliveries [2]*deliveryRow
	before     [2]otp.Delivery
	counters   []*counterRow
	counted    []otp.Counter
}

// touch puts the deliveries and counters that op names into the state, and stores their values. It does nothing for an
// operation that names none.
func (b *batch) touch(op *Operation, state *State) (t touched) {
	for i, id := range [...]otp.ID{op.Delivery, op.Sibling} {
		if d := b.deliveries[id]; d != nil && !id.IsZero() {
			t.deliveries[i], t.before[i] = d, d.Delivery
		}
	}
	if d := t.deliveries[0]; d != nil {
		state.Delivery = &d.Delivery
	}
	if d := t.deliveries[1]; d != nil {
		state.Sibling = &d.Delivery
	}
	for _, id := range op.Counters {
		c := b.counters[id]
		t.counters, t.counted = append(t.counters, c), append(t.counted, c.Counter)
		state.Counters = append(state.Counters, &c.Counter)
	}
	return t
}

// keep marks the rows that the operation changed as dirty.
func (t *touched) keep() {
	for i, d := range t.deliveries {
		if d != nil && d.changed(&t.before[i]) {
			d.dirty = true
		}
	}
	for i, c := range t.counters {
		if c.Counter != t.counted[i] {
			c.dirty = true
		}
	}
}

// restore undoes the changes of an operation that does not count.
func (t *touched) restore() {
	for i, d := range t.deliveries {
		if d != nil {
			d.Delivery = t.before[i]
		}
	}
	for i, c := range t.counters {
		c.Counter = t.counted[i]
	}
}

// Each of these conditions has an index; on SQLite it covers only the few rows that can match.
const (
	expiredDeliveries = `leased_until <= ? ORDER BY leased_until LIMIT ?`
	deliveriesOf      = `receipt = ?`
)

// Expired reads deliveries whose lease has run out, longest ago first. Use them only to find which to lock.
func (d *Deliveries) Expired(ctx context.Context, now otp.Millis, limit int) ([]otp.Delivery, error) {
	return deliveryFields.find(ctx, d.store, expiredDeliveries, int64(now), int64(limit))
}

// ByReceipt reads the deliveries that a provider's receipt may refer to.
func (d *Deliveries) ByReceipt(ctx context.Context, receipt otp.ID) ([]otp.Delivery, error) {
	return deliveryFields.find(ctx, d.store, deliveriesOf, receipt[:])
}

// ByIDs reads the deliveries with these ids that still exist, in any order.
func (d *Deliveries) ByIDs(ctx context.Context, ids []otp.ID) ([]otp.Delivery, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, args := in(ids, idValue)
	return deliveryFields.find(ctx, d.store, `id IN `+list, args...)
}

// RenewLeases moves the end of owner's leases on these deliveries to until. Deliveries that are finished or belong to
// another owner do not change.
func (d *Deliveries) RenewLeases(ctx context.Context, owner otp.ID, ids []otp.ID, until otp.Millis) error {
	for some := range slices.Chunk(ids, maxInsert) {
		list, args := in(some, idValue)
		err := d.store.exec(ctx, `
			UPDATE deliveries
			SET version = version + 1, leased_until = ?
			WHERE owner = ? AND leased_until IS NOT NULL AND id IN `+list,
			append([]driver.Value{int64(until), owner[:]}, args...)...)
		if err != nil {
			return fmt.Errorf("renew leases: %w", err)
		}
	}
	return nil
}
