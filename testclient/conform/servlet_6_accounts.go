package conform

import "net/url"

// servletAccounts returns the cases that depend on the account.

func servletAccounts() []Case {
	cases := append(accountKeys(), accountDepartments()...)
	cases = append(cases, accountPlain()...)
	cases = append(cases, accountSlots()...)
	return append(cases, accountChannels()...)
}

func accountKeys() []Case {
	refused := func(s *Story, opts ...Option) string {
		a := s.Generate(opts...)
		s.Expect(a, Unauthorised)
		return a.Body
	}
	return []Case{
		{
			Requirement: "The name of the header access_key counts in any letter case.",
			Source:      Article,
			Run: func(s *Story) {
				for _, name := range []string{"ACCESS_KEY", "Access_Key", "access_key"} {
					s.Expect(s.Generate(NoKey, Header(name, s.Key())), Generated)
				}
			},
		},
		{
			Requirement: "A key that is missing, empty or unknown gets equal bytes at every servlet.",
			Run: func(s *Story) {
				unknown := refused(s, Key("no such key"))
				for _, path := range []string{genServlet, validateServlet, regenServlet, plainServlet} {
					for _, option := range []Option{NoKey, Key(""), Key("no such key")} {
						s.ExpectBytes(s.Generate(option, Path(path)), unknown)
					}
				}
			},
		},
		{
			Requirement: "A key that is disabled, expired or used from a forbidden network gets the bytes of an unknown one.",
			Settings: Settings{
				"access_keys": []any{
					map[string]any{"key": "{id}-key-good"},
					map[string]any{"key": "{id}-key-disabled", "enabled": false},
					map[string]any{"key": "{id}-key-expired", "expires_at": "2020-01-01T00:00:00Z"},
					map[string]any{"key": "{id}-key-elsewhere", "allowed_ips": []string{"192.0.2.0/24"}},
				},
				"message_overrides": map[string]any{"unauthorised": "told apart"},
			},
			Run: func(s *Story) {
				unknown := refused(s, Key("no such key"))
				for _, key := range []string{"-key-disabled", "-key-expired", "-key-elsewhere"} {
					s.ExpectBytes(s.Generate(Key(s.ID()+key)), unknown)
				}
				s.Expect(s.Generate(Key(s.ID()+"-key-good")), Generated)
			},
		},
		{
			Requirement: "The key of a disabled account gets the bytes of an unknown one.",
			Settings:    Settings{"enabled": false},
			Run:         func(s *Story) { s.ExpectBytes(s.Generate(), refused(s, Key("no such key"))) },
		},
		{
			Requirement: "The key is read from its header only: not from the query, nor from access-key.",
			Run: func(s *Story) {
				refused(s, NoKey, RawQuery(s.query()+"&access_key="+url.QueryEscape(s.Key())))
				refused(s, NoKey, Header("access-key", s.Key()))
			},
		},
		{
			Requirement: "One key given twice is one key; two keys are refused.",
			Run: func(s *Story) {
				refused(s, Header("access_key", "no such key"))
				s.Expect(s.Generate(Header("access_key", s.Key())), Generated)
			},
		},
		{
			Requirement: "An account without the feature says so, before its parameters are looked at.",
			Source:      Client, Settings: Settings{"otp_enabled": false},
			Run: func(s *Story) {
				s.ExpectBytes(s.Generate(), "The feature is not enabled"+s.LineEnd())
				s.Expect(s.Generate(RawQuery("x=%zz")), FeatureOff)
			},
		},
		{
			Requirement: "An account without the feature says so on validation too.",
			Settings:    Settings{"otp_enabled": false},
			Run:         func(s *Story) { s.Expect(s.Validate("123456"), FeatureOff) },
		},
		{
			Requirement: "An account's countries decide which numbers it serves.",
			Settings:    Settings{"countries": []string{"US"}},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Invalid)
				s.Expect(s.Generate(Mobile("14155552671")), Generated)
			},
		},
		{
			Requirement: "Two accounts never mix: each has its own codes, attempts and sends for one number.",
			Source:      Article, Settings: Settings{"otp_length": 10, "sends_per_minute": 1}, Needs: NeedsSecond,
			Run: func(s *Story) {
				other := s.Second()
				code := s.generated()
				other.expectNotVerified(other.Validate(code))
				theirs := other.generated()
				left := s.expectWrongPIN(s.Validate(theirs))
				other.ExpectWrong(other.Validate(code), left)
				s.Expect(s.Validate(code), Verified)
				other.Expect(other.Validate(theirs), Verified)
			},
		},
	}
}

