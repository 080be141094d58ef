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

// The words in which a case asks what was kept and told: privacy, the audit log, statistics and webhooks.

// trial are the members of a key that codes in earnest do not go by.
func trial(permissions ...string) Fields {
	members := Fields{"environment": "test"}
	if len(permissions) > 0 {
		members["permissions"] = permissions
	}
	return members
}

// customer has a code sent to a person of the account's application, by a key for testing, and gives the ids of the
// person and the challenge, and the code.
func (s *Story) customer(key string) (user, challenge, code string) {
	user = "user-" + randomHex(12)
	challenge, code = s.challenged(Fields{"metadata": map[string]any{"user_id": user}}, Key(key))
	return user, challenge, code
}

// about names a person of the account's application.
func (s *Story) about(user string) Fields {
	return Fields{"account": s.account.Address, "environment": "test", "id": user}
}

// export asks for what is kept of a person, which must come whole.
func (p *someone) export(user string) Reply {
	r := p.call(http.MethodPost, "/api/privacy/export", p.story.about(user))
	p.story.ExpectJSON(r, http.StatusOK)
	r.require(r.document["complete"] == true, "an export with complete true", r.came())
	return r
}

// erase asks for what is kept of a person to be destroyed.
func (p *someone) erase(user string) Reply {
	return p.call(http.MethodPost, "/api/privacy/erase", with(p.story.about(user), "confirm", user))
}

// colleague is another person with a role, for the story's account or for other ones.
func (p *someone) colleague(role string, accounts ...string) *someone {
	c := p.story.newcomer()
	r := p.call(http.MethodPost, "/api/people", Fields{"email": c.email, "role": role, "accounts": accounts})
	p.story.ExpectJSON(r, http.StatusCreated)
	p.story.ExpectJSON(c.register(r.text("invitation")), http.StatusCreated)
	return c
}

// list is a member that is an array of objects.
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

// ExpectParameter takes a 400 that names a parameter of the query.
func (s *Story) ExpectParameter(r Reply, name string) {
	s.ExpectProblem(r, http.StatusBadRequest, "")
	r.require(r.holds("errors", "parameter", name), "errors with the parameter "+name, r.came())
}

// soon is how long what follows an answer may take: to seal an entry, or to tell a webhook.
const soon = 10 * time.Second

// await tries until met holds, and reports whether it did in time. Longer than soon it waits with --slow only.
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

// idle lets time pass for somebody's sessions, which go by the server's clock.
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

// entry is the audit log's about what a query finds, as soon as there is one.
func (p *someone) entry(query string, is func(Fields) bool) Fields {
	var r Reply
	var found Fields
	p.story.await(soon, func() bool {
		r = p.call(http.MethodGet, "/api/audit?"+query, nil)
		p.story.ExpectJSON(r, http.StatusOK)
		if i := slices.IndexFunc(r.list("data"), is); i >= 0 {
			found = r.list("data")[i]
		}
		return found != nil
	})
	r.require(found != nil, "an entry within "+soon.String()+" that "+query+" finds", r.came())
	return found
}

// hook makes a webhook of the story's account, whose other end this client serves, and gives the answer.
func (p *someone) hook(path string, events ...string) Reply {
	s := p.story
	if s.told == nil {
		s.told = newUpstream()
	}
	r := p.call(http.MethodPost, "/api/webhooks",
		Fields{"account": s.account.Address, "url": "http://" + s.told.addr + path, "events": events})
	s.ExpectJSON(r, http.StatusCreated)
	r.require(r.text("id") != "" && r.text("secret") != "", "an id and a secret", r.came())
	p.call(http.MethodPost, "/api/webhooks/"+r.text("id")+"/test", nil)
	if len(s.toldOf(path, "webhook.test")) == 0 {
		panic(skipped{"No call reached the webhook which this client serves at " + s.told.addr +
			": the target is not on this machine, or calls nobody here."})
	}
	return r
}

// toldOf are the requests with a type of event that came to a webhook so far.
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

// awaitTold takes an event of that type at a webhook, soon.
func (s *Story) awaitTold(path, kind string) Request {
	var all []Request
	s.await(soon, func() bool {
		all = s.toldOf(path, kind)
		return len(all) > 0
	})
	s.Require(len(all) > 0, "an event "+kind+" at the webhook within "+soon.String(), "none")
	return all[0]
}

// eventOf is the body of what a webhook was told.
func eventOf(r Request) (event Reply) {
	_ = json.Unmarshal([]byte(r.Body), &event.document) // nil says that it is no object
	return event
}

// signedBy reports whether a request has the signatures that a secret makes: that of Standard Webhooks, and the one of
// the body alone in hexadecimal digits.
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
