package people

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"otpbridge/server/otp"
)

// Cookie returns the value of a session's cookie: the session's id and a MAC of it. It stays the same as long as
// the session lives. The database does not contain the MAC, and its key only encrypted, so that a dump of the
// database is not enough to use a session.
func (p *People) Cookie(session string) string {
	return session + "." + p.sessionMAC("session cookie", session)
}

// CookieSession returns the id of a cookie's session, and whether this server made the cookie. The session may be
// over.
func (p *People) CookieSession(cookie string) (otp.ID, bool) {
	session, mac, _ := strings.Cut(cookie, ".")
	id, ok := otp.ParseID(SessionPrefix, session)
	return id, ok && same(mac, p.sessionMAC("session cookie", session))
}

// FromCookie returns the principal of a cookie. It reads session and person, as Authenticate does. Refusals:
// MissingCredential for a cookie that this server did not make, ExpiredCredential.
func (p *People) FromCookie(ctx context.Context, cookie string, from Client) (Principal, error) {
	id, ok := p.CookieSession(cookie)
	if !ok {
		return Principal{}, otp.Refuse(otp.MissingCredential, "the session cookie is none of this server; log in")
	}
	return p.Session(ctx, id, from)
}

// CSRFToken returns the token that our pages send beside the cookie, and that other sites' pages cannot know. It is
// valid as long as the session lives.
func (p *People) CSRFToken(who Principal) string {
	return p.sessionMAC("CSRF token", who.Session.Text(SessionPrefix))
}

// IsCSRFToken reports whether token belongs to the principal's session.
func (p *People) IsCSRFToken(who Principal, token string) bool { return same(token, p.CSRFToken(who)) }

func (p *People) sessionMAC(purpose, session string) string {
	mac := p.Vault.Index.Sum32(purpose, session)
	return base64.RawURLEncoding.EncodeToString(mac[:])
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
