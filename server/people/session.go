package people

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The times of a session (ASVS 7.3). It ends after a month, or after a week without use. A used refresh token stays
// valid for reuseGrace, for browser tabs that refresh at the same time.
const (
	sessionLife = 30 * otp.Day
	sessionIdle = 7 * otp.Day
	reuseGrace  = 15 * otp.Second
	seenEvery   = otp.Minute // the precision of the time of last use
)

// Sessions lists and ends sessions.
type Sessions struct{ p *People }

// Session is one login, as its person sees it.
type Session struct {
	ID        string
	Address   string // of its last use
	Agent     string
	Factor    string // the second factor; empty for none
	CreatedAt otp.Millis
	SeenAt    otp.Millis // to a minute
	ExpiresAt otp.Millis
	Current   bool // it is the caller's session
}

// over reports whether a session has ended.
func over(s sql.Session, at otp.Millis) bool {
	return s.EndedAt != 0 || at >= s.ExpiresAt || at-s.SeenAt > sessionIdle
}

// Refresh returns a new access token and the refresh token's successor. Requests with the same token, at once or
// within 15 seconds, get the same successor. If a token is used again later, one of its two users must have stolen it:
// the session ends. Refusals: UnknownCredential, ExpiredCredential.
func (p *People) Refresh(ctx context.Context, token string, from Client) (Tokens, error) {
	at := now()
	unknown := otp.Refuse(otp.UnknownCredential, "this refresh token is none; log in again")
	if !strings.HasPrefix(token, refreshPrefix) {
		return Tokens{}, unknown
	}
	hash := crypto.HashToken(token)
	if there, err := p.rows.HasRefreshToken(ctx, hash); err != nil || !there {
		return Tokens{}, cmp.Or[error](err, unknown)
	}
	var nonce otp.ID
	rand.Read(nonce[:]) // never returns an error; the runtime stops the process instead
	var person sql.Person
	var session sql.Session
	next, reused := "", false
	err := p.change(ctx, func(tx *sql.Tx) error {
		used, found, s, err := tx.UseRefreshToken(hash, nonce, at)
		if errors.Is(err, sql.ErrNotFound) {
			return unknown
		}
		if err != nil {
			return err
		}
		session = s
		if person, err = sessionPerson(tx, session, at); err != nil {
			return err
		}
		actor := stranger(from)
		actor.ID, actor.Session = person.ID, session.ID
		next, reused = crypto.NextToken(refreshPrefix, token, found.Nonce), false
		session.SeenAt, session.Address, session.Network, session.Agent = at, shownAddress(from.Address),
			network(from.Address), agent(from)
		switch {
		case used:
			err = tx.InsertRefreshToken(sql.RefreshToken{Hash: crypto.HashToken(next), Session: session.ID, CreatedAt: at})
		case at-found.UsedAt > reuseGrace:
			reused = true
			if _, err := tx.EndSession(person.ID, session.ID, at); err != nil {
				return err
			}
			return record(tx, otp.RefreshTokenReused, actor, person.ID, at)
		}
		if err != nil {
			return err
		}
		if _, err := tx.UpdateSession(session); err != nil {
			return err
		}
		return record(tx, otp.SessionRefreshed, actor, person.ID, at)
	})
	if err != nil {
		return Tokens{}, err
	}
	if reused {
		return Tokens{}, otp.Refuse(otp.UnknownCredential, "this refresh token was used before, so its session was ended; "+
			"log in again")
	}
	return p.tokens(person, session, next, at)
}

// sessionPerson returns a session's person. Refusal: ExpiredCredential if the session is over.
func sessionPerson(tx *sql.Tx, s sql.Session, at otp.Millis) (sql.Person, error) {
	if over(s, at) {
		return sql.Person{}, sessionOver()
	}
	person, found, err := tx.Person(s.Person)
	if err == nil && (!found || person.DisabledAt != 0) {
		err = sessionOver()
	}
	return person, err
}

// self returns the person that a session is of. Refusal: ExpiredCredential if they are gone.
func (p *People) self(ctx context.Context, id otp.ID) (sql.Person, error) {
	person, err := p.rows.ByID(ctx, id)
	if errors.Is(err, sql.ErrNotFound) {
		err = sessionOver()
	}
	return person, err
}

func sessionOver() error {
	return otp.Refuse(otp.ExpiredCredential, "the session has ended; log in again")
}

// Authenticate returns the principal of a person's access token. It reads the session and the person, so that changes
// take effect at once. Refusals: MissingCredential for a text that is not an access token, ExpiredCredential,
// UnknownCredential.
func (p *People) Authenticate(ctx context.Context, accessToken string, from Client) (Principal, error) {
	at := now()
	claims, err := p.Vault.Keyring.ReadAccessToken(accessToken, p.Issuer, audience, crypto.PersonToken, at.Time())
	switch {
	case errors.Is(err, crypto.ErrAccessTokenExpired):
		return Principal{}, otp.Refuse(otp.ExpiredCredential, "the access token has expired; use the refresh token")
	case err != nil:
		return Principal{}, otp.Refuse(otp.MissingCredential,
			"this is no access token of this server; log in").Because(err.Error())
	}
	id, ok := otp.ParseID(SessionPrefix, claims.Session)
	if !ok {
		return Principal{}, otp.Refuse(otp.MissingCredential, "the access token names no session; log in")
	}
	return p.Session(ctx, id, from)
}

