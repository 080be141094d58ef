package admin

import (
	"net/http"
	"slices"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// The names of the session cookie. A browser takes the first only over HTTPS, for one host and no subdomain
// (RFC 6265bis, section 4.1.3.2). The second is for a sandbox on loopback, where there is no HTTPS.
const (
	cookieName  = "__Host-otpbridge"
	sandboxName = "otpbridge"
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
	if err := x.keepPagesOut(); err != nil {
		return err
	}
	if who == anybody {
		// The body holds the credential. Others in headers, such as a cookie of before, are not looked at.
		return x.door.Plain.Admit(x.gin, "api")
	}
	return x.identify()
}

// keepPagesOut refuses what a page of another site sends: it could log its visitor in as somebody else. A
// client that is no browser passes. In a sandbox, where registration may be open, a page whose name was made
// to resolve to loopback (DNS rebinding) is refused too.
func (x *exchange) keepPagesOut() error {
	r := x.gin.Request
	if x.door.Sandbox && web.ArrivedOnLoopback(r) && !web.HostIsAddress(r.Host) {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_HOST",
			Detail: "a sandbox answers on loopback only to localhost or an IP address as host; call it by one of them",
		}
	}
	if err := x.door.crossOrigin.Check(r); err != nil {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_ORIGIN",
			Detail: "a page of another origin may not call this; call it from this server's pages, or from a program",
		}
	}
	return nil
}

// identify sets who asks, by an access token or the session cookie. Both may be sent if they are of one session.
func (x *exchange) identify() error {
	token, err := web.Credential(x.gin.Request.Header, "access token")
	if err != nil {
		return err
	}
	cookie, err := x.cookie()
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

// cookie returns the session cookie, empty for none.
func (x *exchange) cookie() (string, error) {
	found := x.gin.Request.CookiesNamed(x.cookieName())
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0].Value, nil
	}
	return "", web.Invalid(web.Fault{Header: "Cookie", Detail: "has the session twice; send it once"})
}

func (x *exchange) cookieName() string {
	if x.inTheClear() {
		return sandboxName
	}
	return cookieName
}

// inTheClear reports whether a cookie may go over plain HTTP: in a sandbox, on this machine.
func (x *exchange) inTheClear() bool {
	return x.door.Sandbox && x.gin.Request.TLS == nil && web.ArrivedOnLoopback(x.gin.Request)
}

// keepSession gives a browser its session.
func (x *exchange) keepSession(tokens people.Tokens) {
	x.setCookie(x.door.People.Cookie(tokens.Session), tokens.ExpiresAt.Time())
}

// dropSession takes it away.
func (x *exchange) dropSession() { x.setCookie("", time.Unix(0, 0)) }

func (x *exchange) setCookie(value string, expires time.Time) {
	http.SetCookie(x.gin.Writer, &http.Cookie{
		Name: x.cookieName(), Value: value, Path: "/", Expires: expires,
		HttpOnly: true, Secure: !x.inTheClear(), SameSite: http.SameSiteLaxMode,
	})
}
