package conform

import "net/http"

func v1Cancel() []Case {
	return []Case{
		{
			Requirement: "A challenge that is called off is 200, and then CANCELED, whatever is guessed.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.Cancel(id).ExpectJSON(http.StatusOK)
				for range 6 {
					s.V1.Verify(rotated(code), byID(id)).ExpectReason("CANCELED")
				}
				s.V1.Verify(code, s.byTo()).ExpectReason("CANCELED")
			},
		},
		{
			Requirement: "The answer to a cancellation is the challenge, with the status canceled.",
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				r := s.V1.Cancel(id).ExpectJSON(http.StatusOK)
				r.require(r.text("id") == id && r.text("status") == "canceled", "the id and the status canceled", r.came())
			},
		},
		{
			Requirement: "A new code can be sent after a cancellation.",
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.V1.Cancel(id).ExpectJSON(http.StatusOK)
				next, code := s.challenged(nil)
				s.V1.Verify(code, byID(next)).ExpectValid()
			},
		},
		{
			Requirement: "A cancellation gives no send back.",
			Settings:    Settings{"sends_per_minute": 1},
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.V1.Cancel(id).ExpectJSON(http.StatusOK)
				s.V1.Send(nil).ExpectProblem(http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
			},
		},
		{
			Requirement: "What is called off is one challenge, not those of other recipients or bindings.",
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				bound, code := s.challenged(Fields{"binding": "kept"})
				s.V1.Cancel(id).ExpectJSON(http.StatusOK)
				s.V1.Verify(code, Fields{"id": bound, "binding": "kept"}).ExpectValid()
			},
		},
		{
			Requirement: "An id that nobody has, or another account has, is 404, and the challenge lives on.",
			Needs:       NeedsSecond,
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.Cancel(turned(id)).ExpectProblem(http.StatusNotFound, "")
				s.Second().V1.Cancel(id).ExpectProblem(http.StatusNotFound, "")
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "A cancellation needs an id or a recipient, and not both.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.CancelBy(nil).ExpectInvalid("/id")
				s.V1.CancelBy(Fields{"id": id, "to": s.To()}).ExpectProblem(http.StatusBadRequest, "")
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "By its recipient the newest challenge is called off, if ip, binding and type are the same as a " +
				"guess would have to name.",
			Settings: Settings{"key_on_ip": true},
			Run: func(s *Story) {
				full := Fields{"to": s.To(), "ip": s.IP(), "binding": Fields{"order": 1}, "type": "transaction"}
				id, _ := s.challenged(full)
				for name, other := range map[string]any{"ip": otherIP, "binding": Fields{"order": 2}, "type": "verification"} {
					s.V1.CancelBy(with(full, name, other)).ExpectProblem(http.StatusNotFound, "")
					s.V1.CancelBy(with(full, name, Without)).ExpectProblem(http.StatusNotFound, "")
				}
				r := s.V1.CancelBy(full).ExpectJSON(http.StatusOK)
				r.require(r.text("id") == id && r.text("status") == "canceled", "the id and the status canceled", r.came())
			},
		},
	}
}
