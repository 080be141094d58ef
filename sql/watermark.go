package sql

import (
	"bytes"
	"context"
	"fmt"

	"otpbridge/server/otp"
)

// Watermark is what a server says of the deliveries that it watches, all at once: those whose ids are
// before EndedBefore and that have no row of their own were sent. Most never have one, which saves an
// outbox two writes for each message.
//
// It belongs to its server while it is leased, and every transaction that makes sends under it renews
// it, guarded. Nothing comes under it once it is closed, so that whoever takes over sees everything.
type Watermark struct {
	Owner       otp.ID     // the server process
	EndedBefore otp.ID     // an event's, or a delivery's but for the medium
	LeasedUntil otp.Millis // 0 = closed
}

// watermarkRow is a watermark as a batch works on it.
type watermarkRow struct {
	Watermark
	held, dirty bool
}

// advance moves it on. Operations come in another order than their bounds were taken in.
func (w *watermarkRow) advance(to Watermark) {
	if w.dirty = true; bytes.Compare(to.EndedBefore[:], w.EndedBefore[:]) > 0 {
		w.EndedBefore = to.EndedBefore
	}
	w.LeasedUntil = max(w.LeasedUntil, to.LeasedUntil)
}

// watermark is that of the batch's operations with this owner. It is taken to be held until the
// guarded write has found that it is not; then the batch goes round again, and knows.
func (b *batch) watermark(owner otp.ID) *watermarkRow {
	row := b.watermarks[owner]
	if row == nil {
		row = &watermarkRow{Watermark: Watermark{Owner: owner, EndedBefore: b.ended[owner]}, held: true}
		b.watermarks[owner] = row
	}
	return row
}

// watches tells whether deliveries of op are under its watermark: it is held, and has not passed
// them, as a new one has that took the place of another.
func (b *batch) watches(op *Operation) bool {
	if op.Watch.Owner.IsZero() {
		return false
	}
	return b.holds(op.Watch.Owner, op.Event)
}

func (b *batch) holds(owner, id otp.ID) bool {
	first, ended := otp.DeliveryID(id, 0), b.ended[owner]
	return b.watermark(owner).held && bytes.Compare(first[:], ended[:]) >= 0
}

// watermarksOf reads and locks the watermarks that operations count on, to see which are held.
func (s *Store) watermarksOf(b *batch, operations []*Operation) []lookup {
	var owners []otp.ID
	for _, op := range operations {
		if owner := op.watcher(); !owner.IsZero() {
			owners = append(owners, owner)
		}
	}
	if len(owners) == 0 {
		return nil
	}
	owners = sortIDs(owners)
	for _, owner := range owners {
		b.watermark(owner).held = false
	}
	list, args := in(owners, b.values.id)
	return []lookup{{`
		SELECT owner
		FROM outbox_watermarks
		WHERE leased_until > 0 AND owner IN ` + list + `
		ORDER BY owner` + s.dialect.lock, args, func(found row) error {
		r := reader{row: found}
		b.watermark(r.id()).held = true
		return r.err
	}}}
}

// watcher is whose watermark the operation counts on, zero for nobody's.
func (op *Operation) watcher() otp.ID {
	if op.mark != nil && (op.mark.Step == Stored || op.mark.Step == Advanced) {
		return op.mark.Owner
	}
	return op.Watch.Owner
}

