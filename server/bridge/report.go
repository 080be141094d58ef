package bridge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Report shows how far accounts have moved to the JSON API.
type Report struct {
	Since    time.Time       `json:"since"` // the start of the first hour that is counted
	Accounts []AccountReport `json:"accounts"`
}

// AccountReport is an account's part of a Report. It counts only calls whose key was accepted.
type AccountReport struct {
	Address     string           `json:"esme_address"`
	Name        string           `json:"name"`
	Mode        otp.BridgeMode   `json:"bridge_mode"` // the current one
	CutOverAt   *time.Time       `json:"cut_over_at"` // null: never set
	Servlets    int64            `json:"servlet_calls"`
	V1          int64            `json:"v1_calls"`
	Calls       []CallReport     `json:"calls"`
	Differences map[string]int64 `json:"differences,omitempty"` // in shadow mode, by the two decisions
}

// CallReport counts the calls of one endpoint.
type CallReport struct {
	Door      string           `json:"door"` // servlet or v1
	Name      string           `json:"name"`
	Calls     int64            `json:"calls"`
	PassedOn  int64            `json:"passed_on"` // to the upstream
	LastCall  time.Time        `json:"last_call"`
	AverageMS float64          `json:"average_ms"`
	Bytes     int64            `json:"bytes"`
	Answers   map[string]int64 `json:"answers"` // by the class of an upstream's answer, or by kind
	Keys      []Caller         `json:"keys"`
	Addresses []Caller         `json:"addresses"`
	Hours     []Hourly         `json:"hours"`
	Successor string           `json:"successor,omitempty"` // of a servlet call: what to call instead
}

// Caller is a key, or an address.
type Caller struct {
	ID       string    `json:"id"`
	Calls    int64     `json:"calls"`
	LastCall time.Time `json:"last_call"`
}

// Hourly is the number of calls in an hour.
type Hourly struct {
	Hour  time.Time `json:"hour"` // its start
	Calls int64     `json:"calls"`
}

// ShadowDoor is the door under which differences in shadow mode are counted.
const ShadowDoor = "shadow"

// Memory is how long counts of calls are kept.
const Memory = time.Duration(sql.CallsMemory) * time.Millisecond

// Reports makes reports from the calls that servers counted.
type Reports struct{ store *sql.Store }

// NewReports returns a Reports that reads a store.
func NewReports(store *sql.Store) *Reports { return &Reports{store} }

// On reports on accounts, in their given order, from since to now.
func (r *Reports) On(ctx context.Context, accounts []otp.Account, since, now time.Time) (Report, error) {
	from := hourOf(since)
	report := Report{Since: from.Time(), Accounts: []AccountReport{}}
	counts, err := r.store.Calls.Since(ctx, from, addressesOf(accounts))
	if err != nil {
		return report, err
	}
	for i := range accounts {
		report.Accounts = append(report.Accounts, reportOn(&accounts[i], counts, otp.At(now)))
	}
	return report, nil
}

// Totals reports on accounts as On does, but without the parts of their reports about single calls.
func (r *Reports) Totals(ctx context.Context, accounts []otp.Account, since, now time.Time) ([]AccountReport, error) {
	totals, err := r.store.Calls.Totals(ctx, hourOf(since), addressesOf(accounts))
	if err != nil {
		return nil, err
	}
	all := make([]AccountReport, len(accounts))
	at := map[string]*AccountReport{}
	for i := range accounts {
		all[i] = begin(&accounts[i], otp.At(now))
		at[accounts[i].Address] = &all[i]
	}
	for _, n := range totals {
		switch report := at[n.Account]; {
		case report == nil || n.Door == ShadowDoor:
		case n.Door == string(otp.V1Door):
			report.V1 += n.Calls
		default:
			report.Servlets += n.Calls
		}
	}
	return all, nil
}

// hourOf returns the start of a moment's hour.
func hourOf(at time.Time) otp.Millis {
	from := otp.At(at)
	return from - from%otp.Hour
}

func addressesOf(accounts []otp.Account) []string {
	addresses := make([]string, len(accounts))
	for i := range accounts {
		addresses[i] = accounts[i].Address
	}
	return addresses
}

