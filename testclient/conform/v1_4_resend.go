package conform

import (
	"net/http"
	"strconv"
	"time"
)

func v1Resend() []Case {
	return []Case{
		{
			Requirement: "The same code is sent again.",
			Settings:    Settings{"otp_length": 10}, Needs: NeedsInbox,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.Resend(id, nil).ExpectJSON(http.StatusOK)
				s.expectSent(2)
				s.Require(s.Code() == code, "the same code", "another")
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "A code that was sent again expires when it would have.",
			Settings:    Settings{"otp_ttl_seconds": 300}, Needs: NeedsClock,
			Run: func(s *Story) {
				first := s.V1.Send(nil).ExpectCreated()
				s.Sandbox.Advance(200 * time.Second)
				again := s.V1.Resend(first.text("id"), nil).ExpectJSON(http.StatusOK)
				again.require(again.time("expires_at").Equal(first.time("expires_at")), "expires_at "+first.text("expires_at"),
					again.came())
				s.Sandbox.Advance(100 * time.Second)
				s.V1.Verify("123456", s.byTo()).ExpectReason("EXPIRED")
			},
		},
		{
			Requirement: "A resend gives no attempt back.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.guessWrongV1(code, byID(id), 4, 2)
				s.V1.Resend(id, nil).ExpectJSON(http.StatusOK)
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(2)
			},
		},
		{
			Requirement: "Three resends succeed, each leaves one fewer, and the fourth is refused with 409 or 429.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				for left := 2; left >= 0; left-- {
					r := s.V1.Resend(id, nil).ExpectJSON(http.StatusOK)
					r.require(r.number("resends_remaining") == left, "resends_remaining "+strconv.Itoa(left), r.came())
				}
				s.expectNoResend(s.V1.Resend(id, nil))
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "A resend is a send: it counts in the recipient's minute, and waits where that is full.",
			Settings:    Settings{"sends_per_minute": 2},
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.V1.Resend(id, nil).ExpectJSON(http.StatusOK)
				s.V1.Resend(id, nil).ExpectProblem(http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
				s.V1.Send(nil).ExpectProblem(http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
			},
		},
		{
			Requirement: "A resend may go by another method.",
			Settings:    Settings{"email_enabled": true, "otp_length": 10}, Needs: NeedsInbox,
			Run: func(s *Story) {
				r := s.V1.Send(Fields{"email": s.Email()}).ExpectCreated()
				s.V1.Resend(r.text("id"), Fields{"method": "email"}).ExpectJSON(http.StatusOK)
				messages := s.Sandbox.Messages()
				s.Require(len(messages) == 2, "2 messages in the inbox", plural(len(messages), "message"))
				s.Require(messages[0].To == s.Email() && messages[1].To != s.Email() && messages[0].Code == messages[1].Code,
					"the code to the mailbox after the one to the number", "messages to "+messages[1].To+" and then "+
						"to "+messages[0].To)
			},
		},
		{
			Requirement: "A code that is used, expired, cancelled, replaced or out of attempts is not sent again.",
			Settings:    unlimited(nil), Needs: NeedsClock | NeedsInbox,
			Run: func(s *Story) {
				used, code := s.challenged(nil)
				s.V1.Verify(code, byID(used)).ExpectValid()
				s.V1.Resend(used, nil).ExpectRefused()
				cancelled, _ := s.challenged(nil)
				s.V1.Cancel(cancelled).ExpectJSON(http.StatusOK)
				s.V1.Resend(cancelled, nil).ExpectRefused()
				replaced, _ := s.challenged(nil)
				spent, code := s.challenged(nil)
				s.V1.Resend(replaced, nil).ExpectRefused()
				s.guessWrongV1(code, byID(spent), 4, 5)
				s.V1.Resend(spent, nil).ExpectRefused()
				expired, _ := s.challenged(nil)
				s.Sandbox.Advance(301 * time.Second)
				s.V1.Resend(expired, nil).ExpectRefused()
				s.expectSent(5)
			},
		},
		{
			Requirement: "There is no resend of an id that nobody has, or another account has: 404.",
			Needs:       NeedsSecond,
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.V1.Resend(turned(id), nil).ExpectProblem(http.StatusNotFound, "")
				s.Second().V1.Resend(id, nil).ExpectProblem(http.StatusNotFound, "")
			},
		},
		{
			Requirement: "By its recipient the newest code is sent again, if ip, binding and type are the same as a guess " +
				"would have to name.",
			Settings: unlimited(Settings{"otp_length": 10, "key_on_ip": true}), Needs: NeedsInbox,
			Run: func(s *Story) {
				s.challenged(nil)
				id, code := s.challenged(nil)
				r := s.V1.ResendBy(s.byTo()).ExpectJSON(http.StatusOK)
				r.require(r.text("id") == id, "the id of the newest challenge", r.came())
				s.Require(s.Code() == code, "the same code", "another")
				full := Fields{"to": s.To(), "ip": s.IP(), "binding": Fields{"order": 1}, "type": "transaction"}
				id, _ = s.challenged(full)
				for name, other := range map[string]any{"ip": otherIP, "binding": Fields{"order": 2}, "type": "verification",
					"to": "+" + emirati} {
					for _, value := range []any{other, Without} {
						if name == "to" && value == Without {
							continue
						}
						s.V1.ResendBy(with(full, name, value)).ExpectProblem(http.StatusNotFound, "")
					}
				}
				r = s.V1.ResendBy(full).ExpectJSON(http.StatusOK)
				r.require(r.text("id") == id, "the id of the newest challenge", r.came())
				s.expectSent(5)
			},
		},
		{
			Requirement: "A resend needs an id or a recipient, and not both.",
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.V1.ResendBy(Fields{"id": id, "to": s.To()}).ExpectProblem(http.StatusBadRequest, "")
				s.V1.ResendBy(nil).ExpectProblem(http.StatusBadRequest, "")
			},
		},
	}
}

// expectNoResend requires the refusal of a resend beyond the limit. Waiting does not help, so the refusal need not be
// a rate limit.
func (s *Story) expectNoResend(r Reply) {
	r.require(r.Status == http.StatusConflict || r.Status == http.StatusTooManyRequests, "status 409 or 429", r.came())
	r.ExpectRefused()
}
