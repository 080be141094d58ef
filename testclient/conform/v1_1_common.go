package conform

import (
	"net/http"
	"regexp"
	"strings"
	"time"
)

// v1Common returns the cases about every call of /v1: credentials, refusals, counts and input.

func v1Common() []Case {
	return append(append(v1Credentials(), v1Problems()...), v1Input()...)
}

func v1Credentials() []Case {
	return []Case{
		{
			Requirement: "An API key is taken as a bearer's: Authorization: Bearer.",
			Source:      Client,
			Run:         func(s *Story) { s.V1.Send(nil).ExpectCreated() },
		},
		{
			Requirement: "An API key is taken from X-API-Key.",
			Source:      Client,
			Run: func(s *Story) {
				s.V1.Send(nil, NoKey, Header("X-API-Key", s.account.APIKey)).ExpectCreated()
			},
		},
		{
			Requirement: "The access key of the servlets is good at /v1.",
			Run:         func(s *Story) { s.V1.Send(nil, Key(s.Key())).ExpectCreated() },
		},
		{
			Requirement: "The same credential in two carriers is one; two different ones are refused with 400.",
			Run: func(s *Story) {
				s.V1.Send(nil, Header("X-API-Key", s.account.APIKey)).ExpectCreated()
				s.V1.Send(nil, Header("X-API-Key", s.Key())).ExpectProblem(http.StatusBadRequest, "")
			},
		},
		{
			Requirement: "A request without a credential, or with one that is malformed, is 401 AUTH_003.",
			Run: func(s *Story) {
				s.V1.Send(nil, NoKey).ExpectProblem(http.StatusUnauthorized, "AUTH_003")
				s.V1.Send(nil, NoKey, Header("Authorization", "Bearer")).ExpectProblem(http.StatusUnauthorized, "AUTH_003")
			},
		},
		{
			Requirement: "A key that nobody has is 401, never 403: a client tries its fallback key only then.",
			Source:      Client,
			Run: func(s *Story) {
				s.V1.Send(nil, Key("unknown-"+randomHex(32))).ExpectProblem(http.StatusUnauthorized, "AUTH_004")
			},
		},
		{
			Requirement: "A disabled key is 401 AUTH_004.",
			Source:      Client,
			Settings: Settings{"access_keys": []any{
				map[string]any{"key": "{id}-key-good"}, map[string]any{"key": "{id}-key-disabled", "enabled": false},
			}},
			Run: func(s *Story) {
				s.V1.Send(nil, Key(s.ID()+"-key-good")).ExpectCreated()
				s.V1.Send(nil, Key(s.ID()+"-key-disabled")).ExpectProblem(http.StatusUnauthorized, "AUTH_004")
			},
		},
		{
			Requirement: "An expired key is 401 AUTH_002.",
			Source:      Client,
			Settings: Settings{"access_keys": []any{
				map[string]any{"key": "{id}-key-good"}, map[string]any{"key": "{id}-key-expired",
					"expires_at": "2020-01-01T00:00:00Z"},
			}},
			Run: func(s *Story) {
				s.V1.Send(nil, Key(s.ID()+"-key-expired")).ExpectProblem(http.StatusUnauthorized, "AUTH_002")
			},
		},
		{
			Requirement: "A key used from a network that is not on its list is 403 AUTH_005.",
			Settings: Settings{"access_keys": []any{
				map[string]any{"key": "{id}-key-good"}, map[string]any{"key": "{id}-key-elsewhere",
					"allowed_ips": []string{"192.0.2.0/24"}},
			}},
			Run: func(s *Story) {
				s.V1.Send(nil, Key(s.ID()+"-key-elsewhere")).ExpectProblem(http.StatusForbidden, "AUTH_005")
			},
		},
		{
			Requirement: "The keys of a disabled account are 401 AUTH_004.",
			Settings:    Settings{"enabled": false},
			Run: func(s *Story) {
				s.V1.Send(nil).ExpectProblem(http.StatusUnauthorized, "AUTH_004")
			},
		},
		{
			Requirement: "A key in the query is none.",
			Run: func(s *Story) {
				r := s.V1.Call(http.MethodGet,
					"/v1/status/otp_unknown?api_key="+s.account.APIKey+"&access_key="+s.account.APIKey, "", NoKey)
				r.ExpectProblem(http.StatusUnauthorized, "AUTH_003")
			},
		},
	}
}

// inside matches what callers must not see: stack traces, SQL, source locations.
var inside = regexp.MustCompile(`goroutine |\.go:\d|panic|SELECT |INSERT |UPDATE |sqlite|mysql|/(home|usr|tmp|root)/|injected`)

