package admin

import (
	"net/http"
	"slices"
	"time"

	"otpbridge/server/bridge"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// migrationRoutes are the calls for accounts that move from another service.
var migrationRoutes = []route{
	{method: http.MethodPost, path: "/api/accounts/:account/cut-over", who: person, needs: people.WriteAccounts,
		live: true,
		call: reads((*exchange).cutOver)},
	{method: http.MethodGet, path: "/api/migration", who: person, needs: people.ReadStatistics,
		parameters: migrationParameters, call: (*exchange).migration},
}

var migrationParameters = []string{"account", "hours", searchParameter, "mode", sortParameter, limitParameter,
	cursorParameter}

// usualHours is how far the report looks back by default: a week.
const usualHours = 168

// migrationPage is a report on a page of accounts.
type migrationPage struct {
	bridge.Report
	NextCursor *string `json:"next_cursor"` // null: this is the last page
	HasMore    bool    `json:"has_more"`
}

// migration reports which calls are made by the accounts that the caller sees.
func (x *exchange) migration() (answer, error) {
	query := web.ReadQuery(x.gin, migrationParameters...)
	only, hours := query.Text("account"), query.Number("hours", usualHours, 1, int(bridge.Memory/time.Hour))
	limit, now := query.Number(limitParameter, usualPage, 1, 100), time.Now()
	since := now.Add(-time.Duration(hours) * time.Hour)
	q := manage.AccountQuery{
		Accounts: x.who.Grant.Accounts, Search: query.Text(searchParameter), Mode: among(query, "mode", otp.BridgeModes()),
		Sort: among(query, sortParameter, manage.MigrationSorts()), After: query.Text(cursorParameter), Limit: limit + 1,
		Now: otp.At(now), Since: otp.At(since),
	}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	if only != "" {
		if err := x.seeAccount(only); err != nil {
			return answer{}, err
		}
		q.Accounts = []string{only}
	}
	found, err := x.door.Manage.Accounts.Page(x.ctx, q)
	if err != nil {
		return answer{}, err
	}
	page := web.PageOf(x.gin, found, limit, func(m manage.ManagedAccount) otp.Account { return m.Account }, q.Cursor)
	report, err := x.door.Reports.On(x.ctx, page.Data, since, now)
	return answer{http.StatusOK, migrationPage{report, page.NextCursor, page.HasMore}}, err
}

// cutOver sets whether this server or the upstream answers an account's servlet calls, and from when.
func (x *exchange) cutOver(asked struct {
	Mode string `json:"mode"`
	At   string `json:"at" empty:"refused"`
}) (answer, error) {
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
