package otp

import (
	"math"
	"slices"
)

// Memory is how long after its expiry a challenge still answers as expired or used. After that it answers as not
// found, whether or not the sweeper has removed it.
const Memory = Hour

// Channels is a set of channels.
type Channels uint8

// The channels a message can travel on.
const (
	SMS Channels = 1 << iota
	Email
)

// Rehearsed marks the event of a test recipient's verification: no message was sent on any channel.
const Rehearsed Channels = 1 << 7

// Has reports whether c contains all of other.
func (c Channels) Has(other Channels) bool { return c&other == other }

// Each returns the members of c, one to a set.
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

// String returns the names of c's members, separated by commas.
func (c Channels) String() string {
	return [...]string{"", "sms", "email", "sms,email"}[c&(SMS|Email)]
}

// Policy holds the numbers that apply to one operation. They come from the account and the door.
type Policy struct {
	Length           int    // digits, 4–10
	TTL              Millis // 30 s – 30 min
	MaxAttempts      int    // wrong guesses a challenge can cost, 1 or more
	MaxRegenerations int    // resends a challenge allows, 0 or more
	Limits           []Limit
}

// Challenge is one request to prove control of a recipient. It holds the inputs of the code's derivation, never the
// code.
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
	Details  *Details // nil for a challenge of the servlets; never changed

	MaxAttempts   int // the limit when it was made
	Wrong         int
	Sends         int // 1 after generate
	Regenerations int // resends that count; a refunded resend does not

	CreatedAt  Millis
	ExpiresAt  Millis
	UpdatedAt  Millis
	UsedAt     Millis
	CanceledAt Millis
	ReplacedAt Millis
}

// Details holds what an application can ask for through the JSON API and not through the servlets.
type Details struct {
	Type     string     // what the code is for; empty means DefaultType
	Template string     // name of one of the account's templates; empty for none
	Locale   string     // a language tag (BCP 47); empty for none
	Binding  ID         // keyed hash of what the challenge is bound to; zero for nothing
	Fallback []Channels // tried in turn when the channel before surely did not send
	Metadata []byte     // sealed; nil for none
	User     ID         // keyed hash of the metadata's user_id, zero for none; stored with the send's event
}

// DefaultType is the type of a challenge made without a type, as all of the servlets are, and of a request that names
// none.
const DefaultType = "verification"

// Types lists what a code can be for.
func Types() []string { return []string{DefaultType, "two_factor", "password_reset", "transaction"} }

// Type returns what c's code is for.
func (c *Challenge) Type() string {
	if c.Details == nil || c.Details.Type == "" {
		return DefaultType
	}
	return c.Details.Type
}

// Binding returns the hash of what c is bound to, zero for nothing.
func (c *Challenge) Binding() ID {
	if c.Details == nil {
		return ID{}
	}
	return c.Details.Binding
}

// Meant returns c if it is bound to binding (zero for nothing) and its type is one of types, else nil. A code for one
// purpose must not serve another: a code sent to reset a password must not log somebody in. A challenge that does not
// match is treated as not found, so no answer shows that it exists and none of its attempts is used.
func (c *Challenge) Meant(binding ID, types []string) *Challenge {
	if c == nil || c.Binding() != binding || !slices.Contains(types, c.Type()) {
		return nil
	}
	return c
}

// superseded returns the refusal for a challenge that was replaced in its slot, nil for a slot's newest challenge. A
// replaced challenge can only be reached by its id. If it was used before it was replaced, the refusal is Used.
func (c *Challenge) superseded() error {
	switch {
	case c.ReplacedAt == 0:
		return nil
	case c.UsedAt != 0:
		return Refuse(Used, "the code was used")
	}
	return Refuse(Replaced, "a newer challenge has taken its place")
}

// Forgotten reports whether c answers as not found at now.
func (c *Challenge) Forgotten(now Millis) bool { return c == nil || now > c.ExpiresAt+Memory }

// Moment returns the time of an operation: the latest of now and the times at which its rows were last written. Time
// must not go backwards for a row when one server's clock is behind another's.
func Moment(now Millis, written ...Millis) Millis {
	for _, at := range written {
		now = max(now, at)
	}
	return now
}

// Generate replaces previous, the slot's challenge (nil for none), with next. mailbox is the row that counts sends to
// the e-mail address, nil if no e-mail is sent. If either row is over a limit, Generate refuses and charges neither.
// The caller sets next's identity, key and channels.
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

// Resend sends c's code again, with the same expiry and the same attempts. The order of the tests is part of the
// contract: live, not locked, regenerations, send windows. The first that fails decides the answer, and nothing
// changes.
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

// Reroute sends c's code once more on another channel, after a send that surely reached no channel was refunded. It
// completes the first request, so it is not a regeneration, but the recipient's limits count it.
//
// Refusals: those of Resend except RegenerationsExhausted.
func Reroute(r, mailbox *Recipient, c *Challenge, p Policy, now Millis) error {
	p.MaxRegenerations = math.MaxInt
	if err := Resend(r, mailbox, c, p, now); err != nil {
		return err
	}
	c.Regenerations--
	return nil
}

// charge counts one send on r and on mailbox (nil for none), or refuses and counts it on neither.
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

// Refund takes back the cost of a send that surely reached no channel: the entries made at sentAt in the send windows
// and, for a resend, the regeneration. The code stays live.
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

// Closed says how a guess at a used or expired challenge is handled.
type Closed bool

const (
	// ClosedIsCompared is for the servlets. They answer OTPEXPIRED for the right code only, so the guess is compared.
	// A wrong guess is charged; otherwise it would be a free test of a code.
	ClosedIsCompared Closed = false
	// ClosedIsFinal answers used or expired to every guess; no guess is compared or charged.
	ClosedIsFinal Closed = true
)

// Verify decides one guess at c: the slot's newest challenge, or the one named by its id (nil for none). matches says
// whether the guess equals the code. Callers compute it in constant time in every state, so that the response time
// does not reveal which refusal it is. Only an evaluated wrong guess is charged: to the challenge and to the
// recipient's budget.
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

// Cancel cancels a live challenge.
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

// Stage is the state of a challenge as applications see it.
type Stage string

// The stages. Only a live challenge accepts its code.
const (
	StageLive      Stage = "live"
	StageVerified  Stage = "verified"
	StageCanceled  Stage = "canceled"
	StageReplaced  Stage = "replaced"
	StageExhausted Stage = "max_attempts"
	StageExpired   Stage = "expired"
)

// Stage returns c's stage at now. It changes nothing.
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
