package audit

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Query is a search for entries. A zero field matches every entry.
type Query struct {
	Action, Actor, Account, Credential, Address, Result string
	From, To                                            otp.Millis // including From, excluding To
	Before                                              int64      // the Next of the previous page
	Limit                                               int
	// Environment leaves out what keys of the account's other environments did, and what was done to these; needs
	// Account.
	Environment otp.Environment

	environments map[string]otp.Environment // of the account's keys, by id; nil without Environment
}

// Filters returns the names of a request's parameters for a search.
func Filters() []string {
	return []string{"limit", "cursor", "action", "actor", "account", "credential", "address", "result", "from", "to"}
}

// QueryOf returns a query with the text parameters. It does not check that the caller sees the account.
func QueryOf(text func(parameter string) string) Query {
	return Query{Action: text("action"), Actor: text("actor"), Account: text("account"), Credential: text("credential"),
		Address: text("address"), Result: text("result")}
}

// Found is one page of the answer to a query.
type Found struct {
	Entries []Placed // the newest first
	Next    int64    // the Before of the next page; 0 if this is the last
}

// Cursor returns Next as a text, empty for the last page.
func (f Found) Cursor() string {
	if f.Next == 0 {
		return ""
	}
	return strconv.FormatInt(f.Next, 10)
}

// Placed is an entry with its place.
type Placed struct {
	Place int64 `json:"place"`
	Entry
}

// How many pages of the log one page of an answer reads at most, and how many at once. A page of the log can contain
// all terms of a search without a call that matches all of them, so the number is limited.
const (
	searchPages = 128
	searchChunk = 8
)

// clockSlack is more than the difference of two servers' clocks.
const clockSlack = otp.Minute

// Read records that somebody reads the log, and searches it. Entries that are not sealed yet are not found; they are
// sealed within about a second. Refusal: NotFound for a text that cannot be an account.
func (l *Log) Read(ctx context.Context, reader otp.Actor, q Query, now otp.Millis) (Found, error) {
	if q.Account != "" && !otp.ValidAddress(q.Account) {
		return Found{}, otp.Refuse(otp.NotFound, "there is no such account")
	}
	if err := l.NoteReading(ctx, otp.AuditRead, reader, q.details(), q.Account, now); err != nil {
		return Found{}, err
	}
	if address, err := netip.ParseAddr(q.Address); err == nil {
		q.Address = address.Unmap().WithZone("").String() // as entries have it, however it is written
	}
	if q.Environment != "" {
		var err error
		if q.environments, err = l.environmentsOf(ctx, q.Account); err != nil {
			return Found{}, err
		}
	}
	tree, err := l.store.Audit.Tree(ctx)
	if err != nil {
		return Found{}, err
	}
	from, before, err := l.between(ctx, tree, q)
	if err != nil {
		return Found{}, err
	}
	found, looked, err := l.findChanges(ctx, q, from, before)
	if err != nil {
		return Found{}, err
	}
	calls, lookedCalls, err := l.findCalls(ctx, q, from, before)
	if err != nil {
		return Found{}, err
	}
	looked = max(looked, lookedCalls)
	found = slices.DeleteFunc(append(found, calls...), func(p Placed) bool { return p.Place < looked })
	slices.SortFunc(found, func(a, b Placed) int { return int(b.Place - a.Place) })
	if len(found) > q.Limit {
		return Found{found[:q.Limit], found[q.Limit-1].Place}, nil
	}
	if looked > from {
		return Found{found, looked}, nil
	}
	return Found{Entries: found}, nil
}

// NoteReading records that somebody reads the log.
func (l *Log) NoteReading(ctx context.Context, kind otp.ChangeKind, reader otp.Actor, details map[string]string,
	account string, now otp.Millis) error {
	return l.store.Change(ctx, func(tx *sql.Tx) error {
		return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: kind, Actor: reader, Account: account, Details: details})
	})
}

// details returns the query as details of an entry.
func (q Query) details() map[string]string {
	all := map[string]string{}
	for _, pair := range q.pairs() {
		if pair[1] != "" {
			all[pair[0]] = pair[1]
		}
	}
	if q.From != 0 {
		all["from"] = strconv.FormatInt(int64(q.From), 10)
	}
	if q.To != 0 {
		all["to"] = strconv.FormatInt(int64(q.To), 10)
	}
	return all
}

func (q Query) pairs() [6][2]string {
	return Entry{Action: q.Action, Actor: q.Actor, Account: q.Account, Credential: q.Credential, Address: q.Address,
		Result: q.Result}.pairs()
}

