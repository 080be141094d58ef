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

// Admission refuses calls that there is no time for, before they cost anything.
type Admission struct {
	calls atomic.Int64 // under way
	store *sql.Store
}

// Enter counts a call in, until Leave. A door asks first of all, before it looks up a key or reads a
// body. Refusal: Overloaded, after which there is nothing to leave.
func (a *Admission) Enter() error {
	if a.calls.Add(1) <= maxInFlight {
		return nil
	}
	a.Leave()
	return &otp.Error{Kind: otp.Overloaded, Message: "the server is busy; try again", RetryAfter: time.Second}
}

// Leave counts a call out that Enter let in.
func (a *Admission) Leave() { a.calls.Add(-1) }

// Refusal returns the refusal of a call that needs this permission, nil while there is time for it. It
// costs next to nothing and keeps a call that would be refused anyway from being counted, checked and
// written for. Refusal: Overloaded.
func (a *Admission) Refusal(permission string) error {
	switch permission {
	case otp.PermitSend, otp.PermitResend:
		return a.store.Admits(sql.Sending)
	case otp.PermitVerify, otp.PermitCancel:
		return a.store.Admits(sql.Verifying)
	}
	return nil // it only reads
}
