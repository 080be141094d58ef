package admin

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"otpbridge/server/audit"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// auditRoutes are the calls that search, verify and export the audit log.
var auditRoutes = []route{
	{method: http.MethodGet, path: "/api/audit", who: person, needs: people.ReadAudit, parameters: audit.Filters(),
		call: (*exchange).auditLog},
	{method: http.MethodPost, path: "/api/audit/verify", who: person, needs: people.ReadAudit,
		call: reads((*exchange).verifyAudit)},
	{method: http.MethodGet, path: "/api/audit/export", who: person, needs: people.ReadAudit,
		parameters: []string{"format"}, call: (*exchange).exportAudit},
}

func (x *exchange) auditLog() (answer, error) {
	query := web.ReadQuery(x.gin, audit.Filters()...)
	q := audit.QueryOf(query.Text)
	q.From, q.To = query.Moment("from"), query.Moment("to")
	q.Limit, q.Before = query.Number("limit", usualPage, 1, 100), query.Place("cursor")
	account, err := x.oneAccount(query)
	if err != nil {
		return answer{}, err
	}
	q.Account = account
	found, err := x.door.Audit.Read(x.ctx, x.who.Actor(), q, otp.At(time.Now()))
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, web.NewPage(x.gin, found.Entries, q.Limit, found.Cursor())}, nil
}

// verifyAudit verifies the log as it is now, and answers with the result, also if the log was changed.
func (x *exchange) verifyAudit(asked struct {
	Checkpoints string `json:"checkpoints"`
}) (answer, error) {
	if err := x.who.SeeAll(); err != nil {
		return answer{}, err
	}
	ctx, cancel := web.Within(x.gin, audit.VerifyTime)
	defer cancel()
	found, err := x.door.Audit.Verify(ctx, strings.NewReader(asked.Checkpoints), otp.At(time.Now()))
	shown := struct {
		Fits        bool    `json:"fits"`
		Entries     int64   `json:"entries"`
		Removed     int64   `json:"removed"` // entries whose content was removed after its time
		Checkpoints int     `json:"checkpoints"`
		Checkpoint  *string `json:"checkpoint"` // the current one, to keep elsewhere; null if the log does not verify
		Place       *int64  `json:"place"`      // of the first entry that does not verify
		Problem     *string `json:"problem"`
	}{err == nil, found.Entries, found.Removed, found.Checkpoints, &found.Now.Note, nil, nil}
	if fault, ok := errors.AsType[*audit.Fault](err); ok {
		shown.Checkpoint, shown.Place, shown.Problem, err = nil, &fault.Place, &fault.Problem, nil
	}
	return answer{http.StatusOK, shown}, err
}

func (x *exchange) exportAudit() (answer, error) {
	query := web.ReadQuery(x.gin, "format")
	format, given := query.Given("format")
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	if !given {
		format = "json"
	}
	if err := x.who.SeeAll(); err != nil {
		return answer{}, err
	}
	exported, err := x.door.Audit.Export(x.ctx, x.who.Actor(), format, otp.At(time.Now()))
	return answer{http.StatusOK, file{exported.ContentType, exported.Name, exported.Write}}, err
}