// begin returns a report without calls.
func begin(a *otp.Account, now otp.Millis) AccountReport {
	r := AccountReport{Address: a.Address, Name: a.Name, Mode: a.Handling(now).Mode}
	if a.CutOverAt != nil {
		at := a.CutOverAt.Time()
		r.CutOverAt = &at
	}
	return r
}

func reportOn(a *otp.Account, counts []sql.CallCount, now otp.Millis) AccountReport {
	r := begin(a, now)
	r.Calls = []CallReport{}
	byCall := map[[2]string][]sql.CallCount{}
	for _, n := range counts {
		switch {
		case n.Account != a.Address:
			continue
		case n.Door == ShadowDoor:
			if r.Differences == nil {
				r.Differences = map[string]int64{}
			}
			r.Differences[fmt.Sprintf("%s: %s there, %s here", n.Name, n.Passed, n.Kind)] += n.Calls
			continue
		case n.Door == "v1":
			r.V1 += n.Calls
		default:
			r.Servlets += n.Calls
		}
		call := [2]string{n.Door, n.Name}
		byCall[call] = append(byCall[call], n)
	}
	inOrder := func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }
	for _, call := range slices.SortedFunc(maps.Keys(byCall), inOrder) {
		r.Calls = append(r.Calls, reportOnCall(a, byCall[call]))
	}
	return r
}

// reportOnCall adds up the counts of one endpoint. counts is not empty.
func reportOnCall(a *otp.Account, counts []sql.CallCount) CallReport {
	r := CallReport{Door: counts[0].Door, Name: counts[0].Name, Answers: map[string]int64{}}
	keys, addresses, hours := map[string]*Caller{}, map[string]*Caller{}, map[otp.Millis]int64{}
	var micros int64
	for _, n := range counts {
		r.Calls += n.Calls
		r.Bytes += n.Bytes
		r.LastCall = latest(r.LastCall, n.LastAt)
		r.Answers[cmp.Or(n.Passed, n.Kind)] += n.Calls
		if n.Passed != "" {
			r.PassedOn += n.Calls
		}
		micros += n.Micros
		hours[n.Hour] += n.Calls
		if !n.Credential.IsZero() { // it is zero for the access token of a person or service account
			add(keys, n.Credential.Text("key"), n)
		}
		add(addresses, cmp.Or(n.Address, "others"), n)
	}
	r.AverageMS = float64(micros/r.Calls) / 1000
	r.Keys, r.Addresses = listed(keys), listed(addresses)
	for _, hour := range slices.Sorted(maps.Keys(hours)) {
		r.Hours = append(r.Hours, Hourly{hour.Time(), hours[hour]})
	}
	if r.Door == "servlet" {
		r.Successor = Successor(a, r.Name)
	}
	return r
}

func latest(at time.Time, other otp.Millis) time.Time {
	if other.Time().After(at) {
		return other.Time()
	}
	return at
}

func add(to map[string]*Caller, id string, n sql.CallCount) {
	if to[id] == nil {
		to[id] = &Caller{ID: id}
	}
	to[id].Calls += n.Calls
	to[id].LastCall = latest(to[id].LastCall, n.LastAt)
}

// listed returns the callers, the most frequent first.
func listed(callers map[string]*Caller) []Caller {
	all := []Caller{}
	for _, c := range callers {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Caller) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.ID, b.ID))
	})
	return all
}

// Successor returns the call of the JSON API that replaces a servlet's call for an account.
func Successor(a *otp.Account, servlet string) string {
	whom := `"to": "+919876543210"`
	if a.KeyOnIP {
		whom += `, "ip": "203.0.113.7"`
	}
	switch servlet {
	case "otpgenservlet":
		switch {
		case a.SMSEnabled && a.EmailEnabled:
			whom += `, "method": "sms", "fallback": ["email"], "email": "a@example.com"`
		case a.EmailEnabled:
			whom += `, "method": "email", "email": "a@example.com"`
		default:
			whom += `, "method": "sms"`
		}
		return "POST /v1/send {" + whom + `, "type": "verification"}`
	case "otpregenservlet":
		return "POST /v1/resend {" + whom + "}"
	}
	return "POST /v1/verify {" + whom + `, "code": "` + "1234567890"[:a.Length] + `"}`
}
