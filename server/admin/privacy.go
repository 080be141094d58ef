package admin

import (
	"context"
	"io"
	"net/http"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/web"
)

// privacyRoutes are the calls about a person's data. The person is named in the body, so that no log of paths contains
// the name.
var privacyRoutes = []route{
	{method: http.MethodPost, path: "/api/privacy/count", who: person, needs: people.WritePrivacy,
		call: (*exchange).countSubject},
	{method: http.MethodPost, path: "/api/privacy/export", who: person, needs: people.WritePrivacy, live: true,
		call: (*exchange).exportSubject},
	{method: http.MethodPost, path: "/api/privacy/erase", who: person, needs: people.WritePrivacy, live: true,
		call: (*exchange).eraseSubject},
	{method: http.MethodPost, path: "/api/privacy/verify", who: person, needs: people.ReadPrivacy,
		call: reads((*exchange).verifyCertificate)},
	{method: http.MethodGet, path: "/api/privacy/erasures", who: person, needs: people.ReadPrivacy,
		parameters: []string{limitParameter, cursorParameter, "account"}, call: (*exchange).erasures},
	{method: http.MethodGet, path: "/api/privacy/report", who: person, needs: people.ReadPrivacy,
		call: (*exchange).privacyReport},
}

// subject names a user of an account's application.
type subject struct {
	Account     string          `json:"account" missing:"refused"`
	Environment otp.Environment `json:"environment"`
	ID          string          `json:"id" missing:"refused"`
}

// asked checks the person that a body names. It refuses accounts that the caller does not see like those that do not
// exist.
func (s *subject) asked(x *exchange) (privacy.Asked, error) {
	if err := x.who.See(s.Account); err != nil {
		return privacy.Asked{}, err
	}
	web.RequestOf(x.gin).About(s.Account)
	return privacy.Asked{Account: s.Account, Environment: s.Environment, ID: s.ID}, nil
}

func (x *exchange) readSubject() (privacy.Asked, error) {
	named := subject{Environment: otp.Live}
	if err := x.read(&named); err != nil {
		return privacy.Asked{}, err
	}
	return named.asked(x)
}

func (x *exchange) countSubject() (answer, error) {
	asked, err := x.readSubject()
	if err != nil {
		return answer{}, err
	}
	found, err := x.door.Privacy.Count(x.ctx, x.who.Actor(), asked)
	return answer{http.StatusOK, found}, err
}

// exportSubject streams the export.
func (x *exchange) exportSubject() (answer, error) {
	asked, err := x.readSubject()
	if err != nil {
		return answer{}, err
	}
	by := x.who.Actor()
	return answer{http.StatusOK, file{"application/json; charset=utf-8", privacy.ExportFile,
		func(ctx context.Context, w io.Writer) error { return x.door.Privacy.Export(ctx, by, asked, w) }}}, nil
}

func (x *exchange) eraseSubject() (answer, error) {
	var named struct {
		subject
		Confirm string `json:"confirm"`
	}
	named.Environment = otp.Live
	if err := x.read(&named); err != nil {
		return answer{}, err
	}
	asked, err := named.asked(x)
	if err != nil {
		return answer{}, err
	}
	if named.Confirm != named.ID {
		return answer{}, web.Invalid(web.Fault{Pointer: "/confirm", Detail: "must be the id once more; nothing was erased"})
	}
	made, err := x.door.Privacy.Erase(context.WithoutCancel(x.ctx), x.who.Actor(), asked)
	return answer{http.StatusOK, made}, err
}

func (x *exchange) verifyCertificate(given struct {
	Certificate string `json:"certificate"`
}) (answer, error) {
	says, err := x.door.Privacy.Verify(given.Certificate)
	return answer{http.StatusOK, says}, err
}

// erasure is a line of the ledger.
type erasure struct {
	ID          string          `json:"id"`
	Account     string          `json:"account"`
	Environment otp.Environment `json:"environment"`
	Subject     string          `json:"subject"` // a pseudonym
	AskedAt     time.Time       `json:"asked_at"`
	ErasedAt    *time.Time      `json:"erased_at"` // null: it is running, or waits for the next start of a server
	Certificate string          `json:"certificate,omitempty"`
}

func (x *exchange) erasures() (answer, error) {
	query := web.ReadQuery(x.gin, limitParameter, cursorParameter, "account")
	limit, after := query.Number(limitParameter, usualPage, 1, 100), cursorID(query, privacy.ErasurePrefix)
	account, err := x.oneAccount(query)
	if err != nil {
		return answer{}, err
	}
	found, err := x.door.Privacy.Ledger(x.ctx, account, after, limit+1)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, web.PageOf(x.gin, found, limit, shownErasure, erasureID)}, nil
}

func erasureID(e privacy.LedgerLine) string { return e.ID.Text(privacy.ErasurePrefix) }

func shownErasure(e privacy.LedgerLine) erasure {
	return erasure{ID: erasureID(e), Account: e.Account, Environment: otp.Environment(e.Environment),
		Subject: e.User.Text(privacy.Pseudonym), AskedAt: e.At.Time(), ErasedAt: moment(e.DoneAt), Certificate: e.Certificate}
}

func (x *exchange) privacyReport() (answer, error) {
	report, err := x.door.Privacy.Report(x.ctx, x.who.Actor(), x.who.MaySee)
	return answer{http.StatusOK, report}, err
}
