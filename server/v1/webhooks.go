package v1

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
)

// webhookRoutes are the calls about an account's webhooks.
var webhookRoutes = []route{
	{http.MethodGet, "/v1/webhooks", otp.PermitReadWebhooks, (*exchange).listWebhooks,
		[]string{"limit", "cursor"}},
	{http.MethodPost, "/v1/webhooks", otp.PermitWriteWebhooks, (*exchange).createWebhook, nil},
	{http.MethodGet, "/v1/webhooks/{id}", otp.PermitReadWebhooks, (*exchange).showWebhook, nil},
	{http.MethodPatch, "/v1/webhooks/{id}", otp.PermitWriteWebhooks, (*exchange).changeWebhook, nil},
	{http.MethodDelete, "/v1/webhooks/{id}", otp.PermitWriteWebhooks, (*exchange).deleteWebhook, nil},
	{http.MethodPost, "/v1/webhooks/{id}/rotate", otp.PermitWriteWebhooks, (*exchange).rotateWebhook, nil},
	{http.MethodPost, "/v1/webhooks/{id}/test", otp.PermitWriteWebhooks, (*exchange).testWebhook, nil},
	{http.MethodGet, "/v1/webhooks/{id}/deliveries", otp.PermitReadWebhooks, (*exchange).listDeliveries,
		[]string{"state", "limit", "cursor"}},
	{http.MethodGet, "/v1/webhooks/{id}/deliveries/{delivery}", otp.PermitReadWebhooks, (*exchange).showDelivery, nil},
	{http.MethodGet, "/v1/webhooks/{id}/replay", otp.PermitReadWebhooks, (*exchange).countReplay, []string{"since"}},
	{http.MethodPost, "/v1/webhooks/{id}/replay", otp.PermitWriteWebhooks, (*exchange).replay, nil},
}

// asker returns the caller for the webhook package. It never gets whole recipients, which are for the management API.
func (x *exchange) asker() webhook.Asker {
	actor := x.who.Actor()
	if x.who.Kind == "" {
		key := people.Principal{Kind: people.KeyKind, ID: x.caller.Key.ID, From: x.client()}
		actor = key.Actor()
	}
	return webhook.Asker{Account: x.caller.Account.Address, Actor: actor, Environment: x.caller.Environment}
}

func (x *exchange) match(version int64) error { return web.IfMatch(x.gin.Request.Header, version) }

// answerWebhook answers an endpoint with its entity tag.
func answerWebhook(status int, e webhook.Endpoint, err error) (engine.Answer, error) {
	if err != nil {
		return engine.Answer{}, err
	}
	answer, err := answerOf(status, e)
	answer.Header = map[string]string{"ETag": web.ETag(e.Version)}
	if status == http.StatusCreated {
		answer.Header["Location"] = "/v1/webhooks/" + e.ID
	}
	return answer, err
}

func answered(body any, err error) (engine.Answer, error) {
	if err != nil {
		return engine.Answer{}, err
	}
	return answerOf(http.StatusOK, body)
}

func (x *exchange) listWebhooks() (engine.Answer, error) {
	limit := x.query.Number("limit", usualPage, 1, 100)
	last, given := x.query.Given("cursor")
	if _, ok := otp.ParseID(webhook.EndpointPrefix, last); given && !ok {
		x.query.Fault("cursor", "must be the next_cursor of an answer of this list")
	}
	if err := x.query.Err(); err != nil {
		return engine.Answer{}, err
	}
	by := x.asker()
	all, err := x.door.webhooks.List(x.ctx, by.Environment, by.Account) // oldest first, and ids are in order of time
	rest := slices.DeleteFunc(all, func(e webhook.Endpoint) bool { return given && e.ID <= otp.Lower(last) })
	return answered(web.PageOf(x.gin, rest, limit, web.AsIs, func(e webhook.Endpoint) string { return e.ID }), err)
}

