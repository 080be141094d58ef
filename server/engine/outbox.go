package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// The outbox: every send that leaves this process has a row per medium, committed with the send and leased to this
// server. Before each hand-over the row is marked as started, and afterwards with the outcome. So a server that finds
// a row with an expired lease knows whether the message surely was not sent, and may be sent, or may have gone out,
// and must not be sent again.
//
// If a caller waits for the hand-over, the row is inserted as started: the hand-over follows the COMMIT at once, and a
// separate mark would cost every send a transaction. If the process dies between the two, the caller gets an error and
// asks again. Another server must not send that message 15 seconds later: it would be a code that nobody waits for, or
// a second one. So it ends as unknown. An application of the JSON API was promised that its send is queued and does
// not wait, so there the two steps are separate.

// The times of the outbox.
const (
	// retryFor bounds how long a send of the JSON API is retried: after that, hardly anybody still waits for the code.
	retryFor = 60 * otp.Second
	// firstPause and longestPause bound the pause between two rounds through the channels.
	firstPause, longestPause = 500 * time.Millisecond, 8 * time.Second
	// handOverGrace is how long hand-overs in progress may take once the server stops.
	handOverGrace = 3 * time.Second
	// takeOverChunk is how many deliveries are taken over at once.
	takeOverChunk = 64
)

// entrust puts the send's deliveries into the outbox, inside the operation that makes the send.
func (e *Engine) entrust(op *sql.Operation, state *sql.State, s *send, g *guard) {
	if !e.outbound(s.caller, s.channels) {
		return
	}
	var mailbox []byte
	if s.channels.Has(otp.Email) {
		mailbox = e.keyring.Seal(vault.Mailbox(otp.DeliveryID(op.Event, 0)), []byte(s.target.Mailbox))
	}
	price := int64(0)
	if g != nil {
		price = g.price
	}
	media := s.channels.Each()
	s.rows = make([]otp.Delivery, 0, len(media)) // without those of an earlier try
	for _, medium := range media {
		var begun otp.Millis
		var first string
		if channels := e.channels(s.caller, medium); e.awaited(s.caller) && len(channels) > 0 {
			begun, first = op.Now, channels[0].Name()
		}
		s.rows = append(s.rows, otp.Delivery{
			ID: otp.DeliveryID(op.Event, medium), Challenge: s.challenge.ID, Recipient: s.recipient,
			Account: s.caller.Account.Address, Environment: s.caller.Environment, Door: s.caller.Door,
			Medium: medium, Channels: s.channels, Send: s.number, Mailbox: mailbox, Department: s.target.Department,
			Price:  price,
			SentAt: s.at, ExpiresAt: s.challenge.ExpiresAt, Owner: e.process, LeasedUntil: op.Now + otp.Lease,
			StartedAt: begun, Channel: first, CreatedAt: op.Now,
		})
	}
	state.Deliver(s.rows)
}

// awaited reports whether c waits for the hand-over of its sends.
func (e *Engine) awaited(c *Caller) bool {
	return c.Door == otp.ServletDoor && e.options.DeliveryWait > 0
}

// carryAll takes a send's deliveries through their channels.
func (e *Engine) carryAll(s *send, life time.Duration, settled chan<- deliver.Outcome) {
	rows := make([]*otp.Delivery, len(s.rows))
	for i := range rows {
		rows[i] = &s.rows[i]
	}
	open := together(rows, settled, func(row *otp.Delivery, tell func(deliver.Outcome)) { e.carry(s, row, life, tell) })
	if !open {
		settled <- deliver.NotSent
	}
}

