package conform

import (
	"net/http"
	"reflect"
	"strings"
	"time"
)

func v1Verify() []Case {
	return append(append(verifyVerdicts(), verifyStates()...), verifySlots()...)
}

func verifyVerdicts() []Case {
	return []Case{
		{
			Requirement: "The right code, by the challenge's id, is valid, with id, verified_at and attempts.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				r := s.V1.Verify(code, byID(id)).ExpectValid()
				r.require(r.text("id") == id && !r.time("verified_at").IsZero() && r.number("attempts") >= 0,
					"id, verified_at and attempts", r.came())
			},
		},
		{
			Requirement: "The right code, by the recipient, is valid and names the challenge.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				r := s.V1.Verify(code, s.byTo()).ExpectValid()
				r.require(r.text("id") == id, "the id of the challenge", r.came())
			},
		},
		{
			Requirement: "The metadata of the challenge come back with the right code.",
			Run: func(s *Story) {
				metadata := map[string]any{"order": "o-" + s.ID()}
				id, code := s.challenged(Fields{"metadata": metadata})
				r := s.V1.Verify(code, byID(id)).ExpectValid()
				r.require(reflect.DeepEqual(r.document["metadata"], any(metadata)), "the metadata", r.came())
			},
		},
		{
			Requirement: "A wrong code is MISMATCH: with five attempts 4, 3, 2, 1 and 0 remain.",
			Source:      Client,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.guessWrongV1(code, byID(id), 4, 5)
			},
		},
		{
			Requirement: "After the last attempt every guess is MAX_ATTEMPTS, the right one too.",
			Source:      Client,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.guessWrongV1(code, byID(id), 4, 5)
				s.V1.Verify(rotated(code), byID(id)).ExpectReason("MAX_ATTEMPTS")
				s.V1.Verify(code, byID(id)).ExpectReason("MAX_ATTEMPTS")
			},
		},
		{
			Requirement: "The right code verifies with the fifth attempt.",
			Source:      Client,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.guessWrongV1(code, byID(id), 4, 4)
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "The account's max_attempts holds here too.",
			Settings:    Settings{"max_attempts": 2},
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.guessWrongV1(code, byID(id), 1, 2)
				s.V1.Verify(code, byID(id)).ExpectReason("MAX_ATTEMPTS")
			},
		},
		{
			Requirement: "attempts_remaining comes with MISMATCH alone: elsewhere its change would tell right from wrong.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				r := s.V1.Verify(code, byID(id)).ExpectValid()
				r.require(!r.has("attempts_remaining"), "no attempts_remaining", r.came())
				for _, guess := range []string{code, rotated(code)} {
					r := s.V1.Verify(guess, byID(id))
					r.require(!r.has("attempts_remaining"), "no attempts_remaining", r.came())
				}
				id, code = s.challenged(nil)
				s.guessWrongV1(code, byID(id), 4, 5)
				r = s.V1.Verify(code, byID(id))
				r.require(!r.has("attempts_remaining"), "no attempts_remaining", r.came())
			},
		},
		{
			Requirement: "The receipt is a JWS that a key of /.well-known/jwks.json has signed with EdDSA, and names the " +
				"challenge.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				r := s.V1.Verify(code, byID(id)).ExpectValid()
				keys := s.V1.Call(http.MethodGet, "/.well-known/jwks.json", "", NoKey)
				keys.require(keys.Status == http.StatusOK && keys.document != nil, "a set of keys", keys.came())
				payload, why := receiptPayload(r.text("receipt"), keys.document)
				r.require(why == "", "a receipt signed with a key of the set", why+": "+r.came())
				r.require(strings.Contains(payload, `"`+id+`"`), "the id in the receipt", "the receipt "+visible(payload))
			},
		},
		{
			Requirement: "A guess needs a code, and an id or a recipient; both are 400.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.Verify(code, Fields{"id": id, "to": s.To()}).ExpectProblem(http.StatusBadRequest, "")
				s.V1.Verify(code, nil).ExpectProblem(http.StatusBadRequest, "")
				s.V1.Verify(code, Fields{"id": id, "code": Without}).ExpectInvalid("/code")
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "Of many right guesses at once one is valid, and the others are ALREADY_VERIFIED.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				replies := s.atOnce(8, func() Reply { return s.V1.Verify(code, byID(id)) })
				s.expectVerdicts(replies, map[string]int{"valid": 1, "ALREADY_VERIFIED": 7})
			},
		},
		{
			Requirement: "Of many wrong guesses at once five are compared, and what remains reads 4, 3, 2, 1 and 0 once each.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				replies := s.atOnce(8, func() Reply { return s.V1.Verify(rotated(code), byID(id)) })
				s.expectVerdicts(replies, map[string]int{
					"MISMATCH 4": 1, "MISMATCH 3": 1, "MISMATCH 2": 1, "MISMATCH 1": 1, "MISMATCH 0": 1, "MAX_ATTEMPTS": 3,
				})
			},
		},
	}
}

