package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// leases are the deliveries that this server works on, with the end of each lease.
type leases struct {
	mu   sync.Mutex
	held map[otp.ID]otp.Millis
}

func (l *leases) hold(id otp.ID, until otp.Millis) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[id] = until
}

func (l *leases) drop(id otp.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, id)
}

// ending lists the leases that end before a moment.
func (l *leases) ending(before otp.Millis) (ids []otp.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, until := range l.held {
		if until < before {
			ids = append(ids, id)
		}
	}
	return ids
}

// TakeOver takes over deliveries whose server died or lost its database. Those whose hand-over had begun are finished
// as unknown; the others are delivered. It returns how many there were.
func (e *Engine) TakeOver(ctx context.Context) (int, error) {
	expired, err := e.store.Deliveries.Expired(ctx, otp.At(time.Now()), takeOverChunk)
	if err != nil {
		return 0, err
	}
	return len(expired), eachAtOnce(expired, func(row *otp.Delivery) error { return e.takeOverDelivery(ctx, row) })
}

func (e *Engine) takeOverDelivery(ctx context.Context, row *otp.Delivery) error {
	s, err := e.sendAgain(ctx, row)
	if err != nil && !errors.Is(err, sql.ErrNotFound) {
		return err
	}
	gone := err != nil // with its challenge: nothing is left to send
	op := s.operation()
	op.Delivery, op.Challenge = row.ID, row.Challenge
	var taken, doubtful bool
	var life otp.Millis
	op.Decide = func(state *sql.State) error {
		if taken, doubtful = state.Delivery.TakeOver(e.process, op.Now); !taken && !doubtful {
			return nil
		}
		state.Mark()
		switch {
		case gone && taken:
			taken = false
			state.Delivery.Finish(e.process, otp.OutcomeUnsent, otp.ID{}, op.Now)
		case doubtful && !gone:
			e.recordOutcomeOf(op, &s, state, otp.OutcomeUnknown, nil)
		}
		*row, life = *state.Delivery, state.Delivery.ExpiresAt-state.Now
		return nil
	}
	if err := e.store.Do(op); err != nil {
		return err
	}
	switch {
	case doubtful:
		e.metrics.takenOver("unknown")
		e.log.WarnContext(ctx, "delivery whose server is gone may have been sent", "account", row.Account,
			"challenge", row.Challenge.Text("otp"), "send", row.Send, "channel", row.Channel)
	case taken:
		s.rows[0] = *row
		e.metrics.takenOver("continued")
		e.sending.Go(func() {
			e.carry(&s, row, life.Duration(), func(outcome deliver.Outcome) {
				if outcome == deliver.NotSent && s.caller.Door == otp.V1Door {
					e.fallBack(s)
				}
			})
		})
	}
	return nil
}

// sendAgain reads the send that a delivery belongs to. If its challenge or account is gone, the error is
// sql.ErrNotFound and the send holds only what the row tells.
func (e *Engine) sendAgain(ctx context.Context, row *otp.Delivery) (send, error) {
	c := &Caller{Account: &otp.Account{Address: row.Account}, Environment: row.Environment, Door: row.Door}
	s := send{
		caller: c, challenge: otp.Challenge{ID: row.Challenge}, channels: row.Channels, number: row.Send, at: row.SentAt,
		event: row.ID, recipient: row.Recipient, rows: []otp.Delivery{*row},
	}
	settings, err := e.accounts.value(ctx, row.Account)
	switch {
	case err != nil:
		return s, err
	case !settings.found || settings.broken != nil:
		return s, sql.ErrNotFound
	}
	c.Account, c.settings = &settings.row, settings
	found, err := e.find(ctx, c, row.Challenge)
	if otp.KindOf(err) == otp.NotFound {
		return s, sql.ErrNotFound
	}
	if err != nil {
		return s, err
	}
	s.challenge, s.target = *found.challenge, found.target
	s.target.Department = row.Department
	if row.Mailbox != nil {
		mailbox, err := e.keyring.Open(vault.Mailbox(otp.DeliveryID(row.ID, 0)), row.Mailbox)
		if err != nil {
			return s, err
		}
		s.target.Mailbox = string(mailbox)
	}
	if row.Channels.Has(otp.Email) {
		op := &sql.Operation{Recipient: row.Recipient}
		e.lockMailbox(c, op, s.target)
		s.mailbox = op.Mailbox
	}
	if s.challenge.Details != nil {
		s.fallback = after(s.challenge.Details.Fallback, row.Channels)
	}
	return s, nil
}

// after returns the members of a list behind one, or the whole list if it does not contain that one.
func after(list []otp.Channels, member otp.Channels) []otp.Channels {
	for i, channels := range list {
		if channels == member {
			return list[i+1:]
		}
	}
	return list
}

// tend renews leases and takes over deliveries until the engine closes. The pause is jittered, so that servers that
// share a database do not poll at the same moment.
func (e *Engine) tend(every time.Duration) {
	for {
		pause := time.NewTimer(every - time.Duration(rand.Int64N(int64(every/4)+1)))
		select {
		case <-e.closing.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		e.renew()
		for e.closing.Err() == nil {
			found, err := e.TakeOver(e.closing)
			if err != nil && e.closing.Err() == nil {
				e.log.WarnContext(e.closing, "deliveries could not be taken over", "error", err)
			}
			if err != nil || found < takeOverChunk {
				break
			}
		}
	}
}

// renew renews the leases that this server works on.
func (e *Engine) renew() {
	now := otp.At(time.Now())
	ending := e.leases.ending(now + otp.Lease*2/3)
	if len(ending) == 0 {
		return
	}
	if err := e.store.Deliveries.RenewLeases(e.closing, e.process, ending, now+otp.Lease); err != nil {
		e.log.WarnContext(e.closing, "leases of deliveries could not be renewed", "error", err)
		return
	}
	for _, id := range ending {
		e.leases.renewed(id, now+otp.Lease)
	}
}

// renewed records a lease's new end, if the delivery is still worked on.
func (l *leases) renewed(id otp.ID, until otp.Millis) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, held := l.held[id]; held {
		l.held[id] = until
	}
}