var codeForm = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`)

func v1Problems() []Case {
	return []Case{
		{
			Requirement: "An error is application/problem+json with type, title, status, detail, code in upper case, and " +
				"message like detail.",
			Run: func(s *Story) {
				for _, r := range []Reply{s.V1.Send(Fields{"to": "12"}), s.V1.Send(nil, NoKey),
					s.V1.Call(http.MethodGet, "/v1/nothing", "")} {
					r.expectType("application/problem+json")
					r.require(r.text("type") != "" && r.text("title") != "" && r.text("detail") != "", "type, title and detail",
						r.came())
					r.require(r.number("status") == r.Status, "the member status like the answer's", r.came())
					r.require(codeForm.MatchString(r.text("code")), "a code in upper case", r.came())
					r.require(r.text("message") == r.text("detail"), "the message like the detail", r.came())
				}
			},
		},
		{
			Requirement: "A fault inside is 500 with a problem that shows nothing of the inside.",
			Needs:       NeedsFaults,
			Run: func(s *Story) {
				for _, kind := range []string{"v1 error", "v1 panic"} {
					s.Sandbox.Fault(kind, 1)
					r := s.V1.Send(nil).ExpectProblem(http.StatusInternalServerError, "")
					r.require(!inside.MatchString(r.Body), "nothing of the inside", r.came())
				}
			},
		},
		{
			Requirement: "A request id of 8 to 128 of A-Za-z0-9._:- is echoed.",
			Run: func(s *Story) {
				for _, id := range []string{s.ID(), "A-Z.a_z:09", strings.Repeat("x", 128)} {
					for _, r := range []Reply{
						s.V1.Status("otp_unknown", Header("X-Request-Id", id)),
						s.V1.Send(nil, Header("X-Request-Id", id)),
					} {
						got := r.Header.Get("X-Request-Id")
						r.require(got == id, "X-Request-Id "+id, "X-Request-Id "+orNone(got))
					}
				}
			},
		},
		{
			Requirement: "Without a request id, or with one in another form, there is one of the server's.",
			Run: func(s *Story) {
				for _, id := range []string{"", "1234567", strings.Repeat("x", 129), "with blank in it", "{json}-injection"} {
					var opts []Option
					if id != "" {
						opts = append(opts, Header("X-Request-Id", id))
					}
					r := s.V1.Status("otp_unknown", opts...)
					got := r.Header.Get("X-Request-Id")
					r.require(requestID.MatchString(got) && got != id, "an X-Request-Id of the server's", "X-Request-Id "+orNone(got))
				}
			},
		},
		{
			Requirement: "An error holds the request id.",
			Run: func(s *Story) {
				for _, r := range []Reply{s.V1.Send(Fields{"to": "12"}), s.V1.Send(nil, NoKey)} {
					got := r.text("request_id")
					r.require(got != "" && got == r.Header.Get("X-Request-Id"), "the request_id of the header X-Request-Id", r.came())
				}
			},
		},
		{
			Requirement: "Every answer to a known key says what is left of its requests: X-RateLimit-Limit, -Remaining and " +
				"-Window.",
			Source: Client,
			Run: func(s *Story) {
				for _, r := range []Reply{s.V1.Send(nil), s.V1.Send(Fields{"to": "12"}), s.V1.Status("otp_unknown")} {
					r.expectHeader("X-RateLimit-Limit", 1, 1<<40)
					r.expectHeader("X-RateLimit-Remaining", 0, 1<<40)
					r.expectHeader("X-RateLimit-Window", 1, 86400)
				}
			},
		},
		{
			Requirement: "X-RateLimit-Reset is a time in seconds since 1970, not before now and within the window.",
			Source:      Client,
			Run: func(s *Story) {
				r := s.V1.Send(nil)
				now := time.Now().Unix()
				r.expectHeader("X-RateLimit-Reset", now-30, now+86400+30)
			},
		},
		{
			Requirement: "An API key has 1000 requests a minute, and each takes one.",
			Source:      Client, Settings: Settings{},
			Run: func(s *Story) {
				r := s.V1.Status("otp_unknown")
				r.expectHeader("X-RateLimit-Limit", 1000, 1000)
				r.expectHeader("X-RateLimit-Window", 60, 60)
				r.expectHeader("X-RateLimit-Remaining", 900, 999)
				first := r.number64("X-RateLimit-Remaining")
				for range 3 {
					r = s.V1.Status("otp_unknown")
				}
				// Used requests come back with time, so with a slow target some may have come back.
				r.expectHeader("X-RateLimit-Remaining", first-3, first-1)
			},
		},
	}
}

var requestID = regexp.MustCompile(`^[A-Za-z0-9._:-]{8,128}$`)

func v1Input() []Case {
	raw := func(s *Story, members string) Reply {
		return s.V1.Call(http.MethodPost, "/v1/send", `{"to":"`+s.To()+`","method":"sms","type":"verification"`+members)
	}
	return []Case{
		{
			Requirement: "A member that the call does not know is 400 and named.",
			Run: func(s *Story) {
				s.V1.Send(Fields{"colour": "red"}).ExpectInvalid("/colour")
				s.V1.Verify("123456", Fields{"to": s.To(), "otp": "123456"}).ExpectInvalid("/otp")
			},
		},
		{
			Requirement: "A member given twice is 400.",
			Run: func(s *Story) {
				raw(s, `,"method":"sms"}`).ExpectProblem(http.StatusBadRequest, "")
				raw(s, `,"metadata":{"a":1,"a":2}}`).ExpectProblem(http.StatusBadRequest, "")
			},
		},
		{
			Requirement: "What follows the JSON object is 400.",
			Run: func(s *Story) {
				raw(s, `}{}`).ExpectProblem(http.StatusBadRequest, "")
				raw(s, `} x`).ExpectProblem(http.StatusBadRequest, "")
			},
		},
		{
			Requirement: "A body that is no JSON object is 400.",
			Run: func(s *Story) {
				for _, body := range []string{"", "[]", `"sms"`, "null", "{", `{"to"}`, "to=" + s.mobile} {
					s.V1.Call(http.MethodPost, "/v1/send", body).ExpectProblem(http.StatusBadRequest, "")
				}
			},
		},
		{
			Requirement: "A member of the wrong type is 400 and named.",
			Run: func(s *Story) {
				s.V1.Send(Fields{"to": 919551492394}).ExpectInvalid("/to")
				s.V1.Send(Fields{"ttl": "300"}).ExpectInvalid("/ttl")
				s.V1.Send(Fields{"fallback": "email"}).ExpectInvalid("/fallback")
				s.V1.Send(Fields{"metadata": "text"}).ExpectInvalid("/metadata")
				s.post("/v1/verify", Fields{"to": s.To(), "code": 123456}, nil, nil).ExpectInvalid("/code")
			},
		},
		{
			Requirement: "A body over 64 KiB is 400, and one below is read.",
			Run: func(s *Story) {
				raw(s, strings.Repeat(" ", 60<<10)+"}").ExpectCreated()
				raw(s, strings.Repeat(" ", 64<<10)+"}").ExpectProblem(http.StatusBadRequest, "")
			},
		},
		{
			Requirement: "A refused body sends nothing.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.V1.Send(Fields{"colour": "red"}).ExpectRefused()
				raw(s, `}{}`).ExpectRefused()
				s.V1.Send(Fields{"ttl": "300"}).ExpectRefused()
				s.expectSent(0)
			},
		},
		{
			Requirement: "Ids have the type in front: otp_; times are RFC 3339 in UTC with Z.",
			Run: func(s *Story) {
				r := s.V1.Send(nil).ExpectCreated()
				r.require(strings.HasPrefix(r.text("id"), "otp_"), "an id that begins with otp_", r.came())
				for _, name := range []string{"created_at", "expires_at"} {
					r.require(!r.time(name).IsZero(), name+" as RFC 3339 with Z", r.came())
				}
			},
		},
		{
			Requirement: "The API describes itself without a credential: OpenAPI 3.1 at /openapi.json, with every call.",
			Run: func(s *Story) {
				r := s.V1.Call(http.MethodGet, "/openapi.json", "", NoKey)
				r.require(r.Status == http.StatusOK && strings.HasPrefix(r.text("openapi"), "3.1."), "OpenAPI 3.1", r.came())
				paths, _ := r.document["paths"].(map[string]any)
				for _, path := range []string{"/v1/send", "/v1/verify", "/v1/resend", "/v1/cancel", "/v1/status/{id}"} {
					r.require(paths[path] != nil, "the path "+path, "none")
				}
			},
		},
		{
			Requirement: "The page /docs fetches nothing from other servers.",
			Run: func(s *Story) {
				r := s.V1.Call(http.MethodGet, "/docs", "", NoKey)
				r.require(r.Status == http.StatusOK && strings.HasPrefix(r.Header.Get("Content-Type"), "text/html"), "a page",
					r.came())
				elsewhere := fetches.FindString(r.Body)
				r.require(elsewhere == "", "nothing from elsewhere", elsewhere)
			},
		},
	}
}

// fetches matches what makes a browser load from another server; links that a person follows do not.
var fetches = regexp.MustCompile(`(?i)<(script|img|iframe|link|source)\b[^>]*\b(src|href)\s*=\s*["']?(https?:)?//[^>]*>|@import|url\(\s*["']?(https?:)?//`)
