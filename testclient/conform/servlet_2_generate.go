package conform

import (
	"strings"
	"time"
)

func servletGenerate() []Case {
	return []Case{
		{
			Requirement: "Generate answers OTP Generated Successfully and no line end.",
			Source:      Article, Profile: Documented,
			Run: func(s *Story) { s.ExpectBytes(s.Generate(), "OTP Generated Successfully") },
		},
		{
			Requirement: "Generate answers OTP Generated Successfully and CR LF.",
			Source:      Captured, Profile: Live,
			Run: func(s *Story) { s.ExpectBytes(s.Generate(), "OTP Generated Successfully\r\n") },
		},
		{
			Requirement: "A key that is refused reads UNAUTHERISED USER, and nothing is sent.",
			Source:      Article, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(Key("no such key")), Unauthorised)
				s.expectSent(0)
			},
		},
		{
			Requirement: "A missing parameter reads Invalid Parameters.",
			Source:      Client,
			Run:         func(s *Story) { s.ExpectBytes(s.Generate(RawQuery("")), "Invalid Parameters"+s.LineEnd()) },
		},
		{
			Requirement: "SMS enabled sends one SMS to the mobile, and no e-mail even if the request names an address.",
			Source:      Article, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(Email(s.Email())), Generated)
				s.expectRecipients("+" + s.Mobile())
			},
		},
		{
			Requirement: "A code has as many digits as the account says.",
			Source:      Article, Settings: Settings{"otp_length": 8},
			Run: func(s *Story) {
				code := s.generated()
				digits := len(code) == 8 && strings.Trim(code, "0123456789") == ""
				s.Require(digits, "a code of 8 digits", "one of "+plural(len(code), "character"))
			},
		},
		{
			Requirement: "Every generate makes a new code.",
			Source:      Article, Settings: Settings{"otp_length": 10},
			Run: func(s *Story) {
				first := s.generated()
				second := s.generated()
				s.Require(first != second, "a new code", "the one of the generate before")
			},
		},
		{
			Requirement: "A new code ends the one before.",
			Source:      Article, Settings: Settings{"otp_length": 10},
			Run: func(s *Story) {
				first := s.generated()
				second := s.generated()
				s.expectNotVerified(s.Validate(first))
				s.Expect(s.Validate(second), Verified)
			},
		},
		{
			Requirement: "A code that another replaced is a wrong code, and is charged to the new one.",
			Settings:    Settings{"otp_length": 10},
			Run: func(s *Story) {
				first := s.generated()
				second := s.generated()
				s.ExpectWrong(s.Validate(first), 2)
				s.ExpectWrong(s.Validate(rotated(second)), 1)
			},
		},
		{
			Requirement: "A new code starts with all its attempts.",
			Run: func(s *Story) {
				s.spend(s.generated())
				s.spend(s.generated())
			},
		},
		{
			Requirement: "A new code starts with all its regenerations.",
			Settings:    Settings{"max_regenerations": 1},
			Run: func(s *Story) {
				for range 2 {
					s.Expect(s.Generate(), Generated)
					s.Expect(s.Regenerate(), Generated)
				}
			},
		},
		{
			Requirement: "A new code works after one that was used.",
			Source:      Article,
			Run: func(s *Story) {
				s.Expect(s.Validate(s.generated()), Verified)
				s.Expect(s.Validate(s.generated()), Verified)
			},
		},
		{
			Requirement: "A code that could surely not be handed over to any channel reads SMSEMAILFAIL.",
			Source:      Client, Needs: NeedsFaults,
			Run: func(s *Story) {
				s.Sandbox.Fault("not_sent", 1)
				s.Expect(s.Generate(), Undelivered)
			},
		},
		{
			Requirement: "A code that was not delivered has ended the one before, and regenerate can try to send it again.",
			Settings:    Settings{"otp_length": 10}, Needs: NeedsFaults,
			Run: func(s *Story) {
				first := s.generated()
				s.Sandbox.Fault("not_sent", 1)
				s.Expect(s.Generate(), Undelivered)
				s.Sandbox.ResetFaults()
				s.ExpectWrong(s.Validate(first), 2)
				s.Expect(s.Regenerate(), Generated)
				s.Expect(s.Validate(s.Code()), Verified)
			},
		},
		{
			Requirement: "A send that surely failed does not count against the limits.",
			Settings:    Settings{"sends_per_minute": 2}, Needs: NeedsFaults,
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Sandbox.Fault("not_sent", 3)
				for range 3 {
					s.Expect(s.Generate(), Undelivered)
				}
				s.Sandbox.ResetFaults()
				s.Expect(s.Generate(), Generated)
			},
		},
		{
			Requirement: "Where nobody knows whether a message went out, the answer is that of a success.",
			Needs:       NeedsFaults,
			Run: func(s *Story) {
				s.Sandbox.Fault("unknown", 1)
				s.Expect(s.Generate(), Generated)
			},
		},
		{
			Requirement: "Whatever else goes wrong inside, a panic included, reads ERROR.",
			Source:      Client, Needs: NeedsFaults,
			Run: func(s *Story) {
				for _, kind := range []string{"error", "panic"} {
					s.Sandbox.Fault(kind, 1)
					s.Expect(s.Generate(), ErrorText)
				}
			},
		},
		{
			Requirement: "A refused generate changes nothing: the code before stays live.",
			Settings:    Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Generate(), ErrorText)
				s.Expect(s.Generate(Email("user")), Invalid)
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "A code is worth as many attempts as the account says.",
			Settings:    Settings{"max_attempts": 5},
			Run: func(s *Story) {
				code := s.generated()
				for left := 4; left >= 0; left-- {
					s.ExpectWrong(s.Validate(rotated(code)), left)
				}
				s.Expect(s.Validate(rotated(code)), Exhausted)
			},
		},
		{
			Requirement: "A code lives as many seconds as the account says.",
			Settings:    Settings{"otp_ttl_seconds": 60}, Needs: NeedsClock,
			Run: func(s *Story) {
				code := s.generated()
				s.Sandbox.Advance(60 * time.Second)
				s.Expect(s.Validate(code), Expired)
			},
		},
	}
}