// carry takes one delivery through its channels, repeatedly while that can help. It reports the outcome once: as soon
// as it is known, but NotSent only after it is recorded.
func (e *Engine) carry(s *send, row *otp.Delivery, life time.Duration, tell func(deliver.Outcome)) {
	e.leases.hold(row.ID, row.LeasedUntil)
	defer e.leases.drop(row.ID)
	ctx, cancel := context.WithTimeout(e.cut, life)
	defer cancel()
	message := e.message(s, row.Medium)
	begun := row.StartedAt != 0 // with the first channel, by the transaction that made the send
	for round := 0; ; round++ {
		again := false
		for _, channel := range e.channels(s.caller, row.Medium) {
			if round > 0 && e.closing.Err() != nil || e.cut.Err() != nil {
				e.letGo(row)
				tell(deliver.Unknown)
				return
			}
			switch e.markStarted(ctx, s, row, channel.Name(), begun) {
			case lost:
				tell(deliver.Unknown)
				return
			case tooLate:
				e.finish(s, row, otp.OutcomeUnsent, otp.ID{})
				tell(deliver.NotSent)
				return
			}
			begun = false
			result := e.sendOn(ctx, channel, message)
			if result.Outcome == deliver.NotSent {
				e.notHandedOver(ctx, channel, message, result)
				again = again || result.Retryable
				continue
			}
			tell(result.Outcome)
			e.recordHandOver(ctx, s, row, channel, message, result)
			return
		}
		pause := backOff(round)
		if !again || !e.worthWhile(s, row, pause) {
			break
		}
		if !e.pause(row, pause) {
			tell(deliver.Unknown)
			return
		}
	}
	e.finish(s, row, otp.OutcomeUnsent, otp.ID{})
	tell(deliver.NotSent)
}

// recordHandOver records a final outcome of a hand-over.
func (e *Engine) recordHandOver(ctx context.Context, s *send, row *otp.Delivery, channel deliver.Channel,
	m deliver.Message, result deliver.Result) {
	var receipt otp.ID
	if result.MessageID != "" {
		receipt = e.receiptHash(channel.Name(), result.MessageID)
	}
	outcome := otp.OutcomeSent
	if result.Outcome != deliver.Sent {
		e.notHandedOver(ctx, channel, m, result)
		outcome = otp.OutcomeUnknown // a receipt may still clear it up
	}
	e.finish(s, row, outcome, receipt)
}

// receiptHash returns the keyed hash of a provider's message id, as a delivery stores it.
func (e *Engine) receiptHash(channel, messageID string) otp.ID {
	return e.index.Sum("receipt", channel, messageID)
}

// backOff returns the pause after a round in which nothing was sent: doubled each time, and randomly shortened by up
// to half, so that servers do not return to a provider at the same time.
func backOff(round int) time.Duration {
	pause := min(firstPause<<min(round, 8), longestPause)
	return pause - time.Duration(rand.Int64N(int64(pause/2)))
}

// worthWhile reports whether the code will still be of use if the channels are tried again after pause. A servlet's
// client waits for the answer, and must be told in time if there is none. An application that named a fallback method
// is better served by that method.
func (e *Engine) worthWhile(s *send, row *otp.Delivery, pause time.Duration) bool {
	passed := otp.At(time.Now()) - row.CreatedAt + otp.Span(pause)
	if s.caller.Door == otp.ServletDoor {
		return passed < otp.Span(e.options.DeliveryWait)/2
	}
	return len(s.fallback) == 0 && passed < min(retryFor, row.ExpiresAt-row.SentAt)
}

// started says whether a hand-over may begin.
type started int

const (
	lost    started = iota // no: another server has the delivery, or that could not be determined
	tooLate                // no: the code has expired
	mayGo
)

// markStarted marks a delivery as about to be handed to a channel, unless its row was inserted as started, and reports
// whether it may be. An unmarked delivery must not be handed over: a server that takes it over would send it again.
func (e *Engine) markStarted(ctx context.Context, s *send, row *otp.Delivery, channel string, begun bool) started {
	if ctx.Err() != nil && e.cut.Err() == nil {
		return tooLate
	}
	if begun {
		// Another server may have taken it over meanwhile, if this process stalled for so long. But it has not sent
		// it: a started delivery is never sent again.
		return mayGo
	}
	held, err := e.store.Deliveries.Mark(&sql.Mark{ID: row.ID, Owner: e.process, Step: sql.Started,
		At: otp.At(time.Now()), Channel: channel})
	if err != nil {
		// Its lease runs out, and the server that takes it over knows that it was not sent.
		e.log.ErrorContext(e.closing, "delivery could not be begun", "account", row.Account,
			"challenge", s.challenge.ID.Text("otp"), "send", s.number, "error", err)
	}
	if !held {
		return lost
	}
	return mayGo
}