func accountDepartments() []Case {
	return []Case{
		{
			Requirement: "By default nobody asks for a department.",
			Run:         func(s *Story) { s.Expect(s.Validate(s.generated()), Verified) },
		},
		{
			Requirement: "A validation without the required department is answered with zero bytes and costs nothing.",
			Source:      Captured, Settings: Settings{"department_mode": "require_on_validation", "max_attempts": 3},
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(rotated(code)), NoDepartment)
				s.ExpectWrong(s.Validate(rotated(code), Department("7")), 2)
				s.Expect(s.Validate(code, Department("7")), Verified)
			},
		},
		{
			Requirement: "Required on validation, a department is not asked for by generate and regenerate.",
			Settings:    Settings{"department_mode": "require_on_validation"},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Expect(s.Regenerate(), Generated)
			},
		},
		{
			Requirement: "An empty department is missing; with an empty list every other one will do.",
			Settings:    Settings{"department_mode": "require_on_validation"},
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code, Department("")), NoDepartment)
				s.Expect(s.Validate(code, Department("whatever")), Verified)
			},
		},
		{
			Requirement: "A department that is not on the account's list is missing; letter case counts.",
			Settings:    Settings{"department_mode": "require_on_validation", "departments": []string{"sales", "claims"}},
			Run: func(s *Story) {
				code := s.generated()
				for _, missing := range []string{"other", "Sales", "sales,claims"} {
					s.Expect(s.Validate(code, Department(missing)), NoDepartment)
				}
				s.Expect(s.Validate(code, Department("claims")), Verified)
			},
		},
		{
			Requirement: "The name of the header department-id counts in any letter case.",
			Source:      Client, Settings: Settings{"department_mode": "require_on_validation"},
			Run: func(s *Story) {
				s.Expect(s.Validate(s.generated(), Header("DEPARTMENT-ID", "7")), Verified)
			},
		},
		{
			Requirement: "Two departments are none.",
			Settings:    Settings{"department_mode": "require_on_validation", "departments": []string{"sales", "claims"}},
			Run: func(s *Story) {
				s.Expect(s.Validate(s.generated(), Department("sales"), Department("claims")), NoDepartment)
			},
		},
		{
			Requirement: "Required everywhere, a missing department reads Invalid Parameters on generate, and nothing is sent.",
			Settings:    Settings{"department_mode": "require"}, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(), Invalid)
				s.expectSent(0)
				s.Expect(s.Generate(Department("7")), Generated)
			},
		},
		{
			Requirement: "Parameters are looked at before the department.",
			Settings:    Settings{"department_mode": "require_on_validation"},
			Run:         func(s *Story) { s.Expect(s.ValidateRaw(""), Invalid) },
		},
	}
}

func accountPlain() []Case {
	on := Settings{"plain_validation_enabled": true}
	return []Case{
		{
			Requirement: "The plain servlet is off unless switched on; it says so before its parameters are looked at, and " +
				"costs nothing.",
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.PlainValidate(rotated(code)), FeatureOff)
				s.Expect(s.PlainValidate("", RawQuery("x=%zz")), FeatureOff)
				s.ExpectWrong(s.Validate(rotated(code)), 2)
			},
		},
		{
			Requirement: "Switched on, the plain servlet takes the digits in clear, blanks around them skipped.",
			Source:      Client, Settings: on,
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.PlainValidate(" "+code+" "), Verified)
				s.Expect(s.PlainValidate(code), Expired)
			},
		},
		{
			Requirement: "At the plain servlet, what is no digits is a wrong code.",
			Settings:    on,
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.PlainValidate(code+"x"), 2)
				s.ExpectWrong(s.PlainValidate("abcdef"), 1)
				s.Expect(s.PlainValidate(""), Invalid)
				s.Expect(s.PlainValidate(code), Verified)
			},
		},
		{
			Requirement: "The plain and the encrypted servlet share codes and attempts.",
			Settings:    on,
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.PlainValidate(rotated(code)), 2)
				s.ExpectWrong(s.Validate(rotated(code)), 1)
				s.Expect(s.PlainValidate(code), Verified)
				s.Expect(s.Validate(code), Expired)
			},
		},
		{
			Requirement: "The plain servlet does not decrypt.",
			Settings:    on,
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.PlainValidate(s.Encrypt(code, Hex)), 2)
			},
		},
	}
}

