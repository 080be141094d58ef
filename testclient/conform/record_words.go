package conform

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The vocabulary for privacy, the audit log, statistics and webhooks.

// trial returns the members of a key for the test environment, whose codes do not reach people.
func trial(permissions ...string) Fields {
	members := Fields{"environment": "test"}
	if len(permissions) > 0 {
		members["permissions"] = permissions
	}
	return members
}

// customer sends a code to a person of the account's application, with a test key, and returns the ids of the person
// and the challenge, and the code.
func (s *Story) customer(key string) (user, challenge, code string) {
	user = "user-" + randomHex(12)
	challenge, code = s.challenged(Fields{"metadata": map[string]any{"user_id": user}}, Key(key))
	return user, challenge, code
}

// about returns the members that name a person of the account's application.
func (s *Story) about(user string) Fields {
	return Fields{"account": s.account.Address, "environment": "test", "id": user}
}

// export requests the records about a person, and requires a complete export.
func (p *someone) export(user string) Reply {
	r := p.post("/api/privacy/export", p.story.about(user)).ExpectJSON(http.StatusOK)
	r.require(r.document["complete"] == true, "an export with complete true", r.came())
	return r
}

// erase requests the erasure of the records about a person.
func (p *someone) erase(user string) Reply {
	return p.post("/api/privacy/erase", with(p.story.about(user), "confirm", user))
}

// colleague returns another person with a role, for the given accounts.
func (p *someone) colleague(role string, accounts ...string) *someone {
	c := p.story.newcomer()
	r := p.post("/api/people", Fields{"email": c.email, "role": role, "accounts": accounts})
	r.ExpectJSON(http.StatusCreated)
	c.register(r.text("invitation")).ExpectJSON(http.StatusCreated)
	return c
}

// list returns a member that is an array of objects.
func (r Reply) list(name string) (list []Fields) {
	members, _ := r.document[name].([]any)
	for _, one := range members {
		object, _ := one.(map[string]any)
		list = append(list, object)
	}
	return list
}

// holds reports whether one of the objects of an array has a member with that value.
func (r Reply) holds(list, name string, value any) bool {
	return slices.ContainsFunc(r.list(list), func(one Fields) bool { return one[name] == value })
}

// ExpectParameter requires a 400 that names a parameter of the query.
func (r Reply) ExpectParameter(name string) {
	r.ExpectProblem(http.StatusBadRequest, "")
	r.require(r.holds("errors", "parameter", name), "errors with the parameter "+name, r.came())
}

// soon is how long the consequences of an answer may take: sealing an entry, or calling a webhook.
const soon = 10 * time.Second

// await repeats until met holds, and reports whether it did in time. It waits longer than soon only with --slow.
func (s *Story) await(most time.Duration, met func() bool) bool {
	if most > soon {
		s.mustWait()
	}
	if s.target.patience > 0 {
		most = min(most, s.target.patience)
	}
	ctx, cancel := context.WithTimeout(s.ctx, most)
	defer cancel()
	for pause := 50 * time.Millisecond; !met(); pause = min(2*pause, time.Second) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			if s.ctx.Err() != nil {
				s.stop(s.ctx.Err())
			}
			return false
		}
	}
	return true
}

// mustWait skips the case unless time may really pass.
func (s *Story) mustWait() {
	if !s.slow {
		panic(skipped{"Time must pass that no clock here moves (--slow really waits)."})
	}
}

// idle lets time pass for a person's sessions, which go by the server's clock.
func (p *someone) idle(d time.Duration) {
	p.story.mustWait()
	if p.story.target.idle != nil {
		p.story.target.idle(p.email, d)
		return
	}
	select {
	case <-time.After(d):
	case <-p.story.ctx.Done():
		p.story.stop(p.story.ctx.Err())
	}
}

// entry returns the audit log's first entry that a query finds, waiting until there is one.
func (p *someone) entry(query string, is func(Fields) bool) Fields {
	var r Reply
	var found Fields
	p.story.await(soon, func() bool {
		r = p.get("/api/audit?" + query).ExpectJSON(http.StatusOK)
		if i := slices.IndexFunc(r.list("data"), is); i >= 0 {
			found = r.list("data")[i]
		}
		return found != nil
	})
	r.require(found != nil, "an entry within "+soon.String()+" that "+query+" finds", r.came())
	return found
}

// hook creates a webhook of the story's account that leads to this client, and returns the answer.
func (p *someone) hook(path string, events ...string) Reply {
	s := p.story
	if s.told == nil {
		s.told = newUpstream()
	}
	r := p.post("/api/webhooks",
		Fields{"account": s.account.Address, "url": "http://" + s.told.addr + path, "events": events})
	r.ExpectJSON(http.StatusCreated)
	r.require(r.text("id") != "" && r.text("secret") != "", "an id and a secret", r.came())
	p.post("/api/webhooks/"+r.text("id")+"/test", nil)
	if len(s.toldOf(path, "webhook.test")) == 0 {
		panic(skipped{"No call reached the webhook which this client serves at " + s.told.addr +
			": the target is not on this machine, or calls nobody here."})
	}
	return r
}

// toldOf returns the requests with a type of event that a webhook has received so far.
func (s *Story) toldOf(path, kind string) (all []Request) {
	s.told.mu.Lock()
	defer s.told.mu.Unlock()
	for _, r := range s.told.calls {
		if r.Path == path && eventOf(r).text("type") == kind {
			all = append(all, r)
		}
	}
	return all
}

// awaitTold requires an event of that type at a webhook, soon.
func (s *Story) awaitTold(path, kind string) Request {
	var all []Request
	s.await(soon, func() bool {
		all = s.toldOf(path, kind)
		return len(all) > 0
	})
	s.Require(len(all) > 0, "an event "+kind+" at the webhook within "+soon.String(), "none")
	return all[0]
}

// eventOf returns the body of a webhook request.
func eventOf(r Request) (event Reply) {
	_ = json.Unmarshal([]byte(r.Body), &event.document) // nil means that it is not an object
	return event
}

// signedBy reports whether a request has the signatures of a secret: that of Standard Webhooks, and the plain one, the
// hex signature of the body.
func signedBy(secret string, r Request) (standard, plain bool) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false, false
	}
	sum := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	text := r.Header.Get("Webhook-Id") + "." + r.Header.Get("Webhook-Timestamp") + "." + r.Body
	signature := "v1," + base64.StdEncoding.EncodeToString(sum(raw, text))
	return slices.Contains(strings.Fields(r.Header.Get("Webhook-Signature")), signature),
		r.Header.Get("X-Otp-Signature") == hex.EncodeToString(sum([]byte(secret), r.Body))
}
