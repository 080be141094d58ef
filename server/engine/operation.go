package engine

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Sent is the result of Generate and Resend.
type Sent struct {
	Challenge     otp.ID
	ExpiresAt     time.Time
	Regenerations int // resends that count so far
}

// Generate makes a new code for the target's slot and delivers it; a code that is live there is replaced. Refusals:
// Invalid (e-mail-only account and no mailbox), Locked, OverLimit, CostLimited, Undelivered, Overloaded.
func (e *Engine) Generate(_ context.Context, c *Caller, t Target) (Sent, error) {
	channels := c.channels(t)
	if channels == 0 {
		return Sent{}, otp.Refuse(otp.Invalid,
			"email is required: the account sends by e-mail only").Because("email: missing; the account sends by e-mail only")
	}
	op := e.operation(c, t)
	draft := otp.Challenge{ID: sql.NewID(), Channels: channels}
	made, err := e.generate(c, t, op, &draft, c.policy())
	if err != nil {
		return Sent{}, err
	}
	return e.dispatch(&made.send)
}

// generated is a challenge as committed.
type generated struct {
	send      send
	remaining int // attempts
	happened  bool
}

// generate makes the drafted challenge, which has its id, channels and details, the newest of the target's slot.
// Refusals: Locked, OverLimit, CostLimited, Overloaded.
func (e *Engine) generate(c *Caller, t Target, op *sql.Operation, draft *otp.Challenge,
	policy otp.Policy) (made generated, err error) {
	policy = e.unthrottled(policy, t, draft.Channels)
	op.Slot = e.slot(c, t)
	draft.Slot, draft.KeyID, draft.Nonce = op.Slot, e.keyring.Primary(), randomID()
	var mailbox []byte
	if draft.Channels.Has(otp.Email) || draft.Details != nil && t.Mailbox != "" { // a fallback or a resend may need it
		draft.Mailbox = e.keyring.Seal(vault.Mailbox(draft.ID), []byte(t.Mailbox))
	}
	mailboxHash := e.mailboxHash(c, t)
	if draft.Channels.Has(otp.Email) {
		e.lockMailbox(c, op, t)
		mailbox = e.keyring.Seal(vault.Mailbox(op.Event), []byte(t.Mailbox))
	}
	guard := e.guard(c, op, t, draft.Channels)
	op.Decide = func(s *sql.State) error {
		if made.happened = s.Happened; made.happened {
			return nil
		}
		// Each try starts from the draft.
		challenge, previous := &made.send.challenge, s.Challenge
		*challenge = *draft
		if err := otp.Generate(s.Recipient, s.Mailbox, previous, challenge, policy, s.Now); err != nil {
			return err
		}
		e.introduce(s, c, t)
		s.Insert(challenge)
		if err := guard.charge(op, c, s, challenge); err != nil {
			return err
		}
		made.send = e.sendOf(c, op, t, challenge, challenge.Channels, s.Now)
		e.entrust(op, s, &made.send, guard)
		sent := event(op, c, s, challenge, otp.EventSent)
		sent.Mailbox, sent.MailboxHash, sent.Sending = mailbox, mailboxHash, made.send.sending()
		if challenge.Details != nil {
			sent.Summary, sent.User = summaryOf(challenge, t), challenge.Details.User
			sent.Summary.Taken = !e.waits(&made.send)
			made.remaining = s.Recipient.AttemptsLeft(challenge, s.Now)
		}
		s.Record(sent)
		if previous != nil && previous.Details != nil && previous.UsedAt == 0 && previous.CanceledAt == 0 {
			replaced := event(op, c, s, previous, otp.EventReplaced)
			replaced.ID = sql.NewID()
			s.Also(replaced)
		}
		return nil
	}
	err = e.store.Do(op)
	if err == nil && guard != nil && !made.happened {
		e.metrics.sends.WithLabelValues(deliver.Country(t.Recipient)).Inc()
	}
	return made, err
}

// lockMailbox makes op lock and count the send window of the mailbox that e-mail goes to. If the mailbox is the
// recipient itself, its row is locked and counted anyway.
func (e *Engine) lockMailbox(c *Caller, op *sql.Operation, t Target) {
	if mailbox := e.recipientHash(c, t.Mailbox); mailbox != op.Recipient {
		op.Mailbox = mailbox
	}
}

