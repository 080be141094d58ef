package admin

import (
	"net/http"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
)

// webhookRoutes are the calls about webhooks and their deliveries.
var webhookRoutes = []route{
	{method: http.MethodGet, path: "/api/webhooks", who: person, needs: people.ReadWebhooks,
		parameters: webhookParameters, call: (*exchange).webhooks},
	{method: http.MethodPost, path: "/api/webhooks", who: person, needs: people.WriteWebhooks, live: true,
		once: true, call: reads((*exchange).createWebhook)},
	{method: http.MethodGet, path: "/api/webhooks/:webhook", who: person, needs: people.ReadWebhooks,
		call: names((*exchange).webhook)},
	{method: http.MethodPatch, path: "/api/webhooks/:webhook", who: person, needs: people.WriteWebhooks, live: true,
		call: reads((*exchange).changeWebhook)},
	{method: http.MethodDelete, path: "/api/webhooks/:webhook", who: person, needs: people.WriteWebhooks, live: true,
		call: names((*exchange).deleteWebhook)},
	{method: http.MethodPost, path: "/api/webhooks/:webhook/rotate", who: person, needs: people.WriteWebhooks, live: true,
		once: true, call: readsNothing(names((*exchange).rotateWebhook))},
	{method: http.MethodPost, path: "/api/webhooks/:webhook/test", who: person, needs: people.WriteWebhooks,
		once: true, call: readsNothing(names((*exchange).testWebhook))},
	{method: http.MethodGet, path: "/api/webhooks/:webhook/deliveries", who: person, needs: people.ReadWebhooks,
		parameters: deliveryParameters, call: names((*exchange).deliveries)},
	{method: http.MethodGet, path: "/api/webhooks/:webhook/deliveries/:delivery", who: person, needs: people.ReadWebhooks,
		call: names((*exchange).delivery)},
	{method: http.MethodGet, path: "/api/webhooks/:webhook/replay", who: person, needs: people.ReadWebhooks,
		parameters: []string{"since"}, call: names((*exchange).countReplay)},
	{method: http.MethodPost, path: "/api/webhooks/:webhook/replay", who: person, needs: people.WriteWebhooks, live: true,
		once: true, call: reads((*exchange).replay)},
}

const accountParameter = "account"

// The parameters of the lists of webhooks and of deliveries.
var (
	webhookParameters = []string{accountParameter, searchParameter, stateParameter, sortParameter, limitParameter,
		cursorParameter}
	deliveryParameters = []string{stateParameter, sortParameter, limitParameter, cursorParameter}
)

// asker returns the caller as package webhook needs it. It refuses an account that the caller does not see like one
// that does not exist.
func (x *exchange) asker(account string) (webhook.Asker, error) {
	if err := x.who.See(account); err != nil {
		return webhook.Asker{}, err
	}
	return webhook.Asker{Account: account, Actor: x.who.Actor(), Full: x.who.May(people.FullRecipients) == nil}, nil
}

// named returns the caller, and the id of the webhook in the path.
func (x *exchange) named() (by webhook.Asker, id string, err error) {
	id = x.gin.Param("webhook")
	account, err := x.door.Webhooks.AccountOf(x.ctx, id)
	if err != nil {
		return by, id, err
	}
	if !x.who.MaySee(account) {
		return by, id, webhook.ErrNone
	}
	by, err = x.asker(account)
	return by, id, err
}

// names is a call about the webhook in the path.
func names(call func(x *exchange, by webhook.Asker, id string) (answer, error)) func(*exchange) (answer, error) {
	return func(x *exchange) (answer, error) {
		by, id, err := x.named()
		if err != nil {
			return answer{}, err
		}
		return call(x, by, id)
	}
}

func (x *exchange) match(version int64) error { return web.IfMatch(x.gin.Request.Header, version) }

func (x *exchange) answerWebhook(status int, e webhook.Endpoint, err error) (answer, error) {
	if err == nil {
		x.gin.Header("ETag", web.ETag(e.Version))
	}
	return answer{status, e}, err
}

