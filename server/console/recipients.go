package console

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// recipientPages help a person who got no code. The recipient is named in a form, never in a URL, because browsers and
// proxies store URLs.
var recipientPages = []route{
	{method: get, path: "recipients", who: person, needs: people.ReadRecipients, serve: (*exchange).recipientForm},
	{method: post, path: "recipients", who: person, needs: people.ReadRecipients, serve: (*exchange).recipient},
	{method: post, path: "recipients/unlock", who: person, needs: people.Unlock, live: true,
		serve: (*exchange).unlockRecipient},
	{method: get, path: "accounts/:account/guards", who: person, needs: people.ReadGuards, serve: (*exchange).guards},
	{method: post, path: "accounts/:account/guards/lift", who: person, needs: people.WriteGuards, live: true,
		serve: (*exchange).liftPrefix},
	{method: get, path: "accounts/:account/tests", who: person, needs: people.ReadRecipients,
		serve: (*exchange).testRecipients},
	{method: post, path: "accounts/:account/tests", who: person, needs: people.WriteTests, live: true,
		serve: (*exchange).addTestRecipient},
	{method: post, path: "accounts/:account/tests/remove", who: person, needs: people.WriteTests, live: true,
		serve: (*exchange).removeTestRecipient},
}

// recipientBody is the form that names a recipient, and the recipient.
type recipientBody struct {
	Account, To  string
	Environment  otp.Environment
	Accounts     []string
	Environments []otp.Environment
	Asked        bool
	Reason       string // to unlock it
	Reasons      []manage.Reason
	Known        *manage.Recipient // nil if it is unknown
	MayUnlock    bool
}

func (x *exchange) recipientForm() error {
	body := recipientBody{Account: x.query("account"), Environment: otp.Live}
	if x.door.Sandbox {
		body.Environment = otp.Test
	}
	return x.showRecipient(nil, body)
}

func (x *exchange) showRecipient(refused error, body recipientBody) (err error) {
	if body.Accounts, err = x.addresses(); err != nil {
		return err
	}
	body.Environments, body.MayUnlock = otp.Environments(), x.who.May(people.Unlock) == nil
	return x.page(refused, "recipients", "Why no message?", body)
}

// named returns the recipient in a form, if the reader may see its account.
func (x *exchange) named() (recipientBody, error) {
	body := recipientBody{Account: x.form("account"), To: strings.TrimSpace(x.form("to")),
		Environment: otp.Environment(x.form("environment"))}
	if err := x.who.See(body.Account); err != nil {
		return body, err
	}
	return body, body.Environment.Check()
}

func (x *exchange) recipient() error {
	body, err := x.named()
	if err == nil {
		err = x.askWhy(&body)
	}
	return x.showRecipient(err, body)
}

// askWhy finds out why a recipient gets no message.
func (x *exchange) askWhy(body *recipientBody) (err error) {
	body.Reasons, body.Known, err = x.door.Manage.Recipients.Why(x.ctx, x.who.Actor(), body.Account, body.Environment,
		body.To)
	body.Asked = err == nil
	return err
}

func (x *exchange) unlockRecipient() error {
	body, err := x.named()
	if err != nil {
		return x.showRecipient(err, body)
	}
	body.Reason = x.form("reason")
	_, err = x.door.Manage.Recipients.Unlock(x.ctx, x.who.Actor(), body.Account, body.Environment, body.To, body.Reason)
	if err != nil {
		if unanswered := x.askWhy(&body); unanswered != nil {
			err = unanswered
		}
		return x.showRecipient(err, body)
	}
	return x.goTo("recipients?done=unlocked")
}

// guardsBody has the prefixes of an account that the guards against costs have stopped.
type guardsBody struct {
	Account  string
	Stopped  []manage.StoppedPrefix
	Spent    *int64
	MayWrite bool
}

func (x *exchange) guards() error { return x.showGuards(nil) }

func (x *exchange) showGuards(refused error) error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	body := guardsBody{Account: found.Address, MayWrite: x.who.May(people.WriteGuards) == nil}
	if body.Stopped, body.Spent, err = x.door.Manage.Guards.Stopped(x.ctx, found.Address); err != nil {
		return err
	}
	title := "Stopped prefixes of " + found.Address
	return x.page(refused, "guards", title, body)
}

func (x *exchange) liftPrefix() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	prefix := x.form("prefix")
	if asked, err := x.ask(question{Title: "Lift this stop?", Name: prefix, Do: "Lift it",
		What: "Codes go to these numbers again at once, and each costs money.",
		Back: "accounts/" + found.Address + "/guards", Keep: []string{"prefix"}}); asked {
		return err
	}
	err = x.door.Manage.Guards.Lift(x.ctx, x.who.Actor(), found.Address, prefix)
	return x.after(err, x.showGuards, "accounts/"+found.Address+"/guards?done=lifted")
}

// testsBody has an account's test recipients, and the form of a new one.
type testsBody struct {
	Account              string
	Tests                []manage.TestRecipient
	Number, Reason, Days string
	MayWrite             bool
}

func (x *exchange) testRecipients() error { return x.showTests(nil, testsBody{Days: "30"}) }

func (x *exchange) showTests(refused error, body testsBody) error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	body.Account, body.MayWrite = found.Address, x.who.May(people.WriteTests) == nil
	if body.Tests, err = x.door.Manage.Tests.List(x.ctx, found.Address); err != nil {
		return err
	}
	title := "Test recipients of " + found.Address
	return x.page(refused, "tests", title, body)
}

func (x *exchange) addTestRecipient() error {
	body := testsBody{Number: strings.TrimSpace(x.form("number")), Reason: x.form("reason"), Days: x.form("days")}
	found, err := x.seen()
	if err != nil {
		return err
	}
	days, err := strconv.Atoi(strings.TrimSpace(body.Days))
	if err != nil || days < 1 || days > 30 {
		err = otp.RefuseField("days", "must be a whole number from 1 to 30")
	} else {
		_, err = x.door.Manage.Tests.Add(x.ctx, x.who.Actor(), manage.NewTestRecipient{Account: found.Address,
			Number: body.Number, Code: strings.TrimSpace(x.form("code")), Reason: body.Reason,
			ExpiresAt: time.Now().AddDate(0, 0, days)})
	}
	if err != nil {
		return x.showTests(err, body)
	}
	return x.goTo("accounts/" + found.Address + "/tests?done=added-test")
}

var errNoTest = otp.Refuse(otp.NotFound, "the account has no such test recipient")

func (x *exchange) removeTestRecipient() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	id, ok := otp.ParseID("test", x.form("id"))
	if !ok {
		return errNoTest
	}
	all, err := x.door.Manage.Tests.List(x.ctx, found.Address)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(r manage.TestRecipient) bool { return r.ID == id })
	if at < 0 {
		return errNoTest
	}
	if asked, err := x.ask(question{Title: "Remove this test recipient?", Name: all[at].Reason, Do: "Remove it",
		What: "The number gets real messages again, and its fixed code is not accepted any more.",
		Back: "accounts/" + found.Address + "/tests", Keep: []string{"id"}}); asked {
		return err
	}
	if err := x.door.Manage.Tests.Remove(x.ctx, x.who.Actor(), found.Address, id); err != nil {
		return x.showTests(err, testsBody{Days: "30"})
	}
	return x.goTo("accounts/" + found.Address + "/tests?done=removed-test")
}