// mailboxHash returns the second hash by which an event about t is found, besides its recipient; zero for none.
func (e *Engine) mailboxHash(c *Caller, t Target) otp.ID {
	if t.Mailbox == "" || t.Mailbox == t.Recipient {
		return otp.ID{}
	}
	return e.recipientHash(c, t.Mailbox)
}

// Resend sends the slot's code again, to the target's mailbox if it names one, else to the one that the code was first
// sent to. Refusals: those of otp.Resend, CostLimited, Undelivered, Overloaded.
func (e *Engine) Resend(ctx context.Context, c *Caller, t Target) (Sent, error) {
	op := e.operation(c, t)
	op.Slot = e.slot(c, t)
	if c.Account.EmailEnabled && t.Mailbox == "" {
		stored, err := e.storedMailbox(ctx, c, op)
		if err != nil {
			return Sent{}, err
		}
		t.Mailbox = stored
	}
	channels := c.channels(t)
	if channels.Has(otp.Email) {
		e.lockMailbox(c, op, t)
	}
	policy, types := e.unthrottled(c.policy(), t, channels), c.types("")
	guard := e.guard(c, op, t, channels)
	var send send
	op.Decide = func(s *sql.State) error {
		challenge := t.standing(s.Challenge, s.Now).Meant(otp.ID{}, types)
		if err := otp.Resend(s.Recipient, s.Mailbox, challenge, policy, s.Now); err != nil {
			return err
		}
		if channels == 0 {
			return otp.Refuse(otp.Invalid, "email is required: the account sends by e-mail only").Because("email: missing; " +
				"the account sends by e-mail only")
		}
		var err error
		send, err = e.recordResend(op, c, s, challenge, t, channels, guard)
		return err
	}
	if err := e.store.Do(op); err != nil {
		return Sent{}, err
	}
	return e.dispatch(&send)
}

// recordResend puts the challenge's next send into the history and the outbox, inside its operation, and returns it.
// Refusal: CostLimited.
func (e *Engine) recordResend(op *sql.Operation, c *Caller, s *sql.State, challenge *otp.Challenge, t Target,
	channels otp.Channels, guard *guard) (send, error) {
	e.introduce(s, c, t)
	if err := guard.charge(op, c, s, challenge); err != nil {
		return send{}, err
	}
	sent := e.sendOf(c, op, t, challenge, channels, s.Now)
	e.entrust(op, s, &sent, guard)
	resent := event(op, c, s, challenge, otp.EventResent)
	resent.Channels, resent.Sending = channels, sent.sending()
	if channels.Has(otp.Email) {
		resent.Mailbox, resent.MailboxHash = e.keyring.Seal(vault.Mailbox(op.Event), []byte(t.Mailbox)), e.mailboxHash(c, t)
	}
	if c.Door == otp.V1Door {
		resent.Summary = &otp.Summary{Taken: !e.waits(&sent)}
	}
	s.Record(resent)
	return sent, nil
}

// storedMailbox returns the mailbox that the slot's live code was sent to, empty for none. It is read before the
// operation, because the mailbox decides which rows the operation locks. If the challenge is replaced in between, its
// successor was sent for the same slot by the same caller.
func (e *Engine) storedMailbox(ctx context.Context, c *Caller, op *sql.Operation) (string, error) {
	challenge, err := e.store.Challenges.Newest(context.WithoutCancel(ctx), op.Recipient, op.Slot)
	if err != nil || challenge == nil || challenge.Mailbox == nil {
		return "", err
	}
	mailbox, err := e.keyring.Open(vault.Mailbox(challenge.ID), challenge.Mailbox)
	return string(mailbox), err
}

// Verify decides one guess at the slot's newest challenge. The error is nil for the right code only. guess is what the
// door read; an unreadable one is the empty string, which is a wrong code and costs an attempt. Refusals: those of
// otp.Verify, Overloaded.
func (e *Engine) Verify(_ context.Context, c *Caller, t Target, guess string) error {
	op := e.operation(c, t)
	op.Slot, op.Rank = e.slot(c, t), sql.Verifying
	e.lockConversion(c, op, t)
	types := c.types("")
	op.Decide = func(s *sql.State) error {
		return e.decideGuess(op, c, s, t.Recipient, t.standing(s.Challenge, s.Now).Meant(otp.ID{}, types), guess)
	}
	err := e.store.Do(op)
	e.countVerified(op, t, err)
	return err
}

