package v1

import (
	"net/http"
	"time"

	"otpbridge/server/audit"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// auditRoute searches the audit log of the caller's account, without what is about another environment.
var auditRoute = route{http.MethodGet, "/v1/audit-logs", otp.PermitAudit, (*exchange).auditLogs, audit.Filters()}

func (x *exchange) auditLogs() (engine.Answer, error) {
	q := audit.QueryOf(x.query.Text)
	q.From, q.To = x.query.Moment("from"), x.query.Moment("to")
	q.Limit, q.Before = x.query.Number("limit", usualPage, 1, 100), x.query.Place("cursor")
	if err := x.query.Err(); err != nil {
		return engine.Answer{}, err
	}
	own := x.caller.Account.Address
	if q.Account != "" && q.Account != own {
		return engine.Answer{}, otp.Refuse(otp.NotFound, "there is no such account")
	}
	q.Account, q.Environment = own, x.caller.Environment
	found, err := x.door.audit.Read(x.ctx, x.asker().Actor, q, otp.At(time.Now()))
	return answered(web.NewPage(x.gin, found.Entries, q.Limit, found.Cursor()), err)
}
