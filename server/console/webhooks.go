package console

import (
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/webhook"
)

// webhookPages manage webhooks and show their deliveries.
var webhookPages = []route{
	{method: get, path: "webhooks", who: person, needs: people.ReadWebhooks, serve: (*exchange).webhooks},
	{method: post, path: "webhooks", who: person, needs: people.WriteWebhooks, live: true, serve: (*exchange).newWebhook},
	{method: get, path: "webhooks/:id", who: person, needs: people.ReadWebhooks, serve: (*exchange).webhook},
	{method: get, path: "webhooks/:id/deliveries/:delivery", who: person, needs: people.ReadWebhooks,
		serve: ofWebhook((*exchange).delivery)},
	{method: post, path: "webhooks/:id/change", who: person, needs: people.WriteWebhooks, live: true,
		serve: (*exchange).changeWebhook},
	{method: post, path: "webhooks/:id/rotate", who: person, needs: people.WriteWebhooks, live: true,
		serve: ofWebhook((*exchange).rotateWebhook)},
	{method: post, path: "webhooks/:id/test", who: person, needs: people.WriteWebhooks,
		serve: ofWebhook((*exchange).testWebhook)},
	{method: post, path: "webhooks/:id/replay", who: person, needs: people.WriteWebhooks, live: true,
		serve: (*exchange).replay},
	{method: post, path: "webhooks/:id/delete", who: person, needs: people.WriteWebhooks, live: true,
		serve: ofWebhook((*exchange).deleteWebhook)},
}

const (
	shownEndpoints  = 50
	shownDeliveries = 50
)

// webhooksBody lists the endpoints of accounts, and has the form of a new one.
type webhooksBody struct {
	list
	Search, State string // of the filter
	States        []string

	Account, URL, Events, Description string
	Accounts                          []string
	Told                              []otp.NoticeType // all types of events
	Endpoints                         []webhook.Endpoint
	MayWrite                          bool
	Secrets                           []secret
}

func (x *exchange) asker(account string) webhook.Asker {
	return webhook.Asker{Account: account, Actor: x.who.Actor(), Full: x.who.May(people.FullRecipients) == nil}
}

func (x *exchange) webhooks() error {
	return x.showWebhooks(nil, webhooksBody{Account: x.query("account"), Events: "*"})
}

func (x *exchange) showWebhooks(refused error, body webhooksBody) (err error) {
	if body.Accounts, err = x.addresses(); err != nil {
		return err
	}
	body.MayWrite, body.Told = x.who.May(people.WriteWebhooks) == nil, otp.NoticeTypes()
	body.list = x.list("webhooks", []string{"account", "search", "state"}, order{"", "Oldest first"},
		order{"-created", "Newest first"}, order{"account", "By account"}, order{"-account", "By account, last first"})
	body.Search, body.State = strings.TrimSpace(x.query("search")), x.query("state")
	body.States = webhook.EndpointStates()
	q := webhook.Query{Accounts: x.who.Grant.Accounts, Search: body.Search, State: body.State, Sort: body.Sort,
		After: body.Cursor, Limit: shownEndpoints + 1}
	if body.Account != "" {
		q.Accounts = append([]string{}, chosen(body.Account, body.Accounts)...) // never nil, which is all
	}
	if body.Endpoints, err = x.door.Webhooks.Page(x.ctx, q); err != nil {
		return x.refuse(err, "webhooks", "Webhooks", body)
	}
	body.Endpoints = part(&body.list, body.Endpoints, shownEndpoints, q.Cursor)
	return x.page(refused, "webhooks", "Webhooks", body)
}

func (x *exchange) newWebhook() error {
	body := webhooksBody{Account: x.form("account"), URL: strings.TrimSpace(x.form("url")), Events: x.form("events"),
		Description: x.form("description")}
	if err := x.who.See(body.Account); err != nil {
		return x.showWebhooks(err, body)
	}
	made, err := x.door.Webhooks.Create(x.ctx, x.asker(body.Account), otp.ID{}, webhook.Wish{URL: &body.URL,
		Events: entries(body.Events), Description: &body.Description})
	if err != nil {
		return x.showWebhooks(err, body)
	}
	return x.showWebhooks(nil, webhooksBody{Account: body.Account, Events: "*",
		Secrets: []secret{{"Signing secret", made.Secret}}})
}

// webhookBody is one endpoint and its deliveries.
type webhookBody struct {
	list
	webhook.Endpoint
	Form       webhookForm
	State      string
	States     []string
	Deliveries []webhook.Delivery
	Failed     int // how many a replay of the last day would send again
	MayWrite   bool
	Tested     *webhook.Tested
	Secrets    []secret
}

// webhookForm has the values of the form that changes an endpoint.
type webhookForm struct {
	URL, Events, Description string
	Enabled                  bool
	Version                  int64
}

// webhookForm returns the values of a refused form, or an endpoint's own.
func (x *exchange) webhookForm(e *webhook.Endpoint) webhookForm {
	own := webhookForm{e.URL, strings.Join(e.Events, ", "), e.Description, e.Enabled, e.Version}
	if !x.isForm("webhooks/:id/change") {
		return own
	}
	typed := webhookForm{x.form("url"), x.form("events"), x.form("description"), x.form("enabled") != "", own.Version}
	if version, err := x.versionOf("version"); err == nil {
		typed.Version = version // with the new one, pressing again would overwrite somebody else's change
	}
	return typed
}

// endpoint returns the caller for the endpoint in the path, and its id.
func (x *exchange) endpoint() (webhook.Asker, string, error) {
	id := x.gin.Param("id")
	account, err := x.door.Webhooks.AccountOf(x.ctx, id)
	if err == nil && !x.who.MaySee(account) {
		err = webhook.ErrNone
	}
	return x.asker(account), id, err
}

