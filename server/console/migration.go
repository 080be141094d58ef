package console

import (
	"slices"
	"strings"
	"time"

	"otpbridge/server/bridge"
	"otpbridge/server/insight"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// migrationPages show how far accounts have moved from another service to the JSON API.
var migrationPages = []route{
	{method: get, path: "migration", who: person, needs: people.ReadStatistics, serve: (*exchange).migration},
	{method: get, path: "migration/:account", who: person, needs: people.ReadStatistics,
		serve: (*exchange).accountMigration},
	{method: post, path: "migration/:account/upstream", who: person, needs: people.WriteAccounts, live: true,
		serve: (*exchange).setUpstream},
	{method: post, path: "migration/:account/cut-over", who: person, needs: people.WriteAccounts, live: true,
		serve: (*exchange).cutOver},
}

// spans are how far back the pages count calls.
var spans = []span{{"", "Last 7 days", 7}, {"month", "Last 30 days", 30}, {"quarter", "Last 90 days", 90}}

// span is how far back a page counts.
type span struct {
	Name, Title string
	days        int
}

// span returns the chosen span, else the shortest, and its beginning: that of a day in UTC.
func (x *exchange) span(now time.Time) (span, time.Time) {
	chosen := spans[max(0, slices.IndexFunc(spans, func(s span) bool { return s.Name == x.query("span") }))]
	return chosen, now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-chosen.days)
}

// stage is an account's progress.
type stage struct {
	bridge.AccountReport
	Share  int64 // percentage of calls on the JSON API
	CutOff *otp.Millis
}

func stageOf(r bridge.AccountReport, account *otp.Account) stage {
	s := stage{AccountReport: r, CutOff: account.ServletsSunsetAt}
	if calls := r.Servlets + r.V1; calls > 0 {
		s.Share = 100 * r.V1 / calls
	}
	return s
}

// migrationBody lists accounts and their progress.
type migrationBody struct {
	list
	Search, Mode, Span string
	Modes              []otp.BridgeMode
	Spans              []span
	Stages             []stage
}

func (x *exchange) migration() error {
	now := time.Now()
	chosen, since := x.span(now)
	body := migrationBody{
		list: x.list("migration", []string{"search", "mode", "span"}, order{"", "By account"}, order{"name", "By name"},
			order{"-servlet_calls", "Most servlet calls first"}, order{"servlet_calls", "Fewest servlet calls first"}),
		Search: strings.TrimSpace(x.query("search")), Mode: x.query("mode"), Span: chosen.Name,
		Modes: otp.BridgeModes(), Spans: spans,
	}
	q := manage.AccountQuery{Accounts: x.who.Grant.Accounts, Search: body.Search, Mode: otp.BridgeMode(body.Mode),
		Sort: body.Sort, After: body.Cursor, Limit: shownAccounts + 1, Now: otp.At(now), Since: otp.At(since)}
	found, err := x.door.Manage.Accounts.Page(x.ctx, q)
	if err != nil {
		return x.refuse(err, "migration", "Migration", body)
	}
	found = part(&body.list, found, shownAccounts, q.Cursor)
	accounts := make([]otp.Account, len(found))
	for i := range found {
		accounts[i] = found[i].Account
	}
	reports, err := x.door.Reports.Totals(x.ctx, accounts, since, now)
	if err != nil {
		return err
	}
	for i, r := range reports {
		body.Stages = append(body.Stages, stageOf(r, &accounts[i]))
	}
	return x.show("migration", "Migration", body)
}

// accountMigrationBody is one account's calls, and the forms for its next step.
type accountMigrationBody struct {
	stage
	Span              string
	Spans             []span
	Days              []day
	Charts            []callChart
	Upstream, To, At  string
	Modes             []string
	MayWrite          bool
	Pending           bool   // a change is set for later
	Next              string // the mode after the change
	DeprecatedAt      *otp.Millis
	DifferencesListed []string
}

// day is an account's calls on one day, in UTC.
type day struct {
	Day          string
	Servlets, V1 int64
	Calls        []int64 // of each call of the report, in its order
}

func (x *exchange) accountMigration() error { return x.showMigration(nil, nil) }

func (x *exchange) showMigration(refused error, fill func(*accountMigrationBody)) error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	now := time.Now()
	chosen, since := x.span(now)
	report, err := x.door.Reports.On(x.ctx, []otp.Account{found.Account}, since, now)
	if err != nil {
		return err
	}
	body := accountMigrationBody{stage: stageOf(report.Accounts[0], &found.Account), Span: chosen.Name, Spans: spans,
		Days: daysOf(report.Accounts[0].Calls, since, chosen.days), To: string(otp.BridgeLocal),
		MayWrite: x.who.May(people.WriteAccounts) == nil, DeprecatedAt: found.ServletsDeprecatedAt,
		Next: string(found.Bridge)}
	for _, mode := range otp.BridgeModes() {
		body.Modes = append(body.Modes, string(mode))
	}
	body.Upstream = otp.ValueOr(found.UpstreamURL, "")
	body.Charts = chartsOf(body.Calls, body.Days)
	body.Pending = found.CutOverAt != nil && found.Bridge != body.Mode
	for name := range body.Differences {
		body.DifferencesListed = append(body.DifferencesListed, name)
	}
	slices.Sort(body.DifferencesListed)
	if fill != nil {
		fill(&body)
	}
	title := "Migration of account " + found.Address
	return x.page(refused, "account-migration", title, body)
}