func accountSlots() []Case {
	byNumber := Settings{"key_on_ip": false, "otp_length": 10}
	return []Case{
		{
			Requirement: "A code belongs to the mobile and the ipaddress: with another ipaddress it does not verify.",
			Source:      Article,
			Run: func(s *Story) {
				code := s.generated()
				s.expectNotVerified(s.Validate(code, IP(otherIP)))
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "For another ipaddress there is nothing to validate or to send again: ERROR.",
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code, IP(otherIP)), ErrorText)
				s.Expect(s.Regenerate(IP(otherIP)), ErrorText)
			},
		},
		{
			Requirement: "Each ipaddress has a code and attempts of its own; a generate for one leaves the other's live.",
			Source:      Article, Settings: Settings{"otp_length": 10},
			Run: func(s *Story) {
				first := s.generated()
				second := s.generated(IP(otherIP))
				left := s.expectWrongPIN(s.Validate(second))
				s.ExpectWrong(s.Validate(first, IP(otherIP)), left)
				s.Expect(s.Validate(first), Verified)
				s.Expect(s.Validate(second, IP(otherIP)), Verified)
			},
		},
		{
			Requirement: "With key_on_ip off a number has one code, whatever the ipaddress.",
			Settings:    byNumber,
			Run: func(s *Story) {
				first := s.generated()
				s.ExpectWrong(s.Validate(rotated(first), IP(otherIP)), 2)
				s.Expect(s.Regenerate(IP(otherIP)), Generated)
				second := s.generated(IP(otherIP))
				s.ExpectWrong(s.Validate(first), 2)
				s.Expect(s.Validate(second), Verified)
			},
		},
		{
			Requirement: "With key_on_ip off an ipaddress is required all the same.",
			Source:      Article, Settings: byNumber,
			Run: func(s *Story) { s.Expect(s.Generate(RawQuery("mobile="+s.Mobile())), Invalid) },
		},
	}
}

func accountChannels() []Case {
	mailOnly := Settings{"sms_enabled": false, "email_enabled": true}
	both := Settings{"email_enabled": true}
	return []Case{
		{
			Requirement: "E-mail only sends e-mail, and the code belongs to the mobile all the same.",
			Source:      Article, Settings: mailOnly, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(Email(s.Email())), Generated)
				s.expectRecipients(s.Email())
				s.Expect(s.Validate(s.Code(Email(s.Email()))), Verified)
			},
		},
		{
			Requirement: "E-mail only without an email is Invalid Parameters.",
			Settings:    mailOnly,
			Run: func(s *Story) {
				s.Expect(s.Generate(NoEmail), Invalid)
				s.Expect(s.Generate(Email("")), Invalid)
			},
		},
		{
			Requirement: "Both enabled sends both, with one code.",
			Source:      Article, Settings: both, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(Email(s.Email())), Generated)
				sent := s.Sandbox.Messages()
				s.Require(len(sent) == 2, "2 messages in the inbox", plural(len(sent), "message"))
				channels := sent[0].Channel + " " + sent[1].Channel
				s.Require(channels == "sms email" || channels == "email sms", "one sms and one email", channels)
				s.Require(sent[0].Code == sent[1].Code, "one code", "two")
			},
		},
		{
			Requirement: "Both enabled and no email given: SMS alone is enough.",
			Settings:    both, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(NoEmail), Generated)
				s.expectRecipients("+" + s.Mobile())
			},
		},
		{
			Requirement: "A regeneration goes to the request's email, and without one to that of the generate.",
			Settings:    mailOnly, Needs: NeedsInbox,
			Run: func(s *Story) {
				second := "second-" + s.Email()
				s.Expect(s.Generate(Email(s.Email())), Generated)
				s.Expect(s.Regenerate(NoEmail), Generated)
				s.Expect(s.Regenerate(Email(second)), Generated)
				s.Expect(s.Regenerate(NoEmail), Generated)
				s.expectRecipients(s.Email(), second, s.Email(), s.Email())
			},
		},
	}
}
