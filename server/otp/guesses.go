package otp

import "time"

// Guesses counts the wrong guesses of one caller, such as at passwords from one network. Every guess is charged before
// it is checked, so concurrent guesses cannot exceed the limit. A right guess is taken back afterwards.
type Guesses struct {
	ID           ID // keyed hash of what is counted
	Version      int64
	Count        int
	BlockedUntil Millis
	UpdatedAt    Millis
}

// GuessLimit bounds Guesses.
type GuessLimit struct {
	Free   int    // guesses before the first wait
	First  Millis // the first wait; each further guess doubles it
	Most   Millis // the longest wait
	Memory Millis // after the last guess, when all are forgotten; not shorter than Most
}

// The limits of guesses at people's secrets. The first two are for passwords: one person's from one network, and
// anybody's from one network, which may be a whole office. None is counted by person alone, because then a stranger
// could lock that person out. The third is for second factors, which only someone with the password can guess at.
var (
	PersonGuesses  = GuessLimit{Free: 5, First: Minute, Most: Hour, Memory: Day}
	NetworkGuesses = GuessLimit{Free: 30, First: Minute, Most: Hour, Memory: Day}
	FactorGuesses  = GuessLimit{Free: 5, First: 15 * Minute, Most: Day, Memory: 2 * Day}
)

// PasskeyQuestions bounds how many passkey challenges one network can request; each is a row for some minutes. Answers
// cannot be guessed, so the waits are short.
var PasskeyQuestions = GuessLimit{Free: 60, First: 10 * Second, Most: Minute, Memory: 10 * Minute}

// GuessMemory is the longest time that guesses are kept.
const GuessMemory = 2 * Day

// Wait returns how long guesses are refused, 0 if they are not.
func (g *Guesses) Wait(now Millis) time.Duration { return max(0, g.BlockedUntil-now).Duration() }

// Charge counts one guess. The caller has checked that Wait is 0.
func (g *Guesses) Charge(l GuessLimit, now Millis) {
	now = max(now, g.UpdatedAt)
	if now-g.UpdatedAt >= l.Memory {
		g.Count = 0
	}
	g.Count++
	g.BlockedUntil, g.UpdatedAt = 0, now
	if beyond := g.Count - l.Free; beyond >= 0 {
		g.BlockedUntil = now + min(l.First<<min(beyond, 20), l.Most)
	}
}

// Forgive takes back one right guess, and the wait that it began, which would end at blocked.
func (g *Guesses) Forgive(blocked Millis) {
	g.Count = max(0, g.Count-1)
	if g.BlockedUntil == blocked {
		g.BlockedUntil = 0
	}
}

// Clear forgets all guesses.
func (g *Guesses) Clear() { g.Count, g.BlockedUntil = 0, 0 }
