package insight

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The ways to group statistics.
const (
	ByHour          = "hour"
	ByDay           = "day"
	ByCountry       = "country" // the recipients' country
	ByPrefix        = "prefix"  // the recipients' range of numbers
	ByChannel       = "channel"
	ByKey           = "key"
	ByClientCountry = "client_country" // the country of the callers' addresses
	ByReason        = "reason"         // of calls' answers, and of refused credentials
	ByLatency       = "latency"
)

// Ways returns the ways to group statistics.
func Ways() []string {
	return []string{ByHour, ByDay, ByCountry, ByPrefix, ByChannel, ByKey, ByClientCountry, ByReason, ByLatency}
}

// namesBy returns the names of the counts that a grouping uses.
func namesBy(by string) (names []string) {
	switch by {
	case ByKey:
		return []string{keys}
	case ByClientCountry:
		return []string{countries}
	case ByLatency:
		return []string{latencies}
	case ByReason:
		return []string{calls, failures}
	case ByHour, ByDay:
		names = []string{calls, failures}
	}
	for _, kind := range sends {
		names = append(names, string(kind))
	}
	return names
}

// Query selects statistics.
type Query struct {
	Accounts    []string // nil: all, and callers without an account
	Environment string   // of sends and keys, and what has none, such as strangers' calls; empty: any
	From, To    otp.Millis
	By          string
}

// Line has the counts of one group. Counts that the grouping does not use are 0.
type Line struct {
	Of string `json:"of"` // the group: a key, a country, a reason, an hour in RFC 3339 or a day; empty for mailboxes

	Sent        int64    `json:"sent"` // including resends
	Unsent      int64    `json:"unsent"`
	Delivered   int64    `json:"delivered"` // as providers report
	Undelivered int64    `json:"undelivered"`
	Verified    int64    `json:"verified"`
	Wrong       int64    `json:"wrong"`
	Conversion  *float64 `json:"conversion"` // percentage of sends that were verified; nil without sends
	Spend       int64    `json:"spend_micros"`
	Stopped     int64    `json:"stopped"` // how often sending to a range of numbers was stopped
	Capped      int64    `json:"capped"`  // how often the cap of a day's spend was reached

	Calls     int64   `json:"calls"`
	Refused   int64   `json:"refused"`
	Faults    int64   `json:"faults"`
	Limited   int64   `json:"limited"` // refused by a limit; also counted as refused
	Failed    int64   `json:"failed_authentications"`
	AverageMS float64 `json:"average_ms"`
	// ErrorRate is the percentage of calls that were refused or failed; nil without calls, and where by does not tell
	// them apart.
	ErrorRate *float64 `json:"error_rate"`

	micros int64
	judged bool // calls were counted by their answers
}

// Longest is the longest span of a query.
const Longest = sql.StatisticsMemory

// maxLines is how many lines an answer has at most. It keeps those with the most sends and calls.
const maxLines = 2500

// Statistics adds up counts. Hours and days are in order of time, other groups the most frequent first.
func (i *Insight) Statistics(ctx context.Context, q Query) ([]Line, error) {
	byTime := q.By == ByHour || q.By == ByDay
	found, err := i.store.Statistics.Sum(ctx, sql.StatisticQuery{Names: namesBy(q.By), Accounts: q.Accounts,
		Environment: q.Environment, From: q.From - q.From%otp.Hour, To: q.To, ByHour: byTime})
	if err != nil {
		return nil, err
	}
	lines := map[string]*Line{}
	for n := range found {
		what := of(&found[n], q.By)
		line := lines[what]
		if line == nil {
			line = &Line{Of: what}
			lines[what] = line
		}
		line.add(&found[n])
	}
	all := make([]Line, 0, len(lines))
	for _, line := range lines {
		line.finish()
		all = append(all, *line)
	}
	slices.SortFunc(all, func(x, y Line) int {
		if byTime {
			return strings.Compare(x.Of, y.Of)
		}
		return cmp.Or(cmp.Compare(y.Sent+y.Calls+y.Failed, x.Sent+x.Calls+x.Failed), strings.Compare(x.Of, y.Of))
	})
	return all[:min(len(all), maxLines)], nil
}

// TimeOf returns Line.Of for an hour or a day.
func TimeOf(at otp.Millis, by string) string {
	if by == ByDay {
		return at.Time().Format(time.DateOnly)
	}
	return (at - at%otp.Hour).Time().Format(time.RFC3339)
}

// of returns Line.Of for a count.
func of(n *sql.Statistic, by string) string {
	channels, prefix, _ := strings.Cut(n.Part, " ")
	switch by {
	case ByHour, ByDay:
		return TimeOf(n.Hour, by)
	case ByChannel:
		return channels
	case ByPrefix:
		return prefix
	case ByCountry:
		return deliver.PrefixCountry(prefix)
	}
	return n.Part
}

func (l *Line) add(n *sql.Statistic) {
	switch n.Name {
	case string(otp.EventSent), string(otp.EventResent):
		l.Sent, l.Spend = l.Sent+n.Times, l.Spend+n.Amount
	case string(otp.EventUnsent):
		l.Unsent, l.Spend = l.Unsent+n.Times, l.Spend-n.Amount
	case string(otp.EventDelivered):
		l.Delivered += n.Times
	case string(otp.EventUndelivered):
		l.Undelivered += n.Times
	case string(otp.EventVerified):
		l.Verified += n.Times
	case string(otp.EventWrong):
		l.Wrong += n.Times
	case string(otp.EventPrefixStop):
		l.Stopped += n.Times
	case string(otp.EventSpendCap):
		l.Capped += n.Times
	case failures:
		l.Failed += n.Times
	case calls:
		l.addCalls(n)
	default:
		l.Calls += n.Times
	}
}

// addCalls adds calls that had the same answer.
func (l *Line) addCalls(n *sql.Statistic) {
	l.Calls, l.micros, l.judged = l.Calls+n.Times, l.micros+n.Amount, true
	switch _, kind, _ := strings.Cut(n.Part, " "); {
	case kind == "ok":
	case kind == "fault":
		l.Faults += n.Times
	default:
		l.Refused += n.Times
		if slices.Contains(limiting, kind) {
			l.Limited += n.Times
		}
	}
}

func (l *Line) finish() {
	l.Conversion = percent(l.Verified, l.Sent-l.Unsent)
	if l.judged {
		l.ErrorRate = percent(l.Refused+l.Faults, l.Calls)
	}
	if l.Calls > 0 {
		l.AverageMS = float64(l.micros/l.Calls) / 1000
	}
}

// percent returns how many percent of all a part is, with one decimal; nil if all is not positive.
func percent(part, all int64) *float64 {
	if all <= 0 {
		return nil
	}
	share := float64(part*1000/all) / 10
	return &share
}

// Total adds lines up.
func Total(lines []Line) (total Line) {
	for i := range lines {
		l := &lines[i]
		total.Sent, total.Unsent, total.Verified = total.Sent+l.Sent, total.Unsent+l.Unsent, total.Verified+l.Verified
		total.Calls, total.Refused, total.Faults = total.Calls+l.Calls, total.Refused+l.Refused, total.Faults+l.Faults
		total.Limited, total.Failed = total.Limited+l.Limited, total.Failed+l.Failed
		total.judged = total.judged || l.judged
	}
	total.finish()
	return total
}
