package otp

import (
	"math"
	"slices"
)

// Memory is how long after its expiry a challenge still answers as expired or used. Later it
// answers as if it had never been; that is a rule here and not the sweeper's timing.
const Memory = Hour

// Channels is a set of channels.
type Channels uint8

// The channels a message can travel on.
const (
	SMS Channels = 1 << iota
	Email
)

// Rehearsed are the channels of the event that tells that a test recipient verified: nothing was sent on any.
const Rehearsed Channels = 1 << 7

// Has reports whether all of other is in c.
func (c Channels) Has(other Channels) bool { return c&other == other }

// Each lists the members of c one by one.
func (c Channels) Each() []Channels {
	switch c & (SMS | Email) {
	case SMS:
		return []Channels{SMS}
	case Email:
		return []Channels{Email}
	case SMS | Email:
		return []Channels{SMS, Email}
	}
	return nil
}

// String names the members of c, comma-separated.
func (c Channels) String() string {
	return [...]string{"", "sms", "email", "sms,email"}[c&(SMS|Email)]
}

// Policy is the numbers that apply to one operation, taken from the account and the door.
type Policy struct {
	Length           int    // digits, 4–10
	TTL              Millis // 30 s – 30 min
	MaxAttempts      int    // wrong guesses a challenge can cost, 1 or more
	MaxRegenerations int    // resends a challenge allows, 0 or more
	Limits           []Limit
}

// Challenge is one request to prove control of a recipient. It holds what its code is derived
// from, never the code.
type Challenge struct {
	ID        ID
	Recipient ID
	Slot      ID
	Seq       int64 // within the recipient, from 1
	Version   int64 // 0 = not stored yet

	KeyID  string // the keyring key the code is derived under
	Nonce  ID
	Length int

	Channels Channels
	Mailbox  []byte   // sealed address for the email channel, nil without one
	Details  *Details // nil for one that the servlets made; never changed

	MaxAttempts   int // the limit it was made with
	Wrong         int
	Sends         int // 1 after generate
	Regenerations int // resends that count; a refunded one does not

	CreatedAt  Millis
	ExpiresAt  Millis
	UpdatedAt  Millis
	UsedAt     Millis
	CanceledAt Millis
	ReplacedAt Millis
}

// Details is what an application asks of a challenge beyond what the servlets can say.
type Details struct {
	Type     string     // what the code is for; empty means DefaultType
	Template string     // of the account's, by name; empty for none
	Locale   string     // a language tag (BCP 47); empty for none
	Binding  ID         // keyed hash of what the challenge is bound to; zero for nothing
	Fallback []Channels // to try in turn once the one before surely did not send
	Metadata []byte     // sealed; nil for none
	User     ID         // keyed hash of the metadata's user_id, zero for none; it is stored with the send's event
}

// DefaultType is the type of a challenge that was made without one, as the servlets' all are, and
// what a request means that names no type.
const DefaultType = "verification"

// Types are what a code can be for.
func Types() []string { return []string{DefaultType, "two_factor", "password_reset", "transaction"} }

// Type is what c's code is for.
func (c *Challenge) Type() string {
	if c.Details == nil || c.Details.Type == "" {
		return DefaultType
	}
	return c.Details.Type
}

// Binding is the hash of what c is bound to, zero for nothing.
func (c *Challenge) Binding() ID {
	if c.Details == nil {
		return ID{}
	}
	return c.Details.Binding
}

// Meant returns c if it is bound to binding (zero for nothing) and its type is one of types, else
// nil. A code for one purpose must not serve another: one that was sent to reset a password would
// otherwise log its finder in. A challenge that is not meant is treated as one that is not there, so
// that no answer tells that it exists, and none of its attempts can be spent or tried out.
func (c *Challenge) Meant(binding ID, types []string) *Challenge {
	if c == nil || c.Binding() != binding || !slices.Contains(types, c.Type()) {
		return nil
	}
	return c
}

// superseded is the refusal of a challenge whose slot a newer one took, nil for one that is its
// slot's newest. Only its id can still name it. What ended it before counts for more.
func (c *Challenge) superseded() error {
	switch {
	case c.ReplacedAt == 0:
		return nil
	case c.UsedAt != 0:
		return Refuse(Used, "the code was used")
	}
	return Refuse(Replaced, "a newer challenge has taken its place")
}

