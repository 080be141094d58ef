package conform

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// What was sent at one door is verified at any, and nothing that a door counts or knows is its own:
// an integration moves from the servlets to /v1 one endpoint at a time, and an attacker gets no
// second set of attempts at the other door.

func parity() []Case { return append(parityMatrix(), parityState()...) }

// kind is what became of a guess, whatever the door calls it.
type kind string

const (
	verified kind = "verified"
	notFound kind = "not found"
)

// twist is in what way a guess is at the same, or at another, than was sent to.
type twist struct {
	name     string // dimension of the matrix
	said     string // in a requirement
	settings Settings
	needs    Needs
	// Cells are what the right code gets: where all is the same, and where this one thing is another.
	same, other kind
}

// The matrix: every dimension, with the kind of both its cells. What the doors are does
// not matter, which is the point; a binding is the exception that proves it: servlets have none.
var twists = []twist{
	{name: "account", said: "account", needs: NeedsSecond, same: verified, other: notFound},
	{name: "recipient", said: "recipient", same: verified, other: notFound},
	{name: "ip", said: "ipaddress", settings: Settings{"key_on_ip": true}, same: verified, other: notFound},
	{name: "key_on_ip", said: "ipaddress, where the account does not key on it", settings: Settings{"key_on_ip": false},
		same: verified, other: verified},
	{name: "binding", said: "binding", same: verified, other: notFound},
	{name: "environment", said: "environment", same: verified, other: notFound},
}

// door is where a guess is made.
type door struct {
	name string
	// guess makes it by whom, and says at what.
	guess func(s *Story, code string, at place) kind
}

// place is what a guess is at: the defaults are the story's.
type place struct {
	mobile  string
	ip      string
	binding any
	key     string // another credential for /v1
}

var doors = []door{
	{"the servlet", func(s *Story, code string, at place) kind {
		return s.servletKind(s.Validate(code, at.options()...))
	}},
	{"the plain servlet", func(s *Story, code string, at place) kind {
		return s.servletKind(s.PlainValidate(code, at.options()...))
	}},
	{"/v1", func(s *Story, code string, at place) kind {
		fields := Fields{"to": "+" + at.mobile, "ip": at.ip}
		if at.binding != nil {
			fields["binding"] = at.binding
		}
		return s.v1Kind(s.VerifyV1(code, fields, at.options()...))
	}},
}

func (p place) options() []Option {
	options := []Option{Mobile(p.mobile), IP(p.ip)}
	if p.key != "" {
		options = append(options, Key(p.key))
	}
	return options
}

// servletKind and v1Kind take one of the answers of the matrix, and say which.
func (s *Story) servletKind(a Answer) kind {
	s.ExpectOneOf(a, Verified, ErrorText)
	if a.Body == s.Text(Verified) {
		return verified
	}
	return notFound
}

func (s *Story) v1Kind(r Reply) kind {
	if r.document["valid"] == true {
		s.ExpectValid(r)
		return verified
	}
	s.ExpectReason(r, "NOT_FOUND")
	return notFound
}

func parityMatrix() []Case {
	var list []Case
	for _, sender := range []string{"a servlet", "/v1"} {
		for _, at := range doors {
			for _, t := range twists {
				if t.name == "binding" && sender != "/v1" && at.name != "/v1" {
					continue // servlets alone have none
				}
				list = append(list, t.across(sender, at))
			}
		}
	}
	return list
}

