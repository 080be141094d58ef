package console

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"otpbridge/server/audit"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// auditPages show and verify the audit log.
var auditPages = []route{
	{method: get, path: "audit", who: person, needs: people.ReadAudit, serve: (*exchange).auditLog},
	{method: post, path: "audit/verify", who: person, needs: people.ReadAudit, serve: (*exchange).verifyAudit},
	{method: get, path: "audit/export", who: person, needs: people.ReadAudit, serve: (*exchange).exportAudit},
}

const shownEntries = 50

// auditFilters are the parameters of a search.
var auditFilters = []string{"account", "action", "actor", "address", "result", "from", "to"}

// auditBody is a search and one page of its results.
type auditBody struct {
	list
	Account, Action, Actor, Address, Result, From, To string
	Accounts                                          []string
	Entries                                           []audit.Placed
}

// verifiedBody is the result of verifying the whole log.
type verifiedBody struct {
	Checkpoints string // to compare with, as they were pasted
	Asked       bool
	Report      audit.Report
	Fault       *audit.Fault // nil for a log that verifies
}

func (x *exchange) verifyAudit() error {
	body := verifiedBody{Checkpoints: x.form("checkpoints")}
	err := x.who.SeeAll()
	if err == nil {
		ctx, cancel := web.Within(x.gin, audit.VerifyTime)
		defer cancel()
		body.Report, err = x.door.Audit.Verify(ctx, strings.NewReader(body.Checkpoints), now())
	}
	if fault, ok := errors.AsType[*audit.Fault](err); ok {
		body.Fault, err = fault, nil
	}
	if err != nil {
		return x.refuse(err, "verified", "Verify the log", body)
	}
	body.Asked = true
	return x.show("verified", "Verify the log", body)
}

func (x *exchange) exportAudit() error {
	err := x.who.SeeAll()
	if err != nil {
		return err
	}
	file, err := x.door.Audit.Export(x.ctx, x.who.Actor(), x.query("format"), now())
	if err != nil {
		return err
	}
	return web.Stream(x.gin, x.door.Log, file.ContentType, file.Name, file.Write)
}

func (x *exchange) auditLog() (err error) {
	body := auditBody{list: x.list("audit", auditFilters), Account: x.query("account"),
		Action: strings.TrimSpace(x.query("action")), Actor: strings.TrimSpace(x.query("actor")),
		Address: strings.TrimSpace(x.query("address")), Result: strings.TrimSpace(x.query("result")),
		From: x.query("from"), To: x.query("to")}
	if body.Accounts, err = x.addresses(); err != nil {
		return err
	}
	if x.who.Grant.Accounts != nil && body.Account == "" && len(body.Accounts) > 0 {
		body.Account = body.Accounts[0] // a reader who does not see all accounts sees one at a time
	}
	q := audit.Query{Action: body.Action, Actor: body.Actor, Account: body.Account, Address: body.Address,
		Result: body.Result, Limit: shownEntries}
	if q.From, err = dayOf("from", body.From); err == nil {
		q.To, err = dayOf("to", body.To)
	}
	if q.To != 0 {
		q.To += otp.Day // include the day itself
	}
	if body.Cursor != "" && err == nil {
		if q.Before, err = strconv.ParseInt(body.Cursor, 10, 64); err != nil || q.Before < 1 {
			err = otp.RefuseField("cursor", "must be that of a link to the next page")
		}
	}
	if err == nil && body.Account != "" {
		err = x.who.See(body.Account)
	}
	var found audit.Found
	if err == nil {
		found, err = x.door.Audit.Read(x.ctx, x.who.Actor(), q, now())
	}
	if err != nil {
		return x.refuse(err, "audit", "Audit", body)
	}
	body.Entries = found.Entries
	if next := found.Cursor(); next != "" {
		body.Next = body.at(next)
	}
	return x.show("audit", "Audit", body)
}

// dayOf returns the beginning of a day in UTC, 0 for an empty text.
func dayOf(name, text string) (otp.Millis, error) {
	if text == "" {
		return 0, nil
	}
	at, err := time.Parse(time.DateOnly, text)
	if err != nil || at.Year() < 1971 {
		return 0, otp.RefuseField(name, "must be a day, as 2027-01-31")
	}
	return otp.At(at), nil
}
