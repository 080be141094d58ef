package conform

import "time"

func servletRegenerate() []Case {
	return append(regenerateFlow(), regenerateRefusals()...)
}

func regenerateFlow() []Case {
	return []Case{
		{
			Requirement: "Regenerate answers OTP Generated Successfully and sends the same code again.",
			Source:      Article, Settings: Settings{"otp_length": 10}, Needs: NeedsInbox,
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectBytes(s.Regenerate(), "OTP Generated Successfully"+s.LineEnd())
				s.expectRecipients("+"+s.Mobile(), "+"+s.Mobile())
				s.Require(s.Code() == code, "the same code", "another one")
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "A regeneration does not prolong the code's life.",
			Needs:       NeedsClock,
			Run: func(s *Story) {
				code := s.generated()
				s.Sandbox.Advance(290 * time.Second)
				s.Expect(s.Regenerate(), Generated)
				s.Sandbox.Advance(10 * time.Second)
				s.Expect(s.Validate(code), Expired)
			},
		},
		{
			Requirement: "A regeneration gives no attempts back.",
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.Validate(rotated(code)), 2)
				s.Expect(s.Regenerate(), Generated)
				s.ExpectWrong(s.Validate(rotated(code)), 1)
			},
		},
		{
			Requirement: "With the limit 3, three regenerations succeed and the fourth is refused.",
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				for range 3 {
					s.Expect(s.Regenerate(), Generated)
				}
				s.Expect(s.Regenerate(), Regenerations)
			},
		},
		{
			Requirement: "Regenerations used up read the article's sentence.",
			Source:      Article, Profile: Documented, Settings: Settings{"max_regenerations": 1},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Expect(s.Regenerate(), Generated)
				s.ExpectBytes(s.Regenerate(), "Max no of tries to regeneration of pin has been reached. Please generate other")
			},
		},
		{
			Requirement: "Regenerations used up read MAXREGEN.",
			Source:      Client, Profile: Live, Settings: Settings{"max_regenerations": 1},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Expect(s.Regenerate(), Generated)
				s.ExpectBytes(s.Regenerate(), "MAXREGEN\r\n")
			},
		},
		{
			Requirement: "A refused regeneration changes nothing: the code stays live.",
			Settings:    Settings{"max_regenerations": 0},
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Regenerate(), Regenerations)
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "A regeneration counts as a send.",
			Settings:    Settings{"sends_per_minute": 2},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Expect(s.Regenerate(), Generated)
				s.Expect(s.Generate(), ErrorText)
			},
		},
		{
			Requirement: "A regeneration over a send limit reads ERROR.",
			Settings:    Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "Used-up regenerations are told before used-up sends.",
			Settings:    Settings{"sends_per_minute": 2, "max_regenerations": 1},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Expect(s.Regenerate(), Generated)
				s.Expect(s.Regenerate(), Regenerations)
			},
		},
		{
			Requirement: "A regeneration that surely failed reads ERROR and counts neither as a regeneration nor as a send.",
			Settings:    Settings{"max_regenerations": 1, "sends_per_minute": 2}, Needs: NeedsFaults,
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Sandbox.Fault("not_sent", 2)
				s.Expect(s.Regenerate(), ErrorText)
				s.Expect(s.Regenerate(), ErrorText)
				s.Sandbox.ResetFaults()
				s.Expect(s.Regenerate(), Generated)
			},
		},
	}
}

func regenerateRefusals() []Case {
	return []Case{
		{
			Requirement: "Without a code there is nothing to send again: ERROR, and nothing is sent.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Regenerate(), ErrorText)
				s.expectSent(0)
			},
		},
		{
			Requirement: "A used code is not sent again: ERROR.",
			Run: func(s *Story) {
				s.Expect(s.Validate(s.generated()), Verified)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "An expired code is not sent again: ERROR.",
			Needs:       NeedsClock,
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Sandbox.Advance(300 * time.Second)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "A code without attempts is not sent again: ERROR.",
			Run: func(s *Story) {
				s.spend(s.generated())
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "A code's end is told before used-up regenerations.",
			Settings:    Settings{"max_regenerations": 0},
			Run: func(s *Story) {
				s.Expect(s.Validate(s.generated()), Verified)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "A missing or malformed parameter reads ERROR, never Invalid Parameters.",
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				for _, query := range []string{"", "mobile=" + s.Mobile(), s.query() + "&mobile=1", s.query() + "&x=%zz",
					s.query() + "&email=user"} {
					s.Expect(s.Regenerate(RawQuery(query)), ErrorText)
				}
			},
		},
		{
			Requirement: "A key that is refused reads UNAUTHERISED USER.",
			Source:      Article,
			Run:         func(s *Story) { s.Expect(s.Regenerate(Key("no such key")), Unauthorised) },
		},
		{
			Requirement: "An account without the feature reads ERROR.",
			Settings:    Settings{"otp_enabled": false},
			Run:         func(s *Story) { s.Expect(s.Regenerate(), ErrorText) },
		},
		{
			Requirement: "A missing department reads ERROR.",
			Settings:    Settings{"department_mode": "require"},
			Run: func(s *Story) {
				s.Expect(s.Generate(Department("7")), Generated)
				s.Expect(s.Regenerate(), ErrorText)
				s.Expect(s.Regenerate(Department("7")), Generated)
			},
		},
		{
			Requirement: "A fault inside, a panic included, reads ERROR.",
			Needs:       NeedsFaults,
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				for _, kind := range []string{"error", "panic"} {
					s.Sandbox.Fault(kind, 1)
					s.Expect(s.Regenerate(), ErrorText)
				}
			},
		},
	}
}
