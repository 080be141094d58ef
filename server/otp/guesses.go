package otp

import "time"

// Guesses counts what one caller may be wrong about, such as a password from one network. Every guess is
// charged before it is judged, so that no number of guesses at once is judged beyond the limit; what was
// right is forgiven afterwards.
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
	Memory Millis // how long after the last guess all are forgotten; not shorter than Most
}

// The limits of people's secrets. The first two bound guesses at passwords: at one person's from one
// network, and at anybody's from one network, which may be a whole office. None is counted by person alone,
// because a stranger could then lock that person out. The third bounds guesses at a second factor, which
// only those can make who have the password.
var (
	PersonGuesses  = GuessLimit{Free: 5, First: Minute, Most: Hour, Memory: Day}
	NetworkGuesses = GuessLimit{Free: 30, First: Minute, Most: Hour, Memory: Day}
	FactorGuesses  = GuessLimit{Free: 5, First: 15 * Minute, Most: Day, Memory: 2 * Day}
)

// PasskeyQuestions bounds how many questions to passkeys one network is given, each of which is a row for some
// minutes. Nobody can guess an answer, so the waits are short.
var PasskeyQuestions = GuessLimit{Free: 60, First: 10 * Second, Most: Minute, Memory: 10 * Minute}

// GuessMemory is how long guesses are kept at most.
const GuessMemory = 2 * Day

// Wait returns how long no guess is judged, 0 for not at all.
func (g *Guesses) Wait(now Millis) time.Duration { return max(0, g.BlockedUntil-now).Duration() }

// Charge counts one guess. The caller has seen to it that there is no Wait.
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

// Forgive takes back one guess that was right, and the wait it began, which ended at blocked.
func (g *Guesses) Forgive(blocked Millis) {
	g.Count = max(0, g.Count-1)
	if g.BlockedUntil == blocked {
		g.BlockedUntil = 0
	}
}

// Clear forgets all guesses.
func (g *Guesses) Clear() { g.Count, g.BlockedUntil = 0, 0 }
