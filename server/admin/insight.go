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

// insightRoutes are the calls that tell what was counted.
var insightRoutes = []route{
	{method: http.MethodGet, path: "/api/statistics", who: person, needs: people.ReadStatistics,
		parameters: statisticsParameters, call: (*exchange).statistics},
}

var statisticsParameters = []string{"account", "environment", "from", "to", "by"}

// usualSpan is how far statistics look back where nobody says how far.
const usualSpan = otp.Day

func (x *exchange) statistics() (answer, error) {
	query := web.ReadQuery(x.gin, statisticsParameters...)
	now := otp.At(time.Now())
	q := insight.Query{Environment: query.Text("environment"), By: query.Text("by"), From: momentOf(query, "from"),
		To: momentOf(query, "to")}
	if q.By == "" {
		q.By = insight.ByHour
	}
	if !slices.Contains(insight.Ways(), q.By) {
		query.Fault("by", "must be one of "+strings.Join(insight.Ways(), ", "))
	}
	if q.Environment != "" && otp.Environment(q.Environment).Check() != nil {
		query.Fault("environment", "must be live, test or dev")
	}
	if q.To == 0 {
		q.To = now
	}
	if q.From == 0 {
		q.From = q.To - usualSpan
	}
	if q.From >= q.To || q.To-q.From > insight.Longest {
		query.Fault("from", "must be before to, by 92 days at most")
	}
	account := query.Text("account")
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	if account != "" {
		if err := x.who.See(account); err != nil {
			return answer{}, err
		}
	}
	q.Accounts = x.who.Grant.Accounts
	if account != "" {
		q.Accounts = []string{account}
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
