package v1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/web"
)

// exchange is one request on its way through a call.
type exchange struct {
	door   *door
	gin    *gin.Context
	ctx    context.Context // continues when the client hangs up
	caller *engine.Caller  // nil until the key is accepted
	// who is the person or service account whose access token was accepted; zero for other credentials.
	who    people.Principal
	body   []byte
	query  *web.Query
	stream func(context.Context, io.Writer) error // if set, writes the answer
}

// serve answers one request. Errors are rendered here and nowhere else.
func (d *door) serve(r route) gin.HandlerFunc {
	return func(c *gin.Context) {
		// Answers belong to one caller.
		c.Header("Cache-Control", "no-store")
		c.Header("X-Content-Type-Options", "nosniff")
		// A complete request is served and charged even if the client hangs up; otherwise a client that hangs up after
		// each guess would guess for free.
		x := &exchange{door: d, gin: c, ctx: context.WithoutCancel(c.Request.Context())}
		var answer engine.Answer
		err := web.Guarded(func() (err error) {
			answer, err = x.decide(r)
			return err
		})
		if err != nil {
			x.refuse(err)
			return
		}
		if x.stream == nil {
			x.write(answer)
			return
		}
		web.RequestOf(c).Kind = "ok"
		if err := web.Stream(c, d.errors.Log, "application/json; charset=utf-8", privacy.ExportFile, x.stream); err != nil {
			x.refuse(err)
		}
	}
}

// decide checks in the order that the API's page states: key, its limit, the whole request, its signature, the key's
// permission, the call.
func (x *exchange) decide(r route) (engine.Answer, error) {
	if err := x.door.engine.Admission.Enter(); err != nil {
		return engine.Answer{}, err
	}
	defer x.door.engine.Admission.Leave()
	if err := x.admit(r.permission); err != nil {
		return engine.Answer{}, err
	}
	var err error
	if x.body, err = web.ReadBody(x.gin); err != nil {
		return engine.Answer{}, err
	}
	if err := x.checkSignature(); err != nil {
		return engine.Answer{}, err
	}
	if err := x.caller.May(r.permission); err != nil {
		return engine.Answer{}, err
	}
	if err := x.door.engine.Faults.Inject(string(otp.V1Door), x.caller.Account.Address); err != nil {
		return engine.Answer{}, err
	}
	x.query = web.ReadQuery(x.gin, r.query...).Filled()
	if err := x.query.Err(); err != nil {
		return engine.Answer{}, err
	}
	return r.call(x)
}

// singleHeaders are refused if they are repeated. X-Request-Id is not among them: the server then makes one.
// X-Forwarded-For may be repeated (RFC 9110, section 5.3).
var singleHeaders = []string{
	"Origin", "Authorization", "X-API-Key", "access_key", "Content-Type", "X-Debug-Auth", "Idempotency-Key",
	"X-Timestamp", "X-Nonce", "X-Signature", accountHeader, environmentHeader,
}

// admit authenticates the caller, and counts the request if it is admitted.
func (x *exchange) admit(permission string) error {
	x.door.allowAnyListedOrigin(x.gin, x.gin.Request.Method)
	for _, name := range singleHeaders {
		if _, err := web.Single(x.gin.Request.Header, name); err != nil {
			return err
		}
	}
	peer := web.Peer(x.gin.Request)
	secret, err := credential(x.gin.Request.Header)
	if err != nil {
		return err
	}
	if err := x.door.plain.Admit(x.gin, "v1"); err != nil {
		return err
	}
	x.caller, err = x.authenticate(secret, peer)
	request := web.RequestOf(x.gin)
	request.Actor = x.who.Actor()
	if x.caller != nil {
		request.Account, request.Environment = x.caller.Account.Address, x.caller.Environment
		if x.who.Kind == "" {
			request.Key = x.caller.Key.ID
		}
	}
	if err != nil {
		return x.countFailure(peer, err)
	}
	x.tellCaller()
	if err := x.caller.FromOrigin(x.gin.GetHeader("Origin")); err != nil {
		return err
	}
	x.allowOrigin()
	if err := x.door.engine.Admission.Refusal(permission); err != nil {
		return err
	}
	quota, err := x.door.engine.Limits.CountRequest(x.ctx, x.caller)
	x.showQuota(quota)
	if err == nil {
		x.showDebug(peer, quota)
	}
	return err
}

// countFailure counts an unknown credential against the peer that tried it.
func (x *exchange) countFailure(peer netip.Addr, refusal error) error {
	switch otp.KindOf(refusal) {
	case otp.UnknownCredential, otp.ExpiredCredential:
		if quota, err := x.door.engine.Limits.CountFailure(x.ctx, peer); err != nil {
			x.showQuota(quota)
			return err
		}
	}
	return refusal
}