// Forgotten reports whether c answers as if it had never been.
func (c *Challenge) Forgotten(now Millis) bool { return c == nil || now > c.ExpiresAt+Memory }

// Moment is when an operation read at now happens for rows last written at the given moments:
// a server whose clock lags behind another's must not make time run backwards for a row.
func Moment(now Millis, written ...Millis) Millis {
	for _, at := range written {
		now = max(now, at)
	}
	return now
}

// Generate replaces previous, the slot's challenge (nil for none), by next. Mailbox is the row
// of the e-mail address's own send window, nil where no e-mail is sent; either row over a limit
// refuses, and then neither is charged. The caller fills in next's identity, key and channels.
//
// Refusals: Locked, OverLimit.
func Generate(r, mailbox *Recipient, previous, next *Challenge, p Policy, now Millis) error {
	if err := r.locked(now); err != nil {
		return err
	}
	if err := charge(r, mailbox, p.Limits, now); err != nil {
		return err
	}
	if previous != nil {
		previous.ReplacedAt, previous.UpdatedAt = now, now
	}
	r.Seq++
	next.Recipient, next.Seq = r.ID, r.Seq
	next.Length, next.MaxAttempts = p.Length, p.MaxAttempts
	next.Sends = 1
	next.CreatedAt, next.UpdatedAt, next.ExpiresAt = now, now, now+p.TTL
	return nil
}

// Resend sends c's code again: same code, same expiry, attempts as they are. The order of the
// tests is part of the contract: alive, not locked, regenerations, send windows; the first that
// fails answers and nothing changes.
//
// Refusals: NotFound, Canceled, Replaced, Used, Expired, AttemptsExhausted, Locked,
// RegenerationsExhausted, OverLimit.
func Resend(r, mailbox *Recipient, c *Challenge, p Policy, now Millis) error {
	switch {
	case c.Forgotten(now):
		return Refuse(NotFound, "nothing to send again; generate first")
	case c.CanceledAt != 0:
		return Refuse(Canceled, "the challenge was cancelled")
	case c.ReplacedAt != 0:
		return c.superseded()
	case c.UsedAt != 0:
		return Refuse(Used, "the code was used")
	case now >= c.ExpiresAt:
		return Refuse(Expired, "the code has expired")
	case c.Wrong >= c.MaxAttempts:
		return Refuse(AttemptsExhausted, "no attempts are left")
	}
	if err := r.locked(now); err != nil {
		return err
	}
	if c.Regenerations >= p.MaxRegenerations {
		return Refuse(RegenerationsExhausted, "no regenerations are left")
	}
	if err := charge(r, mailbox, p.Limits, now); err != nil {
		return err
	}
	c.Regenerations++
	c.Sends++
	c.UpdatedAt = now
	return nil
}

// Reroute sends c's code once more on another channel, after a send that surely reached none was
// refunded. It is the rest of what was asked for and so no regeneration, but the recipient's
// limits count it.
//
// Refusals: those of Resend but RegenerationsExhausted.
func Reroute(r, mailbox *Recipient, c *Challenge, p Policy, now Millis) error {
	p.MaxRegenerations = math.MaxInt
	if err := Resend(r, mailbox, c, p, now); err != nil {
		return err
	}
	c.Regenerations--
	return nil
}

// charge counts one send on r and, if there is one, the mailbox's row, or on neither.
func charge(r, mailbox *Recipient, limits []Limit, now Millis) error {
	wait, limit := r.overLimit(limits, now)
	if mailbox != nil {
		if longer, its := mailbox.overLimit(limits, now); longer > wait {
			wait, limit = longer, its
		}
	}
	if wait > 0 {
		return &Error{
			Kind: OverLimit, Message: "the recipient has received as many messages as the account allows",
			RetryAfter: wait, Limit: limit.Max, Window: limit.Span.Duration(),
		}
	}
	r.send(limits, now)
	if mailbox != nil {
		mailbox.send(limits, now)
	}
	return nil
}

