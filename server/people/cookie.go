package people

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"otpbridge/server/otp"
)

// Cookie returns what a browser keeps to prove that it is the one of a session: the session's id and a MAC of
// it. The database holds neither the MAC nor, without the keyring, its key, so that a dump opens no session. It
// stays the same for as long as the session lives.
func (p *People) Cookie(session string) string {
	return session + "." + p.sessionMAC("session cookie", session)
}

// CookieSession returns whose session a cookie is for, and whether this server made it. The session may be
// over.
func (p *People) CookieSession(cookie string) (otp.ID, bool) {
	session, mac, _ := strings.Cut(cookie, ".")
	id, ok := otp.ParseID(SessionPrefix, session)
	return id, ok && same(mac, p.sessionMAC("session cookie", session))
}

// FromCookie returns who a cookie speaks for, reading session and person as Authenticate does. Refusals:
// MissingCredential for what is no cookie of this server, ExpiredCredential.
func (p *People) FromCookie(ctx context.Context, cookie string, from Client) (Principal, error) {
	id, ok := p.CookieSession(cookie)
	if !ok {
		return Principal{}, otp.Refuse(otp.MissingCredential, "the session cookie is none of this server; log in")
	}
	return p.Session(ctx, id, from)
}

// CSRFToken returns what pages of ours send beside the cookie, and pages of others cannot know. It is good for
// as long as the session lives.
func (p *People) CSRFToken(who Principal) string {
	return p.sessionMAC("CSRF token", who.Session.Text(SessionPrefix))
}

// IsCSRFToken reports whether token is that of the principal's session.
func (p *People) IsCSRFToken(who Principal, token string) bool { return same(token, p.CSRFToken(who)) }

func (p *People) sessionMAC(purpose, session string) string {
	mac := p.Vault.Index.Sum32(purpose, session)
	return base64.RawURLEncoding.EncodeToString(mac[:])
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
