package people

import (
	"net/netip"
	"slices"
	"time"

	"otpbridge/server/otp"
)

// Client is the origin of a request.
type Client struct {
	Address netip.Addr // the client's, as trusted proxies say
	Agent   string     // the User-Agent header
	Request string     // the request's id
}

// The kinds of a Principal, and of an otp.Actor.
const (
	PersonKind   = "person"
	ServiceKind  = "service"  // a service account
	KeyKind      = "key"      // an API key
	OperatorKind = "operator" // somebody with a shell on the server, who may do everything
)

// Principal is an authenticated caller with their grant. A door makes it once for each request.
type Principal struct {
	Kind    string
	ID      otp.ID
	Name    string
	Email   string // of a person
	Session otp.ID // of a person
	Grant   Grant
	From    Client

	AuthenticatedAt otp.Millis // when a person last proved their identity
	Factor          string     // the second factor of the login; empty for none
}

// Key returns the principal of an account's API key. It can only read.
func Key(key otp.Key, account string, from Client) Principal {
	reads := slices.DeleteFunc(otp.ReadingPermissions(), func(p string) bool { return !key.Kind.May(key.Permissions, p) })
	return Principal{Kind: KeyKind, ID: key.ID, Name: key.Name, From: from,
		Grant: Grant{Accounts: []string{account}, Permissions: reads}}
}

// Operator returns the command line's principal.
func Operator() Principal { return Principal{Kind: OperatorKind, Grant: Grant{Role: Owner}} }

// Text returns the id with its prefix; empty for an operator.
func (p Principal) Text() string {
	switch p.Kind {
	case PersonKind:
		return p.ID.Text(PersonPrefix)
	case ServiceKind:
		return p.ID.Text(ServicePrefix)
	case KeyKind:
		return p.ID.Text("key")
	}
	return ""
}

// recently is how long a login or a factor counts as recent.
const recently = 10 * otp.Minute

// May refuses a principal without a permission. Refusal: Forbidden.
func (p Principal) May(permission string) error {
	if slices.Contains(p.Permissions(), permission) {
		return nil
	}
	if p.Kind == KeyKind {
		return otp.Refuse(otp.Forbidden, "the key lacks the permission "+permission+", or no key can have it; use the "+
			"access token of a person or service account")
	}
	return otp.Refuse(otp.Forbidden, "your role, "+string(p.Grant.Role)+", lacks the permission "+permission+"; ask an "+
		"admin")
}

// Permissions returns the principal's permissions, sorted.
func (p Principal) Permissions() []string {
	if p.Kind == KeyKind {
		return p.Grant.Permissions // a key has no role
	}
	return p.Grant.permissions()
}

// MaySee reports whether the principal sees an account. Answer for an account that it does not see as for one that
// does not exist.
func (p Principal) MaySee(account string) bool {
	return p.Grant.Accounts == nil || slices.Contains(p.Grant.Accounts, account)
}

// See refuses an account that the principal does not see, like one that does not exist. Refusal: NotFound.
func (p Principal) See(account string) error {
	if p.MaySee(account) {
		return nil
	}
	return otp.Refuse(otp.NotFound, "there is no such account")
}

// SeeAll refuses a principal that does not see all accounts. Refusal: Forbidden.
func (p Principal) SeeAll() error {
	if p.Grant.Accounts == nil {
		return nil
	}
	return otp.Refuse(otp.Forbidden, "this holds all accounts, and you see some; ask somebody who sees all")
}

// MayMake refuses to create an account that the principal would not see. Refusal: Forbidden.
func (p Principal) MayMake(account string) error {
	if p.MaySee(account) {
		return nil
	}
	return otp.Refuse(otp.Forbidden, "you are responsible for single accounts, and this is none of them; ask an admin of "+
		"all accounts")
}

// ProvedRecently refuses a person who has not logged in or proved a factor within the last ten minutes. Other
// principals prove their identity with every request. Refusal: ReauthenticationRequired.
func (p Principal) ProvedRecently(now otp.Millis) error {
	if p.Kind != PersonKind || now-p.AuthenticatedAt <= recently {
		return nil
	}
	return otp.Refuse(otp.ReauthenticationRequired,
		"prove again who you are, at My security in the console or with POST /api/auth/reauthenticate; the last time was "+
			"over ten minutes ago")
}

// ProvedTwice refuses a person who logged in without a second factor. Refusal: ReauthenticationRequired.
func (p Principal) ProvedTwice() error {
	if p.Kind != PersonKind || p.Factor != "" {
		return nil
	}
	return otp.Refuse(otp.ReauthenticationRequired,
		"changes in live mode need a second factor; add one at My security in the console or with "+
			"POST /api/auth/mfa/enable, or log in with it")
}

// ProvedFully refuses a person who may not make live keys yet: without a recent proof or, outside a sandbox, without a
// second factor. Refusal: ReauthenticationRequired.
func (p Principal) ProvedFully(sandbox bool, now otp.Millis) error {
	if !sandbox {
		if err := p.ProvedTwice(); err != nil {
			return err
		}
	}
	return p.ProvedRecently(now)
}

// Actor returns the principal as the history records it.
func (p Principal) Actor() otp.Actor {
	a := otp.Actor{Kind: p.Kind, ID: p.ID, Session: p.Session, Request: p.From.Request}
	if p.From.Address.IsValid() {
		a.Address = p.From.Address.Unmap().WithZone("").String()
	}
	return a
}

// stranger returns the actor of a request before anybody is authenticated.
func stranger(from Client) otp.Actor { return Principal{Kind: PersonKind, From: from}.Actor() }

// network returns an address's network as it is stored. Callers without an address share one network.
func network(a netip.Addr) string {
	if prefix := otp.NetworkOf(a); prefix.IsValid() {
		return prefix.String()
	}
	return ""
}

func shownAddress(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

func now() otp.Millis { return otp.At(time.Now()) }
