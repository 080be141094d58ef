package console

import (
	"errors"
	"strings"

	"otpbridge/server/deliver"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// messagePages preview an account's messages and test its channels.
var messagePages = []route{
	{method: get, path: "accounts/:account/messages", who: person, needs: people.ReadAccounts,
		serve: (*exchange).messages},
	{method: post, path: "accounts/:account/messages/preview", who: person, needs: people.ReadAccounts,
		serve: (*exchange).preview},
	{method: post, path: "accounts/:account/messages/test", who: person, needs: people.WriteAccounts, live: true,
		serve: (*exchange).sendTest},
}

// messagesBody has an account's channels, the preview of a message, and the result of a test.
type messagesBody struct {
	Account    string
	SMS, Email manage.Channels
	Unusable   string // why the channels cannot be used
	Wording    manage.Wording
	Preview    *deliver.Preview
	From       string
	To         string
	Tried      []deliver.Trial
	MayWrite   bool
}

func (x *exchange) messages() error {
	return x.showMessages(nil, messagesBody{Wording: manage.Wording{Medium: "sms"}})
}

func (x *exchange) showMessages(refused error, body messagesBody) error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	body.Account, body.MayWrite = found.Address, x.who.May(people.WriteAccounts) == nil
	body.From = otp.ValueOr(found.SMSSender, found.Name)
	body.SMS, body.Email, err = x.door.Manage.Messages.Channels(x.ctx, found.Address)
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		body.Unusable, err = sentence(refusal), nil
	}
	if err != nil {
		return err
	}
	title := "Messages of " + found.Address
	return x.page(refused, "messages", title, body)
}

func (x *exchange) preview() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	body := messagesBody{Wording: manage.Wording{Account: found.Address, Medium: x.form("medium"), Text: x.form("text"),
		Template: strings.TrimSpace(x.form("template")), Department: strings.TrimSpace(x.form("department"))}}
	shown, err := x.door.Manage.Messages.Preview(x.ctx, body.Wording)
	if err == nil {
		body.Preview = &shown
	}
	return x.showMessages(err, body)
}

func (x *exchange) sendTest() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	body := messagesBody{Wording: manage.Wording{Medium: "sms"}, To: strings.TrimSpace(x.form("to"))}
	body.Tried, err = x.door.Manage.Messages.SendTest(x.ctx, x.who.Actor(), found.Address, body.To, "")
	return x.showMessages(err, body)
}
