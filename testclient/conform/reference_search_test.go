package conform

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reference server's audit log, statistics, alerts and checklist.

// refFilters are the parameters that select entries.
var refFilters = []string{"action", "actor", "account", "credential", "address", "result", "from", "to"}

// ignored returns the flaw of a server that ignores a filter.
func ignored(filter string) string { return "audit: the filter " + filter + " is ignored" }

func (f *reference) refAudit(r *http.Request, p *refPerson, asked map[string]any) refReply {
	if p.role == "developer" && !f.has("audit: a developer reads the log") {
		return refLacks()
	}
	if r.URL.Path == "/api/audit/verify" {
		if p.accounts != nil && !f.has("audit: who sees one account proves the log of all") {
			return refLacks()
		}
		return f.refVerify(asked)
	}
	query := r.URL.Query()
	for name := range query {
		if !slices.Contains(append(refFilters, "limit", "cursor"), name) && !f.has("audit: an unknown filter is ignored") {
			return refParameter(name)
		}
	}
	account := query.Get("account")
	if account != "" && !p.sees(account) && !f.has("audit: the entries of every account are shown") {
		return refNone()
	}
	if account == "" && p.accounts != nil && !f.has("audit: without an account every entry is shown") {
		query.Set("account", p.accounts[0])
	}
	found := f.search(query)
	if !f.has("audit: readings are not noted") {
		details := map[string]any{}
		for name := range query {
			details[name] = query.Get(name)
		}
		f.note(refEntry{"action": "audit.read", "actor": p.id, "account": account, "result": "ok", "details": details})
	}
	return found
}

// search finds entries, newest first.
func (f *reference) search(query url.Values) refReply {
	limit, cursor := 50, len(f.record.log)
	if n, err := strconv.Atoi(query.Get("limit")); err == nil && !f.has("audit: a page has any length") {
		limit = n
	}
	if n, err := strconv.Atoi(query.Get("cursor")); err == nil && !f.has("audit: every page is the first") {
		cursor = n
	}
	found, more, end := []any{}, false, cursor-1
	for place, e := range slices.Backward(f.record.log[:cursor]) {
		if f.has("audit: the oldest entries come first") {
			e = f.record.log[end-place]
		}
		if !f.fits(e, query) {
			continue
		}
		if len(found) == limit {
			more = true
			break
		}
		found, cursor = append(found, e), place
	}
	reply := refOK("data", found, "has_more", more, "next_cursor", nil)
	if more {
		reply.document["next_cursor"] = strconv.Itoa(cursor)
	}
	return reply
}

func (f *reference) fits(e refEntry, query url.Values) bool {
	for _, filter := range refFilters {
		want := query.Get(filter)
		if want == "" || f.has(ignored(filter)) {
			continue
		}
		at, _ := time.Parse(time.RFC3339, fmt.Sprint(e["at"]))
		border, _ := time.Parse(time.RFC3339, want)
		switch {
		case filter == "from" && at.Before(border), filter == "to" && !at.Before(border),
			filter != "from" && filter != "to" && e[filter] != want:
			return false
		}
	}
	return true
}

func (f *reference) refVerify(asked map[string]any) refReply {
	given, _ := asked["checkpoints"].(string)
	fits, checkpoints := !f.has("audit: the log does not fit itself"), 0
	if given != "" {
		if !f.record.checkpoints[given] && !f.has("audit: a damaged checkpoint is passed over") {
			return refProblem(400, "INVALID_REQUEST", "is none of this log's", "/checkpoints")
		}
		if checkpoints = 1; f.has("audit: the log does not fit a checkpoint of before") {
			fits = false
		}
		if f.has("audit: checkpoints are not looked at") {
			checkpoints = 0
		}
	}
	checkpoint := fmt.Sprintf("reference\n%d\n%s\n", len(f.record.log), randomHex(64))
	if f.record.checkpoints[checkpoint] = true; f.has("audit: a proof gives no checkpoint") {
		checkpoint = ""
	}
	return refOK("fits", fits, "entries", len(f.record.log), "checkpoints", checkpoints, "checkpoint", checkpoint)
}

