package conform

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reference server's records: audit log, exports and erasures, statistics and alerts.

type refRecord struct {
	request     string // the id of the request in progress
	refused     map[string]bool
	log         []refEntry // the place of each is its index
	checkpoints map[string]bool
	erasures    int
	certified   map[string]string // the account of each certificate
	limited     map[string]int    // calls that a limit refused, by account
	alerts      []map[string]any
	review      map[string]any
	webhooks    []*refWebhook
}

// refEntry is one entry of the log, by its members.
type refEntry map[string]any

func newRefRecord() refRecord {
	return refRecord{refused: map[string]bool{}, checkpoints: map[string]bool{}, certified: map[string]string{},
		limited: map[string]int{}}
}

// refWrongRefusal is a refusal, and the status that a mutant answers instead.
type refWrongRefusal struct {
	section, code string
	status        int
}

func (w refWrongRefusal) flaw() string {
	return w.section + ": " + w.code + " is " + strconv.Itoa(w.status)
}

// refWrongRefusals are all refusals of /api that the cases test.
var refWrongRefusals = []refWrongRefusal{
	{"management", "AUTH_001", 400}, {"management", "AUTH_003", 403}, {"management", "AUTH_004", 400},
	{"management", "PERSON_EXISTS", 400}, {"management", "NOT_FOUND", 410}, {"management", "PERMISSION_DENIED", 401},
	{"management", "CSRF_TOKEN_INVALID", 400}, {"management", "FORBIDDEN_ORIGIN", 401},
	{"management", "PRECONDITION_REQUIRED", 412}, {"management", "PRECONDITION_FAILED", 409},
	{"management", "INVALID_REQUEST", 422},
	{"privacy", "PERMISSION_DENIED", 401}, {"privacy", "NOT_FOUND", 403}, {"privacy", "INVALID_REQUEST", 422},
	{"audit", "PERMISSION_DENIED", 404}, {"audit", "NOT_FOUND", 403}, {"audit", "INVALID_REQUEST", 422},
	{"insight", "PERMISSION_DENIED", 404}, {"insight", "NOT_FOUND", 403}, {"insight", "INVALID_REQUEST", 422},
	{"webhooks", "NOT_FOUND", 403}, {"webhooks", "INVALID_REQUEST", 422}, {"webhooks", "PRECONDITION_REQUIRED", 412},
	{"webhooks", "PRECONDITION_FAILED", 409},
}

// sectionOf returns the section of the cases about a path of /api.
func sectionOf(path string) string {
	part, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/"), "/")
	switch part {
	case "privacy", "audit", "webhooks":
		return part
	case "statistics", "alerts", "checklist":
		return "insight"
	}
	return "management"
}

// spoilRefusal answers another status for one kind of refusal.
func (f *reference) spoilRefusal(path string, reply *refReply) {
	if reply.status < 400 {
		return
	}
	code, section := reply.document["code"].(string), sectionOf(path)
	f.record.refused[section+" "+code] = true
	for _, wrong := range refWrongRefusals {
		if wrong.section == section && wrong.code == code && f.has(wrong.flaw()) {
			reply.status = wrong.status
		}
	}
}

// note adds an entry to the log.
func (f *reference) note(e refEntry) {
	e["place"], e["at"], e["request_id"] = len(f.record.log), time.Now().UTC().Format(time.RFC3339Nano), f.record.request
	e["actor_kind"], e["address"] = "person", "127.0.0.1"
	if f.has("audit: an entry does not say which request it is of") {
		delete(e, "request_id")
	}
	if e["action"] == "key.created" && f.has("audit: a change has no entry") {
		return
	}
	if f.has("audit: an entry does not say who did it") {
		e["actor"] = ""
	}
	f.record.log = append(f.record.log, e)
}

func (f *reference) noteRefusal(password string) {
	e := refEntry{"action": "session.refused", "result": "refused"}
	switch {
	case f.has("audit: a refused login has no entry"):
		return
	case f.has("audit: a refused login is ok"):
		e["result"] = "ok"
	case f.has("audit: a refused login is kept with its password"):
		e["details"] = map[string]any{"password": password}
	}
	f.note(e)
}

// refOK returns a 200 with these members: name, value, name, value.
func refOK(members ...any) refReply {
	document := map[string]any{}
	for i := 0; i < len(members); i += 2 {
		document[members[i].(string)] = members[i+1]
	}
	return refReply{status: 200, document: document, header: map[string]string{}}
}

func refNone() refReply { return refProblem(404, "NOT_FOUND", "There is no such thing.") }

func refLacks() refReply { return refProblem(403, "PERMISSION_DENIED", "The permission is missing.") }

// refParameter refuses a parameter of the query.
func refParameter(name string) refReply {
	reply := refProblem(400, "INVALID_REQUEST", "cannot be read")
	reply.document["errors"] = []any{map[string]any{"parameter": name, "detail": "cannot be read"}}
	return reply
}

func (p *refPerson) sees(account string) bool {
	return p.accounts == nil || slices.Contains(p.accounts, account)
}

