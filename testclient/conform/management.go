package conform

import (
	"net/http"
	"time"
)

func management() []Case {
	return []Case{
		{
			Requirement: "Who registers gets 201 with an access token for 3600 seconds, a refresh token and the person.",
			Run: func(s *Story) {
				p := s.newcomer()
				r := p.register("").ExpectJSON(http.StatusCreated)
				user, _ := r.document["user"].(map[string]any)
				r.require(p.access != "" && p.refresh != "" && r.text("token_type") == "Bearer" &&
					r.number("expires_in") == 3600 &&
					user["email"] == p.email, "both tokens, token_type Bearer, expires_in 3600 and the user",
					r.came())
			},
		},
		{
			Requirement: "An address belongs to one person: a second registration is 409.",
			Run: func(s *Story) {
				p := s.owner()
				again := *p
				again.access = ""
				again.register("").ExpectProblem(http.StatusConflict, "PERSON_EXISTS")
			},
		},
		{
			Requirement: "The right password begins a session of its own.",
			Run: func(s *Story) {
				p := s.owner()
				first := p.refresh
				r := p.login(p.password).ExpectJSON(http.StatusOK)
				r.require(p.refresh != "" && p.refresh != first, "another refresh token than before", r.came())
				p.get("/api/auth/me").ExpectJSON(http.StatusOK)
			},
		},
		{
			Requirement: "A wrong password and an address that nobody has are 401 AUTH_001 in the same words.",
			Run: func(s *Story) {
				p, nobody := s.owner(), s.newcomer()
				wrong, unknown := p.login(p.password+"r"), nobody.login(nobody.password)
				wrong.ExpectProblem(http.StatusUnauthorized, "AUTH_001")
				unknown.require(sameBut(wrong, unknown), "the same answer as to a wrong password", unknown.came())
			},
		},
		{
			Requirement: "Nobody is somebody without a token: none is 401 AUTH_003, and a changed one is 401.",
			Run: func(s *Story) {
				p := s.owner()
				p.get("/api/auth/me", NoKey).ExpectProblem(http.StatusUnauthorized, "AUTH_003")
				p.get("/api/auth/me", Key(turned(p.access))).ExpectProblem(http.StatusUnauthorized, "")
			},
		},
		{
			Requirement: "A refresh gives the next refresh token, and who repeats it at once is not logged out.",
			Run: func(s *Story) {
				p := s.owner()
				first := p.refresh
				r := p.post("/api/auth/refresh", Fields{"refresh_token": first}, NoKey).ExpectJSON(http.StatusOK)
				r.require(p.refresh != "" && p.refresh != first, "another refresh token", r.came())
				next := p.refresh
				r = p.post("/api/auth/refresh", Fields{"refresh_token": first}, NoKey).ExpectJSON(http.StatusOK)
				r.require(p.refresh == next, "the same successor as before", r.came())
				p.get("/api/auth/me").ExpectJSON(http.StatusOK)
			},
		},
		{
			Requirement: "A logout is 204 and ends access and refresh token.",
			Run: func(s *Story) {
				p := s.owner()
				s.expectEmpty(p.post("/api/auth/logout", nil))
				p.get("/api/auth/me").ExpectProblem(http.StatusUnauthorized, "")
				r := p.post("/api/auth/refresh", Fields{"refresh_token": p.refresh}, NoKey)
				r.ExpectProblem(http.StatusUnauthorized, "")
			},
		},
		{
			Requirement: "A new key is shown once, and sends a code.",
			Run: func(s *Story) {
				p := s.owner()
				id, secret := p.keyed(nil)
				r := p.get("/api/keys/" + id).ExpectJSON(http.StatusOK)
				r.require(r.text("key") == "", "the key without its secret", r.came())
				s.V1.Send(nil, Key(secret)).ExpectCreated()
			},
		},
		{
			Requirement: "A key that is revoked is 401 from then on.",
			Run: func(s *Story) {
				p := s.owner()
				id, secret := p.keyed(nil)
				s.expectEmpty(p.call(http.MethodDelete, "/api/keys/"+id, nil))
				s.V1.Send(nil, Key(secret)).ExpectProblem(http.StatusUnauthorized, "AUTH_004")
			},
		},
		{
			Requirement: "A rotated key stays good beside its successor.",
			Run: func(s *Story) {
				p := s.owner()
				id, secret := p.keyed(nil)
				r := p.post("/api/keys/"+id+"/rotate", Fields{"grace": "1h"}).ExpectJSON(http.StatusCreated)
				r.require(r.text("predecessor") == id && r.text("key") != "", "the successor, its key and the predecessor",
					r.came())
				s.V1.Send(nil, Key(r.text("key"))).ExpectCreated()
				s.V1.Send(nil, Key(secret)).ExpectCreated()
			},
		},
		{
			Requirement: "A change names its version: an old one is 412, none is 428, and neither changes anything.",
			Run: func(s *Story) {
				p := s.owner()
				id, _ := p.keyed(nil)
				tag := p.get("/api/keys/" + id).Header.Get("ETag")
				r := p.call(http.MethodPatch, "/api/keys/"+id, Fields{"name": "first"}, Header("If-Match", tag))
				r.ExpectJSON(http.StatusOK)
				r = p.call(http.MethodPatch, "/api/keys/"+id, Fields{"name": "second"}, Header("If-Match", tag))
				r.ExpectProblem(http.StatusPreconditionFailed, "")
				r = p.call(http.MethodPatch, "/api/keys/"+id, Fields{"name": "third"})
				r.ExpectProblem(http.StatusPreconditionRequired, "")
				r = p.get("/api/keys/" + id)
				r.require(r.text("name") == "first", "the name first", r.came())
			},
		},
		{
			Requirement: "A key of an account that somebody may not see is 404, in the words of one that nobody has.",
			Run: func(s *Story) {
				p, dev := s.owner(), s.newcomer()
				id, _ := p.keyed(nil)
				r := p.post("/api/people", Fields{"email": dev.email, "role": "developer",
					"accounts": []string{s.Second().account.Address}})
				r.ExpectJSON(http.StatusCreated)
				dev.register(r.text("invitation")).ExpectJSON(http.StatusCreated)
				foreign := dev.get("/api/keys/"+id).ExpectProblem(http.StatusNotFound, "")
				none := dev.get("/api/keys/" + turned(id))
				none.require(sameBut(foreign, none, id, turned(id)), "the same answer as to a foreign key", none.came())
				dev.call(http.MethodDelete, "/api/keys/"+id, nil).ExpectProblem(http.StatusNotFound, "")
				p.get("/api/keys/" + id).ExpectJSON(http.StatusOK)
			},
		},
		{
			Requirement: "A member that is not known and the place of a bad address are named by a 400, which makes nothing.",
			Run: func(s *Story) {
				p := s.owner()
				before := p.keyNames()
				for pointer, member := range map[string]Fields{
					"/allowed_ip":    {"allowed_ip": []string{"203.0.113.7"}},
					"/allowed_ips/1": {"allowed_ips": []string{"203.0.113.7", "52.44.123.456"}},
				} {
					member["account"], member["name"] = s.account.Address, "refused"
					p.post("/api/keys", member).ExpectInvalid(pointer)
				}
				after := p.keyNames()
				s.Require(len(after) == len(before), plural(len(before), "key"), plural(len(after), "key"))
			},
		},
		{
			Requirement: "A cookie alone changes nothing without its CSRF token, nor on a page of another origin.",
			Run: func(s *Story) {
				p := s.owner()
				r := p.get("/api/csrf-token").ExpectJSON(http.StatusOK)
				token := r.text("csrf_token")
				body := Fields{"account": s.account.Address, "name": "by cookie"}
				cookie := Header("Cookie", p.cookie)
				post := func(opts ...Option) Reply {
					return p.post("/api/keys", body, append([]Option{NoKey, cookie}, opts...)...)
				}
				post().ExpectProblem(http.StatusForbidden, "CSRF_TOKEN_INVALID")
				post(Header("X-CSRF-Token", turned(token))).ExpectProblem(http.StatusForbidden, "CSRF_TOKEN_INVALID")
				post(Header("X-CSRF-Token", token), Header("Origin", "https://elsewhere.example"),
					Header("Sec-Fetch-Site", "cross-site")).ExpectProblem(
					http.StatusForbidden, "")

				post(Header("X-CSRF-Token", token)).ExpectJSON(http.StatusCreated)
			},
		},
		{
			Requirement: "An API key makes no keys.",
			Run: func(s *Story) {
				p := s.owner()
				_, secret := p.keyed(nil)
				r := p.post("/api/keys", Fields{"account": s.account.Address, "name": "by a key"}, Key(secret))
				r.ExpectProblem(http.StatusForbidden, "PERMISSION_DENIED")
			},
		},
		{
			Requirement: "A refresh token that is brought again after 15 seconds ends its session, with all that came of it.",
			Run: func(s *Story) {
				p := s.owner()
				s.mustWait()
				first := p.refresh
				refresh := func(token string) Reply {
					return p.post("/api/auth/refresh", Fields{"refresh_token": token}, NoKey)
				}
				refresh(first).ExpectJSON(http.StatusOK)
				p.idle(16 * time.Second)
				p.get("/api/auth/me").ExpectJSON(http.StatusOK)
				refresh(first).ExpectProblem(http.StatusUnauthorized, "AUTH_004")
				refresh(p.refresh).ExpectProblem(http.StatusUnauthorized, "")
				p.get("/api/auth/me").ExpectProblem(http.StatusUnauthorized, "")
			},
		},
		{
			Requirement: "An invitation, and what a person may see, name accounts that exist; others are named by a 400.",
			Run: func(s *Story) {
				p := s.owner()
				nowhere := []string{s.account.Address, "987654321"}
				p.post("/api/people",
					Fields{"email": "x" + p.email, "role": "developer", "accounts": nowhere}).ExpectInvalid(
					"/accounts/1")

				dev := p.colleague("developer", s.account.Address)
				r := p.get("/api/people/" + dev.id).ExpectJSON(http.StatusOK)
				p.call(http.MethodPatch, "/api/people/"+dev.id, Fields{"accounts": nowhere},
					Header("If-Match", r.Header.Get("ETag"))).ExpectInvalid(
					"/accounts/1")

			},
		},
	}
}
