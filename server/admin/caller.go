package admin

import (
	"cmp"
	"net/http"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// csrfHeader has the CSRF token, which only our own pages can read.
const csrfHeader = "X-CSRF-Token"

// singleHeaders are refused if they are given twice.
var singleHeaders = []string{
	"Origin", "Authorization", "X-API-Key", "access_key", "Content-Type", "X-Timestamp", "X-Nonce", "X-Signature",
	csrfHeader,
}

// admit identifies the caller, and refuses requests from other sites' pages.
func (x *exchange) admit(who asked) error {
	for _, name := range singleHeaders {
		if _, err := web.Single(x.gin.Request.Header, name); err != nil {
			return err
		}
	}
	if err := x.door.browser.KeepPagesOut(x.gin.Request); err != nil {
		return err
	}
	switch who {
	case anybody:
		// The body has the credential. Those in headers, such as an earlier cookie, are ignored.
		return x.door.Plain.Admit(x.gin, "api")
	case stranger:
		x.refusal = x.identify()
		return nil
	}
	return x.identify()
}

// identify sets x.who from an access token, an API key or the session cookie. A token and a cookie may come together
// only if they belong to the same session.
func (x *exchange) identify() error {
	secret, err := web.Credential(x.gin.Request.Header, "access token")
	cookie, cookieErr := x.door.browser.Cookie(x.gin.Request)
	if err = cmp.Or(err, cookieErr); err == nil && secret == "" && cookie == "" {
		err = otp.Refuse(otp.MissingCredential,
			"no credential was presented; send the header Authorization: Bearer <access token>")
	}
	if err := x.checked("one readable credential", err); err != nil {
		return err
	}
	if err := x.checked("HTTPS", x.door.Plain.Admit(x.gin, "api")); err != nil {
		return err
	}
	if secret == "" {
		x.who, err = x.door.People.FromCookie(x.ctx, cookie, x.from)
		if err := x.checked("session", err); err != nil {
			return err
		}
		return x.checked("CSRF token", x.checkCSRF())
	}
	if err := x.present(secret); err != nil || cookie == "" {
		return err
	}
	if session, ok := x.door.People.CookieSession(cookie); !ok || session != x.who.Session {
		err = web.Invalid(web.Fault{Header: "Cookie",
			Detail: "is of another session than the access token; send one of them"})
	}
	return x.checked("cookie of the same session", err)
}

// present reads a header's credential: an access token of a person or service account, or an API key.
func (x *exchange) present(secret string) (err error) {
	x.who, err = x.door.People.Bearer(x.ctx, secret, x.from)
	if otp.KindOf(err) != otp.MissingCredential || x.door.Engine == nil || people.Issues(secret) {
		return x.checked("access token", err)
	}
	return x.presentKey(secret)
}

// presentKey reads an API key as /v1 does. Here a key may only read its account's data: no person is responsible for
// a change that it makes.
func (x *exchange) presentKey(secret string) error {
	e, r := x.door.Engine, x.gin.Request
	key, err := e.Authenticate(x.ctx, otp.APIDoor, secret, x.from.Address)
	switch otp.KindOf(err) {
	case otp.UnknownCredential, otp.ExpiredCredential:
		if quota, flooded := e.Limits.CountFailure(x.ctx, x.from.Address); flooded != nil {
			x.showQuota(quota)
			err = flooded
		}
	case otp.ForbiddenNetwork:
		x.checked("API key", nil)
		return x.checked("network", err)
	case otp.FeatureOff:
		err = nil // the account may not send codes; this call is about something else
	}
	if err := x.checked("API key", err); err != nil {
		return err
	}
	x.checked("network", nil)
	request := web.RequestOf(x.gin)
	request.Account, request.Key, request.Environment = key.Account.Address, key.Key.ID, key.Environment
	x.apiKey, x.who = key, people.Key(key.Key.Key, key.Account.Address, x.from)
	if err := x.checked("origin", key.FromOrigin(r.Header.Get("Origin"))); err != nil {
		return err
	}
	quota, err := e.Limits.CountRequest(x.ctx, key)
	x.showQuota(quota)
	if err := x.checked("requests a minute", err); err != nil {
		return err
	}
	if !isRead(r) {
		err = otp.Refuse(otp.Forbidden,
			"an API key changes nothing here; use the access token of a person or service account")
	}
	if err := x.checked("a reading call", err); err != nil {
		return err
	}
	return x.checked("signature", e.AcceptSignature(x.ctx, key, engine.Signed{
		Method: r.Method, Path: r.RequestURI, Timestamp: r.Header.Get("X-Timestamp"), Nonce: r.Header.Get("X-Nonce"),
		Signature: r.Header.Get("X-Signature"),
	}))
}

// showQuota tells a client the state of the limit that counted, or refused, its request.
func (x *exchange) showQuota(q engine.Quota) {
	web.ShowLimit(x.gin.Writer.Header(), q.Limit, q.Remaining, q.Reset, q.Window)
}

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// checkCSRF refuses a change that another site made a browser send. SameSite and the check of origins do so too; the
// token also protects browsers that support neither.
func (x *exchange) checkCSRF() error {
	if isRead(x.gin.Request) {
		return nil
	}
	if x.door.People.IsCSRFToken(x.who, x.gin.GetHeader(csrfHeader)) {
		return nil
	}
	return &web.Problem{
		Status: http.StatusForbidden, Code: "CSRF_TOKEN_INVALID",
		Detail: "a change with the session cookie needs the header " + csrfHeader +
			"; read its value from GET /api/csrf-token",
	}
}

// keepSession sets the browser's session cookie.
func (x *exchange) keepSession(tokens people.Tokens) {
	x.door.browser.KeepSession(x.gin.Writer, x.gin.Request, x.door.People.Cookie(tokens.Session), tokens.ExpiresAt.Time())
}
