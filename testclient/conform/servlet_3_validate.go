package conform

import "time"

func servletValidate() []Case {
	return append(append(validateTexts(), validateStates()...), validateGuesses()...)
}

func validateTexts() []Case {
	return []Case{
		{
			Requirement: "The right code reads Verified successfully.",
			Source:      Article,
			Run: func(s *Story) {
				s.ExpectBytes(s.Validate(s.generated()), "Verified successfully"+s.LineEnd())
			},
		},
		{
			Requirement: "A wrong code reads Wrong PIN. No of Retries remaining # and the number of attempts left.",
			Source:      Article, Profile: Documented, Settings: Settings{"max_attempts": 3},
			Run: func(s *Story) {
				s.ExpectBytes(s.Validate(rotated(s.generated())), "Wrong PIN. No of Retries remaining #2")
			},
		},
		{
			Requirement: "A wrong code reads Wrong PIN . No of Retries remaining # and the number, blanks before the full " +
				"stop and after the hash.",
			Source: Captured, Profile: Live, Settings: Settings{"max_attempts": 3},
			Run: func(s *Story) {
				s.ExpectBytes(s.Validate(rotated(s.generated())), "Wrong PIN . No of Retries remaining # 2\r\n")
			},
		},
		{
			Requirement: "With three attempts, wrong guesses read 2, 1 and 0.",
			Run:         func(s *Story) { s.spend(s.generated()) },
		},
		{
			Requirement: "Attempts used up read the max text, whatever is guessed wrong.",
			Source:      Article,
			Run: func(s *Story) {
				code := s.generated()
				left := s.expectWrongPIN(s.Validate(rotated(code)))
				for ; left > 0; left-- {
					s.ExpectWrong(s.Validate(rotated(code)), left-1)
				}
				s.ExpectBytes(s.Validate(rotated(code)),
					"Max no of tries for this pin been reached. Please generate other"+s.LineEnd())
			},
		},
		{
			Requirement: "A right code past its expiry reads OTPEXPIRED.",
			Source:      Article, Settings: Settings{"otp_ttl_seconds": 300}, Needs: NeedsClock,
			Run: func(s *Story) {
				code := s.generated()
				s.Sandbox.Advance(300 * time.Second)
				s.ExpectBytes(s.Validate(code), "OTPEXPIRED"+s.LineEnd())
			},
		},
		{
			Requirement: "A key that is refused reads UNAUTHERISED USER, and its guess costs nothing.",
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(rotated(code), Key("no such key")), Unauthorised)
				s.ExpectWrong(s.Validate(rotated(code)), 2)
			},
		},
		{
			Requirement: "A fault inside reads ERROR.",
			Source:      Client, Needs: NeedsFaults,
			Run: func(s *Story) {
				code := s.generated()
				for _, kind := range []string{"error", "panic"} {
					s.Sandbox.Fault(kind, 1)
					s.Expect(s.Validate(code), ErrorText)
				}
			},
		},
	}
}

