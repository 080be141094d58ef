package conform

import "net/http"

const replayedHeader = "Idempotent-Replayed"

func idempotent(key string) Option { return Header("Idempotency-Key", key) }

func v1Idempotency() []Case {
	return []Case{
		{
			Requirement: "The same Idempotency-Key and body get the first answer again, byte for byte, and " +
				"Idempotent-Replayed: true.",
			Run: func(s *Story) {
				first := s.V1.Send(nil, idempotent(s.ID())).ExpectCreated()
				again := s.V1.Send(nil, idempotent(s.ID()))
				again.require(again.Status == first.Status && again.Body == first.Body, first.came(), again.came())
				again.require(again.Header.Get("Location") == first.Header.Get("Location"), "the first answer's Location",
					"Location "+orNone(again.Header.Get("Location")))
				again.require(again.Header.Get(replayedHeader) == "true", replayedHeader+" true",
					replayedHeader+" "+orNone(again.Header.Get(replayedHeader)))
			},
		},
		{
			Requirement: "The first answer is not called a replay.",
			Run: func(s *Story) {
				r := s.V1.Send(nil, idempotent(s.ID())).ExpectCreated()
				r.require(r.Header.Get(replayedHeader) == "", "no "+replayedHeader, replayedHeader+" "+r.Header.Get(replayedHeader))
			},
		},
		{
			Requirement: "A request that is replayed sends once.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				for range 3 {
					s.V1.Send(nil, idempotent(s.ID())).ExpectCreated()
				}
				s.expectSent(1)
			},
		},
		{
			Requirement: "A replay leaves the challenge as it has become.",
			Run: func(s *Story) {
				id, code := s.challenged(nil, idempotent(s.ID()))
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(4)
				s.V1.Send(nil, idempotent(s.ID())).ExpectCreated()
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(3)
				s.V1.Verify(code, byID(id)).ExpectValid()
			},
		},
		{
			Requirement: "The same Idempotency-Key with another body is 422, and nothing is sent.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.V1.Send(nil, idempotent(s.ID())).ExpectCreated()
				s.V1.Send(Fields{"type": "transaction"}, idempotent(s.ID())).ExpectProblem(http.StatusUnprocessableEntity, "")
				s.expectSent(1)
			},
		},
		{
			Requirement: "Another Idempotency-Key, or none, is another request.",
			Run: func(s *Story) {
				first := s.V1.Send(nil, idempotent(s.ID())).ExpectCreated()
				for _, opts := range [][]Option{{idempotent("other-" + s.ID())}, nil} {
					r := s.V1.Send(nil, opts...).ExpectCreated()
					r.require(r.text("id") != first.text("id"), "another id", r.came())
				}
			},
		},
		{
			Requirement: "An Idempotency-Key belongs to its credential: another account's request with the same is its own.",
			Needs:       NeedsSecond,
			Run: func(s *Story) {
				first := s.V1.Send(nil, idempotent(s.ID())).ExpectCreated()
				r := s.Second().V1.Send(nil, idempotent(s.ID())).ExpectCreated()
				r.require(r.text("id") != first.text("id"), "another id", r.came())
			},
		},
		{
			Requirement: "Of many requests at once with one Idempotency-Key one sends; the others get its answer, or 409 " +
				"with Retry-After.",
			Needs: NeedsInbox,
			Run: func(s *Story) {
				ids := map[string]bool{}
				for _, r := range s.atOnce(6, func() Reply { return s.V1.Send(nil, idempotent(s.ID())) }) {
					if r.Status == http.StatusConflict {
						r.expectRetryAfter()
						continue
					}
					r.ExpectCreated()
					ids[r.text("id")] = true
				}
				s.Require(len(ids) == 1, "1 id", plural(len(ids), "id"))
				s.expectSent(1)
			},
		},
		{
			Requirement: "A resend with an Idempotency-Key is sent once and counted once.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				for range 2 {
					r := s.V1.Resend(id, nil, idempotent(s.ID())).ExpectJSON(http.StatusOK)
					r.require(r.number("resends_remaining") == 2, "resends_remaining 2", r.came())
				}
				s.expectSent(2)
			},
		},
	}
}