// Bearer returns the principal of an access token of a person or a service account. Refusals: MissingCredential for a
// text that is not an access token of this server, ExpiredCredential, UnknownCredential.
func (p *People) Bearer(ctx context.Context, token string, from Client) (Principal, error) {
	who, err := p.Authenticate(ctx, token, from)
	if otp.KindOf(err) != otp.MissingCredential {
		return who, err
	}
	service, other := p.Services.Authenticate(ctx, token, from)
	if otp.KindOf(other) == otp.MissingCredential {
		return Principal{}, err
	}
	return service, other
}

// Session returns the principal of a session. The caller has verified the token or cookie. Refusal: ExpiredCredential.
func (p *People) Session(ctx context.Context, id otp.ID, from Client) (Principal, error) {
	at := now()
	session, person, err := p.rows.Session(ctx, id)
	if errors.Is(err, sql.ErrNotFound) {
		return Principal{}, sessionOver()
	}
	if err != nil {
		return Principal{}, err
	}
	if over(session, at) || person.DisabledAt != 0 {
		return Principal{}, sessionOver()
	}
	if at-session.SeenAt >= seenEvery {
		// It is only for display: ignore the error, so that reads work when writes do not.
		_ = p.rows.Seen(ctx, id, shownAddress(from.Address), network(from.Address), at)
	}
	return Principal{
		Kind: PersonKind, ID: person.ID, Name: person.Name, Email: person.Email, Session: id, Grant: grantOf(person),
		From:            from,
		AuthenticatedAt: session.AuthenticatedAt, Factor: session.Factor,
	}, nil
}

// Logout ends the caller's session.
func (p *People) Logout(ctx context.Context, who Principal) error {
	return p.Sessions.end(ctx, who, who.ID, who.Session)
}

// Profile returns the caller's own profile.
func (p *People) Profile(ctx context.Context, who Principal) (Profile, error) {
	person, err := p.rows.ByID(ctx, who.ID)
	if errors.Is(err, sql.ErrNotFound) {
		return Profile{}, noPerson()
	}
	return profile(person), err
}

// List returns the person's own active sessions, newest first.
func (s *Sessions) List(ctx context.Context, who Principal) ([]Session, error) {
	at := now()
	rows, err := s.p.rows.Sessions(ctx, who.ID, at)
	if err != nil {
		return nil, err
	}
	var all []Session
	for _, r := range rows {
		if over(r, at) {
			continue
		}
		all = append(all, Session{
			ID: r.ID.Text(SessionPrefix), Address: r.Address, Agent: r.Agent, Factor: r.Factor,
			CreatedAt: r.CreatedAt, SeenAt: r.SeenAt, ExpiresAt: r.ExpiresAt, Current: r.ID == who.Session,
		})
	}
	return all, nil
}

// Find returns one of the sessions of List. Refusal: NotFound.
func (s *Sessions) Find(ctx context.Context, who Principal, id string) (Session, error) {
	all, err := s.List(ctx, who)
	if err != nil {
		return Session{}, err
	}
	if i := slices.IndexFunc(all, func(each Session) bool { return each.ID == id }); i >= 0 {
		return all[i], nil
	}
	return Session{}, noSession()
}

// End ends one of the person's own sessions. Refusal: NotFound.
func (s *Sessions) End(ctx context.Context, who Principal, id string) error {
	parsed, ok := otp.ParseID(SessionPrefix, id)
	if !ok {
		return noSession()
	}
	return s.end(ctx, who, who.ID, parsed)
}

// EndOthers ends the person's own sessions except the caller's.
func (s *Sessions) EndOthers(ctx context.Context, who Principal) error {
	at := now()
	return s.p.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.EndSessions(who.ID, who.Session, at); err != nil {
			return err
		}
		return record(tx, otp.SessionEnded, who.Actor(), who.ID, at, "sessions", "others")
	})
}

func (s *Sessions) end(ctx context.Context, who Principal, person, id otp.ID) error {
	at := now()
	return s.p.change(ctx, func(tx *sql.Tx) error {
		ended, err := tx.EndSession(person, id, at)
		if err != nil {
			return err
		}
		if !ended {
			return noSession()
		}
		return record(tx, otp.SessionEnded, who.Actor(), person, at, "session", id.Text(SessionPrefix))
	})
}

func noSession() error { return otp.Refuse(otp.NotFound, "there is no such session") }

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
