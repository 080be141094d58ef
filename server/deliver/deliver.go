// Package deliver sends messages to recipients. A [Channel] hands one message to its next hop and reports one of three
// outcomes. The engine calls it after the transaction that created the message has committed, never inside it.
//
// An outcome is never guessed. NotSent means that the message surely was not sent, so another channel may be tried and
// the send refunded. Everything doubtful is Unknown, and is never resent automatically. The engine decides what a
// message costs, who may receive it and what an answer means.
package deliver

import (
	"context"
	"time"
)

// Outcome is what is known about a message after a channel was asked to send it.
type Outcome int

// The three outcomes.
const (
	// Sent: the next hop has accepted the message.
	Sent Outcome = iota + 1
	// NotSent: the message surely was not sent; trying another channel is safe.
	NotSent
	// Unknown: it may have gone out (no answer after hand-over); sending again could deliver it twice.
	Unknown
)

// String returns the outcome's name in logs.
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

// Result is how one hand-over ended. It holds no secret and may be stored and logged.
type Result struct {
	Outcome Outcome
	// Retryable: the same channel may accept the same message later. Only with NotSent.
	Retryable bool
	// Down: the provider itself failed, independent of the message. A [Breaker] counts these.
	Down bool
	// MessageID is the provider's id of the message in its receipts, if it gave one.
	MessageID string
	// Reason explains NotSent and Unknown in this package's words, never the provider's: a provider's answer may
	// repeat the recipient, the code or a password.
	Reason string
}

// Content is what a person reads. It holds the code, so it is rendered when it is sent or shown, and never stored.
type Content struct {
	Subject string // e-mail only; never holds the code
	Text    string
	Code    string // for gateways that keep the text themselves and only take the code
	// The ids that the text is registered under where that is required (India's DLT). Empty for none.
	DLTEntityID   string
	DLTTemplateID string
}

// Message is one send of one challenge on one medium.
type Message struct {
	ID        string // identifies the challenge to providers and in logs
	SendID    string // identifies this send on this medium, the same in every try
	Number    int    // of the challenge's sends, from 1
	Account   string
	Medium    string // sms or email
	To        string // a number with its plus, or a mailbox
	From      string // the account's sender; empty means the channel's own
	ExpiresAt time.Time
	// Content renders the text. Channels that do not need it, such as the inbox, do not call it.
	Content func() (Content, error)
}

// Channel hands messages to a next hop. Send honours ctx's deadline and reports how the hand-over ended. Waits reports
// whether Send may wait for something outside this process; if not, Send is called synchronously. Name is safe to log.
type Channel interface {
	Name() string
	Waits() bool
	Send(ctx context.Context, m Message) Result
}

// refused is the result of a message that surely was not sent, and would not be in another try.
func refused(reason string) Result { return Result{Outcome: NotSent, Reason: reason} }

// unreachable is the result if the provider was not reached, so no message was sent.
func unreachable(reason string) Result {
	return Result{Outcome: NotSent, Retryable: true, Down: true, Reason: reason}
}

// doubtful is the result of a message that may have gone out.
func doubtful(reason string) Result { return Result{Outcome: Unknown, Down: true, Reason: reason} }
