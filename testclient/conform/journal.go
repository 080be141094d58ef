package conform

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// journal records what happened in a story. It is redacted only when a report needs it, because a code that a server
// revealed early is recognised as one only later.
type journal struct {
	steps   []step
	secrets []shownOnce
}

// shownOnce is a secret that an answer contained, as it should, with the name of its shell variable.
type shownOnce struct{ name, value string }

// secret records a secret once, unless it is empty.
func (l *journal) secret(name, value string) {
	known := slices.ContainsFunc(l.secrets, func(s shownOnce) bool { return s.value == value })
	if value == "" || known {
		return
	}
	n := 0
	for _, s := range l.secrets {
		if strings.TrimRight(s.name, "_0123456789") == name {
			n++
		}
	}
	l.secrets = append(l.secrets, shownOnce{numbered(name, n), value})
}

// step is one thing that happened. The field that is set tells its kind.
type step struct {
	story   *Story
	made    Settings // an account was made with these
	request *Request
	answer  Answer
	err     error
	code    string   // that was read
	listed  []string // codes of all messages, newest first
	newest  string   // id of the newest message's challenge
	wanted  Wanted
	clock   time.Duration
	fault   *faultRule
	cleared bool // faults were cleared
}

func (l *journal) made(s *Story, asked Settings) {
	l.steps = append(l.steps, step{story: s, made: asked})
}

func (l *journal) exchange(s *Story, r Request, a Answer, err error) {
	l.steps = append(l.steps, step{story: s, request: &r, answer: a, err: err})
}

func (l *journal) code(s *Story, w Wanted, code string) {
	l.steps = append(l.steps, step{story: s, code: code, wanted: w})
}

func (l *journal) list(s *Story, messages []Message) {
	codes := make([]string, len(messages))
	for i, m := range messages {
		codes[i] = m.Code
	}
	listing := step{story: s, listed: codes}
	if len(messages) > 0 {
		listing.newest = messages[0].Challenge
	}
	l.steps = append(l.steps, listing)
}

var idMember = regexp.MustCompile(`"id": *"(otp_[0-9A-Za-z]+)"`)

// tells returns the ids of challenges that a step reveals.
func (s step) tells() []string {
	if s.newest != "" {
		return []string{s.newest}
	}
	if s.request == nil || !strings.HasPrefix(s.request.Path, "/v1/") {
		return nil
	}
	if found := idMember.FindStringSubmatch(s.answer.Body); found != nil {
		return []string{found[1]}
	}
	return nil
}

func (l *journal) advance(s *Story, offset time.Duration) {
	l.steps = append(l.steps, step{story: s, clock: offset})
}

func (l *journal) fault(s *Story, kind string, count int) {
	rule := ruleOf("", kind, count)
	l.steps = append(l.steps, step{story: s, fault: &rule})
}

func (l *journal) clearFaults(s *Story) { l.steps = append(l.steps, step{story: s, cleared: true}) }
