package engine

import (
	"context"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// send is one committed send on its way to the channels.
type send struct {
	challenge otp.Challenge // as committed
	target    Target
	channels  otp.Channels
	number    int // of the challenge's sends, from 1
	at        otp.Millis
	account   *otp.Account
	simulated bool // reaches simulated channels only
	fallback  []otp.Channels
}

func (e *Engine) sendOf(c *Caller, t Target, challenge *otp.Challenge, at otp.Millis) send {
	s := send{
		challenge: *challenge, target: t, channels: challenge.Channels, number: challenge.Sends, at: at,
		account: c.Account, simulated: c.Environment == otp.Test,
	}
	if challenge.Details != nil {
		s.fallback = challenge.Details.Fallback
	}
	return s
}

// dispatch hands a committed send to its channels and waits for the first outcome that settles
// the answer: sent on any, or unknown, or no outcome in time means that the code may be on its
// way; only if it surely went nowhere the send is refunded and the answer is Undelivered.
func (e *Engine) dispatch(c *Caller, op *sql.Operation, s send) (Sent, error) {
	answer := Sent{Challenge: s.challenge.ID, ExpiresAt: s.challenge.ExpiresAt.Time(), Regenerations: s.challenge.Regenerations}
	if !e.waits(&s) {
		if e.handOverNow(c, op, s) == deliver.NotSent {
			return answer, errUndelivered()
		}
		return answer, nil
	}
	settled := make(chan deliver.Outcome, 1)
	e.sending.Go(func() { e.handOver(c, op, s, settled) })
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

// sendOff hands a committed send to its channels for a caller who does not wait for the outcome:
// it is told by the history. A send that surely went nowhere is refunded, and the next method that
// the application named is tried.
func (e *Engine) sendOff(c *Caller, op *sql.Operation, s send) {
	if !e.waits(&s) {
		if e.handOverNow(c, op, s) == deliver.NotSent {
			e.fallBack(c, s)
		}
		return
	}
	e.sending.Go(func() {
		settled := make(chan deliver.Outcome, 1)
		e.handOver(c, op, s, settled)
		switch outcome := <-settled; outcome {
		case deliver.Sent:
			e.recordOutcome(c, op, s, otp.EventTaken)
		case deliver.NotSent:
			e.fallBack(c, s)
		default:
			e.recordOutcome(c, op, s, otp.EventUnknown)
		}
	})
}

// recordOutcome puts into the history how a send ended. Nothing depends on it but what is shown.
func (e *Engine) recordOutcome(c *Caller, paid *sql.Operation, s send, outcome otp.EventKind) {
	op := &sql.Operation{
		Event: sql.NewID(), Account: paid.Account, Recipient: paid.Recipient, Challenge: s.challenge.ID, Now: otp.At(time.Now()),
	}
	op.Decide = func(state *sql.State) error {
		if state.Recipient.Version == 0 {
			return nil // swept or reset meanwhile
		}
		ended := event(op, c, state, &s.challenge, outcome)
		ended.Send, ended.Channels = s.number, s.channels
		state.Record(ended)
		return nil
	}
	if err := e.store.Do(op); err != nil {
		e.log.ErrorContext(e.closing, "outcome could not be recorded", "account", paid.Account,
			"challenge", s.challenge.ID.Text("otp"), "send", s.number, "outcome", string(outcome), "error", err)
	}
}

// fallBack sends by the next method that the application named, if the challenge can still be
// verified and its recipient may receive another send.
func (e *Engine) fallBack(c *Caller, failed send) {
	if len(failed.fallback) == 0 || e.closing.Err() != nil {
		return
	}
	channels := failed.fallback[0]
	op := e.operation(c, failed.target)
	op.Challenge = failed.challenge.ID
	next := failed
	op.Decide = func(s *sql.State) error {
		if err := otp.Reroute(s.Recipient, s.Mailbox, s.Challenge, c.policy(), s.Now); err != nil {
			return err
		}
		e.introduce(s, c, failed.target)
		next = e.recordResend(op, c, s, failed.target, channels)
		return nil
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
	e.sendOff(c, op, next)
}

// waits tells whether a hand-over may take time.
func (e *Engine) waits(s *send) bool {
	for _, medium := range s.channels.Each() {
		for _, channel := range e.channels(medium, s.simulated) {
			if channel.Waits() {
				return true
			}
		}
	}
	return false
}

// channels are those of one medium, in order of preference. What a credential of the test
// environment sends reaches simulated ones only, whatever is configured: a test costs nothing and
// wakes nobody. In a sandbox nothing else is configured.
func (e *Engine) channels(medium otp.Channels, simulated bool) []deliver.Channel {
	switch {
	case simulated && !e.options.Sandbox:
		return e.simulated
	case medium == otp.Email:
		return e.options.Email
	}
	return e.options.SMS
}

// handOverNow is handOver where nothing has to be waited for.
func (e *Engine) handOverNow(c *Caller, op *sql.Operation, s send) deliver.Outcome {
	settled := deliver.NotSent
	for _, medium := range s.channels.Each() {
		if outcome := e.handOverOn(e.closing, medium, s); outcome != deliver.NotSent {
			settled = outcome
		}
	}
	if settled == deliver.NotSent {
		e.refund(e.closing, c, op, s)
	}
	return settled
}

// handOver tries every medium at once and tells settled as soon as one outcome decides the
// answer. The others go on, whoever still waits, until the code has expired: nothing is
// delivered after that. It does not depend on the request: the message is owed whether or not
// the client still listens.
func (e *Engine) handOver(c *Caller, op *sql.Operation, s send, settled chan<- deliver.Outcome) {
	ctx, cancel := context.WithTimeout(e.closing, (s.challenge.ExpiresAt - s.at).Duration())
	defer cancel()
	media := s.channels.Each()
	outcomes := make(chan deliver.Outcome, len(media))
	for _, medium := range media {
		try := func() { outcomes <- e.handOverOn(ctx, medium, s) }
		if len(media) == 1 {
			try()
		} else {
			go try()
		}
	}
	open := false
	for range media {
		if outcome := <-outcomes; outcome != deliver.NotSent && !open {
			open = true
			settled <- outcome
		}
	}
	if !open {
		e.refund(ctx, c, op, s)
		settled <- deliver.NotSent
	}
}

// handOverOn tries one medium's channels in order of preference, the next one only if the last
// surely did not send.
func (e *Engine) handOverOn(ctx context.Context, medium otp.Channels, s send) deliver.Outcome {
	to, from := s.target.Recipient, s.account.SMSSender
	if medium == otp.Email {
		to, from = s.target.Mailbox, s.account.EmailSender
	}
	message := deliver.Message{
		ID:        s.challenge.ID.Text("otp"),
		Number:    s.number,
		Account:   s.account.Address,
		Medium:    medium.String(),
		To:        to,
		From:      textOf(from),
		ExpiresAt: s.challenge.ExpiresAt.Time(),
		Content:   func() (deliver.Content, error) { return e.content(&s.challenge, medium) },
	}
	for _, channel := range e.channels(medium, s.simulated) {
		result := e.sendOn(ctx, channel, message)
		if result.Outcome == deliver.Sent {
			return result.Outcome
		}
		e.log.WarnContext(ctx, "message not handed over", "channel", channel.Name(), "medium", message.Medium,
			"account", message.Account, "challenge", message.ID, "send", s.number, "outcome", result.Outcome.String(), "reason", result.Reason)
		if result.Outcome != deliver.NotSent {
			return result.Outcome
		}
	}
	return deliver.NotSent
}

// sendOn contains a channel's panic, after which nobody knows how far it came.
func (e *Engine) sendOn(ctx context.Context, channel deliver.Channel, m deliver.Message) (result deliver.Result) {
	defer func() {
		if cause := recover(); cause != nil {
			result = deliver.Result{Outcome: deliver.Unknown, Reason: "the channel panicked"}
		}
	}()
	return channel.Send(ctx, m)
}

// refund takes back what the send cost. If that fails the recipient is merely left with one send
// less, so it is logged and the answer stays what it is.
func (e *Engine) refund(ctx context.Context, c *Caller, paid *sql.Operation, s send) {
	op := &sql.Operation{
		Event: sql.NewID(), Account: paid.Account, Recipient: paid.Recipient, Mailbox: paid.Mailbox,
		Challenge: s.challenge.ID, Now: otp.At(time.Now()),
	}
	op.Decide = func(state *sql.State) error {
		if state.Recipient.Version == 0 {
			return nil // swept or reset meanwhile
		}
		otp.Refund(state.Recipient, state.Mailbox, state.Challenge, s.number > 1, s.at, state.Now)
		unsent := event(op, c, state, &s.challenge, otp.EventUnsent)
		unsent.Send, unsent.Channels = s.number, s.channels
		state.Record(unsent)
		return nil
	}
	if err := e.store.Do(op); err != nil {
		e.log.ErrorContext(ctx, "send could not be refunded", "account", paid.Account, "challenge", s.challenge.ID.Text("otp"), "error", err)
	}
}

// content renders a challenge's message, code included, at the moment of sending or showing.
func (e *Engine) content(c *otp.Challenge, medium otp.Channels) (deliver.Content, error) {
	code, err := e.code(c)
	if err != nil {
		return deliver.Content{}, err
	}
	return deliver.Render(medium == otp.Email, code, (c.ExpiresAt - c.CreatedAt).Duration()), nil
}

// textOf is the text of a column, empty where it is NULL.
func textOf(column *string) string {
	if column == nil {
		return ""
	}
	return *column
}