// pause waits before another round, with the delivery marked as not in progress, and reports whether this server still
// has the delivery.
func (e *Engine) pause(row *otp.Delivery, pause time.Duration) bool {
	until := otp.At(time.Now()) + otp.Lease
	if !e.markRested(row, until) {
		return false
	}
	e.leases.hold(row.ID, until)
	over := time.NewTimer(pause)
	defer over.Stop()
	select {
	case <-over.C:
	case <-e.closing.Done(): // the next step lets it go
	}
	return true
}

// letGo gives up the delivery before its lease ends, so that another server takes it over at once.
func (e *Engine) letGo(row *otp.Delivery) {
	e.leases.drop(row.ID) // first, or the lease might be renewed in between
	e.markRested(row, otp.At(time.Now()))
}

func (e *Engine) markRested(row *otp.Delivery, until otp.Millis) bool {
	// its lease runs out anyway
	held, _ := e.store.Deliveries.Mark(&sql.Mark{ID: row.ID, Owner: e.process, Step: sql.Rested, At: until})
	return held
}

// finish records how a delivery ended, the event, and the refund if the send surely reached nobody on any medium: all
// in one transaction.
func (e *Engine) finish(s *send, row *otp.Delivery, outcome otp.Outcome, receipt otp.ID) {
	for try := range 3 {
		err := e.tryFinish(s, row, outcome, receipt)
		if err == nil {
			return
		}
		e.log.ErrorContext(e.closing, "outcome could not be recorded", "account", row.Account,
			"challenge", s.challenge.ID.Text("otp"), "send", s.number, "outcome", string(outcome), "error", err)
		if errors.Is(err, sql.ErrClosed) || try == 2 {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-e.closing.Done():
		}
	}
}

func (e *Engine) tryFinish(s *send, row *otp.Delivery, outcome otp.Outcome, receipt otp.ID) error {
	if outcome == otp.OutcomeSent && s.caller.Door != otp.V1Door {
		// The event of the send is enough for the history.
		_, err := e.store.Deliveries.Mark(&sql.Mark{
			ID: row.ID, Owner: e.process, Step: sql.Ended, At: otp.At(time.Now()), Outcome: outcome, Receipt: receipt,
		})
		return err
	}
	op := s.operation()
	op.Delivery, op.Sibling = row.ID, row.Sibling()
	var guard *guard
	if outcome == otp.OutcomeUnsent {
		guard = e.guardOf(s, row)
		op.Counters = guard.counters()
	}
	op.Decide = func(state *sql.State) error {
		if state.Delivery.Finish(e.process, outcome, receipt, op.Now) {
			state.Mark()
			e.recordOutcomeOf(op, s, state, outcome, guard)
		}
		return nil
	}
	return e.store.Do(op)
}

// recordOutcomeOf records the event and the refund for an outcome. Sends of the servlets need no outcome event: the
// send's own event is enough.
func (e *Engine) recordOutcomeOf(op *sql.Operation, s *send, state *sql.State, outcome otp.Outcome, guard *guard) {
	switch {
	case state.Recipient.Version == 0: // swept or reset meanwhile
	case outcome == otp.OutcomeUnsent:
		if other := state.Sibling; other != nil && other.Outcome != otp.OutcomeUnsent {
			return // it may have arrived on the other medium
		}
		s.refund(op, state)
		guard.release(state)
	case outcome == otp.OutcomeUnknown:
		state.Record(s.newEvent(op, state, otp.EventUnknown))
	case outcome == otp.OutcomeSent && s.caller.Door == otp.V1Door:
		state.Record(s.newEvent(op, state, otp.EventTaken))
	}
}