// across is the case of two cells: sent at one door, verified at another.
func (t twist) across(sender string, at door) Case {
	says := map[kind]string{verified: "verifies", notFound: "is not found"}
	c := Case{
		Requirement: fmt.Sprintf("A code that %s sent, for the same %s, %s at %s; for another it %s.",
			sender, t.said, says[t.same], at.name, says[t.other]),
		Source: Choice, Level: May, Needs: t.needs, Settings: Settings{},
	}
	maps.Copy(c.Settings, t.settings)
	if at.name == "the plain servlet" {
		c.Settings["plain_validation_enabled"] = true
	}
	c.Run = func(s *Story) {
		other, elsewhere := s, place{mobile: s.mobile, ip: s.ip}
		here := elsewhere
		switch t.name {
		case "account":
			other = s.Second()
		case "recipient":
			elsewhere.mobile = emirati
		case "ip", "key_on_ip":
			elsewhere.ip = otherIP
		case "environment":
			elsewhere.key = s.otherEnvironment()
		case "binding":
			t.acrossBindings(s, sender, at, here)
			return
		}
		code := s.sentBy(sender, here)
		// The other first: it must neither use nor charge what is there.
		got := at.guess(other, code, elsewhere)
		s.Require(got == t.other, "another "+t.said+": "+string(t.other), string(got))
		if got == verified {
			code = s.sentBy(sender, here)
		}
		got = at.guess(s, code, here)
		s.Require(got == t.same, "the same "+t.said+": "+string(t.same), string(got))
	}
	return c
}

// acrossBindings is the dimension that servlets know only the absence of: where the guess can have
// no binding, it is the code that does.
func (t twist) acrossBindings(s *Story, sender string, at door, here place) {
	sent, other := here, here
	switch {
	case at.name != "/v1":
		sent.binding = Fields{"order": s.ID()}
	case sender == "/v1":
		sent.binding, other.binding = Fields{"order": s.ID()}, Fields{"order": "another"}
	default:
		other.binding = Fields{"order": s.ID()}
	}
	code := s.sentBy(sender, sent)
	got := at.guess(s, code, other)
	s.Require(got == t.other, "another binding: "+string(t.other), string(got))
	if at.name != "/v1" {
		sent = here
		code = s.sentBy(sender, sent)
	}
	got = at.guess(s, code, sent)
	s.Require(got == t.same, "the same binding: "+string(t.same), string(got))
}

// sentBy sends a code at a door.
func (s *Story) sentBy(sender string, at place) string {
	if sender == "a servlet" {
		return s.generated(at.options()...)
	}
	fields := Fields{"to": "+" + at.mobile, "ip": at.ip}
	if at.binding != nil {
		fields["binding"] = at.binding
	}
	s.ExpectCreated(s.SendV1(fields))
	return s.Code(Mobile(at.mobile))
}

// otherEnvironment is a key of the same account in the other environment.
func (s *Story) otherEnvironment() string {
	if s.account.OtherAPIKey == "" {
		panic(skipped{"It needs a key of the account's other environment (--other-api-key), and this target shows none."})
	}
	return s.account.OtherAPIKey
}

// paired is the story's number and ipaddress as /v1 writes them.
func (s *Story) paired() Fields { return Fields{"to": s.To(), "ip": s.ip} }

// mixed is one flow from a code to its verification, of which some calls have moved to /v1.
func (s *Story) mixed(generate, regenerate, validate bool) {
	var code string
	if generate {
		_, code = s.challenged(Fields{"ip": s.IP()})
	} else {
		code = s.generated()
	}
	before := len(s.Messages())
	if regenerate {
		s.ExpectJSON(s.ResendByV1(s.paired()), http.StatusOK)
	} else {
		s.Expect(s.Regenerate(), Generated)
	}
	s.Require(len(s.Messages()) == before+1, "one message more", plural(len(s.Messages())-before, "message"))
	s.Require(s.Code() == code, "the same code", "another")
	if validate {
		s.ExpectValid(s.VerifyV1(code, s.paired()))
	} else {
		s.Expect(s.Validate(code), Verified)
	}
}

// known is the id of the challenge that the newest message is of.
func (s *Story) known() string {
	messages := s.Messages()
	s.Require(len(messages) > 0, "a message in the inbox", "none")
	if messages[0].Challenge == "" {
		panic(skipped{"The inbox of the target does not name the challenge of a message."})
	}
	return messages[0].Challenge
}