// between turns the query's times into places. Entries are sealed in about the order of their times; the tree has the
// longest delay so far.
func (l *Log) between(ctx context.Context, tree sql.AuditTree, q Query) (from, before int64, err error) {
	before = tree.Size
	if q.From != 0 {
		if from, err = l.store.Audit.FirstSealed(ctx, q.From-clockSlack); err != nil {
			return 0, 0, err
		}
	}
	if q.To != 0 {
		if before, err = l.store.Audit.FirstSealed(ctx, q.To+tree.Lag+1); err != nil {
			return 0, 0, err
		}
	}
	if q.Before != 0 {
		before = min(before, q.Before)
	}
	return from, before, nil
}

// environmentsOf returns the environments of an account's keys, by id.
func (l *Log) environmentsOf(ctx context.Context, account string) (map[string]otp.Environment, error) {
	keys, err := l.store.Credentials.List(ctx, account)
	all := make(map[string]otp.Environment, len(keys))
	for i := range keys {
		all[keys[i].ID.Text("key")] = otp.Environment(keys[i].Environment)
	}
	return all, err
}

// hides reports whether an entry is about another environment than the query's. A key's id that is not of one of the
// account's keys is that of an issuer, whose tokens count as live.
func (q Query) hides(e Entry) bool {
	if q.environments == nil {
		return false
	}
	if named := e.Details["environment"]; named != "" {
		return named != string(q.Environment)
	}
	for _, id := range []string{e.Credential, e.Actor} {
		if _, isKey := otp.ParseID("key", id); !isKey {
			continue
		}
		of, known := q.environments[id]
		if !known {
			of = otp.Live
		}
		if of != q.Environment {
			return true
		}
	}
	return false
}

// findChanges returns changes, newest first, and the place down to which it has searched.
func (l *Log) findChanges(ctx context.Context, q Query, from, before int64) (found []Placed, looked int64, err error) {
	f := sql.AuditFilter{From: from, Before: before, Kind: q.Action, Account: q.Account, Address: q.Address,
		Since: q.From, Until: q.To}
	var known bool
	if f.Credential, known = otp.ParseID("key", q.Credential); !known && q.Credential != "" {
		return nil, from, nil
	}
	for _, prefix := range prefixes {
		if id, is := otp.ParseID(prefix, q.Actor); is {
			f.Actor = id
		}
	}
	if f.Actor.IsZero() && q.Actor != "" {
		return nil, from, nil
	}
	kinds := make([]string, len(refusals))
	for i, kind := range refusals {
		kinds[i] = string(kind)
	}
	switch q.Result {
	case "":
	case "ok":
		f.OtherThan = kinds
	case Refused:
		f.Kinds = kinds
	default:
		return nil, from, nil
	}
	changes, err := l.store.Audit.FindChanges(ctx, f, q.Limit+1)
	if looked = from; len(changes) > q.Limit {
		looked = changes[q.Limit].Place
	}
	for _, c := range changes {
		if entry := ofChange(c.Change); !q.hides(entry) {
			found = append(found, Placed{c.Place, entry})
		}
	}
	return found, looked, err
}

// findCalls returns calls, newest first, and the place down to which it has searched.
func (l *Log) findCalls(ctx context.Context, q Query, from, before int64) (found []Placed, looked int64, err error) {
	var terms []otp.ID
	for _, pair := range q.pairs() {
		if pair[1] != "" {
			terms = append(terms, term(pair))
		}
	}
	// The page that contains the place before is searched too, because it begins earlier.
	for next, n := before, 0; n < searchPages && len(found) <= q.Limit; n += searchChunk {
		pages, err := l.store.Audit.FindPages(ctx, terms, from, next, searchChunk)
		if err != nil {
			return nil, 0, err
		}
		for _, page := range pages {
			if len(found) > q.Limit {
				return found, next, nil // older pages come with the answer's next page
			}
			matching, err := callsOf(page, q, before)
			if err != nil {
				return nil, 0, err
			}
			found, next = append(found, matching...), page.Place
		}
		if looked = next; len(pages) < searchChunk {
			return found, from, nil
		}
	}
	return found, looked, nil
}

// callsOf returns the calls of a page that match a query, newest first, at most one more than a page of the answer
// has.
func callsOf(page sql.AuditPage, q Query, before int64) (found []Placed, err error) {
	calls, err := unpackCalls(page)
	if err != nil {
		return nil, err
	}
	place := page.Place + int64(page.Entries-len(calls)) // changes come first
	for i, content := range slices.Backward(calls) {
		one := Placed{Place: place + int64(i)}
		if err := json.Unmarshal(content, &one.Entry); err != nil {
			return nil, err
		}
		if one.Place < before && q.wants(one.Entry) {
			found = append(found, one)
		}
		if len(found) > q.Limit {
			break
		}
	}
	return found, nil
}

func (q Query) wants(e Entry) bool {
	has := e.pairs()
	for i, pair := range q.pairs() {
		if pair[1] != "" && pair != has[i] {
			return false
		}
	}
	at := otp.At(e.At)
	return !q.hides(e) && at >= q.From && (q.To == 0 || at < q.To)
}
