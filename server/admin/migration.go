package admin

import (
	"net/http"
	"slices"
	"time"

	"otpbridge/server/bridge"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// migrationRoutes are the calls for accounts that move from another service.
var migrationRoutes = []route{
	{method: http.MethodPost, path: "/api/accounts/:account/cut-over", who: person, needs: people.WriteAccounts,
		live: true,
		call: (*exchange).cutOver},
	{method: http.MethodGet, path: "/api/migration", who: person, needs: people.ReadStatistics,
		parameters: []string{"account", "hours"}, call: (*exchange).migration},
}

// usualHours is how far the report looks back by default: a week.
const usualHours = 168

// migration reports which calls are made by the accounts that the caller sees.
func (x *exchange) migration() (answer, error) {
	query := web.ReadQuery(x.gin, "account", "hours")
	only, hours := query.Text("account"), query.Number("hours", usualHours, 1, int(bridge.Memory/time.Hour))
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	found, err := x.door.Manage.Accounts.List(x.ctx)
	if err != nil {
		return answer{}, err
	}
	var accounts []otp.Account
	for i := range found {
		if address := found[i].Address; x.who.MaySee(address) && (only == "" || only == address) {
			accounts = append(accounts, found[i].Account)
		}
	}
	if only != "" && len(accounts) == 0 {
		return answer{}, otp.Refuse(otp.NotFound, "there is no such account")
	}
	now := time.Now()
	report, err := x.door.Reports.On(x.ctx, accounts, now.Add(-time.Duration(hours)*time.Hour), now)
	return answer{http.StatusOK, report}, err
}

// cutOver sets whether this server or the upstream answers an account's servlet calls, and from when.
func (x *exchange) cutOver() (answer, error) {
	var asked struct {
		Mode string `json:"mode"`
		At   string `json:"at"`
	}
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	var at time.Time
	if asked.At != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, asked.At); err != nil {
			return answer{}, web.Invalid(web.Fault{Pointer: "/at", Detail: "must be a time such as 2026-12-24T06:00:00Z"})
		}
	}
	if !slices.Contains(otp.BridgeModes(), otp.BridgeMode(asked.Mode)) {
		return answer{}, web.Invalid(web.Fault{Pointer: "/mode", Detail: "must be local, forward or shadow"})
	}
	changed, err := x.door.Manage.Accounts.CutOver(x.ctx, x.who.Actor(), x.gin.Param("account"),
		otp.BridgeMode(asked.Mode),
		at, nil)
	if err != nil {
		return answer{}, err
	}
	return x.showAccount(http.StatusOK, changed), nil
}
