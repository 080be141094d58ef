package conform

import "time"

// log is what happened in a story, kept as it was and redacted only when a report needs it: a
// code that a server gave away early is known as one only later.
type log struct {
	steps []step
}

// step is one thing that happened. Its kind is told by which field is set.
type step struct {
	story   *Story
	made    Settings // an account was made with them
	request *Request
	answer  Answer
	err     error
	code    string // was read
	wanted  Wanted
	clock   time.Duration
	fault   *faultRule
	cleared bool // faults were
}

func (l *log) made(s *Story, asked Settings) { l.steps = append(l.steps, step{story: s, made: asked}) }

func (l *log) exchange(s *Story, r Request, a Answer, err error) {
	l.steps = append(l.steps, step{story: s, request: &r, answer: a, err: err})
}

func (l *log) code(s *Story, w Wanted, code string) {
	l.steps = append(l.steps, step{story: s, code: code, wanted: w})
}

func (l *log) advance(s *Story, offset time.Duration) {
	l.steps = append(l.steps, step{story: s, clock: offset})
}

func (l *log) fault(s *Story, kind string, count int) {
	rule := ruleOf("", kind, count)
	l.steps = append(l.steps, step{story: s, fault: &rule})
}

func (l *log) clearFaults(s *Story) { l.steps = append(l.steps, step{story: s, cleared: true}) }