func parityState() []Case {
	plain := Settings{"plain_validation_enabled": true}
	many := unlimited(Settings{"max_attempts": 100})
	return []Case{
		{
			Requirement: "The attempts of a code that a servlet sent are shared by all doors, and are as many as the " +
				"servlets give.",
			Source: Choice, Level: May, Settings: plain,
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.Validate(rotated(code)), 2)
				s.ExpectMismatch(s.VerifyV1(rotated(code), s.paired()), 1)
				s.ExpectWrong(s.PlainValidate(rotated(code)), 0)
				s.ExpectReason(s.VerifyV1(code, s.paired()), "MAX_ATTEMPTS")
				s.Expect(s.Validate(code), Exhausted)
				s.Expect(s.PlainValidate(code), Exhausted)
			},
		},
		{
			Requirement: "The attempts of a code that /v1 sent are shared by all doors, and are as many as /v1 gives.",
			Source:      Choice, Level: May, Settings: plain,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.ExpectWrong(s.Validate(rotated(code)), 4)
				s.ExpectMismatch(s.VerifyV1(rotated(code), byID(id)), 3)
				s.ExpectWrong(s.PlainValidate(rotated(code)), 2)
				s.ExpectMismatch(s.VerifyV1(rotated(code), s.paired()), 1)
				s.ExpectWrong(s.Validate(rotated(code)), 0)
				s.Expect(s.PlainValidate(code), Exhausted)
				s.ExpectReason(s.VerifyV1(code, byID(id)), "MAX_ATTEMPTS")
			},
		},
		{
			Requirement: "Guesses at both doors at once share the attempts: no more are compared than the code has.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				compared := make([]bool, 10)
				s.Concurrently(len(compared), func(i int) Answer {
					if i%2 == 0 {
						a := s.Validate(rotated(code))
						compared[i] = a.Body != s.Text(Exhausted)
						return a
					}
					r := s.VerifyV1(rotated(code), byID(id))
					compared[i] = r.text("reason") == "MISMATCH"
					return r.Answer
				})
				n := 0
				for _, was := range compared {
					if was {
						n++
					}
				}
				s.Require(n == 5, "5 guesses compared", strconv.Itoa(n)+" compared")
			},
		},
		{
			Requirement: "A recipient that wrong guesses at the servlets have locked is locked at /v1.",
			Source:      Choice, Level: May, Settings: many,
			Run: func(s *Story) {
				code := s.generated()
				s.guessWrong(code, 19, 20)
				s.ExpectProblem(s.VerifyV1(code, s.paired()), http.StatusTooManyRequests, "RECIPIENT_LOCKED")
				s.ExpectProblem(s.SendV1(nil), http.StatusTooManyRequests, "RECIPIENT_LOCKED")
			},
		},
		{
			Requirement: "A recipient that wrong guesses at /v1 have locked is locked at the servlets.",
			Source:      Choice, Level: May, Settings: many,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.guessWrongV1(code, byID(id), 19, 20)
				s.Expect(s.Validate(code), Exhausted)
				s.Expect(s.Generate(), ErrorText)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "The sends of both doors are counted together.",
			Source:      Choice, Level: May, Settings: Settings{"sends_per_minute": 2},
			Run: func(s *Story) {
				s.Expect(s.Generate(), Generated)
				s.ExpectCreated(s.SendV1(nil))
				s.Expect(s.Generate(), ErrorText)
				s.expectOverLimit(s.SendV1(nil))
			},
		},
		{
			Requirement: "Regenerations and resends of a code that /v1 sent are counted together.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.Expect(s.Regenerate(), Generated)
				r := s.ResendV1(id, nil)
				s.ExpectJSON(r, http.StatusOK)
				r.require(r.number("resends_remaining") == 1, "resends_remaining 1", r.came())
				s.Expect(s.Regenerate(), Generated)
				s.Expect(s.Regenerate(), Regenerations)
				s.expectNoResend(s.ResendV1(id, nil))
				s.ExpectValid(s.VerifyV1(code, byID(id)))
			},
		},
		{
			Requirement: "A code that a servlet sent can be resent, asked after and verified at /v1 by its id.",
			Source:      Choice, Level: May, Settings: Settings{"otp_length": 10}, Needs: NeedsInbox,
			Run: func(s *Story) {
				code := s.generated()
				id := s.known()
				s.ExpectJSON(s.StatusV1(id), http.StatusOK)
				s.ExpectJSON(s.ResendV1(id, nil), http.StatusOK)
				s.Require(s.Code() == code, "the same code", "another")
				s.ExpectValid(s.VerifyV1(code, byID(id)))
			},
		},
		{
			Requirement: "A generate at a servlet replaces the code that /v1 sent.",
			Source:      Choice, Level: May, Settings: Settings{"otp_length": 10},
			Run: func(s *Story) {
				id, before := s.challenged(Fields{"ip": s.IP()})
				code := s.generated()
				s.ExpectReason(s.VerifyV1(before, byID(id)), "REPLACED")
				s.ExpectMismatch(s.VerifyV1(before, s.paired()), 2)
				s.ExpectWrong(s.Validate(before), 1)
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "A send at /v1 replaces the code that a servlet sent.",
			Source:      Choice, Level: May, Settings: Settings{"otp_length": 10},
			Run: func(s *Story) {
				before := s.generated()
				_, code := s.challenged(Fields{"ip": s.IP()})
				s.ExpectWrong(s.Validate(before), 4)
				s.ExpectMismatch(s.VerifyV1(before, s.paired()), 3)
				s.ExpectValid(s.VerifyV1(code, s.paired()))
			},
		},
		{
			Requirement: "A code that was used at a servlet is used at /v1.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.Validate(code), Verified)
				s.ExpectReason(s.VerifyV1(code, s.paired()), "ALREADY_VERIFIED")
			},
		},
		{
			Requirement: "A code that was used at /v1 is used at the servlets.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.ExpectValid(s.VerifyV1(code, byID(id)))
				s.Expect(s.Validate(code), Expired)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "Of right guesses at both doors at once one verifies.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				right := make([]bool, 8)
				s.Concurrently(len(right), func(i int) Answer {
					if i%2 == 0 {
						a := s.Validate(code)
						right[i] = a.Body == s.Text(Verified)
						return a
					}
					r := s.VerifyV1(code, byID(id))
					right[i] = r.document["valid"] == true
					return r.Answer
				})
				n := 0
				for _, was := range right {
					if was {
						n++
					}
				}
				s.Require(n == 1, "1 guess that verifies", strconv.Itoa(n)+" that verified")
			},
		},
		{
			Requirement: "A code that was called off at /v1 is none at the servlets, and not regenerated.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.ExpectJSON(s.CancelV1(id), http.StatusOK)
				s.Expect(s.Validate(code), ErrorText)
				s.Expect(s.Regenerate(), ErrorText)
			},
		},
		{
			Requirement: "A code expires at both doors at once, by the ttl that it was sent with.",
			Source:      Choice, Level: May, Settings: Settings{"otp_ttl_seconds": 60}, Needs: NeedsClock,
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP(), "ttl": 400})
				s.Advance(390 * time.Second)
				s.ExpectWrong(s.Validate(rotated(code)), 4)
				s.ExpectMismatch(s.VerifyV1(rotated(code), byID(id)), 3)
				s.Advance(11 * time.Second)
				s.Expect(s.Validate(code), Expired)
				s.ExpectReason(s.VerifyV1(code, byID(id)), "EXPIRED")
			},
		},
		{
			Requirement: "An address is one in every spelling, at both doors.",
			Source:      Choice, Level: May, Settings: Settings{"key_on_ip": true},
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectMismatch(s.VerifyV1(rotated(code), Fields{"to": s.To(), "ip": "::ffff:" + s.IP()}), 2)
				s.ExpectValid(s.VerifyV1(code, s.paired()))
			},
		},
		{
			Requirement: "A code that a servlet sent is not found at /v1 without an ip, unless the account does not key on it.",
			Source:      Choice, Level: May, Settings: Settings{"key_on_ip": true},
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectReason(s.VerifyV1(code, s.byTo()), "NOT_FOUND")
				s.Expect(s.Validate(code), Verified)
			},
		},
		{
			Requirement: "An API key is good at the servlets, as access_key.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				s.Expect(s.Generate(Key(s.account.APIKey)), Generated)
				s.Expect(s.Validate(s.Code(), Key(s.account.APIKey)), Verified)
			},
		},
		{
			Requirement: "What surely reached nobody at one door is not counted at the other.",
			Source:      Choice, Level: May, Settings: Settings{"sends_per_minute": 1}, Needs: NeedsFaults,
			Run: func(s *Story) {
				s.Fault("not_sent", 1)
				s.Expect(s.Generate(), Undelivered)
				s.ExpectCreated(s.SendV1(nil))
				s.Expect(s.Generate(), ErrorText)
			},
		},
		{
			Requirement: "The servlets see verifications only: a code for another purpose is none there, is not regenerated, " +
				"and costs nothing.",
			Source: Choice, Level: May, Settings: unlimited(plain),
			Run: func(s *Story) {
				for _, kind := range []string{"two_factor", "password_reset", "transaction"} {
					id, code := s.challenged(Fields{"ip": s.IP(), "type": kind})
					for _, guess := range []string{code, rotated(code)} {
						s.Expect(s.Validate(guess), ErrorText)
						s.Expect(s.PlainValidate(guess), ErrorText)
					}
					s.Expect(s.Regenerate(), ErrorText)
					s.ExpectMismatch(s.VerifyV1(rotated(code), Fields{"id": id, "type": kind}), 4)
				}
			},
		},
		{
			Requirement: "The servlets of an account whose servlet_types names other types see codes of those too, and of no " +
				"other.",
			Source: Choice, Level: May, Settings: unlimited(Settings{"servlet_types": []string{"verification",
				"transaction"}}),
			Run: func(s *Story) {
				_, code := s.challenged(Fields{"ip": s.IP(), "type": "password_reset"})
				s.Expect(s.Validate(code), ErrorText)
				for _, kind := range []string{"verification", "transaction"} {
					_, code := s.challenged(Fields{"ip": s.IP(), "type": kind})
					s.Expect(s.Regenerate(), Generated)
					s.ExpectWrong(s.Validate(rotated(code)), 4)
					s.Expect(s.Validate(code), Verified)
				}
			},
		},
		{
			Requirement: "Each call of the servlets can move to /v1 by itself: generate, regenerate and validate in every " +
				"mixture.",
			Source: Choice, Level: May, Settings: unlimited(Settings{"otp_length": 10,
				"key_on_ip": true}), Needs: NeedsInbox,
			Run: func(s *Story) {
				for mixture := range 8 {
					s.mixed(mixture&1 != 0, mixture&2 != 0, mixture&4 != 0)
				}
			},
		},
		{
			Requirement: "What a servlet sent has its status at /v1 by its recipient, and can be called off there.",
			Source:      Choice, Level: May, Settings: Settings{"key_on_ip": true},
			Run: func(s *Story) {
				code := s.generated()
				r := s.StatusByV1(s.paired())
				s.ExpectJSON(r, http.StatusOK)
				s.ExpectJSON(s.CancelByV1(s.paired()), http.StatusOK)
				s.Expect(s.Validate(code), ErrorText)
			},
		},
		{
			Requirement: "A generate of a servlet replaces the code of /v1, whatever that is for.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, before := s.challenged(Fields{"ip": s.IP(), "type": "password_reset"})
				code := s.generated()
				s.ExpectReason(s.VerifyV1(before, Fields{"id": id, "type": "password_reset"}), "REPLACED")
				s.Expect(s.Validate(code), Verified)
			},
		},
	}
}
