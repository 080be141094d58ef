package sql

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"otpbridge/server/otp"
)

// The times and limits of readiness.
const (
	provenFor   = 2 * time.Second // how long a commit counts as proof that the next will succeed
	probeEvery  = time.Second     // the least time between the starts of two probes
	probeWithin = 3 * time.Second // a probe that takes longer has failed
	// afterFailure multiplies the room that a probe needs after a failure: a few free pages do not make a full
	// database writable again.
	afterFailure = 16
)

// readiness records whether the database accepts writes: the result of the last commit, and that of the last probe.
type readiness struct {
	mu        sync.Mutex
	succeeded time.Time // the last commit that wrote something
	failed    time.Time // the last batch or write that was given up
	probe     *probe    // the last one, which may still run
}

// probe is one attempt to write.
type probe struct {
	began time.Time
	ended chan struct{}
	err   error // valid once ended is closed
}

// committed records that a transaction wrote and was committed.
func (r *readiness) committed() {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.succeeded = now
}

// gaveUp records that a batch or a write was given up. The cause may have been its data, so this only triggers a
// probe.
func (r *readiness) gaveUp() {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = now
}

// proven reports whether the last result was a commit, a moment ago.
func (r *readiness) proven(now time.Time) bool {
	return r.succeeded.After(r.failed) && now.Sub(r.succeeded) < provenFor
}

// Ready returns nil if the database accepts writes. It relies on operations that were committed a moment ago. Without
// any, or after one failed, it makes all writes of a send and a guess itself, in a transaction that removes them
// again, at most once a second for all callers. On any error, requests should go elsewhere; the next probe that
// succeeds ends it.
//
// The length of the queue does not count: all servers of a database have long queues at the same time, and a load
// balancer would remove them all.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	if err := s.reads.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	p, err := s.probe()
	if p == nil || err != nil {
		return err
	}
	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("the database has not taken a write for %v", time.Since(p.began).Round(time.Millisecond))
	}
}

// probe returns the attempt to wait for, and begins one if it is time; nil if none is needed.
func (s *Store) probe() (*probe, error) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	r, now := &s.readiness, time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proven(now) {
		return nil, nil
	}
	if last := r.probe; last != nil {
		select {
		case <-last.ended:
			if now.Sub(last.began) < probeEvery {
				return last, nil
			}
		default: // one at a time: another would wait for the same
			if waited := now.Sub(last.began); waited > probeWithin {
				return nil, fmt.Errorf("the database has not taken a write for %v", waited.Round(time.Millisecond))
			}
			return last, nil
		}
	}
	p := &probe{began: now, ended: make(chan struct{})}
	r.probe = p
	room := s.dialect.allocate
	if r.failed.After(r.succeeded) {
		room *= afterFailure
	}
	s.done.Go(func() {
		defer close(p.ended)
		if p.err = s.tryWriting(room); p.err == nil {
			r.committed()
			return
		}
		r.gaveUp()
	})
	return p, nil
}

// tryWriting makes the writes of a send and its follow-ups, as operations make them, for a recipient that nobody else
// can see, and removes them in the same transaction. So it fails where they would: without room, without a privilege,
// without a table or column, on a replica, behind a lock. room is the number of additional bytes that it needs.
func (s *Store) tryWriting(room int) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	attempt := func() error {
		return s.transact(context.Background(), func(w *session) error { return s.rehearse(w, room) })
	}
	began := time.Now()
	err := attempt()
	if err != nil && s.fate(err) == again && time.Since(began) < probeEvery {
		err = attempt() // another server was in the way
	}
	if err != nil {
		return fmt.Errorf("try to write: %w", err)
	}
	return nil
}

// rehearsal is the account of a probe's rows. No account can have it, because addresses are digits.
const rehearsal = "probe"

// rehearse writes every table that operations write, twice if they change a row later.
func (s *Store) rehearse(w *session, room int) error {
	now := otp.At(time.Now())
	hash, slot, counter, made := NewID(), NewID(), NewID(), NewID()
	sent := &Operation{Event: NewID(), Account: rehearsal, Recipient: hash, Slot: slot, Counters: []otp.ID{counter},
		Now: now}
	delivery := otp.DeliveryID(sent.Event, otp.SMS)
	var recipient otp.ID
	sent.Decide = func(state *State) error {
		r := state.Recipient
		recipient = r.ID
		r.Account, r.Environment, r.Sealed, r.Seq, r.UpdatedAt = rehearsal, otp.Test, []byte{0}, 1, now
		state.Counters[0].Total, state.Counters[0].UpdatedAt = 1, now
		state.Insert(&otp.Challenge{
			ID: made, Recipient: r.ID, Seq: 1, Slot: slot, Channels: otp.SMS, Mailbox: make([]byte, room),
			CreatedAt: now, ExpiresAt: now, UpdatedAt: now,
		})
		state.Deliver([]otp.Delivery{{
			ID: delivery, Challenge: made, Recipient: hash, Account: rehearsal, Environment: otp.Test, Door: otp.ServletDoor,
			Medium:   otp.SMS,
			Channels: otp.SMS, SentAt: now, ExpiresAt: now, Owner: made, LeasedUntil: now, CreatedAt: now,
		}})
		state.Record(otp.Event{ID: sent.Event, At: now, Account: rehearsal, Environment: otp.Test, Kind: otp.EventSent,
			Door: otp.ServletDoor, Recipient: hash, Challenge: made})
		return nil
	}
	guessed := &Operation{Event: NewID(), Account: rehearsal, Recipient: hash, Slot: slot, Delivery: delivery,
		Counters: []otp.ID{counter}, Now: now}
	guessed.Decide = func(state *State) error {
		if state.Challenge == nil || state.Delivery == nil {
			return errors.New("what was written cannot be read")
		}
		state.Recipient.Run++
		state.Challenge.Wrong++
		state.Counters[0].Total++
		state.Delivery.Finish(made, otp.OutcomeSent, otp.ID{}, now)
		state.Mark()
		return nil
	}
	for _, op := range []*Operation{sent, guessed} {
		if err := s.runBatch(w, []*Operation{op}, false); err != nil {
			return err
		}
		if op.err != nil {
			return op.err
		}
	}
	return forget(w, map[string]otp.ID{
		"recipients": recipient, "challenges": made, "events": sent.Event, "deliveries": delivery, "counters": counter,
	})
}

// forget removes one row of each table.
func forget(w *session, rows map[string]otp.ID) error {
	for table, id := range rows {
		n, err := w.affect(context.Background(), `DELETE FROM `+table+` WHERE id = ?`, id[:])
		if err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("delete from %s: %d rows", table, n)
		}
	}
	return nil
}
