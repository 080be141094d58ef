package conform

import (
	"net/http"
	"time"
)

// servletAnswers returns the cases about texts and statuses that an account may choose. Existing integrations keep
// status 200 and the profile's texts; strict_http is for new ones.

func servletAnswers() []Case { return append(answerTexts(), answerStatuses()...) }

func answerTexts() []Case {
	overrides := func(names ...string) Settings {
		texts := make(map[string]any)
		for _, name := range names {
			texts[name] = "<" + name + ">"
		}
		return Settings{"message_overrides": texts}
	}
	return []Case{
		{
			Requirement: "An account's own text replaces the profile's; the line end stays, and so do all other texts.",
			Source:      Client, Settings: overrides("generated", "verified"),
			Run: func(s *Story) {
				a := s.Generate()
				s.ExpectBytes(a, "<generated>"+s.LineEnd())
				code := s.Code()
				s.ExpectBytes(s.Validate(code), "<verified>"+s.LineEnd())
				s.Expect(s.Validate(code), Expired)
			},
		},
		{
			Requirement: "An account's own text for a wrong code tells the attempts left where it says {n}.",
			Source:      Client, Settings: Settings{"message_overrides": map[string]any{"wrong": "{n} more"}},
			Run: func(s *Story) {
				s.ExpectBytes(s.Validate(rotated(s.generated())), "2 more"+s.LineEnd())
			},
		},
		{
			Requirement: "Every refusal's text can be replaced.",
			Source:      Client, Settings: overrides("invalid", "error", "expired", "exhausted",
				"regenerations", "feature_off"),
			Run: func(s *Story) {
				s.ExpectBytes(s.Generate(RawQuery("")), "<invalid>"+s.LineEnd())
				s.ExpectBytes(s.Regenerate(), "<error>"+s.LineEnd())
				s.ExpectBytes(s.PlainValidate("123456"), "<feature_off>"+s.LineEnd())
				code := s.generated()
				for range 3 {
					s.Expect(s.Regenerate(), Generated)
				}
				s.ExpectBytes(s.Regenerate(), "<regenerations>"+s.LineEnd())
				s.Expect(s.Validate(code), Verified)
				s.ExpectBytes(s.Validate(code), "<expired>"+s.LineEnd())
				s.spend(code)
				s.ExpectBytes(s.Validate(code), "<exhausted>"+s.LineEnd())
			},
		},
	}
}

func answerStatuses() []Case {
	strict := func(more Settings) Settings {
		settings := Settings{"strict_http": true}
		for name, value := range more {
			settings[name] = value
		}
		return settings
	}
	says := func(s *Story, a Answer, status int, text Text) {
		s.Expect(a, text)
		a.ExpectStatus(status)
	}
	return []Case{
		{
			Requirement: "With strict_http a success has status 200 and a malformed parameter 400, at regenerate too.",
			Settings:    strict(nil),
			Run: func(s *Story) {
				says(s, s.Generate(RawQuery("")), http.StatusBadRequest, Invalid)
				says(s, s.Regenerate(RawQuery("")), http.StatusBadRequest, ErrorText)
				says(s, s.Generate(), http.StatusOK, Generated)
				says(s, s.Validate(s.Code()), http.StatusOK, Verified)
			},
		},
		{
			Requirement: "With strict_http a feature that is off has status 403.",
			Settings:    strict(nil),
			Run:         func(s *Story) { says(s, s.PlainValidate("123456"), http.StatusForbidden, FeatureOff) },
		},
		{
			Requirement: "With strict_http a wrong code has status 400, and attempts used up 429.",
			Settings:    strict(Settings{"max_attempts": 1}),
			Run: func(s *Story) {
				wrong := rotated(s.generated())
				a := s.Validate(wrong)
				s.ExpectWrong(a, 0)
				a.ExpectStatus(http.StatusBadRequest)
				says(s, s.Validate(wrong), http.StatusTooManyRequests, Exhausted)
			},
		},
		{
			Requirement: "With strict_http a used or expired code has status 410, at regenerate too.",
			Settings:    strict(nil), Needs: NeedsClock,
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code), Verified)
				says(s, s.Validate(code), http.StatusGone, Expired)
				says(s, s.Regenerate(), http.StatusGone, ErrorText)
				code = s.generated()
				s.Sandbox.Advance(301 * time.Second)
				says(s, s.Validate(code), http.StatusGone, Expired)
			},
		},
		{
			Requirement: "With strict_http nothing to validate or to send again has status 404.",
			Settings:    strict(nil),
			Run: func(s *Story) {
				says(s, s.Validate("123456"), http.StatusNotFound, ErrorText)
				says(s, s.Regenerate(), http.StatusNotFound, ErrorText)
			},
		},
		{
			Requirement: "With strict_http a limit has status 429: of sends and of regenerations.",
			Settings:    strict(Settings{"sends_per_minute": 2, "max_regenerations": 1}),
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.Expect(s.Regenerate(), Generated)
				says(s, s.Regenerate(), http.StatusTooManyRequests, Regenerations)
				says(s, s.Generate(), http.StatusTooManyRequests, ErrorText)
			},
		},
		{
			Requirement: "With strict_http a locked recipient has status 429.",
			Settings:    strict(Settings{"max_attempts": 20}),
			Run: func(s *Story) {
				code := s.generated()
				s.guessWrong(code, 19, 20)
				says(s, s.Validate(code), http.StatusTooManyRequests, Exhausted)
				says(s, s.Generate(), http.StatusTooManyRequests, ErrorText)
			},
		},
		{
			Requirement: "With strict_http a failed delivery has status 502.",
			Settings:    strict(nil), Needs: NeedsFaults,
			Run: func(s *Story) {
				s.Sandbox.Fault("not_sent", 1)
				says(s, s.Generate(), http.StatusBadGateway, Undelivered)
			},
		},
		{
			Requirement: "With strict_http a fault inside has status 500.",
			Settings:    strict(nil), Needs: NeedsFaults,
			Run: func(s *Story) {
				s.Sandbox.Fault("error", 1)
				says(s, s.Generate(), http.StatusInternalServerError, ErrorText)
			},
		},
		{
			Requirement: "With strict_http a missing department has status 400.",
			Settings:    strict(Settings{"department_mode": "require"}),
			Run: func(s *Story) {
				says(s, s.Generate(), http.StatusBadRequest, Invalid)
				says(s, s.Validate("123456"), http.StatusBadRequest, NoDepartment)
			},
		},
	}
}
