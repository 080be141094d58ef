package console

import (
	"slices"
	"strings"
	"time"

	"otpbridge/server/bridge"
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

// lookBack is the time for which the pages count calls.
const lookBack = 7 * 24 * time.Hour

// stage is an account's progress.
type stage struct {
	bridge.AccountReport
	Share  int64 // percentage of calls on the JSON API
	CutOff *otp.Millis
}

func (x *exchange) stages(accounts []otp.Account) ([]stage, error) {
	now := time.Now()
	report, err := x.door.Reports.On(x.ctx, accounts, now.Add(-lookBack), now)
	if err != nil {
		return nil, err
	}
	all := make([]stage, len(accounts))
	for i, r := range report.Accounts {
		all[i] = stage{AccountReport: r, CutOff: accounts[i].ServletsSunsetAt}
		if calls := r.Servlets + r.V1; calls > 0 {
			all[i].Share = 100 * r.V1 / calls
		}
	}
	return all, nil
}

func (x *exchange) migration() error {
	found, err := x.door.Manage.Accounts.List(x.ctx)
	if err != nil {
		return err
	}
	var accounts []otp.Account
	for i := range found {
		if x.who.MaySee(found[i].Address) {
			accounts = append(accounts, found[i].Account)
		}
	}
	all, err := x.stages(accounts)
	if err != nil {
		return err
	}
	return x.show("migration", "Migration", all)
}

// accountMigrationBody is one account's calls, and the forms for its next step.
type accountMigrationBody struct {
	stage
	Days              []day
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
}

func (x *exchange) accountMigration() error { return x.showMigration(nil, nil) }

func (x *exchange) showMigration(refused error, fill func(*accountMigrationBody)) error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	all, err := x.stages([]otp.Account{found.Account})
	if err != nil {
		return err
	}
	body := accountMigrationBody{stage: all[0], Days: daysOf(all[0].Calls), To: string(otp.BridgeLocal),
		MayWrite: x.who.May(people.WriteAccounts) == nil, DeprecatedAt: found.ServletsDeprecatedAt,
		Next: string(found.Bridge)}
	for _, mode := range otp.BridgeModes() {
		body.Modes = append(body.Modes, string(mode))
	}
	if found.UpstreamURL != nil {
		body.Upstream = *found.UpstreamURL
	}
	body.Pending = found.CutOverAt != nil && found.Bridge != all[0].Mode
	for name := range all[0].Differences {
		body.DifferencesListed = append(body.DifferencesListed, name)
	}
	slices.Sort(body.DifferencesListed)
	if fill != nil {
		fill(&body)
	}
	title := "Migration of account " + found.Address
	if refused != nil {
		return x.refuse(refused, "account-migration", title, body)
	}
	return x.show("account-migration", title, body)
}

// daysOf adds calls up by day, in order.
func daysOf(calls []bridge.CallReport) []day {
	var all []day
	for _, call := range calls {
		for _, hour := range call.Hours {
			date := hour.Hour.UTC().Format(time.DateOnly)
			i, found := slices.BinarySearchFunc(all, date, func(d day, date string) int { return strings.Compare(d.Day, date) })
			if !found {
				all = slices.Insert(all, i, day{Day: date})
			}
			if call.Door == string(otp.V1Door) {
				all[i].V1 += hour.Calls
			} else {
				all[i].Servlets += hour.Calls
			}
		}
	}
	return all
}

func (x *exchange) setUpstream() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	upstream := strings.TrimSpace(x.form("upstream"))
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
