package console

import (
	"context"
	"io"
	"strings"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/web"
)

// privacyPages export and erase a person's data. The person is named in forms, never in a URL.
var privacyPages = []route{
	{method: get, path: "privacy", who: person, needs: people.ReadPrivacy, serve: (*exchange).privacy},
	{method: post, path: "privacy/count", who: person, needs: people.WritePrivacy, serve: (*exchange).countSubject},
	{method: post, path: "privacy/export", who: person, needs: people.WritePrivacy, live: true,
		serve: (*exchange).exportSubject},
	{method: post, path: "privacy/erase", who: person, needs: people.WritePrivacy, live: true,
		serve: (*exchange).eraseSubject},
	{method: post, path: "privacy/verify", who: person, needs: people.ReadPrivacy, serve: (*exchange).verifyCertificate},
}

// privacyBody is the report of kept data, and the result for one person.
type privacyBody struct {
	privacy.Asked
	Accounts     []string
	Environments []otp.Environment
	Report       privacy.Report
	Count        *privacy.Count   // of the person
	Erased       *privacy.Erasure // the erasure that has just been done
	Certificate  string           // as it was pasted
	Says         *crypto.Certificate
	MayWrite     bool
}

func (x *exchange) privacy() error {
	body := privacyBody{Asked: privacy.Asked{Environment: otp.Live}}
	if x.door.Sandbox {
		body.Environment = otp.Test
	}
	return x.showPrivacy(nil, body)
}

func (x *exchange) showPrivacy(refused error, body privacyBody) (err error) {
	if body.Accounts, err = x.addresses(); err != nil {
		return err
	}
	body.Environments, body.MayWrite = otp.Environments(), x.who.May(people.WritePrivacy) == nil
	if body.Report, err = x.door.Privacy.Report(x.ctx, x.who.Actor(), x.who.MaySee); err != nil {
		return err
	}
	return x.page(refused, "privacy", "Privacy", body)
}

// subject returns the person in a form, if the reader may see the account.
func (x *exchange) subject() (privacyBody, error) {
	body := privacyBody{Asked: privacy.Asked{Account: x.form("account"),
		Environment: otp.Environment(x.form("environment")), ID: strings.TrimSpace(x.form("id"))}}
	return body, x.who.See(body.Account)
}

func (x *exchange) countSubject() error {
	body, err := x.subject()
	if err != nil {
		return x.showPrivacy(err, body)
	}
	count, err := x.door.Privacy.Count(x.ctx, x.who.Actor(), body.Asked)
	if err == nil {
		body.Count = &count
	}
	return x.showPrivacy(err, body)
}

func (x *exchange) exportSubject() error {
	body, err := x.subject()
	if err == nil {
		by := x.who.Actor()
		err = web.Stream(x.gin, x.door.Log, "application/json; charset=utf-8", privacy.ExportFile,
			func(ctx context.Context, w io.Writer) error { return x.door.Privacy.Export(ctx, by, body.Asked, w) })
	}
	if err != nil {
		return x.showPrivacy(err, body)
	}
	return nil
}

func (x *exchange) eraseSubject() error {
	body, err := x.subject()
	if err != nil {
		return x.showPrivacy(err, body)
	}
	if asked, err := x.ask(question{Title: "Erase this person?", Name: body.ID, Do: "Erase", Back: "privacy",
		What: "This erases for good: history, live codes, numbers, mailboxes, metadata, and what webhooks were told. " +
			"Counters of wrong codes stay for a day, backups until you delete them.",
		Keep: []string{"account", "environment", "id"}}); asked {
		return err
	}
	made, err := x.door.Privacy.Erase(context.WithoutCancel(x.ctx), x.who.Actor(), body.Asked)
	if err == nil {
		body.Erased = &made
	}
	return x.showPrivacy(err, body)
}

func (x *exchange) verifyCertificate() error {
	body := privacyBody{Asked: privacy.Asked{Environment: otp.Live}, Certificate: strings.TrimSpace(x.form("certificate"))}
	says, err := x.door.Privacy.Verify(body.Certificate)
	if err == nil {
		body.Says = &says
	}
	return x.showPrivacy(err, body)
}
