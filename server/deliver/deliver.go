// Package deliver is how a message travels to its recipient. A [Channel] hands one message to
// its next hop and says which of three things is known about it afterwards; the engine calls it
// after the transaction that made the message necessary has committed, never inside it.
//
// It promises that an outcome is never guessed: NotSent means that the message surely went
// nowhere, so another channel may be tried and the send refunded, and whatever is in doubt is
// Unknown, which nobody sends again by themselves. What a message costs, who may receive it and
// what happens to the answer is left to the engine.
package deliver

import (
	"context"
	"time"
)

// Outcome is what is known of a message after a channel was asked to send it.
type Outcome int

// The three outcomes.
const (
	// Sent: the next hop has taken the message.
	Sent Outcome = iota + 1
	// NotSent: the message surely went nowhere; trying elsewhere is safe.
	NotSent
	// Unknown: it may have gone out (no answer after hand-over); sending again might double it.
	Unknown
)

// String is the outcome's name in logs.
func (o Outcome) String() string {
	switch o {
	case Sent:
		return "sent"
	case NotSent:
		return "not_sent"
	case Unknown:
		return "unknown"
	}
	return "invalid"
}

// Result is how one hand-over ended. It holds nothing secret and may be stored and logged whole.
type Result struct {
	Outcome Outcome
	// Retryable: the same message may be taken by the same channel later. Only with NotSent.
	Retryable bool
	// Down: the provider itself failed, whatever the message was. A [Breaker] counts these.
	Down bool
	// MessageID is what the provider calls the message in its receipts, if it said so.
	MessageID string
	// Reason explains NotSent and Unknown in words of this package, never in the provider's: an
	// answer may repeat the recipient, the code or a password.
	Reason string
}

// Content is what a person reads. It holds the code, so it is rendered at the moment of sending
// or showing and never stored.
type Content struct {
	Subject string // e-mail only; never holds the code
	Text    string
	Code    string // for gateways that keep the text themselves and take the code alone
	// What the text is registered under where messages must be (India's DLT). Empty if nowhere.
	DLTEntityID   string
	DLTTemplateID string
}

// Message is one send of one challenge on one medium.
type Message struct {
	ID        string // names the challenge to providers and in logs
	SendID    string // names this send on this medium, the same however often it is tried
	Number    int    // of the challenge's sends, from 1
	Account   string
	Medium    string // sms or email
	To        string // a number with its plus, or a mailbox
	From      string // of the account; empty means the channel's own
	ExpiresAt time.Time
	// Content renders the text. A channel that does not need it, as the inbox, does not ask.
	Content func() (Content, error)
}

// Channel hands messages to a next hop. Send honours ctx's deadline and reports how the hand-over
// ended. Waits reports whether Send may wait for something outside this process; a channel that
// never does is called in place. Name is safe to log.
type Channel interface {
	Name() string
	Waits() bool
	Send(ctx context.Context, m Message) Result
}

// refused is the result of a message that surely went nowhere and would not another time.
func refused(reason string) Result { return Result{Outcome: NotSent, Reason: reason} }

// unreachable is the result of a provider that was not reached, so that no message was.
func unreachable(reason string) Result {
	return Result{Outcome: NotSent, Retryable: true, Down: true, Reason: reason}
}

// doubtful is the result of a message that may have gone out.
func doubtful(reason string) Result { return Result{Outcome: Unknown, Down: true, Reason: reason} }
