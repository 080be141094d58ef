package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"otpbridge/server/otp"
)

// Deliveries are messages on their way: the outbox.
type Deliveries struct{ store *Store }

// The outbox. Its rows are inserted by the operation that makes the send necessary. A later step
// with consequences, such as a refund, is an operation too, decided on the locked row and written
// guarded by its version; one without is a mark. All of them share the transaction of a batch, so
// none costs an fsync of its own.

const deliveryColumns = `id, version, challenge_id, recipient_hash, esme_address, environment, door, medium, channels, send,
	mailbox, department, price, sent_at, expires_at, owner, leased_until, started_at, channel, outcome, receipt, created_at, finished_at`

// deliveryRow is a delivery as a batch works on it.
type deliveryRow struct {
	otp.Delivery
	dirty bool
}

// changed reports whether a rule wrote to the row since the snapshot.
func (d *deliveryRow) changed(before *otp.Delivery) bool {
	return d.Owner != before.Owner || d.LeasedUntil != before.LeasedUntil || d.StartedAt != before.StartedAt ||
		d.Channel != before.Channel || d.Outcome != before.Outcome || d.Receipt != before.Receipt ||
		d.FinishedAt != before.FinishedAt
}

// counterRow is a counter as a batch works on it.
type counterRow struct {
	otp.Counter
	dirty bool
}

// namedDeliveries reads and locks the deliveries that operations name. Whoever else would write
// one holds its recipient first, except for the renewal of leases.
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
	return []lookup{{`
		SELECT ` + deliveryColumns + `
		FROM deliveries
		WHERE id IN ` + list + `
		ORDER BY id` + s.dialect.lock, args, func(found row) error {
		d := &deliveryRow{}
		if err := readDelivery(found, &d.Delivery); err != nil {
			return err
		}
		b.deliveries[d.ID] = d
		return nil
	}}}
}

func readDelivery(found row, d *otp.Delivery) error {
	r := reader{row: found}
	*d = otp.Delivery{
		ID: r.id(), Version: r.number(), Challenge: r.id(), Recipient: r.id(),
		Account: r.text(), Environment: otp.Environment(r.text()), Door: otp.Door(r.text()),
		Medium: otp.Channels(r.number()), Channels: otp.Channels(r.number()), Send: int(r.number()),
		Mailbox: r.bytes(), Department: r.text(), Price: r.number(), SentAt: r.moment(), ExpiresAt: r.moment(),
		Owner: r.id(), LeasedUntil: r.moment(), StartedAt: r.moment(), Channel: r.text(), Outcome: otp.Outcome(r.text()),
		Receipt: r.optionalID(), CreatedAt: r.moment(), FinishedAt: r.moment(),
	}
	if r.err != nil {
		return fmt.Errorf("delivery: %w", r.err)
	}
	return nil
}

// countersOf reads and locks the counters that operations name, in the order of their ids and
// behind everything else.
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
	return []lookup{{`
		SELECT ` + counterColumns + `
		FROM counters
		WHERE id IN ` + list + `
		ORDER BY id` + s.dialect.lock, args, func(found row) error {
		r := reader{row: found}
		c := otp.Counter{
			ID: r.id(), Version: r.number(), Total: r.number(), Converted: r.number(),
			Since: r.moment(), StoppedUntil: r.moment(), UpdatedAt: r.moment(),
		}
		if r.err != nil {
			return fmt.Errorf("counter: %w", r.err)
		}
		b.counters[c.ID].Counter = c
		return nil
	}}}
}

const counterColumns = `id, version, total, converted, since, stopped_until, updated_at`

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
		d := &b.outbox[i]
		inserts = append(inserts, v.id(d.ID), int64(1), v.id(d.Challenge), v.id(d.Recipient), v.text(d.Account),
			v.text(string(d.Environment)), v.text(string(d.Door)),
			int64(d.Medium), int64(d.Channels), int64(d.Send), nullable(d.Mailbox), v.text(d.Department), d.Price,
			v.moment(d.SentAt), v.moment(d.ExpiresAt),
			v.id(d.Owner), v.moment(d.LeasedUntil), v.moment(d.StartedAt), v.text(d.Channel), v.text(string(d.Outcome)),
			v.idOrNull(d.Receipt), v.moment(d.CreatedAt), v.moment(d.FinishedAt))
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
			inserts = append(inserts, v.id(c.ID), int64(1), c.Total, c.Converted, int64(c.Since), v.moment(c.StoppedUntil),
				int64(c.UpdatedAt))
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

