package conform

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// journal is what happened in a story, kept as it was and redacted only when a report needs it: a
// code that a server gave away early is known as one only later.
type journal struct {
	steps   []step
	secrets []shownOnce
}

// shownOnce is a secret that an answer gave away, as it should, under the name of a shell variable.
type shownOnce struct{ name, value string }

// secret notes a secret, once. An empty one is none.
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

// step is one thing that happened. Its kind is told by which field is set.
type step struct {
	story   *Story
	made    Settings // an account was made with them
	request *Request
	answer  Answer
	err     error
	code    string   // was read
	listed  []string // codes of all messages, newest first
	newest  string   // id of the challenge that the newest message is of
	wanted  Wanted
	clock   time.Duration
	fault   *faultRule
	cleared bool // faults were
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

// tells are the ids of challenges that a step makes known.
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