func (f *reference) refInsight(r *http.Request, p *refPerson, asked map[string]any) refReply {
	id := strings.Split(r.URL.Path, "/")[3:]
	switch {
	case r.URL.Path == "/api/statistics":
		return f.refStatistics(r.URL.Query(), p)
	case r.URL.Path == "/api/alerts":
		return refOK("data", f.record.alerts)
	case strings.HasPrefix(r.URL.Path, "/api/alerts/"):
		return f.refAcknowledge(id[0], p)
	case r.URL.Path == "/api/checklist":
		return f.refChecklist()
	case id[0] != "csrf" && !f.has("insight: an item that is none is reviewed"):
		return refNone()
	}
	f.record.review = map[string]any{"note": asked["note"], "reviewed_by": "Conform", "review_due": false}
	switch {
	case f.has("insight: a review is forgotten"):
		f.record.review = nil
	case f.has("insight: a review is nobody's"):
		f.record.review["reviewed_by"] = ""
	case f.has("insight: a review is due all the same"):
		f.record.review["review_due"] = true
	}
	return refReply{status: 204}
}

func (f *reference) refStatistics(query url.Values, p *refPerson) refReply {
	from, wrong := time.Parse(time.RFC3339, query.Get("from"))
	to, _ := time.Parse(time.RFC3339, query.Get("to"))
	switch {
	case query.Has("by") && query.Get("by") != "channel" && !f.has("insight: statistics are told apart by anything"):
		return refParameter("by")
	case query.Has("environment") && query.Get("environment") != "test" && !f.has("insight: any environment is taken"):
		return refParameter("environment")
	case query.Has("from") && wrong != nil && !f.has("insight: a time that is none is now"),
		query.Has("to") && from.After(to) && !f.has("insight: statistics end before they begin"):
		return refParameter("from")
	case query.Has("until") && !f.has("insight: parameters that are not known are ignored"):
		return refParameter("until")
	}
	a := f.accounts[query.Get("account")]
	if a == nil || !p.sees(a.Address) && !f.has("insight: the statistics of every account are shown") {
		return refNone()
	}
	line := map[string]any{"of": "sms", "sent": 0, "verified": 0, "wrong": 0}
	add := func(name string, n int) { line[name] = line[name].(int) + n }
	for _, ch := range a.challenges {
		if add("sent", 1); f.has("insight: sends are not counted") {
			line["sent"] = 0
		}
		if ch.used && !f.has("insight: verified codes are not counted") {
			add("verified", 1)
		}
		if ch.wrong > 0 && !f.has("insight: wrong guesses are not counted") {
			add("wrong", 1)
		}
	}
	return refOK("data", []any{line})
}

// warn counts a call that a limit refused, and raises the alert of an account with 100.
func (f *reference) warn(account string) {
	f.record.limited[account]++
	if f.record.limited[account] != 100 || f.has("insight: limits raise no alert") {
		return
	}
	f.record.alerts = append(f.record.alerts, map[string]any{"id": "alr_" + randomHex(26), "rule": "limit_violations",
		"account": account, "state": "raised", "says": "limits refused 100 calls", "remedy": "raise the limit",
		"acknowledged_at": nil})
}

func (f *reference) refAcknowledge(id string, p *refPerson) refReply {
	if p.role == "developer" && !f.has("insight: a developer acknowledges") {
		return refLacks()
	}
	for _, a := range f.record.alerts {
		if a["id"] != id {
			continue
		}
		if a["state"] == "acknowledged" && f.has("insight: an alert is acknowledged once") {
			return refNone()
		}
		if !f.has("insight: an acknowledgement is forgotten") {
			a["state"], a["acknowledged_at"], a["acknowledged_by"] = "acknowledged", time.Now().UTC(), "Conform"
		}
		if f.has("insight: an acknowledgement is nobody's") {
			a["acknowledged_by"] = ""
		}
		return refReply{status: 204}
	}
	if f.has("insight: an alert that nobody has is acknowledged") {
		return refReply{status: 204}
	}
	return refNone()
}

func (f *reference) refChecklist() refReply {
	items := []any{}
	for i := range 12 {
		item := map[string]any{"name": "item " + strconv.Itoa(i), "what": "Keys are stored safely", "state": "manual",
			"reason": "it cannot be seen from here", "remedy": "look", "note": "", "reviewed_by": "", "review_due": true}
		if i == 0 {
			item["name"] = "csrf"
			for name, value := range f.record.review {
				item[name] = value
			}
		}
		switch {
		case i == 5 && f.has("insight: an item of the checklist is in no known state"):
			item["state"] = "fine"
		case i == 5 && f.has("insight: an item does not say what to do"):
			item["remedy"] = ""
		case i == 5 && f.has("insight: the checklist has eleven items"):
			continue
		}
		items = append(items, item)
	}
	return refOK("data", items)
}