// storedBefore looks for rows that are to be stored and that a COMMIT which was not answered has
// stored after all.
func (s *Store) storedBefore(b *batch, operations []*Operation) []lookup {
	var ids []otp.ID
	for _, op := range operations {
		if op.mark != nil && op.mark.Step == Stored {
			ids = append(ids, op.mark.Delivery.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	list, args := in(sortIDs(ids), b.values.id)
	return []lookup{{`SELECT id FROM deliveries WHERE id IN ` + list, args, func(found row) error {
		r := reader{row: found}
		b.stored[r.id()] = true
		return r.err
	}}}
}

// mark takes a mark into the batch.
func (b *batch) mark(m *Mark) {
	to := Watermark{Owner: m.Owner, LeasedUntil: m.At}
	switch m.Step {
	case Stored:
		if m.matched = 0; !b.holds(m.Owner, m.Delivery.ID) {
			return
		}
		if !b.stored[m.Delivery.ID] {
			b.outbox = append(b.outbox, *m.Delivery)
		}
	case Advanced:
		if m.matched = 0; !b.watermark(m.Owner).held {
			return
		}
		to.EndedBefore = m.ID
	default:
		b.marks = append(b.marks, m)
		return
	}
	m.matched = 1 // or the guard does not let the batch through
	b.watermark(m.Owner).advance(to)
}

func (b *batch) writeWatermarks(writes *script) {
	v := &b.values
	for _, w := range b.watermarks {
		if !w.dirty {
			continue
		}
		b.ended[w.Owner] = w.EndedBefore // true whatever becomes of the transaction
		writes.guard(`UPDATE outbox_watermarks SET ended_before = ?, leased_until = ? WHERE owner = ? AND leased_until > 0`,
			v.id(w.EndedBefore), v.moment(w.LeasedUntil), v.id(w.Owner))
	}
}

// Watch stores a new watermark, in place of an open one that its owner has left behind. It fails while
// one of the same owner is closed, and being taken over.
func (s *Store) Watch(ctx context.Context, w Watermark) error {
	err := s.write(ctx, func(t *session) error {
		s.batch.ended[w.Owner] = w.EndedBefore
		if err := t.exec(ctx, `DELETE FROM outbox_watermarks WHERE owner = ? AND leased_until > 0`, w.Owner[:]); err != nil {
			return err
		}
		return t.exec(ctx, `INSERT INTO outbox_watermarks (owner, ended_before, leased_until) VALUES (?, ?, ?)`,
			w.Owner[:], w.EndedBefore[:], int64(w.LeasedUntil))
	})
	if err != nil {
		return fmt.Errorf("store a watermark: %w", err)
	}
	return nil
}

// ExpiredWatermarks reads those whose lease has run out by now, and those that were closed and have
// not been taken over to the end. Nothing may be decided on them but which to close.
func (s *Store) ExpiredWatermarks(ctx context.Context, now otp.Millis) ([]Watermark, error) {
	rows, err := s.reads.QueryContext(ctx, `SELECT owner, ended_before, leased_until FROM outbox_watermarks WHERE leased_until <= ?`, int64(now))
	if err != nil {
		return nil, fmt.Errorf("read watermarks: %w", err)
	}
	defer rows.Close()
	var found []Watermark
	for rows.Next() {
		var w Watermark
		if err := rows.Scan(idScan{&w.Owner}, idScan{&w.EndedBefore}, &w.LeasedUntil); err != nil {
			return nil, fmt.Errorf("read watermarks: %w", err)
		}
		found = append(found, w)
	}
	return found, rows.Err()
}

// CloseWatermark closes owner's watermark if its lease has run out by now, and tells whether it is
// closed. Nothing is made under it from then on.
func (s *Store) CloseWatermark(ctx context.Context, owner otp.ID, now otp.Millis) (closed bool, err error) {
	var matched int64
	err = s.write(ctx, func(t *session) (err error) {
		matched, err = t.affect(ctx, `UPDATE outbox_watermarks SET leased_until = 0 WHERE owner = ? AND leased_until <= ?`, owner[:], int64(now))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("close a watermark: %w", err)
	}
	return matched == 1, nil
}

// ForgetWatermark removes w, under which everything is accounted for: by its owner if it has not been
// closed, and by whoever has closed it.
func (s *Store) ForgetWatermark(ctx context.Context, w Watermark) error {
	mine := ` AND leased_until > 0`
	if w.LeasedUntil == 0 {
		mine = ` AND leased_until = 0`
	}
	err := s.write(ctx, func(t *session) error {
		return t.exec(ctx, `DELETE FROM outbox_watermarks WHERE owner = ?`+mine, w.Owner[:])
	})
	if err != nil {
		return fmt.Errorf("remove a watermark: %w", err)
	}
	return nil
}

const watchedEvents = `WHERE id >= ? AND watched_by = ? ORDER BY id LIMIT ?`

// Watched reads the events of owner from an id on, in their order: of the sends whose deliveries it
// watches, or did.
func (s *Store) Watched(ctx context.Context, owner, from otp.ID, limit int) ([]otp.Event, error) {
	return s.readEvents(ctx, watchedEvents, from[:], owner[:], limit)
}
