package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// send is one committed send on its way to the channels.
type send struct {
	caller    *Caller
	challenge otp.Challenge // as committed
	target    Target
	channels  otp.Channels
	number    int // of the challenge's sends, from 1
	event     otp.ID
	at        otp.Millis
	fallback  []otp.Channels
	price     int64 // in millionths
	// The rows that operations about it lock.
	recipient, mailbox otp.ID
	// rows are its deliveries in the outbox. It has none if every channel is simulated: a committed send is in the
	// inbox, and nothing can be lost on the way.
	rows []otp.Delivery
}

// sendOf returns the send that op is about to commit.
func (e *Engine) sendOf(c *Caller, op *sql.Operation, t Target, challenge *otp.Challenge, channels otp.Channels,
	at otp.Millis) send {
	s := send{
		caller: c.toward(t.Recipient, challenge), challenge: *challenge, target: t, channels: channels,
		number: challenge.Sends, event: op.Event, at: at,
		recipient: op.Recipient, mailbox: op.Mailbox,
	}
	if len(c.Account.Prices) > 0 && e.costs(c, t, channels) {
		s.price = c.Account.Price(deliver.Country(t.Recipient))
	}
	if challenge.Details != nil {
		s.fallback = challenge.Details.Fallback
	}
	return s
}

// operation starts an operation about an existing send.
func (s *send) operation() *sql.Operation {
	return &sql.Operation{
		Event: sql.NewID(), Account: s.caller.Account.Address, Recipient: s.recipient, Mailbox: s.mailbox,
		Challenge: s.challenge.ID, Rank: sql.Settling, Now: otp.At(time.Now()),
	}
}

// newEvent starts an event about s.
func (s *send) newEvent(op *sql.Operation, state *sql.State, kind otp.EventKind) otp.Event {
	e := event(op, s.caller, state, &s.challenge, kind)
	e.Send, e.Channels, e.Sending = s.number, s.channels, s.sending()
	return e
}

func (s *send) sending() otp.Sending {
	return otp.Sending{Channels: s.channels, Prefix: deliver.PrefixOf(s.target.Recipient), Price: s.price,
		Peer: s.caller.peer}
}

// dispatch hands a committed send to its channels and waits for the first outcome that decides the answer. Sent on any
// channel, unknown, or no outcome in time: the code may be on its way. Only if it surely was not sent anywhere, the
// send is refunded and the answer is Undelivered.
func (e *Engine) dispatch(s *send) (Sent, error) {
	answer := Sent{Challenge: s.challenge.ID, ExpiresAt: s.challenge.ExpiresAt.Time(),
		Regenerations: s.challenge.Regenerations}
	if !e.waits(s) {
		if e.handOverNow(s) == deliver.NotSent {
			return answer, errUndelivered()
		}
		return answer, nil
	}
	settled := make(chan deliver.Outcome, 1)
	e.sending.Go(func() { e.handOver(s, settled) })
	deadline := time.NewTimer(e.options.DeliveryWait)
	defer deadline.Stop()
	select {
	case outcome := <-settled:
		if outcome == deliver.NotSent {
			return answer, errUndelivered()
		}
	case <-deadline.C:
	}
	return answer, nil
}

func errUndelivered() error {
	return otp.Refuse(otp.Undelivered, "the message could not be handed over to any channel")
}

// sendOff hands a committed send to its channels for a caller who does not wait; the outcome goes into the history. A
// send that surely was not sent is refunded, and the application's next fallback method is tried.
func (e *Engine) sendOff(s send) {
	if !e.waits(&s) {
		if e.handOverNow(&s) == deliver.NotSent {
			e.fallBack(s)
		}
		return
	}
	e.sending.Go(func() {
		settled := make(chan deliver.Outcome, 1)
		e.handOver(&s, settled)
		switch outcome := <-settled; {
		case outcome == deliver.NotSent:
			e.fallBack(s)
		case s.rows != nil: // the outbox has recorded it
		case outcome == deliver.Sent:
			e.recordOutcome(s, otp.EventTaken)
		default:
			e.recordOutcome(s, otp.EventUnknown)
		}
	})
}

// recordOutcome records in the history how a send ended. It is only used for display.
func (e *Engine) recordOutcome(s send, outcome otp.EventKind) {
	op := s.operation()
	op.Decide = func(state *sql.State) error {
		if state.Recipient.Version == 0 {
			return nil // swept or reset meanwhile
		}
		state.Record(s.newEvent(op, state, outcome))
		return nil
	}
	if err := e.store.Do(op); err != nil {
		e.log.ErrorContext(e.closing, "outcome could not be recorded", "account", op.Account,
			"challenge", s.challenge.ID.Text("otp"), "send", s.number, "outcome", string(outcome), "error", err)
	}
}

