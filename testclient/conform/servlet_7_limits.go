package conform

import (
	"fmt"
	"strconv"
	"time"
)

// servletLimits returns the cases about limits, which hold in every window of their length, whenever it begins. Cases
// keep ten seconds away from an edge that must not be passed, because the target's clock runs between requests.
func servletLimits() []Case { return append(limitSends(), limitGuesses()...) }

// sendTimes generates n times.
func (s *Story) sendTimes(n int) {
	for range n {
		s.Expect(s.Generate(), Generated)
	}
}

func limitSends() []Case {
	return []Case{
		{
			Requirement: "A number receives ten sends a minute; the eleventh reads ERROR.",
			Run: func(s *Story) {
				s.sendTimes(10)
				s.Expect(s.Generate(), ErrorText)
			},
		},
		{
			Requirement: "The sends of a number count together, whatever the ipaddress.",
			Run: func(s *Story) {
				for i := range 10 {
					s.Expect(s.Generate(IP("192.0.2."+strconv.Itoa(i))), Generated)
				}
				s.Expect(s.Generate(IP(otherIP)), ErrorText)
			},
		},
		{
			Requirement: "Another number has sends of its own.",
			Settings:    Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Expect(s.Generate(Mobile(emirati)), Generated)
			},
		},
		{
			Requirement: "Ten in a minute holds in every minute: after five and, 40 seconds later, five, there are five " +
				"again when the first five are a minute old.",
			Needs: NeedsClock,
			Run: func(s *Story) {
				s.sendTimes(5)
				s.Sandbox.Advance(40 * time.Second)
				s.sendTimes(5)
				s.Expect(s.Generate(), ErrorText)
				s.Sandbox.Advance(21 * time.Second)
				s.sendTimes(5)
				s.Expect(s.Generate(), ErrorText)
			},
		},
		{
			Requirement: "Ten at once leave none until they are a minute old, and then ten.",
			Needs:       NeedsClock,
			Run: func(s *Story) {
				s.sendTimes(10)
				s.Sandbox.Advance(50 * time.Second)
				s.Expect(s.Generate(), ErrorText)
				s.Sandbox.Advance(11 * time.Second)
				s.sendTimes(10)
			},
		},
		{
			Requirement: "A refused send is not counted.",
			Settings:    Settings{"sends_per_minute": 2}, Needs: NeedsClock,
			Run: func(s *Story) {
				s.sendTimes(2)
				s.Sandbox.Advance(30 * time.Second)
				s.Expect(s.Generate(), ErrorText)
				s.Expect(s.Generate(), ErrorText)
				s.Sandbox.Advance(31 * time.Second)
				s.sendTimes(2)
			},
		},
		{
			Requirement: "A number receives twenty sends an hour.",
			Settings:    Settings{"sends_per_minute": 0}, Needs: NeedsClock,
			Run: func(s *Story) {
				s.sendTimes(20)
				s.Sandbox.Advance(3500 * time.Second)
				s.Expect(s.Generate(), ErrorText)
				s.Sandbox.Advance(101 * time.Second)
				s.Expect(s.Generate(), Generated)
			},
		},
		{
			Requirement: "A number receives forty sends a day.",
			Settings:    Settings{"sends_per_minute": 0, "sends_per_hour": 0}, Needs: NeedsClock,
			Run: func(s *Story) {
				s.sendTimes(40)
				s.Sandbox.Advance(86300 * time.Second)
				s.Expect(s.Generate(), ErrorText)
				s.Sandbox.Advance(101 * time.Second)
				s.Expect(s.Generate(), Generated)
			},
		},
		{
			Requirement: "A limit of 0 is none.",
			Settings:    unlimited(nil),
			Run:         func(s *Story) { s.sendTimes(41) },
		},
		{
			Requirement: "A number over its limit validates what it has.",
			Settings:    Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Generate(), ErrorText)
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "A mailbox has sends of its own, across numbers and in every spelling.",
			Settings:    Settings{"email_enabled": true, "sends_per_minute": 2},
			Run: func(s *Story) {
				s.Expect(s.Generate(Email("box-"+s.Email())), Generated)
				s.Expect(s.Generate(Email("BOX-"+s.Email())), Generated)
				s.Expect(s.Generate(Mobile(emirati), Email("box-"+s.Email())), ErrorText)
			},
		},
		{
			Requirement: "A send that the mailbox's limit refuses is not charged to the number.",
			Settings:    Settings{"email_enabled": true, "sends_per_minute": 1},
			Run: func(s *Story) {
				s.Expect(s.Generate(Email(s.Email())), Generated)
				s.Expect(s.Generate(Mobile(emirati), Email(s.Email())), ErrorText)
				s.Expect(s.Generate(Mobile(emirati), NoEmail), Generated)
			},
		},
	}
}