// checkSignature passes the signing headers to the engine unchanged, which knows whether the key requires them.
func (x *exchange) checkSignature() error {
	signed := engine.Signed{Method: x.gin.Request.Method, Path: x.gin.Request.RequestURI, Body: x.body}
	for _, part := range []struct {
		header string
		value  *string
	}{{"X-Timestamp", &signed.Timestamp}, {"X-Nonce", &signed.Nonce}, {"X-Signature", &signed.Signature}} {
		value, err := web.Single(x.gin.Request.Header, part.header)
		if err != nil {
			return err
		}
		*part.value = value
	}
	return x.door.engine.AcceptSignature(x.ctx, x.caller, signed)
}

// showQuota tells a client the state of the limit that counted, or refused, its request.
func (x *exchange) showQuota(q engine.Quota) {
	web.ShowLimit(x.gin.Writer.Header(), q.Limit, q.Remaining, q.Reset, q.Window)
}

// showDebug answers X-Debug-Auth: 1 with the authenticated caller, if the key has the permission.
func (x *exchange) showDebug(peer netip.Addr, q engine.Quota) {
	if x.gin.GetHeader("X-Debug-Auth") != "1" || x.caller.May(otp.PermitDebug) != nil {
		return
	}
	x.gin.Header("X-Auth-Method", authMethod(x.caller))
	if x.who.Kind != "" {
		x.gin.Header("X-Auth-User-ID", x.who.Text()) // and no key
	} else {
		x.gin.Header("X-Auth-User-ID", x.caller.Account.Address)
		x.gin.Header("X-Auth-Key-ID", x.caller.Key.ID.Text("key"))
	}
	x.gin.Header("X-Auth-IP", peer.String())
	if q.Limit > 0 {
		x.gin.Header("X-Auth-Remaining-Quota", strconv.Itoa(q.Remaining))
	}
}

// authMethod returns the caller's kind of credential.
func authMethod(c *engine.Caller) string {
	switch c.Key.Kind {
	case otp.AccessKey:
		return string(otp.AccessKey)
	case otp.TokenKey:
		return "jwt"
	}
	return "api_key"
}

// read decodes the body. Its Content-Type must be JSON.
func (x *exchange) read(target any) error {
	if err := web.RequireJSON(x.gin.Request.Header); err != nil {
		return err
	}
	if len(bytes.TrimSpace(x.body)) == 0 {
		return web.Invalid(web.Fault{Detail: "is missing; send a JSON object"})
	}
	return web.Decode(x.body, target)
}

// answerOf returns body as JSON. It is encoded in memory, because it may be stored for an idempotency key.
func answerOf(status int, body any) (engine.Answer, error) {
	text, err := web.Encode(body)
	return engine.Answer{Status: status, Body: text}, err
}

// write sends the call's answer.
func (x *exchange) write(answer engine.Answer) {
	if request := web.RequestOf(x.gin); request.Kind == "" {
		request.Kind = "ok"
	}
	for name, value := range answer.Header {
		x.gin.Header(name, value)
	}
	if answer.Status == http.StatusNoContent {
		x.gin.Status(answer.Status) // without a type, because there is no content
		return
	}
	// The client may be gone. The decision is committed, so an error here is ignored.
	x.gin.Data(answer.Status, "application/json; charset=utf-8", answer.Body)
}

// refuse answers an error.
func (x *exchange) refuse(err error) {
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		err = x.dressed(refusal)
	}
	x.door.errors.Refuse(x.gin, err)
}

// dressed adds the headers that a refusal's status requires.
func (x *exchange) dressed(refusal *otp.Error) error {
	if refusal.Limit > 0 {
		x.showQuota(engine.Quota{Limit: refusal.Limit, Reset: time.Now().Add(refusal.RetryAfter), Window: refusal.Window})
	} else if refusal.Kind == otp.CostLimited { // no count of requests: the key's would have a client return too early
		web.HideLimit(x.gin.Writer.Header())
	}
	switch row, _ := web.RowOf(refusal.Kind); row.Status {
	case http.StatusUnauthorized:
		challenge := `Bearer realm="otpbridge"`
		if refusal.Kind != otp.MissingCredential {
			challenge += `, error="invalid_token"` // RFC 6750, section 3
		}
		x.gin.Header("WWW-Authenticate", challenge)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusConflict:
		if refusal.Kind != otp.IdempotencyBusy && row.Status == http.StatusConflict {
			break // a retry would not help
		}
		if refusal.RetryAfter <= 0 {
			again := *refusal
			again.RetryAfter = time.Second
			return &again
		}
	}
	return refusal
}