// ofWebhook serves a page about the endpoint in the path.
func ofWebhook(serve func(x *exchange, by webhook.Asker, id string) error) func(*exchange) error {
	return func(x *exchange) error {
		by, id, err := x.endpoint()
		if err != nil {
			return err
		}
		return serve(x, by, id)
	}
}

func (x *exchange) webhook() error { return x.showWebhook(nil, nil, nil) }

// replayed is how far back a replay of all failed deliveries goes.
const replayed = 24 * time.Hour

func (x *exchange) showWebhook(refused error, tested *webhook.Tested, secrets []secret) error {
	by, id, err := x.endpoint()
	if err != nil {
		return err
	}
	found, err := x.door.Webhooks.Find(x.ctx, by, id)
	if err != nil {
		return err
	}
	body := webhookBody{list: x.list("webhooks/"+id, []string{"state"}, order{"", "Newest first"},
		order{"at", "Oldest first"}), Endpoint: found,
		Form: x.webhookForm(&found), State: x.query("state"), States: webhook.States(),
		MayWrite: x.who.May(people.WriteWebhooks) == nil, Tested: tested, Secrets: secrets}
	body.Deliveries, err = x.door.Webhooks.Deliveries(x.ctx, by, id, webhook.DeliveryQuery{State: body.State,
		Sort: body.Sort, After: body.Cursor, Limit: shownDeliveries + 1})
	if err != nil {
		return err
	}
	body.Deliveries = part(&body.list, body.Deliveries, shownDeliveries, webhook.Delivery.Cursor)
	if body.Failed, err = x.door.Webhooks.Failed(x.ctx, by, id, time.Now().Add(-replayed)); err != nil {
		return err
	}
	return x.page(refused, "webhook", "Webhook", body)
}

// withWebhook calls do for the endpoint in the path, and redirects to its page.
func (x *exchange) withWebhook(done string, do func(webhook.Asker, string) error) error {
	by, id, err := x.endpoint()
	if err != nil {
		return err
	}
	if err := do(by, id); err != nil {
		return x.showWebhook(err, nil, nil)
	}
	return x.goTo("webhooks/" + id + "?done=" + done)
}

// sameVersion returns a function that refuses an endpoint that was changed since the page was made.
func (x *exchange) sameVersion() (func(int64) error, error) {
	seen, err := x.versionOf("version")
	return func(version int64) error {
		if version != seen {
			return otp.Refuse(otp.Outdated, "the webhook was changed meanwhile; load the page again")
		}
		return nil
	}, err
}

func (x *exchange) changeWebhook() error {
	match, err := x.sameVersion()
	if err != nil {
		return x.showWebhook(err, nil, nil)
	}
	url, description, enabled := strings.TrimSpace(x.form("url")), x.form("description"), x.form("enabled") != ""
	return x.withWebhook("webhook", func(by webhook.Asker, id string) error {
		_, err := x.door.Webhooks.Change(x.ctx, by, id, match, webhook.Wish{URL: &url, Description: &description,
			Enabled: &enabled, Events: listed(x.form("events"))})
		return err
	})
}

// rotateWebhook gives a webhook a new secret. A form that is sent twice, or whose page is loaded again, is refused the
// second time: it would end the secret that the receiver has.
func (x *exchange) rotateWebhook(by webhook.Asker, id string) error {
	match, err := x.sameVersion()
	var made webhook.Endpoint
	if err == nil {
		made, err = x.door.Webhooks.Rotate(x.ctx, by, id, match)
	}
	if err != nil {
		return x.showWebhook(err, nil, nil)
	}
	return x.showWebhook(nil, nil, []secret{{"Signing secret", made.Secret}})
}

func (x *exchange) testWebhook(by webhook.Asker, id string) error {
	tested, err := x.door.Webhooks.Test(x.ctx, by, id)
	if err != nil {
		return x.showWebhook(err, nil, nil)
	}
	return x.showWebhook(nil, &tested, nil)
}

func (x *exchange) replay() error {
	asked := webhook.Replay{}
	if one := x.form("delivery"); one != "" {
		asked.Delivery = &one
	} else {
		since := time.Now().Add(-replayed).UTC().Format(time.RFC3339)
		asked.Since = &since
	}
	return x.withWebhook("replayed", func(by webhook.Asker, id string) error {
		_, err := x.door.Webhooks.Replay(x.ctx, by, id, asked)
		return err
	})
}

func (x *exchange) deleteWebhook(by webhook.Asker, id string) error {
	found, err := x.door.Webhooks.Find(x.ctx, by, id)
	if err != nil {
		return err
	}
	if asked, err := x.ask(question{Title: "Delete this webhook?", Name: found.URL, Do: "Delete it",
		Back: "webhooks/" + id,
		What: "This removes its secret and the record of its deliveries; your server gets no more events."}); asked {
		return err
	}
	if err := x.door.Webhooks.Delete(x.ctx, by, id, func(int64) error { return nil }); err != nil {
		return x.showWebhook(err, nil, nil)
	}
	return x.goTo("webhooks?done=webhook-gone")
}

func (x *exchange) delivery(by webhook.Asker, id string) error {
	found, err := x.door.Webhooks.Delivery(x.ctx, by, id, x.gin.Param("delivery"))
	if err != nil {
		return err
	}
	return x.show("delivery", "Delivery of "+found.Type, struct {
		webhook.Delivery
		Endpoint string
		Text     string
		MayWrite bool
	}{found, id, string(found.Request), x.who.May(people.WriteWebhooks) == nil})
}
