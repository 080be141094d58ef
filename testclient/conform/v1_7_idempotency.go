package conform

import "net/http"

const replayedHeader = "Idempotent-Replayed"

func idempotent(key string) Option { return Header("Idempotency-Key", key) }

func v1Idempotency() []Case {
	return []Case{
		{
			Requirement: "The same Idempotency-Key and body get the first answer again, byte for byte, and " +
				"Idempotent-Replayed: true.",
			Source: Choice, Level: May,
			Run: func(s *Story) {
				first := s.SendV1(nil, idempotent(s.ID()))
				s.ExpectCreated(first)
				again := s.SendV1(nil, idempotent(s.ID()))
				again.require(again.Status == first.Status && again.Body == first.Body, first.came(), again.came())
				again.require(again.Header.Get("Location") == first.Header.Get("Location"), "the first answer's Location",
					"Location "+orNone(again.Header.Get("Location")))
				again.require(again.Header.Get(replayedHeader) == "true", replayedHeader+" true",
					replayedHeader+" "+orNone(again.Header.Get(replayedHeader)))
			},
		},
		{
			Requirement: "The first answer is not called a replay.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				r := s.SendV1(nil, idempotent(s.ID()))
				s.ExpectCreated(r)
				r.require(r.Header.Get(replayedHeader) == "", "no "+replayedHeader, replayedHeader+" "+r.Header.Get(replayedHeader))
			},
		},
		{
			Requirement: "A request that is replayed sends once.",
			Source:      Choice, Level: May, Needs: NeedsInbox,
			Run: func(s *Story) {
				for range 3 {
					s.ExpectCreated(s.SendV1(nil, idempotent(s.ID())))
				}
				s.expectSent(1)
			},
		},
		{
			Requirement: "A replay leaves the challenge as it has become.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				id, code := s.challenged(nil, idempotent(s.ID()))
				s.ExpectMismatch(s.VerifyV1(rotated(code), byID(id)), 4)
				s.ExpectCreated(s.SendV1(nil, idempotent(s.ID())))
				s.ExpectMismatch(s.VerifyV1(rotated(code), byID(id)), 3)
				s.ExpectValid(s.VerifyV1(code, byID(id)))
			},
		},
		{
			Requirement: "The same Idempotency-Key with another body is 422, and nothing is sent.",
			Source:      Choice, Level: May, Needs: NeedsInbox,
			Run: func(s *Story) {
				s.ExpectCreated(s.SendV1(nil, idempotent(s.ID())))
				s.ExpectProblem(s.SendV1(Fields{"type": "transaction"}, idempotent(s.ID())), http.StatusUnprocessableEntity, "")
				s.expectSent(1)
			},
		},
		{
			Requirement: "Another Idempotency-Key, or none, is another request.",
			Source:      Choice, Level: May,
			Run: func(s *Story) {
				first := s.SendV1(nil, idempotent(s.ID()))
				s.ExpectCreated(first)
				for _, opts := range [][]Option{{idempotent("other-" + s.ID())}, nil} {
					r := s.SendV1(nil, opts...)
					s.ExpectCreated(r)
					r.require(r.text("id") != first.text("id"), "another id", r.came())
				}
			},
		},
		{
			Requirement: "An Idempotency-Key belongs to its credential: another account's request with the same is its own.",
			Source:      Choice, Level: May, Needs: NeedsSecond,
			Run: func(s *Story) {
				first := s.SendV1(nil, idempotent(s.ID()))
				s.ExpectCreated(first)
				r := s.Second().SendV1(nil, idempotent(s.ID()))
				s.ExpectCreated(r)
				r.require(r.text("id") != first.text("id"), "another id", r.came())
			},
		},
		{
			Requirement: "Of many requests at once with one Idempotency-Key one sends; the others get its answer, or 409 " +
				"with Retry-After.",
			Source: Choice, Level: May, Needs: NeedsInbox,
			Run: func(s *Story) {
				ids := map[string]bool{}
				for _, r := range s.atOnce(6, func() Reply { return s.SendV1(nil, idempotent(s.ID())) }) {
					if r.Status == http.StatusConflict {
						r.expectRetryAfter()
						continue
					}
					s.ExpectCreated(r)
					ids[r.text("id")] = true
				}
				s.Require(len(ids) == 1, "1 id", plural(len(ids), "id"))
				s.expectSent(1)
			},
		},
		{
			Requirement: "A resend with an Idempotency-Key is sent once and counted once.",
			Source:      Choice, Level: May, Needs: NeedsInbox,
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				for range 2 {
					r := s.ResendV1(id, nil, idempotent(s.ID()))
					s.ExpectJSON(r, http.StatusOK)
					r.require(r.number("resends_remaining") == 2, "resends_remaining 2", r.came())
				}
				s.expectSent(2)
			},
		},
	}
}
