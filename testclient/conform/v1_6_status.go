package conform

import (
	"net/http"
	"reflect"
	"strings"
	"time"
)

func v1Status() []Case {
	return []Case{
		{
			Requirement: "The status of a challenge is the challenge, its recipient masked.",
			Run: func(s *Story) {
				metadata := map[string]any{"user_id": "user_" + s.ID()}
				sent := s.V1.Send(Fields{"metadata": metadata}).ExpectCreated()
				r := s.V1.Status(sent.text("id")).ExpectJSON(http.StatusOK)
				for _, name := range []string{"id", "to", "method", "type", "created_at", "expires_at"} {
					r.require(r.has(name) && reflect.DeepEqual(r.document[name], sent.document[name]),
						"the member "+name+" as the send answered it", r.came())
				}
				r.require(reflect.DeepEqual(r.document["metadata"], any(metadata)), "the metadata", r.came())
			},
		},
		{
			Requirement: "A status does not hold the code.",
			Settings:    Settings{"otp_length": 10},
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				r := s.V1.Status(id).ExpectJSON(http.StatusOK)
				r.require(!strings.Contains(r.Body, code), "no code", "the code")
			},
		},
		{
			Requirement: "Asking for the status burns no attempt.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				for range 6 {
					s.V1.Status(id).ExpectJSON(http.StatusOK)
				}
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(4)
			},
		},
		{
			Requirement: "While a challenge is live its status tells the attempts left.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.Verify(rotated(code), byID(id)).ExpectMismatch(4)
				r := s.V1.Status(id).ExpectJSON(http.StatusOK)
				r.require(r.number("attempts_remaining") == 4, "attempts_remaining 4", r.came())
			},
		},
		{
			Requirement: "Of a challenge that is not live any more no attempts are told.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				s.V1.Verify(code, byID(id)).ExpectValid()
				r := s.V1.Status(id).ExpectJSON(http.StatusOK)
				r.require(!r.has("attempts_remaining"), "no attempts_remaining", r.came())
			},
		},
		{
			Requirement: "The status tells verified, and when.",
			Run: func(s *Story) {
				id, code := s.challenged(nil)
				before := s.V1.Status(id).ExpectJSON(http.StatusOK)
				before.require(before.text("status") != "" && before.text("status") != "verified", "another status than verified",
					before.came())
				s.V1.Verify(code, byID(id)).ExpectValid()
				r := s.V1.Status(id).ExpectJSON(http.StatusOK)
				r.require(r.text("status") == "verified" && !r.time("verified_at").IsZero(),
					"the status verified, and verified_at", r.came())
			},
		},
		{
			Requirement: "The status tells expired, canceled and replaced.",
			Needs:       NeedsClock,
			Run: func(s *Story) {
				replaced, _ := s.challenged(nil)
				canceled, _ := s.challenged(nil)
				s.V1.Cancel(canceled).ExpectJSON(http.StatusOK)
				expired, _ := s.challenged(nil)
				s.Sandbox.Advance(301 * time.Second)
				for _, one := range []struct{ id, status string }{{replaced, "replaced"}, {canceled, "canceled"},
					{expired, "expired"}} {
					r := s.V1.Status(one.id).ExpectJSON(http.StatusOK)
					r.require(r.text("status") == one.status, "the status "+one.status, r.came())
				}
			},
		},
		{
			Requirement: "There is no status of an id that nobody has, or another account has: 404.",
			Needs:       NeedsSecond,
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.V1.Status(turned(id)).ExpectProblem(http.StatusNotFound, "")
				s.Second().V1.Status(id).ExpectProblem(http.StatusNotFound, "")
			},
		},
		{
			Requirement: "Without a credential there is no status.",
			Run: func(s *Story) {
				id, _ := s.challenged(nil)
				s.V1.Status(id, NoKey).ExpectProblem(http.StatusUnauthorized, "AUTH_003")
			},
		},
		{
			Requirement: "By its recipient the newest challenge has its status, if ip and type are the same as a guess would " +
				"have to name.",
			Settings: Settings{"key_on_ip": true},
			Run: func(s *Story) {
				s.challenged(nil)
				id, _ := s.challenged(nil)
				r := s.V1.StatusBy(s.byTo()).ExpectJSON(http.StatusOK)
				r.require(r.text("id") == id, "the id of the newest challenge", r.came())
				full := Fields{"to": s.To(), "ip": s.IP(), "type": "transaction"}
				id, _ = s.challenged(full)
				for name, other := range map[string]any{"ip": otherIP, "type": "two_factor"} {
					s.V1.StatusBy(with(full, name, other)).ExpectProblem(http.StatusNotFound, "")
				}
				s.V1.StatusBy(Fields{"to": s.To(), "ip": s.IP()}).ExpectProblem(http.StatusNotFound, "")
				s.V1.StatusBy(Fields{"to": "+" + emirati}).ExpectProblem(http.StatusNotFound, "")
				r = s.V1.StatusBy(full).ExpectJSON(http.StatusOK)
				r.require(r.text("id") == id, "the id of the newest challenge", r.came())
			},
		},
		{
			Requirement: "A status needs an id in the path, or a recipient in the query.",
			Run: func(s *Story) {
				s.challenged(nil)
				s.V1.StatusBy(nil).ExpectProblem(http.StatusBadRequest, "")
				s.V1.StatusBy(Fields{"to": s.To(), "unknown": "1"}).ExpectProblem(http.StatusBadRequest, "")
			},
		},
	}
}