func (x *exchange) webhooks() (answer, error) {
	query := web.ReadQuery(x.gin, webhookParameters...)
	limit := query.Number(limitParameter, usualPage, 1, 100)
	q := webhook.Query{
		Accounts: x.who.Grant.Accounts, Search: query.Text(searchParameter),
		State: among(query, stateParameter, webhook.EndpointStates()),
		Sort:  among(query, sortParameter, webhook.EndpointSorts()), After: query.Text(cursorParameter), Limit: limit + 1,
	}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	if account, given := query.Given(accountParameter); given {
		if err := x.seeAccount(account); err != nil {
			return answer{}, err
		}
		q.Accounts = []string{account}
	}
	found, err := x.door.Webhooks.Page(x.ctx, q)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, web.PageOf(x.gin, found, limit, web.AsIs, q.Cursor)}, nil
}

func (x *exchange) createWebhook(asked struct {
	Account     string          `json:"account" missing:"refused"`
	Environment otp.Environment `json:"environment" empty:"refused"`
	webhook.Wish
}) (answer, error) {
	by, err := x.asker(asked.Account)
	if err != nil {
		return answer{}, err
	}
	by.Environment = asked.Environment
	e, err := x.door.Webhooks.Create(x.ctx, by, otp.ID{}, asked.Wish)
	return x.answerWebhook(http.StatusCreated, e, err)
}

func (x *exchange) webhook(by webhook.Asker, id string) (answer, error) {
	e, err := x.door.Webhooks.Find(x.ctx, by, id)
	return x.answerWebhook(http.StatusOK, e, err)
}

func (x *exchange) changeWebhook(wish webhook.Wish) (answer, error) {
	by, id, err := x.named()
	if err != nil {
		return answer{}, err
	}
	e, err := x.door.Webhooks.Change(x.ctx, by, id, x.match, wish)
	return x.answerWebhook(http.StatusOK, e, err)
}

func (x *exchange) deleteWebhook(by webhook.Asker, id string) (answer, error) {
	return done, x.door.Webhooks.Delete(x.ctx, by, id, x.match)
}

func (x *exchange) rotateWebhook(by webhook.Asker, id string) (answer, error) {
	e, err := x.door.Webhooks.Rotate(x.ctx, by, id, x.match)
	return x.answerWebhook(http.StatusOK, e, err)
}

func (x *exchange) testWebhook(by webhook.Asker, id string) (answer, error) {
	tested, err := x.door.Webhooks.Test(x.ctx, by, id)
	return answer{http.StatusOK, tested}, err
}

func (x *exchange) deliveries(by webhook.Asker, id string) (answer, error) {
	query := web.ReadQuery(x.gin, deliveryParameters...)
	limit := query.Number(limitParameter, usualPage, 1, 100)
	q := webhook.DeliveryQuery{State: query.Text(stateParameter), Sort: query.Text(sortParameter),
		After: query.Text(cursorParameter), Limit: limit + 1}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	found, err := x.door.Webhooks.Deliveries(x.ctx, by, id, q)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, web.PageOf(x.gin, found, limit, web.AsIs, webhook.Delivery.Cursor)}, nil
}

func (x *exchange) delivery(by webhook.Asker, id string) (answer, error) {
	found, err := x.door.Webhooks.Delivery(x.ctx, by, id, x.gin.Param("delivery"))
	return answer{http.StatusOK, found}, err
}

// replayable is how many deliveries a replay sends again, or would.
type replayable struct {
	Count int64 `json:"count"`
}

func (x *exchange) countReplay(by webhook.Asker, id string) (answer, error) {
	query := web.ReadQuery(x.gin, "since")
	since, err := time.Parse(time.RFC3339, query.Text("since"))
	if err != nil {
		query.Fault("since", webhook.SinceForm)
	}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	n, err := x.door.Webhooks.Failed(x.ctx, by, id, since)
	return answer{http.StatusOK, replayable{int64(n)}}, err
}

func (x *exchange) replay(asked webhook.Replay) (answer, error) {
	by, id, err := x.named()
	if err != nil {
		return answer{}, err
	}
	n, err := x.door.Webhooks.Replay(x.ctx, by, id, asked)
	return answer{http.StatusOK, replayable{n}}, err
}
