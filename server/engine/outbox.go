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

// The outbox: every send that leaves this process has a row for each medium, committed with the
// send and leased to this server. Before each hand-over the row says so, and afterwards how it
// ended. Whoever finds a row whose lease ran out therefore knows whether the message surely went
// nowhere, and may be sent, or may have gone out, and must not be.
//
// Where somebody waits for the hand-over the row says from the beginning that one is under way: it
// follows the COMMIT at once, and a step of its own in between would cost every send a transaction.
// If the process dies between the two, whoever waits hears an error and asks again; a message that
// another server sent a quarter of a minute later would be a code that nobody waits for, or a second
// one. So it ends as unknown, which is what is known of it. An application was promised that its
// send is queued, and does not wait, so there the steps are two.

// The times of the outbox.
const (
	// retryFor bounds how long a send that somebody polls for is tried again: longer than that
	// nobody looks at a phone.
	retryFor = 60 * otp.Second
	// firstPause and longestPause bound the pause between two rounds through the channels.
	firstPause, longestPause = 500 * time.Millisecond, 8 * time.Second
	// handOverGrace is how long hand-overs under way may take once the server stops.
	handOverGrace = 3 * time.Second
	// takeOverChunk is how many deliveries are taken over at once.
	takeOverChunk = 64
)

// entrust puts the send's deliveries into the outbox, inside the operation that makes it.
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

// awaited reports whether somebody waits for the hand-over of what c sends.
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

// carry takes one delivery through its channels, again and again while that can help, and tells
// its outcome once: as soon as it is known, or NotSent when it is also recorded.
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

// recordHandOver records the outcome of a hand-over after which nothing more is tried.
func (e *Engine) recordHandOver(ctx context.Context, s *send, row *otp.Delivery, channel deliver.Channel,
	m deliver.Message, result deliver.Result) {
	var receipt otp.ID
	if result.MessageID != "" {
		receipt = e.receiptHash(channel.Name(), result.MessageID)
	}
	outcome := otp.OutcomeSent
	if result.Outcome != deliver.Sent {
		e.notHandedOver(ctx, channel, m, result)
		outcome = otp.OutcomeUnknown // which a receipt may still clear up
	}
	e.finish(s, row, outcome, receipt)
}

// receiptHash is what a delivery remembers of the provider's name for it.
func (e *Engine) receiptHash(channel, messageID string) otp.ID {
	return e.index.Sum("receipt", channel, messageID)
}

// backOff is the pause after a round in which nothing was sent: doubled each time, and shortened by
// chance by up to half, so that servers do not come back to a provider together.
func backOff(round int) time.Duration {
	pause := min(firstPause<<min(round, 8), longestPause)
	return pause - time.Duration(rand.Int64N(int64(pause/2)))
}

// worthWhile reports whether somebody will still use the code if the channels are tried again after
// pause. A servlet's client waits for the answer, and must hear in time that there is none; an
// application that named another method is better served by that.
func (e *Engine) worthWhile(s *send, row *otp.Delivery, pause time.Duration) bool {
	passed := otp.At(time.Now()) - row.CreatedAt + otp.Span(pause)
	if s.caller.Door == otp.ServletDoor {
		return passed < otp.Span(e.options.DeliveryWait)/2
	}
	return len(s.fallback) == 0 && passed < min(retryFor, row.ExpiresAt-row.SentAt)
}

// started is the answer to whether a hand-over may begin.
type started int

const (
	lost    started = iota // it may not: the delivery is somebody else's by now, or nobody can tell
	tooLate                // it may not: the code has expired
	mayGo
)

// markStarted marks that the delivery is about to be handed to a channel, unless its row has said so from
// the beginning, and reports whether it may be. Nothing may be handed over that is not marked: whoever
// takes over would send it again.
func (e *Engine) markStarted(ctx context.Context, s *send, row *otp.Delivery, channel string, begun bool) started {
	if ctx.Err() != nil && e.cut.Err() == nil {
		return tooLate
	}
	if begun {
		// Somebody may have taken it over meanwhile, if this process stood still for so long, but
		// nobody has sent it: what has begun is not sent again.
		return mayGo
	}
	held, err := e.store.Deliveries.Mark(&sql.Mark{ID: row.ID, Owner: e.process, Step: sql.Started,
		At: otp.At(time.Now()), Channel: channel})
	if err != nil {
		// Its lease runs out, and whoever takes it over will know that it was not sent.
		e.log.ErrorContext(e.closing, "delivery could not be begun", "account", row.Account,
			"challenge", s.challenge.ID.Text("otp"), "send", s.number, "error", err)
	}
	if !held {
		return lost
	}
	return mayGo
}

// pause waits before another round, with the delivery marked as surely not under way, and tells
// whether it is still this server's.
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

// letGo gives the delivery up before its lease ends, so that another server takes it over at once.
func (e *Engine) letGo(row *otp.Delivery) {
	e.leases.drop(row.ID) // or it might be renewed in between
	e.markRested(row, otp.At(time.Now()))
}

func (e *Engine) markRested(row *otp.Delivery, until otp.Millis) bool {
	// its lease runs out anyway
	held, _ := e.store.Deliveries.Mark(&sql.Mark{ID: row.ID, Owner: e.process, Step: sql.Rested, At: until})
	return held
}

// finish records how a delivery ended, what history tells of that, and the refund if the send
// surely reached nobody on any medium: all in one transaction.
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
		// Nobody asks history for more than that it was sent.
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

// recordOutcomeOf records what an outcome means for history and refunds. What the servlets sent needs no
// event: that a send was made says so.
func (e *Engine) recordOutcomeOf(op *sql.Operation, s *send, state *sql.State, outcome otp.Outcome, guard *guard) {
	switch {
	case state.Recipient.Version == 0: // swept or reset meanwhile
	case outcome == otp.OutcomeUnsent:
		if other := state.Sibling; other != nil && other.Outcome != otp.OutcomeUnsent {
			return // it may have reached them there
		}
		s.refund(op, state)
		guard.release(state)
	case outcome == otp.OutcomeUnknown:
		state.Record(s.newEvent(op, state, otp.EventUnknown))
	case outcome == otp.OutcomeSent && s.caller.Door == otp.V1Door:
		state.Record(s.newEvent(op, state, otp.EventTaken))
	}
}
