package conform

import (
	"fmt"
	"maps"
	"net/http"
)

// parity returns the cases about several doors: a code sent at one door can be verified at any, and the doors share
// all counts and states. An integration can move from the servlets to /v1 one endpoint at a time, and an attacker gets
// no second set of attempts at the other door.

func parity() []Case { return append(parityMatrix(), parityState()...) }

// kind is the result of a guess, independent of the door's wording.
type kind string

const (
	verified kind = "verified"
	notFound kind = "not found"
)

// twist is one dimension in which a guess can match or differ from what was sent.
type twist struct {
	name     string // dimension of the matrix
	said     string // in a requirement
	settings Settings
	needs    Needs
	// The results of the right code: if everything matches, and if only this dimension differs.
	same, other kind
}

// The matrix: every dimension, with the results of its two cells. The doors do not matter, except for bindings, which
// the servlets do not have.
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
	// guess makes the guess and returns its result.
	guess func(s *Story, code string, at place) kind
}

// place is what a guess is at; the defaults are the story's.
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
		return s.v1Kind(s.V1.Verify(code, fields, at.options()...))
	}},
}

func (p place) options() []Option {
	options := []Option{Mobile(p.mobile), IP(p.ip)}
	if p.key != "" {
		options = append(options, Key(p.key))
	}
	return options
}

// servletKind requires one of the answers of the matrix and returns which.
func (s *Story) servletKind(a Answer) kind {
	s.ExpectOneOf(a, Verified, ErrorText)
	if a.Body == s.Text(Verified) {
		return verified
	}
	return notFound
}

func (s *Story) v1Kind(r Reply) kind {
	if r.document["valid"] == true {
		r.ExpectValid()
		return verified
	}
	r.ExpectReason("NOT_FOUND")
	return notFound
}

func parityMatrix() []Case {
	var list []Case
	for _, sender := range []string{"a servlet", "/v1"} {
		for _, at := range doors {
			for _, t := range twists {
				if t.name == "binding" && sender != "/v1" && at.name != "/v1" {
					continue // servlets have none
				}
				list = append(list, t.across(sender, at))
			}
		}
	}
	return list
}

// across returns the case of two cells: sent at one door, verified at another.
func (t twist) across(sender string, at door) Case {
	says := map[kind]string{verified: "verifies", notFound: "is not found"}
	c := Case{
		Requirement: fmt.Sprintf("A code that %s sent, for the same %s, %s at %s; for another it %s.",
			sender, t.said, says[t.same], at.name, says[t.other]),
		Needs: t.needs, Settings: Settings{},
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
		// The other first: it must neither use nor charge the code.
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

// acrossBindings handles bindings, which the servlets do not have: if the guess cannot have a binding, the code has
// one.
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
	s.V1.Send(fields).ExpectCreated()
	return s.Code(Mobile(at.mobile))
}

// otherEnvironment returns a key of the same account in the other environment.
func (s *Story) otherEnvironment() string {
	if s.account.OtherAPIKey == "" {
		panic(skipped{"It needs a key of the account's other environment (--other-api-key), and this target shows none."})
	}
	return s.account.OtherAPIKey
}

// paired returns the story's number and ipaddress as /v1 writes them.
func (s *Story) paired() Fields { return Fields{"to": s.To(), "ip": s.ip} }

// mixed plays one flow from a code to its verification, with some calls at /v1.
func (s *Story) mixed(generate, regenerate, validate bool) {
	var code string
	if generate {
		_, code = s.challenged(Fields{"ip": s.IP()})
	} else {
		code = s.generated()
	}
	before := len(s.Sandbox.Messages())
	if regenerate {
		s.V1.ResendBy(s.paired()).ExpectJSON(http.StatusOK)
	} else {
		s.Expect(s.Regenerate(), Generated)
	}
	s.Require(len(s.Sandbox.Messages()) == before+1, "one message more",
		plural(len(s.Sandbox.Messages())-before, "message"))
	s.Require(s.Code() == code, "the same code", "another")
	if validate {
		s.V1.Verify(code, s.paired()).ExpectValid()
	} else {
		s.Expect(s.Validate(code), Verified)
	}
}

// known returns the id of the newest message's challenge.
func (s *Story) known() string {
	messages := s.Sandbox.Messages()
	s.Require(len(messages) > 0, "a message in the inbox", "none")
	if messages[0].Challenge == "" {
		panic(skipped{"The inbox of the target does not name the challenge of a message."})
	}
	return messages[0].Challenge
}
