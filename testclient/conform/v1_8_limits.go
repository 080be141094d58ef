package conform

import (
	"net/http"
	"time"
)

// sendTimesV1 sends n times.
func (s *Story) sendTimesV1(n int) {
	for range n {
		s.V1.Send(nil).ExpectCreated()
	}
}

// expectOverLimit requires the refusal of a limit.
func (s *Story) expectOverLimit(r Reply) {
	r.ExpectProblem(http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
}

func v1Limits() []Case {
	many := unlimited(Settings{"max_attempts": 100})
	return []Case{
		{
			Requirement: "A recipient receives ten sends a minute; the eleventh is 429 RATE_LIMIT_EXCEEDED.",
			Source:      Client,
			Run: func(s *Story) {
				s.sendTimesV1(10)
				s.expectOverLimit(s.V1.Send(nil))
			},
		},
		{
			Requirement: "429 says in Retry-After when to come back.",
			Settings:    Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				s.sendTimesV1(1)
				r := s.V1.Send(nil)
				s.expectOverLimit(r)
				r.expectRetryAfter()
				r.expectHeader("Retry-After", 1, 60)
			},
		},
		{
			Requirement: "The X-RateLimit headers of 429 describe the limit that refused; its reset is the time to come back.",
			Source:      Client, Settings: Settings{"sends_per_minute": 3},
			Run: func(s *Story) {
				s.sendTimesV1(3)
				r := s.V1.Send(nil)
				s.expectOverLimit(r)
				r.expectHeader("X-RateLimit-Limit", 3, 3)
				r.expectHeader("X-RateLimit-Remaining", 0, 0)
				r.expectHeader("X-RateLimit-Window", 60, 60)
				now := time.Now().Unix()
				r.expectHeader("X-RateLimit-Reset", now-5, now+65)
			},
		},
		{
			Requirement: "Ten in a minute holds in every minute: there is one again when the oldest is a minute old.",
			Needs:       NeedsClock,
			Run: func(s *Story) {
				s.sendTimesV1(1)
				s.Sandbox.Advance(40 * time.Second)
				s.sendTimesV1(9)
				s.expectOverLimit(s.V1.Send(nil))
				s.Sandbox.Advance(21 * time.Second)
				s.sendTimesV1(1)
				s.expectOverLimit(s.V1.Send(nil))
			},
		},
		{
			Requirement: "A recipient receives twenty sends an hour.",
			Settings:    Settings{"sends_per_minute": 0}, Needs: NeedsClock,
			Run: func(s *Story) {
				s.sendTimesV1(20)
				s.Sandbox.Advance(3500 * time.Second)
				s.expectOverLimit(s.V1.Send(nil))
				s.Sandbox.Advance(101 * time.Second)
				s.sendTimesV1(1)
			},
		},
		{
			Requirement: "A recipient receives forty sends a day.",
			Settings:    Settings{"sends_per_minute": 0, "sends_per_hour": 0}, Needs: NeedsClock,
			Run: func(s *Story) {
				s.sendTimesV1(40)
				s.Sandbox.Advance(86300 * time.Second)
				s.expectOverLimit(s.V1.Send(nil))
				s.Sandbox.Advance(101 * time.Second)
				s.sendTimesV1(1)
			},
		},
		{
			Requirement: "Another recipient has sends of its own, and another ip or binding has not.",
			Settings:    Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				s.sendTimesV1(1)
				s.V1.Send(Fields{"to": "+" + emirati}).ExpectCreated()
				s.expectOverLimit(s.V1.Send(Fields{"ip": otherIP}))
				s.expectOverLimit(s.V1.Send(Fields{"binding": "another"}))
			},
		},
		{
			Requirement: "A send that a limit refuses costs nothing: the code before verifies.",
			Settings:    Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.expectOverLimit(s.V1.Send(nil))
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(4)
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "The requests a minute that the account allows a key hold; the next is 429, and its headers " +
				"describe this limit.",
			Source: Client, Settings: Settings{"requests_per_minute": 5, "burst": 5},
			Run: func(s *Story) {
				for range 5 {
					r := s.V1.Status("otp_unknown")
					r.ExpectRefused() // there is no such challenge
					r.expectHeader("X-RateLimit-Limit", 5, 5)
				}
				r := s.V1.Status("otp_unknown")
				s.expectOverLimit(r)
				r.expectRetryAfter()
				r.expectHeader("X-RateLimit-Limit", 5, 5)
				r.expectHeader("X-RateLimit-Remaining", 0, 0)
			},
		},
		{
			Requirement: "After twenty wrong guesses an hour the recipient is locked: 429 RECIPIENT_LOCKED with Retry-After, " +
				"for the right code too.",
			Settings: many,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.guessWrongV1(code, byID(id), 19, 20)
				for _, guess := range []string{rotated(code), code} {
					r := s.V1.Verify(guess, byID(id)).ExpectProblem(http.StatusTooManyRequests, "RECIPIENT_LOCKED")
					r.expectRetryAfter()
				}
			},
		},
		{
			Requirement: "Nothing is sent or sent again to a locked recipient.",
			Settings:    many, Needs: NeedsInbox,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.guessWrongV1(code, byID(id), 19, 20)
				s.V1.Send(nil).ExpectProblem(http.StatusTooManyRequests, "RECIPIENT_LOCKED")
				s.V1.Resend(id, nil).ExpectProblem(http.StatusTooManyRequests, "RECIPIENT_LOCKED")
				s.expectSent(1)
			},
		},
		{
			Requirement: "A recipient's lock ends when the guesses are an hour old.",
			Settings:    many, Needs: NeedsClock,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.guessWrongV1(code, byID(id), 19, 20)
				s.Sandbox.Advance(3500 * time.Second)
				s.V1.Send(nil).ExpectProblem(http.StatusTooManyRequests, "RECIPIENT_LOCKED")
				s.Sandbox.Advance(101 * time.Second)
				id, code = s.challenged(nil)
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "Retry-After is true: not much earlier, and then at once.",
			Settings:    Settings{"sends_per_minute": 2}, Needs: NeedsClock,
			Run: func(s *Story) {
				s.sendTimesV1(1)
				s.Sandbox.Advance(30 * time.Second)
				s.sendTimesV1(1)
				r := s.V1.Send(nil)
				s.expectOverLimit(r)
				r.expectHeader("Retry-After", 25, 31)
				wait := time.Duration(r.number64("Retry-After")) * time.Second
				s.Sandbox.Advance(wait - 5*time.Second)
				s.expectOverLimit(s.V1.Send(nil))
				s.Sandbox.Advance(5*time.Second + time.Second)
				s.sendTimesV1(1)
			},
		},
	}
}
