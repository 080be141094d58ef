package conform

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// Cases returns all requirements, in the order of their sections. A case's number is its place in its section's file:
// new cases go to the end, so that an id always means the same requirement.
func Cases() []Case {
	var all []Case
	for _, section := range []struct {
		name  string
		cases []Case
	}{
		{"servlet/request", servletRequest()},
		{"servlet/generate", servletGenerate()},
		{"servlet/validate", servletValidate()},
		{"servlet/regenerate", servletRegenerate()},
		{"servlet/cipher", servletCipher()},
		{"servlet/accounts", servletAccounts()},
		{"servlet/limits", servletLimits()},
		{"servlet/concurrency", servletConcurrency()},
		{"servlet/answers", servletAnswers()},
		{"servlet/upstream", servletUpstream()},
		{"v1/common", v1Common()},
		{"v1/send", v1Send()},
		{"v1/verify", v1Verify()},
		{"v1/resend", v1Resend()},
		{"v1/cancel", v1Cancel()},
		{"v1/status", v1Status()},
		{"v1/idempotency", v1Idempotency()},
		{"v1/limits", v1Limits()},
		{"v1/signing", v1Signing()},
		{"parity", parity()},
		{"management", management()},
		{"privacy", privacy()},
		{"audit", audit()},
		{"insight", insight()},
		{"webhooks", webhooks()},
	} {
		for i := range section.cases {
			c := &section.cases[i]
			c.ID = section.name + "/" + strconv.Itoa(i+1)
			if !strings.HasPrefix(section.name, "servlet/") {
				c.Profile, c.Needs = None, c.Needs|NeedsV1
			}
			if section.name == "servlet/upstream" {
				c.Needs |= NeedsUpstream
			}
			c.Source = cmp.Or(c.Source, Choice)
			c.Level = c.Source.level()
		}
		all = append(all, section.cases...)
	}
	return all
}

// unlimited adds settings without send limits, for cases that send often.
func unlimited(more Settings) Settings {
	settings := Settings{"sends_per_minute": 0, "sends_per_hour": 0, "sends_per_day": 0}
	for name, value := range more {
		settings[name] = value
	}
	return settings
}

// emirati is a number of another country that accounts serve by default.
const emirati = "971501234567"

// otherIP is an ipaddress other than the story's.
const otherIP = "192.0.2.77"

// generated makes a code and returns it.
func (s *Story) generated(opts ...Option) string {
	s.Expect(s.Generate(opts...), Generated)
	return s.Code(opts...)
}

// inTime returns what do returns once do took no longer than most, or the fifth time. The target's clock runs during
// do, so on a busy machine it can pass an edge that a case stays short of.
func inTime[T any](most time.Duration, do func() T) T {
	for range 4 {
		began := time.Now()
		if result := do(); time.Since(began) < most {
			return result
		}
	}
	return do()
}

// expectWrongPIN requires the text of a wrong code, with any number of attempts left, and returns that number. The
// article and the captured bytes define the text for any number.
func (s *Story) expectWrongPIN(a Answer) (left int) {
	for left = range 100 {
		if a.Body == wrongPIN(s.Profile(), left)+s.LineEnd() {
			break
		}
	}
	s.ExpectWrong(a, left)
	return left
}

// expectNotVerified requires any text except that of a right code; other cases test which one.
func (s *Story) expectNotVerified(a Answer) {
	s.Require(a.Text() != Verified.In(s.Profile()), "that the code does not verify", "the answer "+visible(a.Body))
}

// spend guesses wrong as often as a code has attempts by default.
func (s *Story) spend(code string) {
	for left := 2; left >= 0; left-- {
		s.ExpectWrong(s.Validate(rotated(code)), left)
	}
}

// expectSent requires exactly n messages so far to the story's account.
func (s *Story) expectSent(n int) {
	sent := len(s.Sandbox.Messages())
	s.Require(sent == n, plural(n, "message")+" in the inbox", plural(sent, "message"))
}

// expectRecipients requires one message to each of to so far, newest first.
func (s *Story) expectRecipients(to ...string) {
	var sent []string
	for _, m := range s.Sandbox.Messages() {
		sent = append(sent, m.To)
	}
	s.Require(fmt.Sprint(sent) == fmt.Sprint(to),
		"messages to "+strings.Join(to, ", ")+" (newest first)", "messages to "+strings.Join(sent, ", "))
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// Selected returns the cases that patterns, level and profile select, in order. An empty profile selects the cases of
// both; cases without a profile are selected with any.
func Selected(cases []Case, patterns []string, level Level, profile Profile) ([]*Case, error) {
	used := make([]bool, len(patterns))
	var picked []*Case
	for i := range cases {
		c := &cases[i]
		wanted := len(patterns) == 0
		for j, pattern := range patterns {
			if matches(pattern, c.ID) {
				wanted, used[j] = true, true
			}
		}
		if wanted && (level == 0 || c.Level <= level) && (profile == Any || c.Profile == Any || c.Profile == None ||
			c.Profile == profile) {
			picked = append(picked, c)
		}
	}
	for j, hit := range used {
		if !hit {
			return nil, &Trouble{Tried: "no case is called " + quoted(patterns[j]),
				Remedy: "Give the beginning of an id such as servlet/validate, or a glob such as 'servlet/*/1'. The command " +
					"list shows them."}
		}
	}
	return picked, nil
}

// matches compares whole parts of an id only: servlet/validate/1 does not match servlet/validate/12.
func matches(pattern, id string) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	if id == pattern || strings.HasPrefix(id, pattern+"/") {
		return true
	}
	if ok, err := path.Match(pattern, id); err == nil && ok {
		return true
	}
	// servlet/val* matches everything below what it matches.
	parts := strings.Split(id, "/")
	if n := strings.Count(pattern, "/") + 1; n < len(parts) {
		ok, err := path.Match(pattern, strings.Join(parts[:n], "/"))
		return err == nil && ok
	}
	return false
}