// decideGuess decides one guess at a challenge of a recipient, nil for none, inside its operation. Every door's
// guesses are decided here.
func (e *Engine) decideGuess(op *sql.Operation, c *Caller, s *sql.State, recipient string, guessed *otp.Challenge,
	guess string) error {
	// The code is derived and compared in every state, so that the response time does not tell a locked or missing
	// challenge from a live one.
	challenge := guessed
	if challenge == nil {
		challenge = &otp.Challenge{KeyID: e.keyring.Primary(), Length: 6}
	}
	code, err := e.code(c.settings, challenge, recipient)
	if err != nil {
		return err
	}
	matches := subtle.ConstantTimeCompare([]byte(code), []byte(guess)) == 1
	refusal := otp.Verify(s.Recipient, guessed, doors[c.Door].closed, matches, s.Now)
	switch {
	case refusal == nil:
		countConverted(s, guessed)
		verified := event(op, c, s, guessed, otp.EventVerified)
		if _, test := c.settings.tests(recipient, guessed.CreatedAt); test {
			verified.Channels = otp.Rehearsed
		}
		verified.Sending = otp.Sending{Channels: guessed.Channels, Prefix: deliver.PrefixOf(recipient)}
		s.Record(verified)
	case otp.KindOf(refusal) == otp.WrongCode:
		wrong := event(op, c, s, guessed, otp.EventWrong)
		wrong.Remaining = remaining(refusal)
		wrong.Sending = otp.Sending{Channels: guessed.Channels, Prefix: deliver.PrefixOf(recipient)}
		s.Record(wrong)
	}
	return refusal
}

// operation starts an operation on the target's recipient.
func (e *Engine) operation(c *Caller, t Target) *sql.Operation {
	op := operation(c)
	op.Recipient = e.recipientHash(c, t.Recipient)
	return op
}

// operation starts an operation of the caller. Its time is read here, once.
func operation(c *Caller) *sql.Operation {
	return &sql.Operation{Event: sql.NewID(), Account: c.Account.Address, Now: otp.At(time.Now())}
}

func (e *Engine) recipientHash(c *Caller, recipient string) otp.ID {
	return e.vault.RecipientHash(c.Account.Address, c.Environment, deliver.Identity(recipient))
}

// slot returns the id of the slot: what may have one live challenge.
func (e *Engine) slot(c *Caller, t Target) otp.ID {
	return e.index.Sum("slot", c.Account.Address, string(c.Environment), deliver.Identity(t.Recipient), t.Subject,
		t.Binding)
}

// introduce fills in recipients' rows that are not stored yet.
func (e *Engine) introduce(s *sql.State, c *Caller, t Target) {
	for _, row := range []struct {
		recipient *otp.Recipient
		name      string
	}{{s.Recipient, t.Recipient}, {s.Mailbox, t.Mailbox}} {
		if r := row.recipient; r != nil && (r.Version == 0 || r.Erased) && r.Sealed == nil {
			r.Account, r.Environment, r.Mask = c.Account.Address, c.Environment, deliver.Mask(row.name)
			r.Sealed = e.keyring.Seal(vault.Recipient(r.ID), []byte(row.name))
		}
	}
}

// code derives a challenge's code, which is stored nowhere. An account's test recipient has a fixed code, if it has
// the challenge's length. A sandbox can have other fixed codes: the recipient's own, then the general one.
func (e *Engine) code(settings *account, c *otp.Challenge, recipient string) (string, error) {
	code, err := e.keyring.Code(c.KeyID, c.ID, c.Nonce, c.Slot, c.Length)
	if err != nil {
		return "", err
	}
	if test, found := settings.tests(recipient, c.CreatedAt); found && len(test.code) == c.Length {
		return test.code, nil
	}
	if own := e.options.TestRecipients.Code(recipient, c.Length); own != "" {
		return own, nil
	}
	if len(e.options.FixedCode) == c.Length {
		return e.options.FixedCode, nil
	}
	return code, nil
}

func event(op *sql.Operation, c *Caller, s *sql.State, challenge *otp.Challenge, kind otp.EventKind) otp.Event {
	e := otp.Event{
		ID: op.Event, At: s.Now, Account: c.Account.Address, Environment: c.Environment,
		Kind: kind, Door: c.Door, Recipient: op.Recipient, Challenge: challenge.ID,
	}
	if kind == otp.EventSent || kind == otp.EventResent {
		e.Send, e.Channels = challenge.Sends, challenge.Channels
	}
	return e
}

func randomID() (id otp.ID) {
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	return id
}