// Refund takes back what a send cost, once it surely reached no channel: the entries made at
// sentAt in the send windows and, for a resend, the regeneration. The code stays live.
func Refund(r, mailbox *Recipient, c *Challenge, resend bool, sentAt, now Millis) {
	r.Sends, r.UpdatedAt = r.Sends.Remove(sentAt), now
	if mailbox != nil {
		mailbox.Sends, mailbox.UpdatedAt = mailbox.Sends.Remove(sentAt), now
	}
	if resend && c != nil && c.Regenerations > 0 {
		c.Regenerations--
		c.UpdatedAt = now
	}
}

// Closed is what a guess at a used or expired challenge does.
type Closed bool

const (
	// ClosedIsCompared is the servlets' way: they answer OTPEXPIRED for the right code only, so
	// the guess is compared, and a wrong one is charged, or it would be a free oracle.
	ClosedIsCompared Closed = false
	// ClosedIsFinal answers used or expired to every guess; nothing is compared or charged.
	ClosedIsFinal Closed = true
)

// Verify decides one guess at c, the slot's newest challenge or the one that its id names (nil for
// none). Matches tells
// whether the guess equals the code; callers compute it, in constant time, whatever the state,
// so that the time of an answer does not tell one refusal from another. Only a wrong guess that
// was evaluated is charged: to the challenge and to the recipient's budget.
//
// It returns nil for the right code of a live challenge, once. Refusals, tested in this order:
// NotFound, Canceled, Replaced (or Used, for one that was used before it was replaced), Locked, AttemptsExhausted,
// Used, Expired, WrongCode.
func Verify(r *Recipient, c *Challenge, closed Closed, matches bool, now Millis) error {
	switch {
	case c.Forgotten(now):
		return Refuse(NotFound, "nothing to verify; generate first")
	case c.CanceledAt != 0:
		return Refuse(Canceled, "the challenge was cancelled")
	case c.ReplacedAt != 0:
		return c.superseded()
	}
	if err := r.locked(now); err != nil {
		return err
	}
	if c.Wrong >= c.MaxAttempts {
		return Refuse(AttemptsExhausted, "no attempts are left; generate again")
	}
	over := Kind(0)
	switch {
	case c.UsedAt != 0:
		over = Used
	case now >= c.ExpiresAt:
		over = Expired
	}
	switch {
	case over != 0 && (matches || closed == ClosedIsFinal):
		return Refuse(over, "the code is no longer valid; generate again")
	case matches:
		c.UsedAt, c.UpdatedAt = now, now
		if r.Run > 0 {
			r.clearRun(now)
		}
		return nil
	}
	c.Wrong++
	c.UpdatedAt = now
	r.charge(now)
	return &Error{
		Kind:      WrongCode,
		Message:   "the code is wrong",
		Remaining: r.attemptsLeft(c, now),
	}
}

// Cancel calls a live challenge off.
//
// Refusals: NotFound, Canceled, Replaced, Used, Expired.
func Cancel(c *Challenge, now Millis) error {
	switch {
	case c.Forgotten(now):
		return Refuse(NotFound, "nothing to cancel")
	case c.CanceledAt != 0:
		return Refuse(Canceled, "the challenge was cancelled before")
	case c.ReplacedAt != 0:
		return c.superseded()
	case c.UsedAt != 0:
		return Refuse(Used, "the code was used")
	case now >= c.ExpiresAt:
		return Refuse(Expired, "the code has expired")
	}
	c.CanceledAt, c.UpdatedAt = now, now
	return nil
}

// Stage is how far a challenge has come.
type Stage string

// The stages. Live is the only one in which a code can be right.
const (
	StageLive      Stage = "live"
	StageVerified  Stage = "verified"
	StageCanceled  Stage = "canceled"
	StageReplaced  Stage = "replaced"
	StageExhausted Stage = "max_attempts"
	StageExpired   Stage = "expired"
)

// Stage tells how far c has come at now. It burns nothing.
func (c *Challenge) Stage(now Millis) Stage {
	switch {
	case c.UsedAt != 0:
		return StageVerified
	case c.CanceledAt != 0:
		return StageCanceled
	case c.ReplacedAt != 0:
		return StageReplaced
	case c.Wrong >= c.MaxAttempts:
		return StageExhausted
	case now >= c.ExpiresAt:
		return StageExpired
	}
	return StageLive
}
