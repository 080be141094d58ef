package admin

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"otpbridge/server/insight"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// insightRoutes are the calls for statistics and alerts.
var insightRoutes = []route{
	{method: http.MethodGet, path: "/api/statistics", who: person, needs: people.ReadStatistics,
		parameters: statisticsParameters, call: (*exchange).statistics},
	{method: http.MethodGet, path: "/api/alerts", who: person, needs: people.ReadAlerts,
		parameters: []string{accountParameter, limitParameter, cursorParameter}, call: (*exchange).alerts},
	{method: http.MethodPost, path: "/api/alerts/:id/acknowledge", who: person, needs: people.WriteAlerts,
		call: readsNothing((*exchange).acknowledge)},
	{method: http.MethodGet, path: "/api/checklist", who: person, needs: people.ReadAlerts,
		parameters: []string{accountParameter}, call: (*exchange).checklist},
	{method: http.MethodPost, path: "/api/checklist/:id/review", who: person, needs: people.WriteAlerts,
		call: reads((*exchange).review)},
}

var statisticsParameters = []string{"account", "environment", "from", "to", "by"}

// usualSpan is how far statistics look back by default.
const usualSpan = otp.Day

func (x *exchange) statistics() (answer, error) {
	query := web.ReadQuery(x.gin, statisticsParameters...)
	now := otp.At(time.Now())
	q := insight.Query{Environment: query.Text("environment"), By: query.Text("by"), From: query.Moment("from"),
		To: query.Moment("to")}
	if q.By == "" {
		q.By = insight.ByHour
	}
	if !slices.Contains(insight.Ways(), q.By) {
		query.Fault("by", "must be one of "+strings.Join(insight.Ways(), ", "))
	}
	if q.Environment != "" && otp.Environment(q.Environment).Check() != nil {
		query.Fault("environment", "must be live, test or dev")
	}
	q.Environment = string(x.ownEnvironment(query, otp.Environment(q.Environment)))
	if q.To == 0 {
		q.To = now
	}
	if q.From == 0 {
		q.From = q.To - usualSpan
	}
	if q.From >= q.To || q.To-q.From > insight.Longest {
		query.Fault("from", "must be before to, by 92 days at most")
	}
	var err error
	if q.Accounts, err = x.chosenAccounts(query, x.who.See); err != nil {
		return answer{}, err
	}
	lines, err := x.door.Insight.Statistics(x.ctx, q)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, struct {
		From string         `json:"from"`
		To   string         `json:"to"`
		By   string         `json:"by"`
		Data []insight.Line `json:"data"`
	}{q.From.Time().Format(time.RFC3339), q.To.Time().Format(time.RFC3339), q.By, lines}}, nil
}

// chosenAccounts returns the account in the query if see allows it, or those that the caller sees, nil for all. Call it
// last: it also returns the query's faults.
func (x *exchange) chosenAccounts(query *web.Query, see func(account string) error) ([]string, error) {
	account := query.Text(accountParameter)
	if err := query.Err(); err != nil || account == "" {
		return x.who.Grant.Accounts, err
	}
	return []string{account}, see(account)
}

// alert is an alert in an answer.
type alert struct {
	ID             string     `json:"id"`
	Rule           string     `json:"rule"`
	Account        string     `json:"account"`
	Subject        string     `json:"subject"`
	State          string     `json:"state"`
	Value          int64      `json:"value"`
	Says           string     `json:"says"`
	Remedy         string     `json:"remedy"`
	Action         string     `json:"action"`
	RaisedAt       time.Time  `json:"raised_at"`
	SeenAt         time.Time  `json:"seen_at"`
	AcknowledgedAt *time.Time `json:"acknowledged_at"`
	AcknowledgedBy string     `json:"acknowledged_by"`
	ResolvedAt     *time.Time `json:"resolved_at"`
}

func (x *exchange) alerts() (answer, error) {
	query := web.ReadQuery(x.gin, accountParameter, limitParameter, cursorParameter)
	limit, before := query.Number(limitParameter, usualPage, 1, 100), cursorID(query, insight.AlertPrefix)
	accounts, err := x.chosenAccounts(query, x.seeAccount)
	if err != nil {
		return answer{}, err
	}
	found, err := x.door.Insight.Alerts(x.ctx, accounts, before, limit+1)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, struct {
		web.Page[alert]
		Rules []insight.Rule `json:"rules"`
	}{web.PageOf(x.gin, found, limit, shownAlert, alertID), insight.Rules()}}, nil
}

func alertID(a insight.Alert) string { return a.ID.Text(insight.AlertPrefix) }

func shownAlert(a insight.Alert) alert {
	return alert{alertID(a), a.Rule, a.Account, a.Subject, a.State, a.Value, a.Says, insight.RemedyOf(a.Rule), a.Action,
		a.RaisedAt.Time(), a.SeenAt.Time(), moment(a.AcknowledgedAt), a.AcknowledgedBy, moment(a.ResolvedAt)}
}

func (x *exchange) acknowledge() (answer, error) {
	return done, x.door.Insight.Acknowledge(x.ctx, x.who.Actor(), x.who.Name, x.who.Grant.Accounts, x.gin.Param("id"),
		otp.At(time.Now()))
}

func (x *exchange) checklist() (answer, error) {
	accounts, err := x.chosenAccounts(web.ReadQuery(x.gin, accountParameter), x.seeAccount)
	if err != nil {
		return answer{}, err
	}
	items, err := x.door.Insight.Checklist(x.ctx, accounts, otp.At(time.Now()))
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, struct {
		Data []insight.Item `json:"data"`
	}{items}}, nil
}

func (x *exchange) review(asked struct {
	Note string `json:"note"`
}) (answer, error) {
	return done, x.door.Insight.Review(x.ctx, x.who.Actor(), x.who.Name, x.gin.Param("id"), asked.Note,
		otp.At(time.Now()))
}
