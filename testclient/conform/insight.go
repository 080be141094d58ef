package conform

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

// The times within which an event is in the statistics, and an alert is raised.
const (
	countedWithin = 25 * time.Second
	warnedWithin  = 90 * time.Second
)

func insight() []Case {
	return []Case{
		{
			Requirement: "Statistics count what was sent, verified and guessed wrong.",
			Run: func(s *Story) {
				p := s.owner()
				_, key := p.keyed(trial())
				_, challenge, code := s.customer(key)
				s.V1.Verify(rotated(code), byID(challenge), Key(key)).ExpectReason("MISMATCH")
				s.V1.Verify(code, byID(challenge), Key(key)).ExpectValid()
				var r Reply
				s.await(countedWithin, func() bool {
					r = p.get("/api/statistics?by=channel&environment=test&account=" + s.account.Address)
					r.ExpectJSON(http.StatusOK)
					return slices.ContainsFunc(r.list("data"), func(line Fields) bool {
						return line["of"] == "sms" && line["sent"] == 1.0 && line["verified"] == 1.0 && line["wrong"] == 1.0
					})
				})
				r.require(r.holds("data", "of", "sms"), "a line of the channel sms", r.came())
				for _, line := range r.list("data") {
					for _, name := range []string{"sent", "verified", "wrong"} {
						r.require(line["of"] != "sms" || line[name] == 1.0, name+" 1", r.came())
					}
				}
			},
		},
		{
			Requirement: "A question that the statistics cannot answer is refused by the name of its parameter.",
			Run: func(s *Story) {
				p := s.owner()
				for query, name := range map[string]string{
					"by=weather": "by", "from=yesterday": "from", "environment=production": "environment",
					"from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": "from", "until=2026-01-01T00:00:00Z": "until",
				} {
					p.get("/api/statistics?" + query).ExpectParameter(name)
				}
			},
		},
		{
			Requirement: "The statistics of an account that somebody may not see are 404.",
			Run: func(s *Story) {
				p := s.owner()
				auditor := p.colleague("auditor", s.Second().account.Address)
				auditor.get("/api/statistics?account="+s.account.Address).ExpectProblem(http.StatusNotFound, "")
				p.get("/api/statistics?account=" + s.account.Address).ExpectJSON(http.StatusOK)
			},
		},
		{
			Requirement: "An account whose limits refuse 100 calls raises an alert, which notes who acknowledges it.",
			Settings:    Settings{"requests_per_minute": 1, "burst": 1},
			Run: func(s *Story) {
				p := s.owner()
				s.mustWait()
				for range 110 {
					s.V1.Call(http.MethodGet, "/v1/status?to="+url.QueryEscape(s.To()), "")
				}
				alert := func() (found Fields) {
					r := p.get("/api/alerts?limit=100").ExpectJSON(http.StatusOK)
					for _, a := range r.list("data") {
						if a["rule"] == "limit_violations" && a["account"] == s.account.Address {
							found = a
						}
					}
					return found
				}
				var raised Fields
				s.await(warnedWithin, func() bool {
					raised = alert()
					return raised != nil
				})
				s.Require(raised != nil, "an alert limit_violations of the account within "+warnedWithin.String(), "none")
				s.Require(raised["state"] == "raised" && raised["remedy"] != "" && raised["says"] != "",
					"the state raised, what it says and a remedy", shownMember(raised))
				path := "/api/alerts/" + shownMember(raised["id"]) + "/acknowledge"
				for range 2 {
					s.expectEmpty(p.post(path, nil))
				}
				raised = alert()
				s.Require(raised["state"] == "acknowledged" && raised["acknowledged_by"] == "Conform" &&
					raised["acknowledged_at"] != nil, "the state acknowledged, by whom and when", shownMember(raised))
			},
		},
		{
			Requirement: "An alert that nobody has is 404, and who lacks the permission is 403.",
			Run: func(s *Story) {
				p := s.owner()
				dev := p.colleague("developer", s.account.Address)
				path := "/api/alerts/alr_00000000000000000000000000/acknowledge"
				p.post(path, nil).ExpectProblem(http.StatusNotFound, "")
				dev.post(path, nil).ExpectProblem(http.StatusForbidden, "PERMISSION_DENIED")
			},
		},
		{
			Requirement: "Each item of the checklist is ok, attention or manual, and all but ok say why and what to do.",
			Run: func(s *Story) {
				r := s.owner().get("/api/checklist").ExpectJSON(http.StatusOK)
				items := r.list("data")
				r.require(len(items) >= 12, "12 items or more", r.came())
				for _, item := range items {
					known := slices.Contains([]any{"ok", "attention", "manual"}, item["state"])
					r.require(known && item["name"] != "" && item["what"] != "", "items with name, what and state",
						shownMember(item))
					r.require(item["state"] == "ok" || item["reason"] != "" && item["remedy"] != "",
						"a reason and a remedy", shownMember(item))
				}
			},
		},
		{
			Requirement: "A review notes who looked at an item of the checklist, and one that does not exist is 404.",
			Run: func(s *Story) {
				p := s.owner()
				note := "looked at by " + s.ID()
				s.expectEmpty(p.post("/api/checklist/csrf/review", Fields{"note": note}))
				r := p.get("/api/checklist").ExpectJSON(http.StatusOK)
				for _, item := range r.list("data") {
					r.require(item["name"] != "csrf" || item["note"] == note && item["reviewed_by"] == "Conform" &&
						item["review_due"] == false, "the note, by whom, and review_due false", shownMember(item))
				}
				r.require(r.holds("data", "name", "csrf"), "the item csrf", r.came())
				p.post("/api/checklist/weather/review", Fields{"note": note}).ExpectProblem(http.StatusNotFound, "")

			},
		},
	}
}