// fallBack sends by the application's next fallback method, if the challenge can still be verified and its recipient
// may receive another send.
func (e *Engine) fallBack(failed send) {
	if len(failed.fallback) == 0 || e.closing.Err() != nil {
		return
	}
	c, channels := failed.caller, failed.fallback[0]
	op := e.operation(c, failed.target)
	op.Challenge, op.Rank = failed.challenge.ID, sql.Settling // it was promised when the send was accepted
	guard := e.guard(c, op, failed.target, channels)
	policy := e.unthrottled(c.policy(), failed.target, channels)
	next := failed
	op.Decide = func(s *sql.State) error {
		if err := otp.Reroute(s.Recipient, s.Mailbox, s.Challenge, policy, s.Now); err != nil {
			return err
		}
		var err error
		next, err = e.recordResend(op, c, s, s.Challenge, failed.target, channels, guard)
		return err
	}
	if channels.Has(otp.Email) {
		e.lockMailbox(c, op, failed.target)
	}
	if err := e.store.Do(op); err != nil {
		e.log.WarnContext(e.closing, "fallback not sent", "account", op.Account,
			"challenge", failed.challenge.ID.Text("otp"), "method", channels.String(), "error", err)
		return
	}
	next.fallback = failed.fallback[1:]
	e.sendOff(next)
}

// waits reports whether the hand-over can take time.
func (e *Engine) waits(s *send) bool {
	return e.anyChannel(s.caller, s.channels, deliver.Channel.Waits)
}

// outbound reports whether a send by these media leaves this process, whatever its outcome.
func (e *Engine) outbound(c *Caller, channels otp.Channels) bool {
	return e.anyChannel(c, channels, func(channel deliver.Channel) bool { return !deliver.Simulated(channel) })
}

func (e *Engine) anyChannel(c *Caller, channels otp.Channels, is func(deliver.Channel) bool) bool {
	return slices.ContainsFunc(channels.Each(),
		func(medium otp.Channels) bool { return slices.ContainsFunc(e.channels(c, medium), is) })
}

// channels returns the channels of one medium, in order of preference: the account's, else the server's. Credentials
// of an environment other than live send only to simulated channels, whatever is configured: a test costs nothing and
// reaches nobody. A sandbox, which has no live credentials, uses its configured channels.
func (e *Engine) channels(c *Caller, medium otp.Channels) []deliver.Channel {
	own, others := c.settings.channelsOf(medium), e.options.SMS
	if medium == otp.Email {
		others = e.options.Email
	}
	switch {
	case c.muted || c.Environment != otp.Live && !e.options.Sandbox:
		return e.simulated
	case own != nil:
		return own
	}
	return others
}

// handOverNow is handOver for channels that do not wait.
func (e *Engine) handOverNow(s *send) deliver.Outcome {
	if s.caller.muted {
		e.metrics.rehearsals.Inc()
	}
	settled := deliver.NotSent
	for _, medium := range s.channels.Each() {
		if outcome := e.handOverOn(e.closing, medium, s); outcome != deliver.NotSent {
			settled = outcome
		}
	}
	if settled == deliver.NotSent {
		e.refund(e.closing, *s)
	}
	return settled
}

// handOver tries every medium at the same time and reports to settled as soon as one outcome decides the answer. The
// others continue until the code has expired; nothing is delivered after that. It does not depend on the request: the
// message is sent whether or not the client still listens.
func (e *Engine) handOver(s *send, settled chan<- deliver.Outcome) {
	life := (s.challenge.ExpiresAt - s.at).Duration()
	if s.rows != nil {
		// The code's time counts from the decision, however long the COMMIT took or the process stalled after it.
		e.carryAll(s, life-time.Since(s.rows[0].CreatedAt.Time()), settled)
		return
	}
	ctx, cancel := context.WithTimeout(e.closing, life)
	defer cancel()
	open := together(s.channels.Each(), settled, func(medium otp.Channels, tell func(deliver.Outcome)) {
		tell(e.handOverOn(ctx, medium, s))
	})
	if !open {
		e.refund(ctx, *s)
		settled <- deliver.NotSent
	}
}

// together calls do for all elements concurrently, and sends the first outcome other than NotSent to settled. It
// returns when all are done, and reports whether there was one.
func together[T any](all []T, settled chan<- deliver.Outcome, do func(T, func(deliver.Outcome))) bool {
	var open atomic.Bool
	tell := func(outcome deliver.Outcome) {
		if outcome != deliver.NotSent && open.CompareAndSwap(false, true) {
			settled <- outcome
		}
	}
	if len(all) == 1 {
		do(all[0], tell)
		return open.Load()
	}
	var each sync.WaitGroup
	for _, one := range all {
		each.Go(func() { do(one, tell) })
	}
	each.Wait()
	return open.Load()
}