// daysOf adds calls up by day: every day from since on, also those without calls.
func daysOf(calls []bridge.CallReport, since time.Time, days int) []day {
	all := make([]day, days)
	for i := range all {
		all[i] = day{Day: since.AddDate(0, 0, i).Format(time.DateOnly), Calls: make([]int64, len(calls))}
	}
	for n, call := range calls {
		for _, hour := range call.Hours {
			i := int(hour.Hour.Sub(since) / (24 * time.Hour))
			if i < 0 || i >= days {
				continue // an hour of another server's next day
			}
			all[i].Calls[n] += hour.Calls
			if call.Door == string(otp.V1Door) {
				all[i].V1 += hour.Calls
			} else {
				all[i].Servlets += hour.Calls
			}
		}
	}
	return all
}

// callChart is the chart of one call, or of all together.
type callChart struct {
	Name string
	Bars []bar // one for each day; the part on /v1 is marked
}

// chartsOf returns a chart of all calls, and one of each call, in the same scale.
func chartsOf(calls []bridge.CallReport, days []day) []callChart {
	most := int64(1)
	for _, d := range days {
		most = max(most, d.Servlets+d.V1)
	}
	draw := func(name string, of func(day) (all, v1 int64)) callChart {
		lines := make([]insight.Line, len(days))
		for i, d := range days {
			lines[i].Of = d.Day
			lines[i].Calls, lines[i].Verified = of(d)
		}
		return callChart{name, chart(lines, "of them to /v1", most,
			func(l *insight.Line) (int64, int64) { return l.Calls, l.Verified })}
	}
	all := []callChart{draw("All calls", func(d day) (int64, int64) { return d.Servlets + d.V1, d.V1 })}
	for n, call := range calls {
		all = append(all, draw(call.Name, func(d day) (int64, int64) {
			if call.Door == string(otp.V1Door) {
				return d.Calls[n], d.Calls[n]
			}
			return d.Calls[n], 0
		}))
	}
	return all
}

func (x *exchange) setUpstream() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	upstream := strings.TrimSpace(x.form("upstream_url"))
	_, err = x.door.Manage.Accounts.Change(x.ctx, manage.Edit{Account: found.Address, Columns: []string{"upstream_url"},
		By: x.who.Actor(), Set: func(n *manage.Imported) error {
			n.UpstreamURL = nil
			if upstream != "" {
				n.UpstreamURL = &upstream
			}
			return nil
		}})
	if err != nil {
		return x.showMigration(err, func(b *accountMigrationBody) { b.Upstream = upstream })
	}
	return x.goTo("migration/" + found.Address + "?done=account")
}

// cutOverMeans says what each mode does.
var cutOverMeans = map[otp.BridgeMode]string{
	otp.BridgeLocal:   "From then on this server answers the account's clients.",
	otp.BridgeForward: "From then on the upstream answers the account's clients, and this server passes their calls on.",
	otp.BridgeShadow:  "From then on the upstream answers the account's clients, and this server compares its answers.",
}

func (x *exchange) cutOver() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	mode, at := otp.BridgeMode(x.form("to")), strings.TrimSpace(x.form("at"))
	var moment time.Time
	switch {
	case !slices.Contains(otp.BridgeModes(), mode):
		err = otp.RefuseField("to", "must be local, forward or shadow")
	case at != "":
		if moment, err = time.Parse(time.RFC3339, at); err != nil {
			err = otp.RefuseField("at", "must be a time such as 2026-12-24T06:00:00Z")
		}
	}
	if err == nil {
		q := question{Title: "Change who answers for account " + found.Address + "?", Name: found.Address, Do: "Change it",
			What: cutOverMeans[mode] + " Codes that were sent stay valid: whoever made a code checks it.",
			Back: "migration/" + found.Address, Keep: []string{"to", "at"}}
		if asked, err := x.ask(q); asked {
			return err
		}
		_, err = x.door.Manage.Accounts.CutOver(x.ctx, x.who.Actor(), found.Address, mode, moment, nil)
	}
	if err != nil {
		return x.showMigration(err, func(b *accountMigrationBody) { b.To, b.At = string(mode), at })
	}
	return x.goTo("migration/" + found.Address + "?done=cut-over")
}