// Mark is a step of a delivery that nothing else is decided with: it is written if the delivery is
// still its owner's, and else nothing happens.
type Mark struct {
	ID, Owner otp.ID
	Step      Step
	At        otp.Millis  // of the hand-over, of the end, or that the lease is to end at
	Channel   string      // Started
	Outcome   otp.Outcome // Ended
	Receipt   otp.ID      // Ended; zero for none

	matched   int64
	operation Operation // that brings it to its batch
}

// Step is what a mark says.
type Step int

// The steps.
const (
	Started Step = iota // a hand-over is about to begin
	Rested              // none is under way, and the lease ends at At
	Ended
)

// Mark queues m, returns when it is committed, and reports whether the delivery was its owner's; of
// Ended without a receipt it does not, because many of these share an UPDATE.
// After a COMMIT that was not answered Started and Rested are written again to the same effect,
// and Ended may be told that somebody else has ended it. Errors are those of Do.
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
			alike = append(alike, m) // nobody asks whether it was held
		default:
			writes.count(&m.matched,
				`UPDATE deliveries SET version = version + 1, leased_until = NULL, outcome = ?, receipt = ?, finished_at = ?`+still,
				v.text(string(m.Outcome)), v.id(m.Receipt), v.moment(m.At), v.id(m.ID), v.id(m.Owner))
		}
	}
	b.writeAlike(writes, alike)
}

// writeAlike writes the marks of deliveries that ended in the same way, without a receipt, in one
// UPDATE for all of them: they are most of what an outbox writes, and all that is their own is an
// id. They are finished when the last of them was, which is less than a batch later. That they are
// open is asked of the column that no index is over: one over all open rows, other servers' included,
// must not be taken for the short way to a few ids, since it would lock what it passes.
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

// touched is what an operation has of deliveries and counters, with how they were before.
type touched struct {
	deliveries [2]*deliveryRow
	before     [2]otp.Delivery
	counters   []*counterRow
	counted    []otp.Counter
}

// touch gives the state what op names, and remembers how it was. Of an operation that names
// nothing it costs nothing.
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

// keep notes what the operation changed.
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

// restore takes back what an operation changed that does not count.
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

// Expired reads deliveries whose lease has run out by now, the longest ago first. Nothing may be
// decided on them but which to lock.
func (d *Deliveries) Expired(ctx context.Context, now otp.Millis, limit int) ([]otp.Delivery, error) {
	return d.store.readDeliveries(ctx, expiredDeliveries, int64(now), limit)
}

// Each of these has an index, on SQLite of the few rows alone that it can find.
const (
	expiredDeliveries = `
		SELECT ` + deliveryColumns + `
		FROM deliveries
		WHERE leased_until <= ?
		ORDER BY leased_until
		LIMIT ?`
	deliveriesOf = `
		SELECT ` + deliveryColumns + `
		FROM deliveries
		WHERE receipt = ?`
)

// ByReceipt reads the deliveries that a provider's receipt can mean.
func (d *Deliveries) ByReceipt(ctx context.Context, receipt otp.ID) ([]otp.Delivery, error) {
	return d.store.readDeliveries(ctx, deliveriesOf, receipt[:])
}

func (s *Store) readDeliveries(ctx context.Context, query string, args ...any) ([]otp.Delivery, error) {
	rows, err := s.reads.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	defer rows.Close()
	var found []otp.Delivery
	for rows.Next() {
		var d otp.Delivery
		if err := scanDelivery(rows, &d); err != nil {
			return nil, fmt.Errorf("read deliveries: %w", err)
		}
		found = append(found, d)
	}
	return found, errors.Join(rows.Err(), rows.Close())
}

func scanDelivery(rows *sql.Rows, d *otp.Delivery) error {
	values, err := scanRow(rows)
	if err != nil {
		return err
	}
	return readDelivery(values, d)
}

// RenewLeases moves the end of owner's leases on these deliveries to until. One that is finished
// or somebody else's by now stays as it is.
func (d *Deliveries) RenewLeases(ctx context.Context, owner otp.ID, ids []otp.ID, until otp.Millis) error {
	for len(ids) > 0 {
		some := ids[:min(len(ids), maxInsert)]
		ids = ids[len(some):]
		list, args := in(some, idValue)
		err := d.store.write(ctx, func(w *session) error {
			return w.exec(ctx, `
				UPDATE deliveries
				SET version = version + 1, leased_until = ?
				WHERE owner = ? AND leased_until IS NOT NULL AND id IN `+list,
				append([]driver.Value{int64(until), owner[:]}, args...)...)
		})
		if err != nil {
			return fmt.Errorf("renew leases: %w", err)
		}
	}
	return nil
}
