package web

import (
	"net/http"
	"net/url"
	"time"

	"otpbridge/server/otp"
)

// The names of the session cookie. A browser takes the first only over HTTPS, for one host and no subdomain
// (RFC 6265bis, section 4.1.3.2). The second is for a sandbox on loopback, where there is no HTTPS.
const (
	cookieName  = "__Host-otpbridge"
	sandboxName = "otpbridge"
)

// Browser is what the doors that browsers use know of them: the session cookie, and the pages of other sites.
type Browser struct {
	sandbox     bool
	host        string // of the public URL, empty without one
	crossOrigin *http.CrossOriginProtection
}

// NewBrowser makes one. The public URL is where browsers reach the server, empty for the host that each request
// names; it panics on one that is no origin, which the settings refuse.
func NewBrowser(publicURL string, sandbox bool) *Browser {
	b := &Browser{sandbox: sandbox, crossOrigin: http.NewCrossOriginProtection()}
	if publicURL != "" {
		// A proxy in front may hide the host that the browser's Origin names.
		if err := b.crossOrigin.AddTrustedOrigin(publicURL); err != nil {
			panic("the public URL is no origin: " + err.Error())
		}
		if origin, err := url.Parse(publicURL); err == nil {
			b.host = origin.Hostname()
		}
	}
	return b
}

// KeepHostsOut refuses a page that was asked for by another name than the public URL's: the name may have been made
// to resolve to this server, so that a page of its owner counts as ours. Addresses and localhost pass, which no name
// server has a say in and by which proxies call. Without a public URL every name passes.
func (b *Browser) KeepHostsOut(r *http.Request) error {
	if b.host == "" || HostIsAddress(r.Host) || otp.Lower(hostName(r.Host)) == otp.Lower(b.host) {
		return nil
	}
	return &Problem{
		Status: http.StatusMisdirectedRequest, Code: "FORBIDDEN_HOST",
		Detail: "the console is at " + b.host + " and answers to no other name; a proxy in front has to pass the Host header",
	}
}

// KeepPagesOut refuses what a page of another site sends: it could log its visitor in as somebody else. A
// client that is no browser passes. In a sandbox, where registration may be open, a page whose name was made
// to resolve to loopback (DNS rebinding) is refused too.
func (b *Browser) KeepPagesOut(r *http.Request) error {
	if b.sandbox && ArrivedOnLoopback(r) && !HostIsAddress(r.Host) {
		return &Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_HOST",
			Detail: "a sandbox answers on loopback only to localhost or an IP address as host; call it by one of them",
		}
	}
	if err := b.crossOrigin.Check(r); err != nil {
		return &Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_ORIGIN",
			Detail: "a page of another origin may not call this; call it from this server's pages, or from a program",
		}
	}
	return nil
}

// Cookie returns the session cookie, empty for none. Refusal: one that is sent twice.
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

// KeepSession gives a browser its session.
func (b *Browser) KeepSession(w http.ResponseWriter, r *http.Request, value string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: b.cookieName(r), Value: value, Path: "/", Expires: expires,
		HttpOnly: true, Secure: !b.inTheClear(r), SameSite: http.SameSiteLaxMode,
	})
}

// DropSession takes it away.
func (b *Browser) DropSession(w http.ResponseWriter, r *http.Request) {
	b.KeepSession(w, r, "", time.Unix(0, 0))
}

func (b *Browser) cookieName(r *http.Request) string {
	if b.inTheClear(r) {
		return sandboxName
	}
	return cookieName
}

// inTheClear reports whether a cookie may go over plain HTTP: in a sandbox, on this machine.
func (b *Browser) inTheClear(r *http.Request) bool {
	return b.sandbox && r.TLS == nil && ArrivedOnLoopback(r)
}
