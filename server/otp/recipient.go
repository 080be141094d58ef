package otp

import (
	"slices"
	"time"
)

// The failure budget of one recipient, across challenges, doors, keys and subjects. Without it, ten sends a minute
// with five attempts each would allow 72,000 guesses a day. The hundred in a row follow NIST SP 800-63B, section
// 5.2.2; RFC 4226, section 7.3 requires throttling.
const (
	FailuresPerHour = 20        // wrong guesses in a rolling hour before the recipient is locked
	FailuresInRun   = 100       // wrong guesses without a success between them before the long lock
	RunLock         = 24 * Hour // how long the long lock holds
	RunMemory       = 24 * Hour // after its last wrong guess, when a run is forgotten
)

// RecipientMemory is how long an unchanged recipient is kept: no window, run or lock looks back further, and every
// challenge is forgotten long before.
const RecipientMemory = 24 * Hour

// Environment separates live traffic from tests. Nothing made in one is visible in another.
type Environment string

// The environments. Codes of live reach people; those of the others reach only simulated channels.
const (
	Live Environment = "live"
	Test Environment = "test"
	Dev  Environment = "dev"
)

// Environments lists all environments.
func Environments() []Environment { return []Environment{Live, Test, Dev} }

// Check refuses an unknown environment. Refusal: Invalid.
func (e Environment) Check() error {
	if slices.Contains(Environments(), e) {
		return nil
	}
	return RefuseField("environment", "must be live, test or dev")
}

// Recipient is the aggregate: every decision about its challenges is written through its row.
type Recipient struct {
	ID          ID // of the row, time-ordered
	Hash        ID // keyed, of account, environment and the normalised recipient; rows are found by it
	Account     string
	Environment Environment
	Sealed      []byte // the normalised recipient; reading it needs the keyring
	Mask        string // for display: +91••••••2394
	Erased      bool   // only the row's counters are left; the next send fills in the recipient again

	Version     int64 // 0 = not stored yet
	Seq         int64 // number of the newest challenge
	Sends       Window
	Failures    Window
	Run         int    // wrong guesses since the last success
	RunAt       Millis // the time of the newest
	LockedUntil Millis // end of the long lock
	UpdatedAt   Millis
}

// LockedFor returns how long the failure budget keeps r locked at now; 0 if it is not locked.
func (r *Recipient) LockedFor(now Millis) time.Duration {
	var until Millis
	if r.Failures.Within(Hour, now) >= FailuresPerHour {
		until = r.Failures.Oldest(FailuresPerHour) + Hour
	}
	return max(until-now, r.LockedUntil-now, 0).Duration()
}

// locked refuses while the failure budget keeps r locked.
func (r *Recipient) locked(now Millis) error {
	wait := r.LockedFor(now)
	if wait == 0 {
		return nil
	}
	refusal := &Error{
		Kind: Locked, Message: "the recipient is locked after too many wrong codes",
		RetryAfter: wait, Limit: FailuresPerHour, Window: Hour.Duration(),
	}
	if r.LockedUntil == now+Span(wait) {
		refusal.Limit, refusal.Window = FailuresInRun, RunLock.Duration()
	}
	return refusal
}

// Unlock lifts both locks. An operator does this for a person who proved who they are.
func (r *Recipient) Unlock(now Millis) {
	r.Failures, r.Run, r.RunAt, r.LockedUntil = nil, 0, 0, 0
	r.UpdatedAt = now
}

// charge counts one wrong guess.
func (r *Recipient) charge(now Millis) {
	lockEnded := r.LockedUntil != 0 && now >= r.LockedUntil
	runLapsed := now >= r.RunAt+RunMemory
	if lockEnded || runLapsed {
		r.Run, r.LockedUntil = 0, 0
	}
	r.Run++
	r.RunAt = now
	r.Failures = r.Failures.Add(now, Hour, FailuresPerHour)
	if r.Run >= FailuresInRun {
		r.LockedUntil = now + RunLock
	}
	r.UpdatedAt = now
}

// budgetLeft returns how many more wrong guesses r allows before it is locked.
func (r *Recipient) budgetLeft(now Millis) int {
	return max(0, min(FailuresPerHour-r.Failures.Within(Hour, now), FailuresInRun-r.Run))
}

// AttemptsLeft returns how many more wrong guesses c and its recipient r allow.
func (r *Recipient) AttemptsLeft(c *Challenge, now Millis) int {
	if r.LockedFor(now) > 0 {
		return 0
	}
	return r.attemptsLeft(c, now)
}

func (r *Recipient) attemptsLeft(c *Challenge, now Millis) int {
	return max(0, min(c.MaxAttempts-c.Wrong, r.budgetLeft(now)))
}

// clearRun forgets the run after a success. The hour's window stays; otherwise someone who alternates their own code
// with guesses at another's would have unlimited guesses.
func (r *Recipient) clearRun(now Millis) {
	r.Run, r.RunAt, r.LockedUntil = 0, 0, 0
	r.UpdatedAt = now
}

// Limit bounds the sends to one recipient in a rolling window. Max 0 means no limit.
type Limit struct {
	Span Millis // at most a Day
	Max  int
}

// overLimit returns how long r must wait for its next send under limits, and the limit with the longest wait; 0 if no
// limit refuses.
func (r *Recipient) overLimit(limits []Limit, now Millis) (wait time.Duration, refusing Limit) {
	var until Millis
	for _, limit := range limits {
		if limit.Max > 0 && r.Sends.Within(limit.Span, now) >= limit.Max {
			if free := r.Sends.Oldest(limit.Max) + limit.Span; free > until {
				until, refusing = free, limit
			}
		}
	}
	return max(0, until-now).Duration(), refusing
}

// send counts one send. It keeps only as many entries as the largest limit needs.
func (r *Recipient) send(limits []Limit, now Millis) {
	keep := 0
	for _, limit := range limits {
		keep = max(keep, limit.Max)
	}
	r.Sends = r.Sends.Add(now, Day, keep)
	r.UpdatedAt = now
}