func (f *reference) replyRecord(section string, r *http.Request, p *refPerson, asked map[string]any) refReply {
	switch section {
	case "privacy":
		return f.refPrivacy(r, p, asked)
	case "audit":
		return f.refAudit(r, p, asked)
	case "insight":
		return f.refInsight(r, p, asked)
	}
	return f.refWebhooks(r, p, asked)
}

func (f *reference) refPrivacy(r *http.Request, p *refPerson, asked map[string]any) refReply {
	text := func(name string) string { value, _ := asked[name].(string); return value }
	if r.URL.Path == "/api/privacy/verify" {
		certificate := text("certificate")
		if f.has("privacy: a changed certificate is taken") {
			for known := range f.record.certified {
				certificate = known
			}
		}
		account, known := f.record.certified[certificate]
		if !known {
			return refProblem(400, "INVALID_REQUEST", "is not one of this server's", "/certificate")
		}
		return refOK("aud", account)
	}
	if p.role == "developer" && !f.has("privacy: a developer may export and erase") {
		return refLacks()
	}
	account := f.accounts[text("account")]
	if account == nil || !p.sees(account.Address) && !f.has("privacy: the people of every account are shown") {
		return refNone()
	}
	if r.URL.Path == "/api/privacy/export" {
		return f.refExport(account, text("id"))
	}
	if text("confirm") != text("id") && !f.has("privacy: an erasure needs no confirmation") {
		if f.has("privacy: an erasure that is not confirmed erases") {
			f.refErase(account, text("id"))
		}
		return refProblem(400, "INVALID_REQUEST", "must be the id once more", "/confirm")
	}
	return f.refErase(account, text("id"))
}

// refKept returns a person's challenges at an account, or for a mutant at all accounts.
func (f *reference) refKept(a *refAccount, user string, everywhere bool) (kept []*refChallenge) {
	for _, other := range f.accounts {
		for _, ch := range other.challenges {
			if ch.send != nil && ch.send.Metadata["user_id"] == user && (other == a || everywhere) {
				kept = append(kept, ch)
			}
		}
	}
	return kept
}

func (f *reference) refExport(a *refAccount, user string) refReply {
	history := []any{}
	for _, ch := range f.refKept(a, user, f.has("privacy: an export holds what other accounts keep")) {
		line := map[string]any{"challenge_id": ch.id, "recipient": ch.number}
		if f.has("privacy: an export holds the codes") {
			line["code"] = ch.code
		}
		history = append(history, line)
	}
	if f.has("privacy: an export is empty") {
		history = []any{}
	}
	return refOK("history", history, "complete", !f.has("privacy: an export does not say that it is complete"))
}

func (f *reference) refErase(a *refAccount, user string) refReply {
	if f.record.erasures++; !f.has("privacy: an erasure erases nothing") {
		kept := f.refKept(a, user, f.has("privacy: an erasure goes through every account"))
		if len(kept) == 0 && f.has("privacy: a second erasure is 404") {
			return refNone()
		}
		for _, ch := range kept {
			for _, other := range f.accounts {
				delete(other.challenges, ch.id)
			}
			if f.has("privacy: an erased code still verifies") {
				a.challenges[ch.id] = ch
				ch.send.Metadata = nil
				continue
			}
			delete(ch.holder.slots, ch.slot)
		}
	}
	id := "era_" + strconv.Itoa(f.record.erasures)
	if f.has("privacy: every erasure has one id") {
		id = "era_1"
	}
	certificate := "e." + randomHex(32) + "." + randomHex(64)
	f.record.certified[certificate] = a.Address
	reply := refOK("id", id, "certificate", certificate, "says", map[string]any{"aud": a.Address})
	switch {
	case f.has("privacy: an erasure is not certified"):
		delete(reply.document, "certificate")
	case f.has("privacy: a certificate is none of the server's"):
		delete(f.record.certified, certificate)
	case f.has("privacy: an erasure answers the id of the person"):
		reply.document["subject"] = user
	}
	return reply
}

// refOwn answers an application about its own account.
func (f *reference) refOwn(r *http.Request, key refKey) refReply {
	if id, users := strings.CutPrefix(r.URL.Path, "/v1/users/"); users {
		user, call, _ := strings.Cut(id, "/")
		if !slices.Contains(key.permissions, "write:privacy") && !f.has("privacy: every key exports and erases") {
			return refLacks()
		}
		if call == "export" {
			return f.refExport(key.account, user)
		}
		if f.has("privacy: a key erases nothing") {
			return refOK("certificate", "e.x.y")
		}
		return f.refErase(key.account, user)
	}
	asked := r.URL.Query().Get("account")
	switch {
	case !slices.Contains(key.permissions, "read:audit") && !f.has("audit: every key reads the log"):
		return refLacks()
	case asked != "" && asked != key.account.Address && !f.has("audit: a key reads of other accounts"):
		return refNone()
	}
	query := r.URL.Query()
	query.Set("account", key.account.Address)
	if f.has("audit: a key finds nothing") {
		query.Set("account", "none")
	}
	return f.search(query)
}
