package conform

import (
	"net/http"
	"strings"
)

func privacy() []Case {
	return []Case{
		{
			Requirement: "An export holds the person's challenge, says that it is complete, and has no code.",
			Run: func(s *Story) {
				p := s.owner()
				_, key := p.keyed(trial())
				user, challenge, code := s.customer(key)
				r := p.export(user)
				r.require(r.holds("history", "challenge_id", challenge), "a history with the challenge", r.came())
				r.require(!strings.Contains(r.Body, `"`+code+`"`), "an export without the code", "one that holds it")
			},
		},
		{
			Requirement: "An erasure answers a certificate that the server knows for its own, and a changed one it refuses.",
			Run: func(s *Story) {
				p := s.owner()
				_, key := p.keyed(trial())
				user, _, _ := s.customer(key)
				r := p.erase(user).ExpectJSON(http.StatusOK)
				certificate := r.text("certificate")
				r.require(strings.Count(certificate, ".") == 2, "a certificate that is a JWS", r.came())
				r.require(!strings.Contains(r.Body, user), "an answer without the person's id", r.came())
				says := p.post("/api/privacy/verify", Fields{"certificate": certificate}).ExpectJSON(http.StatusOK)
				says.require(says.text("aud") == s.account.Address, "what the certificate says, with the account as aud",
					says.came())
				p.post("/api/privacy/verify", Fields{"certificate": turned(certificate)}).ExpectInvalid("/certificate")

			},
		},
		{
			Requirement: "After an erasure the export is empty, and the code that was sent verifies nowhere.",
			Run: func(s *Story) {
				p := s.owner()
				_, key := p.keyed(trial())
				user, challenge, code := s.customer(key)
				p.erase(user).ExpectJSON(http.StatusOK)
				r := p.export(user)
				r.require(len(r.list("history")) == 0, "an export without history", r.came())
				s.V1.Status(challenge, Key(key)).ExpectProblem(http.StatusNotFound, "")
				s.V1.Verify(code, byID(challenge), Key(key)).ExpectReason("NOT_FOUND")
			},
		},
		{
			Requirement: "An erasure names the id once more; without it nothing is erased.",
			Run: func(s *Story) {
				p := s.owner()
				_, key := p.keyed(trial())
				user, challenge, _ := s.customer(key)
				p.post("/api/privacy/erase", s.about(user)).ExpectInvalid("/confirm")
				p.post("/api/privacy/erase", with(s.about(user), "confirm", turned(user))).ExpectInvalid("/confirm")
				r := p.export(user)
				r.require(r.holds("history", "challenge_id", challenge), "a history with the challenge", r.came())
			},
		},
		{
			Requirement: "A second erasure of the same person is a success with a certificate of its own.",
			Run: func(s *Story) {
				p := s.owner()
				_, key := p.keyed(trial())
				user, _, _ := s.customer(key)
				first := p.erase(user).ExpectJSON(http.StatusOK)
				second := p.erase(user).ExpectJSON(http.StatusOK)
				second.require(second.text("certificate") != "" && second.text("id") != first.text("id"),
					"a certificate, under another id than the first", second.came())
			},
		},
		{
			Requirement: "The same id at another account is another person: neither exported nor erased.",
			Run: func(s *Story) {
				p := s.owner()
				_, key := p.keyed(trial())
				user, challenge, _ := s.customer(key)
				other := *p
				other.story = s.Second()
				r := other.export(user)
				r.require(len(r.list("history")) == 0, "an export without history", r.came())
				other.erase(user).ExpectJSON(http.StatusOK)
				r = p.export(user)
				r.require(r.holds("history", "challenge_id", challenge), "a history with the challenge", r.came())
			},
		},
		{
			Requirement: "Who lacks the permission is 403 and who does not see the account is 404, and neither erases anything.",
			Run: func(s *Story) {
				p := s.owner()
				_, key := p.keyed(trial())
				user, challenge, _ := s.customer(key)
				dev := p.colleague("developer", s.account.Address)
				admin := p.colleague("admin", s.Second().account.Address)
				for _, path := range []string{"/api/privacy/export", "/api/privacy/erase"} {
					body := s.about(user)
					if path == "/api/privacy/erase" {
						body["confirm"] = user
					}
					dev.post(path, body).ExpectProblem(http.StatusForbidden, "PERMISSION_DENIED")
					admin.post(path, body).ExpectProblem(http.StatusNotFound, "")
				}
				r := p.export(user)
				r.require(r.holds("history", "challenge_id", challenge), "a history with the challenge", r.came())
			},
		},
		{
			Requirement: "An API key exports and erases the people of its account with write:privacy, and without it neither.",
			Run: func(s *Story) {
				p := s.owner()
				_, sends := p.keyed(trial())
				_, may := p.keyed(trial("write:privacy"))
				user, challenge, _ := s.customer(sends)
				ask := func(method, path, key string) Reply {
					return s.V1.Call(method, "/v1/users/"+user+path, "", Key(key))
				}
				ask(http.MethodGet, "/export", sends).ExpectProblem(http.StatusForbidden, "")
				ask(http.MethodDelete, "/delete", sends).ExpectProblem(http.StatusForbidden, "")
				r := ask(http.MethodGet, "/export", may).ExpectJSON(http.StatusOK)
				r.require(r.holds("history", "challenge_id", challenge), "a history with the challenge", r.came())
				r = ask(http.MethodDelete, "/delete", may).ExpectJSON(http.StatusOK)
				r.require(r.text("certificate") != "", "a certificate", r.came())
				r = ask(http.MethodGet, "/export", may).ExpectJSON(http.StatusOK)
				r.require(len(r.list("history")) == 0, "an export without history", r.came())
			},
		},
	}
}
