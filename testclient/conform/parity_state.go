package conform

import (
	"net/http"
	"strconv"
	"time"
)

func parityState() []Case {
	plain := Settings{"plain_validation_enabled": true}
	many := unlimited(Settings{"max_attempts": 100})
	return []Case{
		{
			Requirement: "The attempts of a code that a servlet sent are shared by all doors, and are as many as the " +
				"servlets give.",
			Settings: plain,
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.Validate(rotated(code)), 2)
				s.V1.Verify(rotated(code), s.paired()).ExpectMismatch(1)
				s.ExpectWrong(s.PlainValidate(rotated(code)), 0)
				s.V1.Verify(code, s.paired()).ExpectReason("MAX_ATTEMPTS")
				s.Expect(s.Validate(code), Exhausted)
				s.Expect(s.PlainValidate(code), Exhausted)
			},
		},
		{
			Requirement: "The attempts of a code that /v1 sent are shared by all doors, and are as many as /v1 gives.",
			Settings:    plain,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.ExpectWrong(s.Validate(rotated(code)), 4)
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(3)
				s.ExpectWrong(s.PlainValidate(rotated(code)), 2)
				s.V1.Verify(rotated(code), s.paired()).ExpectMismatch(1)
				s.ExpectWrong(s.Validate(rotated(code)), 0)
				s.Expect(s.PlainValidate(code), Exhausted)
				s.V1.Verify(code, byID(id)).ExpectReason("MAX_ATTEMPTS")
			},
		},
		{
			Requirement: "Guesses at both doors at once share the attempts: no more are compared than the code has.",
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				compared := make([]bool, 10)
				s.Concurrently(len(compared), func(i int) Answer {
					if i%2 == 0 {
						a := s.Validate(rotated(code))
						compared[i] = a.Body != s.Text(Exhausted)
						return a
					}
					r := s.V1.Verify(rotated(code), byID(id))
					compared[i] = r.text("reason") == "MISMATCH"
					return r.Answer
				})
				n := 0
				for _, was := range compared {
					if was {
						n++
					}
				}
				s.Require(n == 5, "5 guesses compared", strconv.Itoa(n)+" compared")
			},
		},
		{
			Requirement: "A recipient that wrong guesses at the servlets have locked is locked at /v1.",
			Settings:    many,
			Run: func(s *Story) {
				code := s.generated()
				s.guessWrong(code, 19, 20)
				s.V1.Verify(code, s.paired()).ExpectProblem(http.StatusTooManyRequests, "RECIPIENT_LOCKED")
				s.V1.Send(nil).ExpectProblem(http.StatusTooManyRequests, "RECIPIENT_LOCKED")
			},
		},
		{
			Requirement: "A recipient that wrong guesses at /v1 have locked is locked at the servlets.",
			Settings:    many,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.guessWrongV1(code, byID(id), 19, 20)
				s.Expect(s.Validate(code), Exhausted)
				s.Expect(s.Generate(), ErrorText)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "The sends of both doors are counted together.",
			Settings:    Settings{"sends_per_minute": 2},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.V1.Send(nil).ExpectCreated()
				s.Expect(s.Generate(), ErrorText)
				s.expectOverLimit(s.V1.Send(nil))
			},
		},
		{
			Requirement: "Regenerations and resends of a code that /v1 sent are counted together.",
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.Expect(s.Regenerate(), Generated)
				r := s.V1.Resend(id, nil).ExpectJSON(http.StatusOK)
				r.require(r.number("resends_remaining") == 1, "resends_remaining 1", r.came())
				s.Expect(s.Regenerate(), Generated)
				s.Expect(s.Regenerate(), Regenerations)
				s.expectNoResend(s.V1.Resend(id, nil))
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "A code that a servlet sent can be resent, asked after and verified at /v1 by its id.",
			Settings:    Settings{"otp_length": 10}, Needs: NeedsInbox,
			Run: func(s *Story) {
				code := s.generated()
				id := s.known()
				s.V1.Status(id).ExpectJSON(http.StatusOK)
				s.V1.Resend(id, nil).ExpectJSON(http.StatusOK)
				s.Require(s.Code() == code, "the same code", "another")
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "A generate at a servlet replaces the code that /v1 sent.",
			Settings:    Settings{"otp_length": 10},
			Run: func(s *Story) {
				id, before := s.challenged(Fields{"ip": s.IP()})
				code := s.generated()
				s.V1.Verify(before, byID(id)).ExpectReason("REPLACED")
				s.V1.Verify(before, s.paired()).ExpectMismatch(2)
				s.ExpectWrong(s.Validate(before), 1)
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "A send at /v1 replaces the code that a servlet sent.",
			Settings:    Settings{"otp_length": 10},
			Run: func(s *Story) {
				before := s.generated()
				_, code := s.challenged(Fields{"ip": s.IP()})
				s.ExpectWrong(s.Validate(before), 4)
				s.V1.Verify(before, s.paired()).ExpectMismatch(3)
				s.V1.Verify(code, s.paired()).ExpectValid()
			},
		},
		{
			Requirement: "A code that was used at a servlet is used at /v1.",
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code), Verified)
				s.V1.Verify(code, s.paired()).ExpectReason("ALREADY_VERIFIED")
			},
		},
		{
			Requirement: "A code that was used at /v1 is used at the servlets.",
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.V1.Verify(code, byID(id)).ExpectValid()
				s.Expect(s.Validate(code), Expired)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "Of right guesses at both doors at once one verifies.",
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				right := make([]bool, 8)
				s.Concurrently(len(right), func(i int) Answer {
					if i%2 == 0 {
						a := s.Validate(code)
						right[i] = a.Body == s.Text(Verified)
						return a
					}
					r := s.V1.Verify(code, byID(id))
					right[i] = r.document["valid"] == true
					return r.Answer
				})
				n := 0
				for _, was := range right {
					if was {
						n++
					}
				}
				s.Require(n == 1, "1 guess that verifies", strconv.Itoa(n)+" that verified")
			},
		},
		{
			Requirement: "A code that was called off at /v1 is none at the servlets, and not regenerated.",
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.V1.Cancel(id).ExpectJSON(http.StatusOK)
				s.Expect(s.Validate(code), ErrorText)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "A code expires at both doors at once, by the ttl that it was sent with.",
			Settings:    Settings{"otp_ttl_seconds": 60}, Needs: NeedsClock,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP(), "ttl": 400})
				s.Sandbox.Advance(390 * time.Second)
				s.ExpectWrong(s.Validate(rotated(code)), 4)
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(3)
				s.Sandbox.Advance(11 * time.Second)
				s.Expect(s.Validate(code), Expired)
				s.V1.Verify(code, byID(id)).ExpectReason("EXPIRED")
			},
		},
		{
			Requirement: "An address is one in every spelling, at both doors.",
			Settings:    Settings{"key_on_ip": true},
			Run: func(s *Story) {
				code := s.generated()
				s.V1.Verify(rotated(code), Fields{"to": s.To(), "ip": "::ffff:" + s.IP()}).ExpectMismatch(2)
				s.V1.Verify(code, s.paired()).ExpectValid()
			},
		},
		{
			Requirement: "A code that a servlet sent is not found at /v1 without an ip, unless the account does not key on it.",
			Settings:    Settings{"key_on_ip": true},
			Run: func(s *Story) {
				code := s.generated()
				s.V1.Verify(code, s.byTo()).ExpectReason("NOT_FOUND")
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "An API key is good at the servlets, as access_key.",
			Run: func(s *Story) {
				s.Expect(s.Generate(Key(s.account.APIKey)), Generated)
				s.Expect(s.Validate(s.Code(), Key(s.account.APIKey)), Verified)
			},
		},
		{
			Requirement: "What surely reached nobody at one door is not counted at the other.",
			Settings:    Settings{"sends_per_minute": 1}, Needs: NeedsFaults,
			Run: func(s *Story) {
				s.Sandbox.Fault("not_sent", 1)
				s.Expect(s.Generate(), Undelivered)
				s.V1.Send(nil).ExpectCreated()
				s.Expect(s.Generate(), ErrorText)
			},
		},
		{
			Requirement: "The servlets see verifications only: a code for another purpose is none there, is not regenerated, " +
				"and costs nothing.",
			Settings: unlimited(plain),
			Run: func(s *Story) {
				for _, kind := range []string{"two_factor", "password_reset", "transaction"} {
					id, code := s.challenged(Fields{"ip": s.IP(), "type": kind})
					for _, guess := range []string{code, rotated(code)} {
						s.Expect(s.Validate(guess), ErrorText)
						s.Expect(s.PlainValidate(guess), ErrorText)
					}
					s.Expect(s.Regenerate(), ErrorText)
					s.V1.Verify(rotated(code), Fields{"id": id, "type": kind}).ExpectMismatch(4)
				}
			},
		},
		{
			Requirement: "The servlets of an account whose servlet_types names other types see codes of those too, and of no " +
				"other.",
			Settings: unlimited(Settings{"servlet_types": []string{"verification", "transaction"}}),
			Run: func(s *Story) {
				_, code := s.challenged(Fields{"ip": s.IP(), "type": "password_reset"})
				s.Expect(s.Validate(code), ErrorText)
				for _, kind := range []string{"verification", "transaction"} {
					_, code := s.challenged(Fields{"ip": s.IP(), "type": kind})
					s.Expect(s.Regenerate(), Generated)
					s.ExpectWrong(s.Validate(rotated(code)), 4)
					s.Expect(s.Validate(code), Verified)
				}
			},
		},
		{
			Requirement: "Each call of the servlets can move to /v1 by itself: generate, regenerate and validate in every " +
				"mixture.",
			Settings: unlimited(Settings{"otp_length": 10, "key_on_ip": true}), Needs: NeedsInbox,
			Run: func(s *Story) {
				for mixture := range 8 {
					s.mixed(mixture&1 != 0, mixture&2 != 0, mixture&4 != 0)
				}
			},
		},
		{
			Requirement: "What a servlet sent has its status at /v1 by its recipient, and can be called off there.",
			Settings:    Settings{"key_on_ip": true},
			Run: func(s *Story) {
				code := s.generated()
				s.V1.StatusBy(s.paired()).ExpectJSON(http.StatusOK)
				s.V1.CancelBy(s.paired()).ExpectJSON(http.StatusOK)
				s.Expect(s.Validate(code), ErrorText)
			},
		},
		{
			Requirement: "A generate of a servlet replaces the code of /v1, whatever that is for.",
			Run: func(s *Story) {
				id, before := s.challenged(Fields{"ip": s.IP(), "type": "password_reset"})
				code := s.generated()
				s.V1.Verify(before, Fields{"id": id, "type": "password_reset"}).ExpectReason("REPLACED")
				s.Expect(s.Validate(code), Verified)
			},
		},
	}
}