func verifyStates() []Case {
	return []Case{
		{
			Requirement: "A used code is ALREADY_VERIFIED, whatever is guessed.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.Verify(code, byID(id)).ExpectValid()
				for range 6 {
					s.V1.Verify(rotated(code), byID(id)).ExpectReason("ALREADY_VERIFIED")
				}
				s.V1.Verify(code, byID(id)).ExpectReason("ALREADY_VERIFIED")
				s.V1.Verify(code, s.byTo()).ExpectReason("ALREADY_VERIFIED")
			},
		},
		{
			Requirement: "An expired code is EXPIRED, whatever is guessed.",
			Settings:    Settings{"otp_ttl_seconds": 300}, Needs: NeedsClock,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.Sandbox.Advance(300 * time.Second)
				for range 6 {
					s.V1.Verify(rotated(code), byID(id)).ExpectReason("EXPIRED")
				}
				s.V1.Verify(code, s.byTo()).ExpectReason("EXPIRED")
			},
		},
		{
			Requirement: "A code verifies until it expires, by the ttl that was asked for.",
			Settings:    Settings{"otp_ttl_seconds": 60}, Needs: NeedsClock,
			Run: func(s *Story) {
				inTime(2*time.Second, func() Reply {
					id, code := s.challenged(Fields{"ttl": 400})
					s.Sandbox.Advance(398 * time.Second)
					return s.V1.Verify(code, byID(id))
				}).ExpectValid()
			},
		},
		{
			Requirement: "More than an hour after it expired a challenge is NOT_FOUND.",
			Needs:       NeedsClock, Settings: Settings{"otp_ttl_seconds": 300},
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.Sandbox.Advance((300 + 3590) * time.Second)
				s.V1.Verify(code, byID(id)).ExpectReason("EXPIRED")
				s.Sandbox.Advance(11 * time.Second)
				s.V1.Verify(code, byID(id)).ExpectReason("NOT_FOUND")
				s.V1.Verify(code, s.byTo()).ExpectReason("NOT_FOUND")
			},
		},
		{
			Requirement: "An older challenge is REPLACED by its id, and a guess at it costs the new one nothing.",
			Run: func(s *Story) {
				old, before := s.challenged(nil)
				id, code := s.challenged(nil)
				for range 6 {
					s.V1.Verify(rotated(before), byID(old)).ExpectReason("REPLACED")
				}
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(4)
			},
		},
		{
			Requirement: "An older challenge that was used or cancelled keeps saying so.",
			Run: func(s *Story) {
				used, code := s.challenged(nil)
				s.V1.Verify(code, byID(used)).ExpectValid()
				cancelled, _ := s.challenged(nil)
				s.V1.Cancel(cancelled).ExpectJSON(http.StatusOK)
				s.V1.Send(nil).ExpectCreated()
				s.V1.Verify(code, byID(used)).ExpectReason("ALREADY_VERIFIED")
				s.V1.Verify(code, byID(cancelled)).ExpectReason("CANCELED")
			},
		},
		{
			Requirement: "By the recipient, the code that was replaced is a wrong one and charged to the new challenge.",
			Settings:    Settings{"otp_length": 10},
			Run: func(s *Story) {
				_, before := s.challenged(nil)
				s.V1.Send(nil).ExpectCreated()
				s.V1.Verify(before, s.byTo()).ExpectMismatch(4)
			},
		},
		{
			Requirement: "A recipient without a challenge, and an id that nobody has, are NOT_FOUND.",
			Run: func(s *Story) {
				s.V1.Verify("123456", s.byTo()).ExpectReason("NOT_FOUND")
				id, _ := s.challenged(nil)
				s.V1.Verify("123456", byID(turned(id))).ExpectReason("NOT_FOUND")
			},
		},
	}
}

