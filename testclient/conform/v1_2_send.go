package conform

import (
	"net/http"
	"reflect"
	"strings"
	"time"
)

func v1Send() []Case {
	both := Settings{"email_enabled": true}
	return []Case{
		{
			Requirement: "Recipient, method and type are enough, and the code arrives there.",
			Source:      Client,
			Run: func(s *Story) {
				s.V1.Send(nil).ExpectCreated()
				s.Require(isCode(s.Code()), "a code in the message", "none")
			},
		},
		{
			Requirement: "The answer is 201 with id, to, method, type, status, created_at, expires_at, attempts_remaining " +
				"and resends_remaining.",
			Run: func(s *Story) {
				r := s.V1.Send(Fields{"type": "two_factor"}).ExpectCreated()
				for _, name := range []string{"id", "to", "method", "type", "status", "created_at", "expires_at",
					"attempts_remaining", "resends_remaining"} {
					r.require(r.has(name), "the member "+name, r.came())
				}
				r.require(r.text("method") == "sms" && r.text("type") == "two_factor", "the method and type that were asked for",
					r.came())
			},
		},
		{
			Requirement: "Location leads to the status of the challenge.",
			Run: func(s *Story) {
				r := s.V1.Send(nil).ExpectCreated()
				location := strings.TrimPrefix(r.Header.Get("Location"), s.target.Root)
				r.require(location == "/v1/status/"+r.text("id"), "Location /v1/status/ and the id", "Location "+orNone(location))
			},
		},
		{
			Requirement: "The recipient is masked in the answer.",
			Run: func(s *Story) {
				r := s.V1.Send(nil).ExpectCreated()
				r.require(r.text("to") != "" && !strings.Contains(onlyDigits(r.text("to")), s.mobile[4:]) &&
					!strings.Contains(r.text("to"), s.mobile),
					"to without most of its digits", "the number "+r.text("to"))
			},
		},
		{
			Requirement: "The answer does not hold the code.",
			Settings:    Settings{"otp_length": 10},
			Run: func(s *Story) {
				r := s.V1.Send(nil).ExpectCreated()
				code := s.Code()
				r.require(!strings.Contains(r.Body, code), "no code", "the code")
			},
		},
		{
			Requirement: "A code has five attempts.",
			Source:      Client,
			Run: func(s *Story) {
				r := s.V1.Send(nil).ExpectCreated()
				r.require(r.number("attempts_remaining") == 5, "attempts_remaining 5", r.came())
			},
		},
		{
			Requirement: "A code can be resent three times.",
			Run: func(s *Story) {
				r := s.V1.Send(nil).ExpectCreated()
				r.require(r.number("resends_remaining") == 3, "resends_remaining 3", r.came())
			},
		},
		{
			Requirement: "A code lives 300 seconds, or what the account says.",
			Settings:    Settings{"otp_ttl_seconds": 240},
			Run:         func(s *Story) { s.expectLife(s.V1.Send(nil), 240*time.Second) },
		},
		{
			Requirement: "The ttl that is asked for is the code's life.",
			Settings:    Settings{"otp_ttl_seconds": 60},
			Run:         func(s *Story) { s.expectLife(s.V1.Send(Fields{"ttl": 450}), 450*time.Second) },
		},
		{
			Requirement: "A ttl over 600 is cut to 600, and expires_at says so.",
			Run:         func(s *Story) { s.expectLife(s.V1.Send(Fields{"ttl": 3600}), 600*time.Second) },
		},
		{
			Requirement: "A ttl under 30 is 400.",
			Run: func(s *Story) {
				for _, ttl := range []int{29, 0, -1} {
					s.V1.Send(Fields{"ttl": ttl}).ExpectInvalid("/ttl")
				}
			},
		},
		{
			Requirement: "The code is as long as is asked for.",
			Run: func(s *Story) {
				_, code := s.challenged(Fields{"length": 8})
				s.Require(len(code) == 8, "a code of 8 digits", plural(len(code), "digit"))
			},
		},
		{
			Requirement: "Without a length the code is as long as the account's.",
			Settings:    Settings{"otp_length": 7},
			Run: func(s *Story) {
				_, code := s.challenged(nil)
				s.Require(len(code) == 7, "a code of 7 digits", plural(len(code), "digit"))
			},
		},
		{
			Requirement: "A length over 10, or under the account's, is 400.",
			Settings:    Settings{"otp_length": 6},
			Run: func(s *Story) {
				for _, length := range []int{11, 5, 3} {
					s.V1.Send(Fields{"length": length}).ExpectInvalid("/length")
				}
			},
		},
		{
			Requirement: "The method email sends to the mailbox in email, where to is a number.",
			Settings:    both, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.V1.Send(Fields{"method": "email", "email": s.Email()}).ExpectCreated()
				s.expectRecipients(s.Email())
			},
		},
		{
			Requirement: "A mailbox is a recipient of its own.",
			Settings:    both, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.V1.Send(Fields{"method": "email", "to": s.Email()}).ExpectCreated()
				s.expectRecipients(s.Email())
				code := s.Code(Mobile(""), Email(s.Email()))
				s.V1.Verify(code, s.byTo()).ExpectReason("NOT_FOUND")
				s.V1.Verify(code, Fields{"to": s.Email()}).ExpectValid()
			},
		},
		{
			Requirement: "A missing to, method or type is 400 and named.",
			Run: func(s *Story) {
				for _, name := range []string{"to", "method", "type"} {
					s.V1.Send(Fields{name: Without}).ExpectInvalid("/" + name)
				}
			},
		},
		{
			Requirement: "A recipient that is neither a number with its country nor a mailbox is 400 and named.",
			Run: func(s *Story) {
				for _, to := range []string{"+12", "nobody", "nobody@", "+9198x65432101", ""} {
					s.V1.Send(Fields{"to": to}).ExpectInvalid("/to")
				}
			},
		},
		{
			Requirement: "A number of a country that the account does not serve is 400 and named.",
			Settings:    Settings{"countries": []string{"AE"}},
			Run: func(s *Story) {
				s.V1.Send(nil).ExpectInvalid("/to")
				s.V1.Send(Fields{"to": "+" + emirati}).ExpectCreated()
			},
		},
		{
			Requirement: "A method or type that the call does not know is 400 and named.",
			Run: func(s *Story) {
				s.V1.Send(Fields{"method": "pigeon"}).ExpectInvalid("/method")
				s.V1.Send(Fields{"type": "small talk"}).ExpectInvalid("/type")
			},
		},
		{
			Requirement: "The types are verification, two_factor, password_reset and transaction.",
			Run: func(s *Story) {
				for _, kind := range []string{"verification", "two_factor", "password_reset", "transaction"} {
					r := s.V1.Send(Fields{"type": kind}).ExpectCreated()
					r.require(r.text("type") == kind, "the type "+kind, r.came())
				}
			},
		},
		{
			Requirement: "Metadata come back as they were given.",
			Run: func(s *Story) {
				metadata := map[string]any{"user_id": "user_" + s.ID(),
					"nested": map[string]any{"list": []any{1.5, true, nil, "é"}}}
				r := s.V1.Send(Fields{"metadata": metadata}).ExpectCreated()
				r.require(reflect.DeepEqual(r.document["metadata"], any(metadata)), "the metadata", r.came())
			},
		},
		{
			Requirement: "Metadata over 1 KiB are 400 and named.",
			Run: func(s *Story) {
				s.V1.Send(Fields{"metadata": Fields{"note": strings.Repeat("x", 1000)}}).ExpectCreated()
				s.V1.Send(Fields{"metadata": Fields{"note": strings.Repeat("x", 1025)}}).ExpectInvalid("/metadata")
			},
		},
		{
			Requirement: "A list of methods to fall back to is taken, and a method in it that the call does not know is 400.",
			Settings:    both,
			Run: func(s *Story) {
				s.V1.Send(Fields{"fallback": []string{"email"}, "email": s.Email()}).ExpectCreated()
				s.V1.Send(Fields{"fallback": []string{"pigeon"}, "email": s.Email()}).ExpectInvalid("/fallback")
			},
		},
		{
			Requirement: "A new code for a recipient replaces the one before.",
			Run: func(s *Story) {
				old, before := s.challenged(nil)
				id, code := s.challenged(nil)
				s.V1.Verify(before, byID(old)).ExpectReason("REPLACED")
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "A send that is refused leaves the code before as it is.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.Send(Fields{"ttl": 1}).ExpectRefused()
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "What surely reached nobody is not counted as a send.",
			Settings:    Settings{"sends_per_minute": 1}, Needs: NeedsFaults,
			Run: func(s *Story) {
				s.Sandbox.Fault("not_sent", 1)
				r := s.V1.Send(nil)
				r.require(r.Status != http.StatusTooManyRequests, "a send", r.came())
				// The answer does not wait for channels: the failure and the refund may come later.
				again := s.V1.Send(nil)
				for deadline := time.Now().Add(2 * time.Second); again.Status == http.StatusTooManyRequests &&
					time.Now().Before(deadline); {
					time.Sleep(50 * time.Millisecond)
					again = s.V1.Send(nil)
				}
				again.ExpectCreated()
				s.V1.Send(nil).ExpectProblem(http.StatusTooManyRequests, "")
			},
		},
		{
			Requirement: "A mailbox is one in every letter case.",
			Settings:    both,
			Run: func(s *Story) {
				s.V1.Send(Fields{"method": "email", "to": "Box-" + s.Email()}).ExpectCreated()
				code := s.Code(Mobile(""), Email("box-"+s.Email()))
				s.V1.Verify(code, Fields{"to": "box-" + strings.ToUpper(s.Email())}).ExpectValid()
			},
		},
		{
			Requirement: "An ip of more than 64 characters is 400 and named.",
			Run: func(s *Story) {
				s.V1.Send(Fields{"ip": strings.Repeat("1", 65)}).ExpectInvalid("/ip")
				s.V1.Send(Fields{"ip": strings.Repeat("1", 64)}).ExpectCreated()
			},
		},
	}
}

// expectLife requires a challenge with that lifetime.
func (s *Story) expectLife(r Reply, life time.Duration) {
	r.ExpectCreated()
	lives := r.time("expires_at").Sub(r.time("created_at")).Round(time.Second)
	r.require(lives == life, "expires_at "+life.String()+" after created_at", "a life of "+lives.String())
}
