package conform

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reference server's management: people who log in, and keys.

type refStaff struct {
	people   map[string]*refPerson    // by address
	sessions map[string]*refPerson    // by access token
	refresh  map[string]string        // the successor of each refresh token; empty for none yet
	tokens   map[string][2]string     // refresh token → its access token, and its session's first refresh token
	ended    map[string]bool          // sessions, by their first refresh token
	invited  map[string]*refPerson    // by invitation
	used     map[string]time.Time     // when each refresh token was first used
	ahead    map[string]time.Duration // how far a person's clock is ahead
	keys     map[string]*refMade      // by id
}

type refPerson struct {
	id, role        string
	email, password string
	first           string   // its first refresh token
	accounts        []string // nil: all
}

type refMade struct {
	id, name, account, secret string
	version                   int
}

func newRefStaff() refStaff {
	return refStaff{people: map[string]*refPerson{}, sessions: map[string]*refPerson{}, refresh: map[string]string{},
		tokens: map[string][2]string{}, ended: map[string]bool{}, invited: map[string]*refPerson{},
		used: map[string]time.Time{}, ahead: map[string]time.Duration{}, keys: map[string]*refMade{}}
}

func (f *reference) serveAPI(w http.ResponseWriter, r *http.Request, body []byte) {
	header := http.Header{}
	for name, values := range r.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	r.Header = header
	f.record.request = randomHex(16)
	w.Header().Set("X-Request-Id", f.record.request)
	reply := f.replyAPI(r, body)
	f.spoilRefusal(r.URL.Path, &reply)
	for name, value := range reply.header {
		w.Header().Set(name, value)
	}
	kind := "application/json"
	if reply.status >= 400 {
		kind = "application/problem+json"
		reply.document["request_id"] = f.record.request
	}
	if reply.document == nil {
		w.WriteHeader(reply.status)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(reply.status)
	_ = json.NewEncoder(w).Encode(reply.document)
}

func (f *reference) replyAPI(r *http.Request, body []byte) refReply {
	var asked map[string]any
	_ = json.Unmarshal(body, &asked)
	text := func(name string) string { value, _ := asked[name].(string); return value }
	switch r.Method + " " + r.URL.Path {
	case "POST /api/auth/register":
		return f.refRegister(text("email"), text("password"), text("invitation"))
	case "POST /api/auth/login":
		p := f.staff.people[text("email")]
		if p == nil && f.has("management: an unknown address is told from a wrong password") {
			return refProblem(401, "AUTH_001", "Nobody has this address.")
		}
		if p == nil || p.password != text("password") {
			f.noteRefusal(text("password"))
			return refProblem(401, "AUTH_001", "The address or the password is wrong.")
		}
		before := p.first
		reply := f.refTokens(p, 200, "")
		if f.has("management: a login gives the refresh token of before") {
			reply.document["refresh_token"] = before
		}
		return reply
	case "POST /api/auth/refresh":
		return f.refRefresh(text("refresh_token"))
	}
	p, token, refusal := f.refCaller(r)
	if refusal != nil {
		return *refusal
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /api/auth/me":
		return refReply{status: 200, document: map[string]any{"email": p.email}}
	case "GET /api/csrf-token":
		return refReply{status: 200, document: map[string]any{"csrf_token": "csrf-" + token}}
	case "POST /api/auth/logout":
		if !f.has("management: a logout ends nothing") {
			f.staff.ended[f.staff.tokens[token][1]] = true
		}
		return refReply{status: 204}
	}
	switch section := sectionOf(r.URL.Path); {
	case section != "management":
		return f.replyRecord(section, r, p, asked)
	case strings.HasPrefix(r.URL.Path, "/api/people"):
		return f.refPeople(r, asked)
	}
	return f.refKeys(r, p, asked)
}

// refPeople invites, shows and changes people.
func (f *reference) refPeople(r *http.Request, asked map[string]any) refReply {
	var accounts []string
	list, _ := asked["accounts"].([]any)
	blind := r.Method == "POST" && f.has("management: an invitation names accounts that nobody has") ||
		r.Method == "PATCH" && f.has("management: a person is given accounts that nobody has")
	for i, a := range list {
		accounts = append(accounts, a.(string))
		if f.accounts[a.(string)] == nil && !blind {
			return refProblem(400, "INVALID_REQUEST", "there is no such account", "/accounts/"+strconv.Itoa(i))
		}
	}
	if r.Method == "POST" {
		invitation, role := "inv-"+randomHex(16), asked["role"].(string)
		f.staff.invited[invitation] = &refPerson{id: "per_" + randomHex(16), role: role, accounts: accounts}
		return refReply{status: 201, document: map[string]any{"invitation": invitation}}
	}
	return refReply{status: 200, document: map[string]any{}, header: map[string]string{"ETag": `"1"`}}
}

// idle lets time pass for a person's sessions.
func (f *reference) idle(email string, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.staff.ahead[email] += d
}

func (f *reference) refRegister(email, password, invitation string) refReply {
	if f.staff.people[email] != nil && !f.has("management: an address belongs to two") {
		return refProblem(409, "PERSON_EXISTS", "The address belongs to somebody.")
	}
	p := &refPerson{id: "per_" + randomHex(16), role: "owner"}
	if invitation != "" {
		p = f.staff.invited[invitation]
	}
	p.email, p.password = email, password
	f.staff.people[email] = p
	status := 201
	if f.has("management: a registration is 200") {
		status = 200
	}
	return f.refTokens(p, status, "")
}

// refTokens begins a session, or continues that of an earlier refresh token.
func (f *reference) refTokens(p *refPerson, status int, earlier string) refReply {
	access, refresh := "a."+randomHex(16)+".x", "r"+randomHex(16)
	session := refresh
	if earlier != "" {
		session = f.staff.tokens[earlier][1]
		if f.has("management: a refresh token stays the same") {
			refresh = earlier
		}
	}
	if p.first == "" {
		p.first = refresh
	}
	f.staff.sessions[access] = p
	f.staff.tokens[refresh], f.staff.tokens[access] = [2]string{access, session}, [2]string{access, session}
	return refReply{status: status, header: map[string]string{"Set-Cookie": "session=" + access + "; HttpOnly"},
		document: map[string]any{"access_token": access, "refresh_token": refresh, "token_type": "Bearer",
			"expires_in": 3600, "user": map[string]any{"id": p.id, "email": p.email}}}
}

func (f *reference) refRefresh(token string) refReply {
	known, found := f.staff.tokens[token]
	if !found || f.staff.ended[known[1]] {
		return refProblem(401, "AUTH_004", "The refresh token is not good.")
	}
	p := f.staff.sessions[known[0]]
	now := time.Now().Add(f.staff.ahead[p.email])
	late := !f.staff.used[token].IsZero() && now.Sub(f.staff.used[token]) > 15*time.Second
	if late && !f.has("management: a refresh token is good long after its successor") {
		if !f.has("management: a refresh token that comes again ends nothing") {
			f.staff.ended[known[1]] = true
		}
		return refProblem(401, "AUTH_004", "The refresh token was used before.")
	}
	if next := f.staff.refresh[token]; next != "" && !f.has("management: a repeated refresh makes another token") {
		reply := f.refTokens(p, 200, token)
		reply.document["refresh_token"] = next
		return reply
	}
	reply := f.refTokens(p, 200, token)
	f.staff.refresh[token], f.staff.used[token] = reply.document["refresh_token"].(string), now
	return reply
}

// refCaller returns the caller, by token, cookie or API key.
func (f *reference) refCaller(r *http.Request) (*refPerson, string, *refReply) {
	refuse := func(status int, code string) (*refPerson, string, *refReply) {
		problem := refProblem(status, code, "The credential is not good for this.")
		return nil, "", &problem
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	cookie, byCookie := strings.CutPrefix(r.Header.Get("Cookie"), "session=")
	switch {
	case bearer:
	case byCookie:
		token = cookie
	case f.has("management: no token is AUTH_001"):
		return refuse(401, "AUTH_001")
	default:
		return refuse(401, "AUTH_003")
	}
	if _, key := f.keys[token]; key {
		if r.Method != "GET" && !f.has("management: an API key makes keys") {
			return refuse(403, "PERMISSION_DENIED")
		}
		return &refPerson{}, token, nil
	}
	p := f.staff.sessions[token]
	if p == nil || f.staff.ended[f.staff.tokens[token][1]] {
		return refuse(401, "AUTH_003")
	}
	if !bearer && r.Method != "GET" {
		if r.Header.Get("X-Csrf-Token") != "csrf-"+token && !f.has("management: a cookie needs no CSRF token") {
			return refuse(403, "CSRF_TOKEN_INVALID")
		}
		if r.Header.Get("Origin") != "" && !f.has("management: pages of other origins change things") {
			return refuse(403, "FORBIDDEN_ORIGIN")
		}
	}
	return p, token, nil
}

func (f *reference) refKeys(r *http.Request, p *refPerson, asked map[string]any) refReply {
	id, action, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/api/keys"), "/"), "/")
	k := f.staff.keys[id]
	foreign := k != nil && p.accounts != nil && !slices.Contains(p.accounts, k.account)
	switch {
	case foreign && f.has("management: a foreign key is 403"):
		return refProblem(403, "PERMISSION_DENIED", "The key is somebody else's.")
	case foreign, k == nil && id != "":
		return refProblem(404, "NOT_FOUND", "There is no such key.")
	}
	switch {
	case id == "" && r.Method == "GET":
		list := []any{}
		for _, k := range f.staff.keys {
			if k.account == r.URL.Query().Get("account") {
				list = append(list, map[string]any{"id": k.id, "name": k.name})
			}
		}
		return refReply{status: 200, document: map[string]any{"data": list}}
	case id == "":
		return f.refMakeKey(p, asked)
	case action == "rotate":
		if f.has("management: a rotated key ends at once") {
			delete(f.keys, k.secret)
		}
		reply := f.refMakeKey(p, map[string]any{"account": k.account, "name": k.name})
		reply.document["predecessor"] = id
		return reply
	case r.Method == "DELETE":
		if !f.has("management: a revoked key is good") {
			delete(f.keys, k.secret)
		}
		return refReply{status: 204}
	case r.Method == "PATCH":
		tag := r.Header.Get("If-Match")
		switch {
		case tag == "" && !f.has("management: a change needs no version"):
			return refProblem(428, "PRECONDITION_REQUIRED", "Send If-Match.")
		case tag != "" && tag != k.tag() && !f.has("management: a change takes any version"):
			return refProblem(412, "PRECONDITION_FAILED", "The key was changed.")
		}
		k.name, k.version = asked["name"].(string), k.version+1
	}
	document := map[string]any{"id": k.id, "name": k.name}
	if f.has("management: a key is shown again") {
		document["key"] = k.secret
	}
	return refReply{status: 200, document: document, header: map[string]string{"ETag": k.tag()}}
}

func (k *refMade) tag() string { return `"` + strconv.Itoa(k.version) + `"` }

func (f *reference) refMakeKey(p *refPerson, asked map[string]any) refReply {
	for name := range asked {
		if !slices.Contains([]string{"account", "name", "allowed_ips", "environment", "permissions"}, name) &&
			!f.has("management: an unknown member is ignored") {
			return refProblem(400, "INVALID_REQUEST", "is not known", "/"+name)
		}
	}
	list, _ := asked["allowed_ips"].([]any)
	for i, one := range list {
		if strings.HasSuffix(one.(string), ".456") {
			pointer := "/allowed_ips/" + strconv.Itoa(i)
			if f.has("management: a bad address is named by its list alone") {
				pointer = "/allowed_ips"
			}
			return refProblem(400, "INVALID_REQUEST", "is no address", pointer)
		}
	}
	k := &refMade{id: "key_" + randomHex(16), name: asked["name"].(string), account: asked["account"].(string),
		secret: "otpb_test_sk_" + randomHex(32), version: 1}
	f.staff.keys[k.id] = k
	made := refKey{account: f.accounts[k.account], usable: true}
	permissions, _ := asked["permissions"].([]any)
	for _, one := range permissions {
		made.permissions = append(made.permissions, one.(string))
	}
	f.keys[k.secret] = made
	f.note(refEntry{"action": "key.created", "actor": p.id, "account": k.account, "credential": k.id, "result": "ok"})
	return refReply{status: 201, document: map[string]any{"id": k.id, "name": k.name, "key": k.secret}}
}
