package conform

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// The vocabulary for /api, used by a person created for the case.

// someone is a person at the target, with their latest tokens.
type someone struct {
	story    *Story
	id       string
	email    string
	password string
	access   string
	refresh  string
	cookie   string
}

// newcomer returns a person who has not registered yet.
func (s *Story) newcomer() *someone {
	if s.again == nil {
		panic(skipped{"It needs a sandbox, where whoever wants to may register."})
	}
	name := "p" + randomHex(10)
	return &someone{story: s, email: name + "@conform.example", password: "kayak marzipan tandem " + randomHex(6)}
}

func (p *someone) get(path string, opts ...Option) Reply {
	return p.call(http.MethodGet, path, nil, opts...)
}

func (p *someone) post(path string, body Fields, opts ...Option) Reply {
	return p.call(http.MethodPost, path, body, opts...)
}

// call sends a body's members to a path of /api. Secrets in the answer are redacted in reports.
func (p *someone) call(method, path string, body Fields, opts ...Option) Reply {
	text := ""
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			p.story.stop(err)
		}
		text = string(raw)
	}
	r := p.story.V1.Call(method, path, text, append([]Option{Method(method), p.bearer}, opts...)...)
	p.story.mu.Lock()
	for _, member := range []string{
		"access_token", "refresh_token", "csrf_token", "invitation", "key", "signing_secret", "secret",
	} {
		p.story.log.secret(strings.ToUpper(member), r.text(member))
	}
	if cookies := r.Header["Set-Cookie"]; len(cookies) > 0 {
		name, value, _ := strings.Cut(strings.Split(cookies[0], ";")[0], "=")
		p.story.log.secret("COOKIE", value)
		p.cookie = name + "=" + value
	}
	p.story.mu.Unlock()
	if access := r.text("access_token"); access != "" && r.Status < 300 {
		p.access, p.refresh = access, r.text("refresh_token")
		if user, there := r.document["user"].(map[string]any); there {
			p.id = shownMember(user["id"])
		}
	}
	return r
}

// bearer sends the access token, if there is one, unless an option of the call decides otherwise.
func (p *someone) bearer(c *call) {
	c.key, c.noKey = p.access, p.access == ""
}

// register creates the person, with an invitation if there is one.
func (p *someone) register(invitation string) Reply {
	body := Fields{"email": p.email, "password": p.password, "name": "Conform"}
	if invitation != "" {
		body["invitation"] = invitation
	}
	r := p.post("/api/auth/register", body)
	switch {
	case r.Status == http.StatusNotFound:
		panic(skipped{"The target has no /api."})
	case r.Status == http.StatusForbidden && invitation == "":
		panic(skipped{"The target lets nobody register without an invitation."})
	}
	return r
}

// login logs in with a password.
func (p *someone) login(password string) Reply {
	return p.post("/api/auth/login", Fields{"email": p.email, "password": password}, NoKey)
}

// owner returns a person who has registered.
func (s *Story) owner() *someone {
	p := s.newcomer()
	p.register("").ExpectJSON(http.StatusCreated)
	return p
}

// keyed makes a key of the story's account.
func (p *someone) keyed(more Fields) (id, secret string) {
	body := Fields{"account": p.story.account.Address, "name": "conform"}
	for name, value := range more {
		body[name] = value
	}
	r := p.post("/api/keys", body).ExpectJSON(http.StatusCreated)
	r.require(r.text("id") != "" && r.text("key") != "", "an id and the key itself", r.came())
	return r.text("id"), r.text("key")
}

// expectEmpty requires an answer without a body.
func (s *Story) expectEmpty(r Reply) {
	r.require(r.Status == http.StatusNoContent && r.Body == "", "status 204 No Content and no body", r.came())
}

// keyNames returns the names of the account's keys.
func (p *someone) keyNames() []string {
	r := p.get("/api/keys?limit=100&account=" + p.story.account.Address).ExpectJSON(http.StatusOK)
	var names []string
	for _, one := range r.list("data") {
		names = append(names, shownMember(one["name"]))
	}
	slices.Sort(names)
	return names
}

// sameBut reports whether two problems are the same, except for the request id and the given texts.
func sameBut(a, b Reply, asked ...string) bool {
	strip := func(r Reply) string {
		text := strings.ReplaceAll(r.Body, r.text("request_id"), "")
		for _, one := range asked {
			text = strings.ReplaceAll(text, one, "")
		}
		return text
	}
	return a.Status == b.Status && strip(a) == strip(b)
}

// shownMember returns a member's value for a report: a text unchanged, anything else as JSON.
func shownMember(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