func verifySlots() []Case {
	return []Case{
		{
			Requirement: "The challenge of another account is NOT_FOUND, by its id too, and costs nothing.",
			Needs:       NeedsSecond,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				other := s.Second()
				other.V1.Verify(code, byID(id)).ExpectReason("NOT_FOUND")
				other.V1.Verify(rotated(code), s.byTo()).ExpectReason("NOT_FOUND")
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(4)
			},
		},
		{
			Requirement: "A guess without the binding of its challenge, or with another, is NOT_FOUND and costs nothing.",
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"binding": Fields{"order": 1}})
				for _, at := range []Fields{byID(id), s.byTo()} {
					s.V1.Verify(code, at).ExpectReason("NOT_FOUND")
					for range 2 {
						at["binding"] = Fields{"order": 2}
						s.V1.Verify(rotated(code), at).ExpectReason("NOT_FOUND")
					}
				}
				s.V1.Verify(rotated(code), Fields{"id": id, "binding": Fields{"order": 1}}).ExpectMismatch(4)
				s.V1.Verify(code, Fields{"to": s.To(), "binding": Fields{"order": 1}}).ExpectValid()
			},
		},
		{
			Requirement: "Bindings are compared as RFC 8785 writes them: neither order nor spelling of numbers matters.",
			Run: func(s *Story) {
				send := `{"to":"` + s.To() + `","method":"sms","type":"verification","binding":{"b":[1.0,1e2],"a":"\u00e9"}}`
				r := s.V1.Call(http.MethodPost, "/v1/send", send).ExpectCreated()
				guess := `{"id":"` + r.text("id") + `","code":"` + s.Code() + `","binding": {"a":"é", "b":[1,100]} }`
				s.V1.Call(http.MethodPost, "/v1/verify", guess).ExpectValid()
			},
		},
		{
			Requirement: "A binding of null is none.",
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"binding": nil})
				s.V1.Verify(rotated(code), Fields{"to": s.To(), "binding": nil}).ExpectMismatch(4)
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "Challenges with different bindings live beside each other.",
			Settings:    Settings{"otp_length": 10},
			Run: func(s *Story) {
				first, one := s.challenged(Fields{"binding": "one"})
				_, two := s.challenged(Fields{"binding": "two"})
				s.V1.Verify(one, Fields{"to": s.To(), "binding": "two"}).ExpectMismatch(4)
				s.V1.Verify(one, Fields{"id": first, "binding": "one"}).ExpectValid()
				s.V1.Verify(two, Fields{"to": s.To(), "binding": "two"}).ExpectValid()
			},
		},
		{
			Requirement: "A guess with another type than the challenge's is NOT_FOUND and costs nothing.",
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"type": "transaction"})
				s.V1.Verify(code, Fields{"id": id, "type": "verification"}).ExpectReason("NOT_FOUND")
				s.V1.Verify(rotated(code), Fields{"to": s.To(), "type": "verification"}).ExpectReason("NOT_FOUND")
				s.V1.Verify(rotated(code), Fields{"id": id, "type": "transaction"}).ExpectMismatch(4)
				s.V1.Verify(code, Fields{"to": s.To(), "type": "transaction"}).ExpectValid()
			},
		},
		{
			Requirement: "A code that was sent with an ip verifies by the recipient with that ip only; by the id it needs none.",
			Settings:    Settings{"key_on_ip": true},
			Run: func(s *Story) {
				id, code := s.challenged(Fields{"ip": s.IP()})
				s.V1.Verify(code, s.byTo()).ExpectReason("NOT_FOUND")
				s.V1.Verify(code, Fields{"to": s.To(), "ip": otherIP}).ExpectReason("NOT_FOUND")
				s.V1.Verify(rotated(code), Fields{"to": s.To(), "ip": s.IP()}).ExpectMismatch(4)
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "A guess that names no type is at a verification: codes for anything else are NOT_FOUND to it, and " +
				"it costs nothing.",
			Settings: unlimited(nil),
			Run: func(s *Story) {
				for _, kind := range []string{"two_factor", "password_reset", "transaction"} {
					id, code := s.challenged(Fields{"type": kind})
					for _, at := range []Fields{byID(id), s.byTo()} {
						s.V1.Verify(code, at).ExpectReason("NOT_FOUND")
						s.V1.Verify(rotated(code), at).ExpectReason("NOT_FOUND")
					}
					s.V1.Verify(rotated(code), Fields{"to": s.To(), "type": kind}).ExpectMismatch(4)
					s.V1.Verify(code, Fields{"id": id, "type": kind}).ExpectValid()
				}
			},
		},
	}
}
