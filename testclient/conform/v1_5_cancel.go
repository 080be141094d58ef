package conform

import "net/http"

func v1Cancel() []Case {
	return []Case{
		{
			Requirement: "A challenge that is called off is 200, and then CANCELED, whatever is guessed.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.ExpectJSON(s.CancelV1(id), http.StatusOK)
				for range 6 {
					s.ExpectReason(s.VerifyV1(rotated(code), byID(id)), "CANCELED")
				}
				s.ExpectReason(s.VerifyV1(code, s.byTo()), "CANCELED")
			},
		},
		{
			Requirement: "The answer to a cancellation is the challenge, with the status canceled.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				r := s.CancelV1(id)
				s.ExpectJSON(r, http.StatusOK)
				r.require(r.text("id") == id && r.text("status") == "canceled", "the id and the status canceled", r.came())
			},
		},
		{
			Requirement: "A new code can be sent after a cancellation.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.ExpectJSON(s.CancelV1(id), http.StatusOK)
				next, code := s.challenged(nil)
				s.ExpectValid(s.VerifyV1(code, byID(next)))
			},
		},
		{
			Requirement: "A cancellation gives no send back.",
			Source:      Choice, Level: May, Settings: Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.ExpectJSON(s.CancelV1(id), http.StatusOK)
				s.ExpectProblem(s.SendV1(nil), http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
			},
		},
		{
			Requirement: "What is called off is one challenge, not those of other recipients or bindings.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				bound, code := s.challenged(Fields{"binding": "kept"})
				s.ExpectJSON(s.CancelV1(id), http.StatusOK)
				s.ExpectValid(s.VerifyV1(code, Fields{"id": bound, "binding": "kept"}))
			},
		},
		{
			Requirement: "An id that nobody has, or another account has, is 404, and the challenge lives on.",
			Source:      Choice, Level: May, Needs: NeedsSecond,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.ExpectProblem(s.CancelV1(turned(id)), http.StatusNotFound, "")
				s.ExpectProblem(s.Second().CancelV1(id), http.StatusNotFound, "")
				s.ExpectValid(s.VerifyV1(code, byID(id)))
			},
		},
		{
			Requirement: "A cancellation needs an id or a recipient, and not both.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.ExpectInvalid(s.CancelByV1(nil), "/id")
				s.ExpectProblem(s.CancelByV1(Fields{"id": id, "to": s.To()}), http.StatusBadRequest, "")
				s.ExpectValid(s.VerifyV1(code, byID(id)))
			},
		},
		{
			Requirement: "By its recipient the newest challenge is called off, if ip, binding and type are the same as a " +
				"guess would have to name.",
			Source: Choice, Level: May, Settings: Settings{"key_on_ip": true},
			Run: func(s *Story) {
				full := Fields{"to": s.To(), "ip": s.IP(), "binding": Fields{"order": 1}, "type": "transaction"}
				id, _ := s.challenged(full)
				for name, other := range map[string]any{"ip": otherIP, "binding": Fields{"order": 2}, "type": "verification"} {
					s.ExpectProblem(s.CancelByV1(with(full, name, other)), http.StatusNotFound, "")
					s.ExpectProblem(s.CancelByV1(with(full, name, Without)), http.StatusNotFound, "")
				}
				r := s.CancelByV1(full)
				s.ExpectJSON(r, http.StatusOK)
				r.require(r.text("id") == id && r.text("status") == "canceled", "the id and the status canceled", r.came())
			},
		},
	}
}
