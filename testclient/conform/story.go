package conform

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Story is one case played against one account: who is calling, what happened so far, and the vocabulary to continue.
// Its methods end the case, by a panic that the runner recognises, if an expectation is not met or the test cannot
// continue. So a case is written as if nothing could fail.
type Story struct {
	ctx      context.Context
	target   *Target
	account  *account
	settings Settings
	codes    CodeSource
	slow     bool

	id     string
	mobile string
	ip     string
	given  []string // numbers of real people, kept out of reports
	log    *journal
	offset *time.Duration // of the clock, shared with Second's account only by Advance
	others []*Story
	sentAt time.Time
	again  func() (*Story, error) // makes the second account
	mu     *sync.Mutex

	V1      V1Door
	Sandbox Sandbox

	upstream *upstream // of the account; nil for none
	told     *upstream // receives webhooks; nil for none
}

// bind makes the story's doors call for this story. It is called for each story that is made or copied.
func (s *Story) bind() { s.V1, s.Sandbox = V1Door{s}, Sandbox{s} }

// Profile returns the profile whose texts this story expects.
func (s *Story) Profile() Profile { return s.account.Profile }

// Mobile returns this story's number: digits, with the country code 91.
func (s *Story) Mobile() string { return s.mobile }

// IP returns this story's ipaddress.
func (s *Story) IP() string { return s.ip }

// Email returns this story's mailbox.
func (s *Story) Email() string { return s.id + "@conform.example" }

// ID returns what {id} in the settings was replaced by.
func (s *Story) ID() string { return s.id }

// Key returns the access key.
func (s *Story) Key() string { return s.account.AccessKey }

// LineEnd returns what ends every answer except the empty one.
func (s *Story) LineEnd() string { return lineEnd(s.Profile()) }

// Text returns the whole body of an answer with that meaning.
func (s *Story) Text(t Text) string {
	if t == Unauthorised {
		return t.line(s.target.house)
	}
	return t.line(s.Profile())
}

// Second returns the same story with another account: other key and cipher, the same settings, number and ipaddress.
func (s *Story) Second() *Story {
	if s.again == nil {
		panic(skipped{"the target cannot make a second account"})
	}
	other, err := s.again()
	if err != nil {
		s.stop(err)
	}
	s.others = append(s.others, other)
	return other
}

// Generate requests a code.
func (s *Story) Generate(opts ...Option) Answer {
	return s.call(genServlet, nil, opts)
}

// Regenerate requests the code again.
func (s *Story) Regenerate(opts ...Option) Answer {
	return s.call(regenServlet, nil, opts)
}

// Validate guesses code, encrypted as base64.
func (s *Story) Validate(code string, opts ...Option) Answer {
	parameter := url.QueryEscape(s.Encrypt(code, Base64))
	return s.call(validateServlet, &parameter, opts)
}

// ValidateRaw sends parameter as otp, without escaping it.
func (s *Story) ValidateRaw(parameter string, opts ...Option) Answer {
	return s.call(validateServlet, &parameter, opts)
}

// PlainValidate guesses unencrypted digits at the plain servlet.
func (s *Story) PlainValidate(digits string, opts ...Option) Answer {
	parameter := url.QueryEscape(digits)
	return s.call(plainServlet, &parameter, opts)
}

func (s *Story) call(servlet string, otp *string, opts []Option) Answer {
	c := call{servlet: servlet, mobile: s.mobile, ip: s.ip, email: s.Email(), key: s.account.AccessKey}
	if otp != nil {
		c.otp, c.hasOTP = *otp, true
	} else {
		c.hasEmail = s.settings.on("email_enabled")
	}
	for _, option := range opts {
		option(&c)
	}
	return s.send(c.request())
}

// Send sends a request of any form. The access key is added unless the header has one.
func (s *Story) Send(r Request) Answer {
	header := make(http.Header)
	own := true
	for name, values := range r.Header {
		header[name] = values
		own = own && !strings.EqualFold(name, "access_key")
	}
	if own {
		header["access_key"] = []string{s.account.AccessKey}
	}
	r.Header = header
	return s.send(r)
}

func (s *Story) send(r Request) Answer {
	began := time.Now()
	answer, err := s.target.Do(s.ctx, r)
	for try := 0; try < maxTries && err == nil && overloaded(r, answer); try++ {
		select {
		case <-time.After(time.Second):
		case <-s.ctx.Done():
		}
		answer, err = s.target.Do(s.ctx, r)
	}
	s.mu.Lock()
	s.log.exchange(s, r, answer, err)
	answer.steps = len(s.log.steps)
	if err == nil && (answer.Text() == Generated.In(s.Profile()) || sentByV1(r, answer)) {
		s.sentAt = began
	}
	s.mu.Unlock()
	if err != nil {
		s.stop(err)
	}
	return answer
}