// guessWrong makes n wrong guesses and requires the attempts left to count down from from.
func (s *Story) guessWrong(code string, from, n int, opts ...Option) {
	for left := from; left > from-n; left-- {
		s.ExpectWrong(s.Validate(rotated(code), opts...), left)
	}
}

func limitGuesses() []Case {
	many := unlimited(Settings{"max_attempts": 100})
	return []Case{
		{
			Requirement: "A number has twenty wrong guesses an hour: what remains is never more, and then every guess reads " +
				"the max text, the right one too.",
			Settings: many,
			Run: func(s *Story) {
				code := s.generated()
				s.guessWrong(code, 19, 20)
				s.Expect(s.Validate(rotated(code)), Exhausted)
				s.Expect(s.Validate(code), Exhausted)
			},
		},
		{
			Requirement: "The wrong guesses of a number count together, whatever the ipaddress and the code.",
			Settings:    unlimited(nil),
			Run: func(s *Story) {
				for i := range 6 {
					ip := IP(fmt.Sprintf("192.0.2.%d", i))
					s.guessWrong(s.generated(ip), 2, 3, ip)
				}
				code := s.generated()
				s.ExpectWrong(s.Validate(rotated(code)), 1)
				s.ExpectWrong(s.Validate(rotated(code)), 0)
				s.Expect(s.Validate(code), Exhausted)
			},
		},
		{
			Requirement: "Nothing is generated for a locked number, whatever the ipaddress: ERROR.",
			Settings:    many, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.guessWrong(s.generated(), 19, 20)
				s.Expect(s.Generate(), ErrorText)
				s.Expect(s.Generate(IP(otherIP)), ErrorText)
				s.expectSent(1)
			},
		},
		{
			Requirement: "Nothing is sent again to a locked number: ERROR, even where no regeneration is left.",
			Settings:    unlimited(Settings{"max_attempts": 100, "max_regenerations": 1}),
			Run: func(s *Story) {
				code := s.generated()
				s.guessWrong(code, 19, 20)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "The lock is told before used-up regenerations.",
			Settings:    unlimited(Settings{"max_attempts": 100, "max_regenerations": 0}),
			Run: func(s *Story) {
				code := s.generated()
				s.guessWrong(code, 19, 20)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "The lock ends when the oldest of the twenty is an hour old, and not before.",
			Settings:    unlimited(Settings{"max_attempts": 100, "otp_ttl_seconds": 1800}), Needs: NeedsClock,
			Run: func(s *Story) {
				code := s.generated()
				s.guessWrong(code, 19, 10)
				s.Sandbox.Advance(1200 * time.Second)
				s.guessWrong(code, 9, 10)
				s.Sandbox.Advance(2300 * time.Second)
				s.Expect(s.Validate(code), Exhausted)
				s.Sandbox.Advance(101 * time.Second)
				s.ExpectWrong(s.Validate(rotated(code)), 9)
				s.Expect(s.Generate(), Generated)
			},
		},
		{
			Requirement: "A success gives no wrong guesses back: those of the hour stay counted.",
			Settings:    many,
			Run: func(s *Story) {
				code := s.generated()
				s.guessWrong(code, 19, 19)
				s.Expect(s.Validate(code), Verified)
				code = s.generated()
				s.ExpectWrong(s.Validate(rotated(code)), 0)
				s.Expect(s.Validate(code), Exhausted)
			},
		},
		{
			Requirement: "A lock is one number's: another of the same account goes on.",
			Settings:    many,
			Run: func(s *Story) {
				s.guessWrong(s.generated(), 19, 20)
				s.Expect(s.Validate(s.generated(Mobile(emirati)), Mobile(emirati)), Verified)
			},
		},
		{
			Requirement: "A lock is one account's: the same number at another account goes on.",
			Settings:    many, Needs: NeedsSecond,
			Run: func(s *Story) {
				other := s.Second()
				s.guessWrong(s.generated(), 19, 20)
				other.Expect(other.Validate(other.generated()), Verified)
			},
		},
		{
			Requirement: "A hundred wrong guesses in a row lock a number for 24 hours.",
			Settings:    many, Needs: NeedsClock,
			Run: func(s *Story) {
				for range 5 {
					s.guessWrong(s.generated(), 19, 20)
					s.Sandbox.Advance(3601 * time.Second)
				}
				s.Expect(s.Generate(), ErrorText)
				s.Sandbox.Advance(82600 * time.Second)
				s.Expect(s.Generate(), ErrorText)
				s.Sandbox.Advance(201 * time.Second)
				s.Expect(s.Generate(), Generated)
			},
		},
		{
			Requirement: "A success ends a row of wrong guesses.",
			Settings:    many, Needs: NeedsClock,
			Run: func(s *Story) {
				for i := range 5 {
					if i == 3 {
						s.Expect(s.Validate(s.generated()), Verified)
					}
					s.guessWrong(s.generated(), 19, 20)
					s.Sandbox.Advance(3601 * time.Second)
				}
				s.Expect(s.Generate(), Generated)
			},
		},
	}
}
