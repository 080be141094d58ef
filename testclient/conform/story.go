package conform

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Story is one case being played against one account: who is calling, what was said so far, and
// the words to say more. Its methods end the case, by a panic that the runner knows, when an
// expectation is not met or the test cannot go on; a case reads as if nothing ever failed.
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

	upstream *upstream // of the account; nil for none
	told     *upstream // serves the other end of webhooks; nil for none
}

// Profile is the one whose texts this story expects.
func (s *Story) Profile() Profile { return s.account.Profile }

// Mobile is this story's own number: digits, with the country code 91.
func (s *Story) Mobile() string { return s.mobile }

// IP is this story's own ipaddress.
func (s *Story) IP() string { return s.ip }

// Email is this story's own mailbox.
func (s *Story) Email() string { return s.id + "@conform.example" }

// ID is what {id} in the settings was replaced by.
func (s *Story) ID() string { return s.id }

// Key is the access key.
func (s *Story) Key() string { return s.account.AccessKey }

// LineEnd is what ends every answer but the empty one.
func (s *Story) LineEnd() string { return lineEnd(s.Profile()) }

// Text is the whole body of an answer with that meaning.
func (s *Story) Text(t Text) string {
	if t == Unauthorised {
		return t.line(s.target.house)
	}
	return t.line(s.Profile())
}

// Second is the same story with another account: own key and cipher, the same settings, number
// and ipaddress.
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

// Generate asks for a code.
func (s *Story) Generate(opts ...Option) Answer {
	return s.call(genServlet, nil, opts)
}

// Regenerate asks for the code to be sent again.
func (s *Story) Regenerate(opts ...Option) Answer {
	return s.call(regenServlet, nil, opts)
}

// Validate guesses code, encrypted as base64.
func (s *Story) Validate(code string, opts ...Option) Answer {
	parameter := url.QueryEscape(s.Encrypt(code, Base64))
	return s.call(validateServlet, &parameter, opts)
}

// ValidateRaw sends parameter as otp as it stands, not escaped.
func (s *Story) ValidateRaw(parameter string, opts ...Option) Answer {
	return s.call(validateServlet, &parameter, opts)
}

// PlainValidate guesses digits in clear at the servlet for that.
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

// Send sends a request of any shape. The access key is added unless the header has one.
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

// maxTries is how often a request is sent again that a busy server has refused.
const maxTries = 10

// overloaded reports whether a server had too much to do for a call of people and keys, each of which may hash a
// password. It promises that such a call changed nothing, and says nothing of what is right.
func overloaded(r Request, a Answer) bool {
	return strings.HasPrefix(r.Path, "/api/") && a.Status == http.StatusServiceUnavailable &&
		a.Header.Get("Retry-After") != "" && strings.Contains(a.Body, `"OVERLOADED"`)
}

// Encrypt makes an otp parameter, not escaped.
func (s *Story) Encrypt(code string, as Writing) string {
	return s.account.cipher.write(code, as)
}

// Seal encrypts whole blocks of 16 bytes and adds no padding: for what a server must refuse.
func (s *Story) Seal(plain []byte) []byte { return s.account.cipher.blocks(plain) }

// Code is the code most recently sent to the story's number, or to that of Mobile or Email. A
// case in which none comes could not run.
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

// Wrong is a wrong code as long as the right one: each digit of that, plus one.
func (s *Story) Wrong() string { return rotated(s.Code()) }

func rotated(code string) string {
	digits := []byte(code)
	for i, digit := range digits {
		digits[i] = '0' + (digit-'0'+1)%10
	}
	return string(digits)
}

// Message is one message that the target's inbox shows.
type Message struct {
	ID      string `json:"id"`
	Channel string `json:"channel"` // sms or email
	To      string `json:"to"`
	Text    string `json:"text"`
	Code    string `json:"code"`

	Challenge string `json:"challenge_id"`
}

// Messages are all messages of the story's account, newest first.
func (s *Story) Messages() []Message {
	messages, err := s.target.messages(s.ctx, s.account.Address, "")
	if err != nil {
		s.stop(err)
	}
	s.mu.Lock()
	s.log.list(s, messages)
	s.mu.Unlock()
	return messages
}

// Advance lets time pass: on the sandbox clock of the account (and of the second one), or for
// real.
func (s *Story) Advance(d time.Duration) {
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
			other.Advance(d)
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

// Fault makes parts of the target fail for this account: not_sent, unknown and delay on the
// channel, error and panic in the servlets, "v1 error" and "v1 panic" in /v1; count times, or
// until ResetFaults if 0.
func (s *Story) Fault(kind string, count int) {
	if err := s.target.setFault(s.ctx, s.account.Address, kind, count); err != nil {
		s.stop(err)
	}
	s.mu.Lock()
	s.log.fault(s, kind, count)
	s.mu.Unlock()
}

// ResetFaults ends every fault.
func (s *Story) ResetFaults() {
	if err := s.target.clearFaults(s.ctx); err != nil {
		s.stop(err)
	}
	s.mu.Lock()
	s.log.clearFaults(s)
	s.mu.Unlock()
}

// Concurrently sends n requests that start together, and gives their answers in the order of i.
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
			panic(early) // to the goroutine of the runner, which knows what it means
		}
	}
	return answers
}
