package conform

import (
	"net/http"
	"strings"
)

func webhooks() []Case {
	return []Case{
		{
			Requirement: "A webhook's secret is shown by the answer that makes it, and not again.",
			Run: func(s *Story) {
				p := s.owner()
				made := p.hook("/told", "otp.sent")
				secret := made.text("secret")
				made.require(strings.HasPrefix(secret, "whsec_"), "a secret that begins with whsec_", made.came())
				for _, path := range []string{"/" + made.text("id"), "?account=" + s.account.Address} {
					r := p.get("/api/webhooks" + path).ExpectJSON(http.StatusOK)
					r.require(strings.Contains(r.Body, made.text("id")), "the webhook", r.came())
					r.require(!strings.Contains(r.Body, secret), "no secret", "the secret")
				}
			},
		},
		{
			Requirement: "A code that was sent is told, signed as Standard Webhooks has it, without code and whole recipient.",
			Run: func(s *Story) {
				p := s.owner()
				secret := p.hook("/told", "otp.sent").text("secret")
				id, code := s.challenged(nil)
				told := s.awaitTold("/told", "otp.sent")
				event := eventOf(told)
				data, _ := event.document["data"].(map[string]any)
				s.Require(data["challenge_id"] == id && event.text("account") == s.account.Address,
					"the challenge "+id+" of the account", visible(told.Body))
				s.Require(event.text("id") != "" && told.Header.Get("Webhook-Id") == event.text("id"),
					"the event's id as webhook-id", "webhook-id "+orNone(told.Header.Get("Webhook-Id")))
				standard, plain := signedBy(secret, told)
				s.Require(standard, "a webhook-signature by the secret", orNone(told.Header.Get("Webhook-Signature")))
				s.Require(plain, "the HMAC of the body as X-OTP-Signature", orNone(told.Header.Get("X-Otp-Signature")))
				s.Require(!strings.Contains(told.Body, code), "an event without the code", "one that holds it")
				s.Require(!strings.Contains(told.Body, s.Mobile()), "an event with a masked recipient", visible(told.Body))
			},
		},
		{
			Requirement: "A webhook is told of the events that it names and of no others.",
			Run: func(s *Story) {
				p := s.owner()
				p.hook("/told", "otp.verified")
				id, code := s.challenged(nil)
				s.V1.Verify(code, byID(id)).ExpectValid()
				s.awaitTold("/told", "otp.verified")
				s.Require(len(s.toldOf("/told", "otp.sent")) == 0, "no event otp.sent", "one")
			},
		},
		{
			Requirement: "A test sends a good and a forged event, " +
				"and is ok if the receiver takes the one and refuses the other.",
			Run: func(s *Story) {
				p := s.owner()
				made := p.hook("/told", "otp.sent")
				test := func() Reply {
					r := p.post("/api/webhooks/"+made.text("id")+"/test", nil).ExpectJSON(http.StatusOK)
					return r
				}
				r := test()
				r.require(r.document["ok"] == false, "ok false for a receiver that takes everything", r.came())
				s.told.judgeBy(func(r Request) int {
					if good, _ := signedBy(made.text("secret"), r); good {
						return http.StatusNoContent
					}
					return http.StatusUnauthorized
				})
				r = test()
				signed, _ := r.document["signed"].(map[string]any)
				forged, _ := r.document["forged"].(map[string]any)
				r.require(r.document["ok"] == true && signed["status"] == 204.0 && forged["status"] == 401.0,
					"ok true, signed with status 204 and forged with 401", r.came())
			},
		},
		{
			Requirement: "The list of deliveries shows what was told, and with which answer.",
			Run: func(s *Story) {
				p := s.owner()
				made := p.hook("/told", "otp.sent")
				s.challenged(nil)
				event := eventOf(s.awaitTold("/told", "otp.sent")).text("id")
				var r Reply
				there := func() bool {
					r = p.get("/api/webhooks/" + made.text("id") + "/deliveries?state=delivered").ExpectJSON(http.StatusOK)
					return r.holds("data", "event_id", event)
				}
				r.require(s.await(soon, there), "a delivery of the event "+event, r.came())
				for _, d := range r.list("data") {
					r.require(d["event_id"] != event || d["state"] == "delivered" && d["status"] == 200.0,
						"the state delivered and status 200", shownMember(d))
				}
			},
		},
		{
			Requirement: "After a rotation what is told is signed by the new secret and by the old one.",
			Run: func(s *Story) {
				p := s.owner()
				made := p.hook("/told", "otp.sent")
				path := "/api/webhooks/" + made.text("id")
				r := p.post(path+"/rotate", nil, Header("If-Match", made.Header.Get("ETag"))).ExpectJSON(http.StatusOK)
				fresh := r.text("secret")
				r.require(fresh != "" && fresh != made.text("secret"), "another secret than before", r.came())
				s.challenged(nil)
				told := s.awaitTold("/told", "otp.sent")
				for name, secret := range map[string]string{"new": fresh, "old": made.text("secret")} {
					good, _ := signedBy(secret, told)
					s.Require(good, "a webhook-signature by the "+name+" secret", orNone(told.Header.Get("Webhook-Signature")))
				}
			},
		},
		{
			Requirement: "A deletion names the version that was read; then the webhook is gone, and is told nothing more.",
			Run: func(s *Story) {
				p := s.owner()
				gone := p.hook("/gone", "otp.sent")
				p.hook("/told", "otp.sent")
				path := "/api/webhooks/" + gone.text("id")
				p.call(http.MethodDelete, path, nil).ExpectProblem(http.StatusPreconditionRequired, "")
				p.call(http.MethodDelete, path, nil, Header("If-Match", `"4711"`)).ExpectProblem(
					http.StatusPreconditionFailed, "")

				p.get(path).ExpectJSON(http.StatusOK)
				s.expectEmpty(p.call(http.MethodDelete, path, nil, Header("If-Match", gone.Header.Get("ETag"))))
				p.get(path).ExpectProblem(http.StatusNotFound, "")
				s.challenged(nil)
				s.awaitTold("/told", "otp.sent")
				s.Require(len(s.toldOf("/gone", "otp.sent")) == 0, "nothing at the webhook that was deleted", "an event")
			},
		},
		{
			Requirement: "What cannot be a webhook is refused by the name of its member: " +
				"metadata addresses, events that are none.",
			Run: func(s *Story) {
				p := s.owner()
				good := Fields{"account": s.account.Address, "url": "https://hooks.example.com/otp"}
				for _, url := range []string{"http://169.254.169.254/latest", "ftp://hooks.example.com/", "hooks"} {
					p.post("/api/webhooks", with(good, "url", url)).ExpectInvalid("/url")
				}
				p.post("/api/webhooks", with(good, "events",
					[]string{"otp.sent", "otp.lost"})).ExpectInvalid(
					"/events/1")

				p.post("/api/webhooks", with(good, "account", Without)).ExpectInvalid("/account")
				r := p.get("/api/webhooks?account=" + s.account.Address).ExpectJSON(http.StatusOK)
				r.require(len(r.list("data")) == 0, "no webhook", r.came())
			},
		},
		{
			Requirement: "A webhook of an account that somebody may not see is 404, in the words of one that nobody has.",
			Run: func(s *Story) {
				p := s.owner()
				id := p.hook("/told", "otp.sent").text("id")
				dev := p.colleague("developer", s.Second().account.Address)
				for _, ask := range []struct{ method, path string }{
					{http.MethodGet, ""}, {http.MethodDelete, ""}, {http.MethodPost, "/rotate"}, {http.MethodPost, "/test"},
					{http.MethodGet, "/deliveries"},
				} {
					foreign := dev.call(ask.method, "/api/webhooks/"+id+ask.path, nil, Header("If-Match", `"1"`))
					foreign.ExpectProblem(http.StatusNotFound, "")
					none := dev.call(ask.method, "/api/webhooks/"+turned(id)+ask.path, nil, Header("If-Match", `"1"`))
					none.require(sameBut(foreign, none, id, turned(id)), "the same answer as to a foreign webhook", none.came())
				}
				dev.get("/api/webhooks?account="+s.account.Address).ExpectProblem(http.StatusNotFound, "")
				p.get("/api/webhooks/" + id).ExpectJSON(http.StatusOK)
			},
		},
	}
}