// message returns what a channel is given on one medium.
func (e *Engine) message(s *send, medium otp.Channels) deliver.Message {
	to, from := s.target.Recipient, s.caller.Account.SMSSender
	if medium == otp.Email {
		to, from = s.target.Mailbox, s.caller.Account.EmailSender
	}
	return deliver.Message{
		ID:        s.challenge.ID.Text("otp"),
		SendID:    otp.DeliveryID(s.event, medium).Text("send"),
		Number:    s.number,
		Account:   s.caller.Account.Address,
		Medium:    medium.String(),
		To:        to,
		From:      otp.ValueOr(from, ""),
		ExpiresAt: s.challenge.ExpiresAt.Time(),
		Content: func() (deliver.Content, error) {
			return e.content(s.caller.settings, &s.challenge, s.target.Recipient, medium, s.target.Department)
		},
	}
}

// handOverOn tries one medium's channels in order of preference, the next one only if the last surely did not send.
func (e *Engine) handOverOn(ctx context.Context, medium otp.Channels, s *send) deliver.Outcome {
	message := e.message(s, medium)
	for _, channel := range e.channels(s.caller, medium) {
		result := e.sendOn(ctx, channel, message)
		if result.Outcome == deliver.Sent {
			return result.Outcome
		}
		e.notHandedOver(ctx, channel, message, result)
		if result.Outcome != deliver.NotSent {
			return result.Outcome
		}
	}
	return deliver.NotSent
}

func (e *Engine) notHandedOver(ctx context.Context, channel deliver.Channel, m deliver.Message, result deliver.Result) {
	e.log.WarnContext(ctx, "message not handed over", "channel", channel.Name(), "medium", m.Medium,
		"account", m.Account, "challenge", m.ID, "send", m.Number, "outcome", result.Outcome.String(), "reason",
		result.Reason)
}

// sendOn sends on a channel. If the channel panics the outcome is Unknown.
func (e *Engine) sendOn(ctx context.Context, channel deliver.Channel, m deliver.Message) (result deliver.Result) {
	began := time.Now()
	defer func() {
		if cause := recover(); cause != nil {
			result = deliver.Result{Outcome: deliver.Unknown, Reason: "the channel panicked"}
		}
		if !deliver.Simulated(channel) {
			e.metrics.handedOver(channel.Name(), m.Medium, result.Outcome, time.Since(began))
		}
	}()
	return channel.Send(ctx, m)
}

// refund takes back the cost of a send that has no row in the outbox. If that fails the recipient only has one send
// less, so the fault is logged and the answer does not change.
func (e *Engine) refund(ctx context.Context, s send) {
	op := s.operation()
	op.Decide = func(state *sql.State) error {
		s.refund(op, state)
		return nil
	}
	if err := e.store.Do(op); err != nil {
		e.log.ErrorContext(ctx, "send could not be refunded", "account", op.Account, "challenge",
			s.challenge.ID.Text("otp"), "error", err)
	}
}

// refund applies the rule for a send that surely reached nobody on any medium.
func (s *send) refund(op *sql.Operation, state *sql.State) {
	if state.Recipient.Version == 0 {
		return // swept or reset meanwhile
	}
	otp.Refund(state.Recipient, state.Mailbox, state.Challenge, s.number > 1, s.at, state.Now)
	state.Record(s.newEvent(op, state, otp.EventUnsent))
}

// content renders a challenge's message, including the code, at the moment of sending or showing.
func (e *Engine) content(settings *account, c *otp.Challenge, recipient string, medium otp.Channels,
	department string) (deliver.Content, error) {
	code, err := e.code(settings, c, recipient)
	if err != nil {
		return deliver.Content{}, err
	}
	want := deliver.Choice{Medium: medium.String(), Type: c.Type(), Department: department}
	if c.Details != nil {
		want.Name, want.Locale = c.Details.Template, c.Details.Locale
	}
	values := deliver.Values{Code: code, Lifetime: (c.ExpiresAt - c.CreatedAt).Duration(), Department: department,
		Type: c.Type()}
	var catalog *deliver.Catalog
	if settings != nil {
		catalog = settings.catalog
		values.Account = settings.row.Name
		values.DLTEntityID = otp.ValueOr(settings.row.DLTEntityID, "")
		values.DLTTemplateID = otp.ValueOr(settings.row.DLTTemplateID, "")
	}
	return catalog.Choose(want).Render(want.Medium, values), nil
}
