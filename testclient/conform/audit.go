package conform

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

func audit() []Case {
	return []Case{
		{
			Requirement: "A change has an entry with who made it, about what, in which account and by which request.",
			Run: func(s *Story) {
				p := s.owner()
				r := p.post("/api/keys", Fields{"account": s.account.Address, "name": "conform"})
				r.ExpectJSON(http.StatusCreated)
				id, request := r.text("id"), r.Header.Get("X-Request-Id")
				found := p.entry("action=key.created&credential="+id, func(Fields) bool { return true })
				for name, value := range map[string]string{"action": "key.created", "credential": id, "result": "ok",
					"account": s.account.Address, "actor": p.id, "actor_kind": "person", "request_id": request} {
					s.Require(found[name] == value, name+" "+value, name+" "+shownMember(found[name]))
				}
			},
		},
		{
			Requirement: "A search by any filter finds the entries that it is about and no others.",
			Run: func(s *Story) {
				p := s.owner()
				id, _ := p.keyed(nil)
				_, _ = p.keyed(nil)
				is := func(e Fields) bool { return e["credential"] == id }
				made := p.entry("credential="+id, is)
				hour := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
				for name, values := range map[string][2]string{
					"action": {"key.created", "key.revoked"}, "actor": {p.id, turned(p.id)},
					"account": {s.account.Address, s.Second().account.Address}, "credential": {id, turned(id)},
					"address": {shownMember(made["address"]), "192.0.2.1"}, "result": {"ok", "fault"},
					"from": {hour(-time.Hour), hour(time.Hour)}, "to": {hour(time.Hour), hour(-time.Hour)},
				} {
					query := url.Values{"action": {"key.created"}, "credential": {id}, name: {values[0]}}
					p.entry(query.Encode(), is)
					query.Set(name, values[1])
					r := p.get("/api/audit?" + query.Encode()).ExpectJSON(http.StatusOK)
					r.require(len(r.list("data")) == 0, "no entry with "+name+"="+values[1], r.came())
				}
				p.get("/api/audit?who=" + p.id).ExpectParameter("who")
			},
		},
		{
			Requirement: "A search comes in pages as long as was asked for, the newest entries first, and none twice.",
			Run: func(s *Story) {
				p := s.owner()
				first, _ := p.keyed(nil)
				second, _ := p.keyed(nil)
				query := "action=key.created&limit=1&account=" + s.account.Address
				p.entry(query, func(e Fields) bool { return e["credential"] == second })
				r := p.get("/api/audit?" + query).ExpectJSON(http.StatusOK)
				r.require(len(r.list("data")) == 1 && r.document["has_more"] == true && r.text("next_cursor") != "",
					"one entry, has_more true and a next_cursor", r.came())
				r = p.get("/api/audit?" + query + "&cursor=" + url.QueryEscape(r.text("next_cursor")))
				r.ExpectJSON(http.StatusOK)
				r.require(len(r.list("data")) == 1 && r.holds("data", "credential", first), "the entry before", r.came())
			},
		},
		{
			Requirement: "A login that was refused is in the log as refused, without the password.",
			Run: func(s *Story) {
				p := s.owner()
				wrong := p.password + "r"
				r := p.login(wrong).ExpectProblem(http.StatusUnauthorized, "AUTH_001")
				request := r.Header.Get("X-Request-Id")
				found := p.entry("action=session.refused&limit=100", func(e Fields) bool { return e["request_id"] == request })
				s.Require(found["result"] == "refused", "result refused", "result "+shownMember(found["result"]))
				s.Require(!strings.Contains(shownMember(found), wrong), "an entry without the password", "one that holds it")
			},
		},
		{
			Requirement: "Reading the log is in the log.",
			Run: func(s *Story) {
				p := s.owner()
				p.keyed(nil)
				query := "action=key.created&account=" + s.account.Address
				p.entry(query, func(Fields) bool { return true })
				p.entry("action=audit.read&actor="+p.id, func(e Fields) bool {
					details, _ := e["details"].(map[string]any)
					return e["account"] == s.account.Address && details["action"] == "key.created"
				})
			},
		},
		{
			Requirement: "The log fits itself and a checkpoint of before, and a damaged checkpoint is refused.",
			Run: func(s *Story) {
				p := s.owner()
				id, _ := p.keyed(nil)
				p.entry("credential="+id, func(Fields) bool { return true })
				r := p.post("/api/audit/verify", nil).ExpectJSON(http.StatusOK)
				checkpoint := r.text("checkpoint")
				r.require(r.document["fits"] == true && r.number("entries") > 0 && checkpoint != "",
					"fits true, how many entries, and a checkpoint", r.came())
				later := p.post("/api/audit/verify", Fields{"checkpoints": checkpoint}).ExpectJSON(http.StatusOK)
				later.require(later.document["fits"] == true && later.number("checkpoints") == 1 &&
					later.number("entries") >= r.number("entries"), "fits true with 1 checkpoint, and no fewer entries than before",
					later.came())
				p.post("/api/audit/verify", Fields{"checkpoints": turned(checkpoint)}).ExpectInvalid("/checkpoints")

			},
		},
		{
			Requirement: "Who lacks the permission reads nothing of the log, and who sees one account reads of that one alone.",
			Run: func(s *Story) {
				p := s.owner()
				id, _ := p.keyed(nil)
				p.entry("credential="+id, func(Fields) bool { return true })
				dev := p.colleague("developer", s.account.Address)
				dev.get("/api/audit").ExpectProblem(http.StatusForbidden, "PERMISSION_DENIED")
				auditor := p.colleague("auditor", s.Second().account.Address)
				auditor.get("/api/audit?account="+s.account.Address).ExpectProblem(http.StatusNotFound, "")
				r := auditor.get("/api/audit?credential=" + id).ExpectJSON(http.StatusOK)
				r.require(len(r.list("data")) == 0, "no entry of another account", r.came())
				auditor.post("/api/audit/verify", nil).ExpectProblem(http.StatusForbidden, "")
			},
		},
		{
			Requirement: "An API key with read:audit reads what was done with its own account, and without it nothing.",
			Run: func(s *Story) {
				p := s.owner()
				id, sends := p.keyed(trial())
				_, reads := p.keyed(trial("read:audit"))
				p.entry("credential="+id, func(Fields) bool { return true })
				ask := func(query, key string) Reply {
					return s.V1.Call(http.MethodGet, "/v1/audit-logs"+query, "", Key(key))
				}
				ask("", sends).ExpectProblem(http.StatusForbidden, "")
				r := ask("?action=key.created", reads).ExpectJSON(http.StatusOK)
				r.require(r.holds("data", "credential", id), "the entry of the key", r.came())
				ask("?account="+s.Second().account.Address, reads).ExpectProblem(http.StatusNotFound, "")
			},
		},
	}
}