func (x *exchange) createWebhook() (engine.Answer, error) {
	var wish webhook.Wish
	if err := x.readAll(&wish); err != nil {
		return engine.Answer{}, err
	}
	return x.once(func(id otp.ID) (engine.Answer, error) {
		e, err := x.door.webhooks.Create(x.ctx, x.asker(), id, wish)
		return answerWebhook(http.StatusCreated, e, err)
	})
}

func (x *exchange) showWebhook() (engine.Answer, error) {
	e, err := x.door.webhooks.Find(x.ctx, x.asker(), x.gin.Param("id"))
	return answerWebhook(http.StatusOK, e, err)
}

func (x *exchange) changeWebhook() (engine.Answer, error) {
	var wish webhook.Wish
	if err := x.readAll(&wish); err != nil {
		return engine.Answer{}, err
	}
	e, err := x.door.webhooks.Change(x.ctx, x.asker(), x.gin.Param("id"), x.match, wish)
	return answerWebhook(http.StatusOK, e, err)
}

// readNothing reads the body of calls without members.
func (x *exchange) readNothing() error {
	if len(bytes.TrimSpace(x.body)) == 0 {
		return nil
	}
	return x.read(&struct{}{})
}

func (x *exchange) deleteWebhook() (engine.Answer, error) {
	err := x.door.webhooks.Delete(x.ctx, x.asker(), x.gin.Param("id"), x.match)
	return engine.Answer{Status: http.StatusNoContent}, err
}

func (x *exchange) rotateWebhook() (engine.Answer, error) {
	if err := x.readNothing(); err != nil {
		return engine.Answer{}, err
	}
	return x.once(func(otp.ID) (engine.Answer, error) {
		e, err := x.door.webhooks.Rotate(x.ctx, x.asker(), x.gin.Param("id"), x.match)
		return answerWebhook(http.StatusOK, e, err)
	})
}

func (x *exchange) testWebhook() (engine.Answer, error) {
	if err := x.readNothing(); err != nil {
		return engine.Answer{}, err
	}
	return x.once(func(otp.ID) (engine.Answer, error) {
		return answered(x.door.webhooks.Test(x.ctx, x.asker(), x.gin.Param("id")))
	})
}

// usualPage is the default page size of a list.
const usualPage = 20

func (x *exchange) listDeliveries() (engine.Answer, error) {
	limit := x.query.Number("limit", usualPage, 1, 100)
	if err := x.query.Err(); err != nil {
		return engine.Answer{}, err
	}
	all, err := x.door.webhooks.Deliveries(x.ctx, x.asker(), x.gin.Param("id"), webhook.DeliveryQuery{
		State: x.query.Text("state"), After: x.query.Text("cursor"), Limit: limit + 1})
	return answered(web.PageOf(x.gin, all, limit, web.AsIs, webhook.Delivery.Cursor), err)
}

func (x *exchange) showDelivery() (engine.Answer, error) {
	return answered(x.door.webhooks.Delivery(x.ctx, x.asker(), x.gin.Param("id"), x.gin.Param("delivery")))
}

// replayable is how many deliveries a replay sends, or would send, again.
type replayable struct {
	Count int64 `json:"count"`
}

func (x *exchange) countReplay() (engine.Answer, error) {
	since, err := time.Parse(time.RFC3339, x.query.Text("since"))
	if err != nil {
		return engine.Answer{}, web.Invalid(web.Fault{Parameter: "since", Detail: webhook.SinceForm})
	}
	n, err := x.door.webhooks.Failed(x.ctx, x.asker(), x.gin.Param("id"), since)
	return answered(replayable{int64(n)}, err)
}

func (x *exchange) replay() (engine.Answer, error) {
	var asked webhook.Replay
	if err := x.readAll(&asked); err != nil {
		return engine.Answer{}, err
	}
	return x.once(func(otp.ID) (engine.Answer, error) {
		n, err := x.door.webhooks.Replay(x.ctx, x.asker(), x.gin.Param("id"), asked)
		return answered(replayable{n}, err)
	})
}
