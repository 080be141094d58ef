package engine

import (
	"sync/atomic"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// maxInFlight is how many calls may be under way at once, those that wait for a provider included. Each
// holds its request, its goroutine and its connection: about 45 KiB by an earlier
// measurement of 20,000 at once, so 90 MiB in all.
const maxInFlight = 2048

// inFlight counts the calls under way.
type inFlight struct{ calls atomic.Int64 }

// Enter counts a call in, until Leave. A door asks first of all, before it looks up a key or reads a
// body. Refusal: Overloaded, after which there is nothing to leave.
func (e *Engine) Enter() error {
	if e.inFlight.calls.Add(1) <= maxInFlight {
		return nil
	}
	e.Leave()
	return &otp.Error{Kind: otp.Overloaded, Message: "the server is busy; try again", RetryAfter: time.Second}
}

// Leave counts a call out that Enter let in.
func (e *Engine) Leave() { e.inFlight.calls.Add(-1) }

// Admits returns the refusal of a call that needs this permission, nil while there is time for it. It
// costs next to nothing and keeps a call that would be refused anyway from being counted, checked and
// written for. Refusal: Overloaded.
func (e *Engine) Admits(permission string) error {
	switch permission {
	case otp.PermitSend, otp.PermitResend:
		return e.store.Admits(sql.Sending)
	case otp.PermitVerify, otp.PermitCancel:
		return e.store.Admits(sql.Verifying)
	}
	return nil // it only reads
}