func validateStates() []Case {
	return []Case{
		{
			Requirement: "A code verifies once; used, the right code reads OTPEXPIRED.",
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code), Verified)
				s.Expect(s.Validate(code), Expired)
			},
		},
		{
			Requirement: "A wrong guess at a used code is a wrong code and is charged.",
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code), Verified)
				s.spend(code)
				s.Expect(s.Validate(code), Exhausted)
			},
		},
		{
			Requirement: "Right guesses are not counted, however many.",
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code), Verified)
				for range 3 {
					s.Expect(s.Validate(code), Expired)
				}
				s.ExpectWrong(s.Validate(rotated(code)), 2)
			},
		},
		{
			Requirement: "A right code after the last attempt does not verify: it reads the max text.",
			Run: func(s *Story) {
				code := s.generated()
				s.spend(code)
				s.Expect(s.Validate(code), Exhausted)
			},
		},
		{
			Requirement: "The right code verifies with the last attempt.",
			Source:      Article, Settings: Settings{"max_attempts": 3},
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.Validate(rotated(code)), 2)
				s.ExpectWrong(s.Validate(rotated(code)), 1)
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "A code verifies until its expiry: not less than two seconds before it.",
			Source:      Article, Settings: Settings{"otp_ttl_seconds": 300}, Needs: NeedsClock,
			Run: func(s *Story) {
				s.Expect(inTime(2*time.Second, func() Answer {
					code := s.generated()
					s.Sandbox.Advance(298 * time.Second)
					return s.Validate(code)
				}), Verified)
			},
		},
		{
			Requirement: "A wrong guess at an expired code is a wrong code and is charged.",
			Needs:       NeedsClock,
			Run: func(s *Story) {
				code := s.generated()
				s.Sandbox.Advance(301 * time.Second)
				s.spend(code)
				s.Expect(s.Validate(code), Exhausted)
			},
		},
		{
			Requirement: "An expired code is remembered for an hour past its expiry; then there is nothing to validate.",
			Needs:       NeedsClock,
			Run: func(s *Story) {
				code := s.generated()
				s.Sandbox.Advance((300 + 3590) * time.Second)
				s.Expect(s.Validate(code), Expired)
				s.Sandbox.Advance(11 * time.Second)
				s.Expect(s.Validate(code), ErrorText)
				s.Expect(s.Validate(rotated(code)), ErrorText)
			},
		},
		{
			Requirement: "A used code is forgotten an hour past its expiry, too.",
			Needs:       NeedsClock,
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code), Verified)
				s.Sandbox.Advance((300 + 3601) * time.Second)
				s.Expect(s.Validate(code), ErrorText)
			},
		},
		{
			Requirement: "Without a code there is nothing to validate: ERROR.",
			Run:         func(s *Story) { s.Expect(s.Validate("123456"), ErrorText) },
		},
		{
			Requirement: "A guess where there is no code costs nothing.",
			Settings:    Settings{"max_attempts": 30},
			Run: func(s *Story) {
				for range 20 {
					s.Expect(s.Validate("123456"), ErrorText)
				}
				s.ExpectWrong(s.Validate(rotated(s.generated())), 19)
			},
		},
	}
}

func validateGuesses() []Case {
	return []Case{
		{
			Requirement: "An otp that is missing, empty or blank is Invalid Parameters and costs nothing.",
			Source:      Client, Settings: Settings{"max_attempts": 3},
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code, RawQuery(s.query())), Invalid)
				for _, none := range []string{"", "+", "%20%20"} {
					s.Expect(s.ValidateRaw(none), Invalid)
				}
				s.ExpectWrong(s.Validate(rotated(code)), 2)
			},
		},
		{
			Requirement: "A validation without ipaddress or mobile is Invalid Parameters and costs nothing.",
			Source:      Client, Settings: Settings{"max_attempts": 3},
			Run: func(s *Story) {
				code := s.generated()
				otp := "&otp=" + s.Encrypt(rotated(code), Hex)
				s.Expect(s.Validate(code, RawQuery("mobile="+s.Mobile()+otp)), Invalid)
				s.Expect(s.Validate(code, RawQuery("ipaddress="+s.IP()+otp)), Invalid)
				s.ExpectWrong(s.Validate(rotated(code)), 2)
			},
		},
		{
			Requirement: "A guess with fewer or more digits than the code is a wrong code.",
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.Validate(code[:5]), 2)
				s.ExpectWrong(s.Validate(code+"0"), 1)
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "The code of another number is a wrong code, and the other number's attempts are its own.",
			Source:      Article, Settings: Settings{"otp_length": 10},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				theirs := s.generated(Mobile(emirati))
				left := s.expectWrongPIN(s.Validate(theirs))
				s.ExpectWrong(s.Validate(rotated(theirs), Mobile(emirati)), left)
				s.Expect(s.Validate(theirs, Mobile(emirati)), Verified)
			},
		},
		{
			Requirement: "A number that the account cannot send to is Invalid Parameters on validation too.",
			Source:      Client,
			Run:         func(s *Story) { s.Expect(s.Validate("123456", Mobile("95514")), Invalid) },
		},
	}
}