// maxTries is how often a request that a busy server refused is repeated.
const maxTries = 10

// overloaded reports whether a server was too busy for a call about people and keys, each of which may hash a
// password. Such a call changed nothing, and its answer says nothing about the requirement.
func overloaded(r Request, a Answer) bool {
	return strings.HasPrefix(r.Path, "/api/") && a.Status == http.StatusServiceUnavailable &&
		a.Header.Get("Retry-After") != "" && strings.Contains(a.Body, `"OVERLOADED"`)
}

// Encrypt returns an otp parameter, not escaped.
func (s *Story) Encrypt(code string, as Writing) string {
	return s.account.cipher.write(code, as)
}

// seal encrypts whole blocks of 16 bytes and adds no padding, for parameters that a server must refuse.
func (s *Story) seal(plain []byte) []byte { return s.account.cipher.blocks(plain) }

// Code returns the code most recently sent to the story's number, or to that of Mobile or Email. If none comes, the
// case could not run.
func (s *Story) Code(opts ...Option) string {
	c := call{mobile: s.mobile, email: s.Email()}
	for _, option := range opts {
		option(&c)
	}
	wanted := Wanted{Account: s.account.Address, Mobile: c.mobile, Email: c.email, After: s.sentAt}
	code, err := s.codes.Code(s.ctx, wanted)
	if err != nil {
		s.stop(err)
	}
	s.mu.Lock()
	s.log.code(s, wanted, code)
	s.mu.Unlock()
	return code
}

// Wrong returns a wrong code of the same length as the right one: each digit plus one.
func (s *Story) Wrong() string { return rotated(s.Code()) }

func rotated(code string) string {
	digits := []byte(code)
	for i, digit := range digits {
		digits[i] = '0' + (digit-'0'+1)%10
	}
	return string(digits)
}

// Message is one message in the target's inbox.
type Message struct {
	ID      string `json:"id"`
	Channel string `json:"channel"` // sms or email
	To      string `json:"to"`
	Text    string `json:"text"`
	Code    string `json:"code"`

	Challenge string `json:"challenge_id"`
}

// Sandbox controls what a sandbox alone offers to a story: its inbox, its clock and its faults.
type Sandbox struct{ story *Story }

// Messages returns all messages of the story's account, newest first.
func (b Sandbox) Messages() []Message {
	s := b.story
	messages, err := s.target.messages(s.ctx, s.account.Address, "")
	if err != nil {
		s.stop(err)
	}
	s.mu.Lock()
	s.log.list(s, messages)
	s.mu.Unlock()
	return messages
}

// Advance lets time pass: on the sandbox clock of the account (and of the second one), or really.
func (b Sandbox) Advance(d time.Duration) {
	s := b.story
	if s.target.sandbox {
		*s.offset += d
		err := s.target.setClock(s.ctx, s.account.Address, *s.offset)
		if err != nil {
			s.stop(err)
		}
		s.mu.Lock()
		s.log.advance(s, *s.offset)
		s.mu.Unlock()
		for _, other := range s.others {
			other.Sandbox.Advance(d)
		}
		return
	}
	s.mustWait()
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
		s.stop(s.ctx.Err())
	}
}

// Fault makes parts of the target fail for this account: not_sent, unknown and delay on the channel, error and panic
// in the servlets, "v1 error" and "v1 panic" in /v1; count times, or until ResetFaults if 0.
func (b Sandbox) Fault(kind string, count int) {
	s := b.story
	if err := s.target.setFault(s.ctx, s.account.Address, kind, count); err != nil {
		s.stop(err)
	}
	s.mu.Lock()
	s.log.fault(s, kind, count)
	s.mu.Unlock()
}

// ResetFaults ends every fault.
func (b Sandbox) ResetFaults() {
	s := b.story
	if err := s.target.clearFaults(s.ctx); err != nil {
		s.stop(err)
	}
	s.mu.Lock()
	s.log.clearFaults(s)
	s.mu.Unlock()
}

// Concurrently sends n requests that start together, and returns their answers in the order of i.
func (s *Story) Concurrently(n int, send func(i int) Answer) []Answer {
	answers := make([]Answer, n)
	ended := make([]any, n)
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			defer func() { ended[i] = recover() }()
			<-gate
			answers[i] = send(i)
		})
	}
	close(gate)
	all.Wait()
	for _, early := range ended {
		if early != nil {
			panic(early) // to the runner's goroutine, which recognises it
		}
	}
	return answers
}
