package admin

import (
	"net/http"
	"slices"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// csrfHeader carries what only our own pages can read.
const csrfHeader = "X-CSRF-Token"

// singleHeaders are refused if they are given twice.
var singleHeaders = []string{"Origin", "Authorization", "X-API-Key", "access_key", "Content-Type", csrfHeader}

// admit finds out who asks, and keeps other sites' pages out.
func (x *exchange) admit(who asked) error {
	for _, name := range singleHeaders {
		if _, err := web.Single(x.gin.Request.Header, name); err != nil {
			return err
		}
	}
	if err := x.door.browser.KeepPagesOut(x.gin.Request); err != nil {
		return err
	}
	if who == anybody {
		// The body holds the credential. Others in headers, such as a cookie of before, are not looked at.
		return x.door.Plain.Admit(x.gin, "api")
	}
	return x.identify()
}

// identify sets who asks, by an access token or the session cookie. Both may be sent if they are of one session.
func (x *exchange) identify() error {
	token, err := web.Credential(x.gin.Request.Header, "access token")
	if err != nil {
		return err
	}
	cookie, err := x.door.browser.Cookie(x.gin.Request)
	if err != nil {
		return err
	}
	if token == "" && cookie == "" {
		return otp.Refuse(otp.MissingCredential,
			"no credential was presented; send the header Authorization: Bearer <access token>")
	}
	if err := x.door.Plain.Admit(x.gin, "api"); err != nil {
		return err
	}
	if token == "" {
		if x.who, err = x.door.People.FromCookie(x.ctx, cookie, x.from); err != nil {
			return err
		}
		return x.checkCSRF()
	}
	if x.who, err = x.door.People.Authenticate(x.ctx, token, x.from); err != nil || cookie == "" {
		return err
	}
	if session, ok := x.door.People.CookieSession(cookie); !ok || session != x.who.Session {
		return web.Invalid(web.Fault{Header: "Cookie",
			Detail: "is of another session than the access token; send one of them"})
	}
	return nil
}

// checkCSRF refuses a change that a browser was made to send. SameSite and the check of origins do so too; the
// token holds in browsers that know neither.
func (x *exchange) checkCSRF() error {
	if slices.Contains([]string{http.MethodGet, http.MethodHead}, x.gin.Request.Method) {
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

// keepSession gives a browser its session.
func (x *exchange) keepSession(tokens people.Tokens) {
	x.door.browser.KeepSession(x.gin.Writer, x.gin.Request, x.door.People.Cookie(tokens.Session), tokens.ExpiresAt.Time())
}
