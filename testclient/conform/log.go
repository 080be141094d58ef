package conform

import "time"

// log is what happened in a story, kept as it was and redacted only when a report needs it: a
// code that a server gave away early is known as one only later.
type log struct {
	steps []step
}

type step struct {
	story   *Story
	request Request
	answer  Answer
	err     error
	code    string
	clock   time.Duration
	fault   *faultRule
	cleared bool
	made    Settings
}

func (l *log) exchange(s *Story, r Request, a Answer, err error) {
	l.steps = append(l.steps, step{story: s, request: r, answer: a, err: err})
}
func (l *log) code(s *Story, code string)   { l.steps = append(l.steps, step{story: s, code: code}) }
func (l *log) advance(offset time.Duration) { l.steps = append(l.steps, step{clock: offset}) }
func (l *log) fault(kind string, count int) {
	rule := ruleOf("", kind, count)
	l.steps = append(l.steps, step{fault: &rule})
}
func (l *log) clearFaults() { l.steps = append(l.steps, step{cleared: true}) }

func (l *log) made(s *Story, asked Settings) { l.steps = append(l.steps, step{story: s, made: asked}) }
