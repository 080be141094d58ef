package web

import (
	"net/http"
	"net/url"
	"time"

	"otpbridge/server/otp"
)

// The names of the session cookie. A browser accepts the first only over HTTPS and for exactly one host
// (RFC 6265bis, section 4.1.3.2). The second is for a sandbox on loopback without HTTPS.
const (
	cookieName  = "__Host-otpbridge"
	sandboxName = "otpbridge"
	markSuffix  = "-login" // in the name of the cookie of a login that waits for a code
)

// Browser handles the session cookie and refuses other sites' pages, for the doors that browsers use.
type Browser struct {
	sandbox     bool
	host        string // of the public URL, empty without one
	crossOrigin *http.CrossOriginProtection
}

// NewBrowser returns a Browser. publicURL is where browsers reach the server; if it is empty, the host of each request
// counts. It panics if publicURL is not an origin; the settings refuse that.
func NewBrowser(publicURL string, sandbox bool) *Browser {
	b := &Browser{sandbox: sandbox, crossOrigin: http.NewCrossOriginProtection()}
	if publicURL != "" {
		// A proxy may change the Host header, so that it differs from the browser's Origin.
		if err := b.crossOrigin.AddTrustedOrigin(publicURL); err != nil {
			panic("the public URL is no origin: " + err.Error())
		}
		if origin, err := url.Parse(publicURL); err == nil {
			b.host = origin.Hostname()
		}
	}
	return b
}

// KeepHostsOut refuses a request whose Host is a name that may be an attacker's. An attacker can let a name resolve to
// this server (DNS rebinding), so that the attacker's page counts as ours. Three kinds of Host pass: IP addresses and
// localhost, because they do not depend on DNS; the public URL's name; and without a public URL, over TLS that ends
// here, every name, because the browser has found it in our certificate.
func (b *Browser) KeepHostsOut(r *http.Request) error {
	detail := "the console answers here to an IP address and to localhost; for a name set OTPBRIDGE_PUBLIC_URL"
	switch {
	case HostIsAddress(r.Host):
		return nil
	case b.host == "" && r.TLS != nil:
		return nil
	case b.host != "":
		if otp.Lower(hostName(r.Host)) == otp.Lower(b.host) {
			return nil
		}
		detail = "the console is at " + b.host + " and answers to no other name; a proxy in front has to pass the Host header"
	}
	return &Problem{Status: http.StatusMisdirectedRequest, Code: "FORBIDDEN_HOST", Detail: detail}
}

// KeepPagesOut refuses requests of other sites' pages, which could log a visitor in as somebody else. Clients that are
// not browsers pass. In a sandbox, where registration may be open, it also refuses a page whose name resolves to
// loopback (DNS rebinding).
func (b *Browser) KeepPagesOut(r *http.Request) error {
	if b.sandbox && ArrivedOnLoopback(r) && !HostIsAddress(r.Host) {
		return &Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_HOST",
			Detail: "a sandbox answers on loopback only to localhost or an IP address as host; call it by one of them",
		}
	}
	if err := CheckOrigin(b.crossOrigin, r); err != nil {
		return &Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_ORIGIN",
			Detail: "a page of another origin may not call this; call it from this server's pages, or from a program",
		}
	}
	return nil
}

// CheckOrigin refuses a request of a page of another origin. A header that is given twice counts as another's: the
// check reads the first one only.
func CheckOrigin(protection *http.CrossOriginProtection, r *http.Request) error {
	for _, name := range []string{"Origin", "Sec-Fetch-Site"} {
		if _, err := Single(r.Header, name); err != nil {
			return err
		}
	}
	return protection.Check(r)
}

// Cookie returns the session cookie's value, empty if there is none. Refusal: a cookie that is sent twice.
func (b *Browser) Cookie(r *http.Request) (string, error) {
	found := r.CookiesNamed(b.cookieName(r))
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0].Value, nil
	}
	return "", Invalid(Fault{Header: "Cookie", Detail: "has the session twice; send it once"})
}

// KeepSession sets the session cookie.
func (b *Browser) KeepSession(w http.ResponseWriter, r *http.Request, value string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: b.cookieName(r), Value: value, Path: "/", Expires: expires,
		HttpOnly: true, Secure: !b.inTheClear(r), SameSite: http.SameSiteLaxMode,
	})
}

// DropSession removes the session cookie.
func (b *Browser) DropSession(w http.ResponseWriter, r *http.Request) {
	b.KeepSession(w, r, "", time.Unix(0, 0))
}

// markLife is how long a browser keeps the mark of a login that waits for a code.
const markLife = 5 * time.Minute

// KeepMark sets the cookie of a login that waits for a code; an empty value removes it. Browsers send it only with
// requests that begin on our own pages.
func (b *Browser) KeepMark(w http.ResponseWriter, r *http.Request, value string) {
	expires := time.Now().Add(markLife)
	if value == "" {
		expires = time.Unix(0, 0)
	}
	http.SetCookie(w, &http.Cookie{
		Name: b.cookieName(r) + markSuffix, Value: value, Path: "/", Expires: expires,
		HttpOnly: true, Secure: !b.inTheClear(r), SameSite: http.SameSiteStrictMode,
	})
}

// Mark returns the mark's value, empty if there is none, or several.
func (b *Browser) Mark(r *http.Request) string {
	found := r.CookiesNamed(b.cookieName(r) + markSuffix)
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

func (b *Browser) cookieName(r *http.Request) string {
	if b.inTheClear(r) {
		return sandboxName
	}
	return cookieName
}

// inTheClear reports whether a cookie may be sent over plain HTTP: only in a sandbox on loopback.
func (b *Browser) inTheClear(r *http.Request) bool {
	return b.sandbox && r.TLS == nil && ArrivedOnLoopback(r)
}
