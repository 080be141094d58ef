package people

import (
	"net/netip"
	"slices"
	"time"

	"otpbridge/server/otp"
)

// Client is where a request comes from.
type Client struct {
	Address netip.Addr // of the peer, behind trusted proxies
	Agent   string     // the User-Agent header
	Request string     // the request's id
}

// The kinds of a Principal, which are those of otp.Actor as well.
const (
	PersonKind   = "person"
	ServiceKind  = "service"  // a service account
	KeyKind      = "key"      // an API key
	OperatorKind = "operator" // whoever has a shell on the server; may do everything
)

// Principal is who is asking, with what they hold. A door makes it once for each request.
type Principal struct {
	Kind    string
	ID      otp.ID
	Name    string
	Email   string // of a person
	Session otp.ID // of a person
	Grant   Grant
	From    Client

	AuthenticatedAt otp.Millis // when a person last proved who they are
	Factor          string     // with which second factor; empty for none
}

// Key is the principal of an account's API key, which reads at most.
func Key(key otp.Key, account string, from Client) Principal {
	reads := slices.DeleteFunc(otp.ReadingPermissions(), func(p string) bool { return !key.Kind.May(key.Permissions, p) })
	return Principal{Kind: KeyKind, ID: key.ID, Name: key.Name, From: from,
		Grant: Grant{Accounts: []string{account}, Permissions: reads}}
}

// Operator is the command line's principal.
func Operator() Principal { return Principal{Kind: OperatorKind, Grant: Grant{Role: Owner}} }

// Text is the id with its type; empty for an operator.
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

// recently is for how long a login or a factor counts as recent.
const recently = 10 * otp.Minute

// May refuses what the principal lacks the permission for. Refusal: Forbidden.
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

// Permissions lists what the principal may do, in order.
func (p Principal) Permissions() []string {
	if p.Kind == KeyKind {
		return p.Grant.Permissions // it has no role to narrow
	}
	return p.Grant.permissions()
}

// MaySee reports whether an account is among the principal's. What is not is to be answered like one that
// does not exist.
func (p Principal) MaySee(account string) bool {
	return p.Grant.Accounts == nil || slices.Contains(p.Grant.Accounts, account)
}

// See refuses an account that is not among the principal's like one that does not exist. Refusal: NotFound.
func (p Principal) See(account string) error {
	if p.MaySee(account) {
		return nil
	}
	return otp.Refuse(otp.NotFound, "there is no such account")
}

// SeeAll refuses somebody who sees single accounts what is about all of them. Refusal: Forbidden.
func (p Principal) SeeAll() error {
	if p.Grant.Accounts == nil {
		return nil
	}
	return otp.Refuse(otp.Forbidden, "this holds all accounts, and you see some; ask somebody who sees all")
}

// MayMake refuses the making of an account that would not be among the principal's. Refusal: Forbidden.
func (p Principal) MayMake(account string) error {
	if p.MaySee(account) {
		return nil
	}
	return otp.Refuse(otp.Forbidden, "you are responsible for single accounts, and this is none of them; ask an admin of "+
		"all accounts")
}

// ProvedRecently refuses unless the person logged in or proved a factor within the last ten minutes. Others
// than persons prove who they are with every request. Refusal: ReauthenticationRequired.
func (p Principal) ProvedRecently(now otp.Millis) error {
	if p.Kind != PersonKind || now-p.AuthenticatedAt <= recently {
		return nil
	}
	return otp.Refuse(otp.ReauthenticationRequired,
		"prove again who you are, with POST /api/auth/reauthenticate; the last time was over ten minutes ago")
}

// ProvedTwice refuses a person who logged in without a second factor. Refusal: ReauthenticationRequired.
func (p Principal) ProvedTwice() error {
	if p.Kind != PersonKind || p.Factor != "" {
		return nil
	}
	return otp.Refuse(otp.ReauthenticationRequired,
		"changes in live mode need a second factor; add one with POST /api/auth/mfa/enable, or log in with it")
}

// ProvedFully refuses a person who may not make live keys yet: outside a sandbox without a second factor, anywhere
// without a recent proof. Refusal: ReauthenticationRequired.
func (p Principal) ProvedFully(sandbox bool, now otp.Millis) error {
	if !sandbox {
		if err := p.ProvedTwice(); err != nil {
			return err
		}
	}
	return p.ProvedRecently(now)
}

// Actor is the principal as the history names it.
func (p Principal) Actor() otp.Actor {
	a := otp.Actor{Kind: p.Kind, ID: p.ID, Session: p.Session, Request: p.From.Request}
	if p.From.Address.IsValid() {
		a.Address = p.From.Address.Unmap().WithZone("").String()
	}
	return a
}

// stranger is the actor of a request that nobody has proved anything with.
func stranger(from Client) otp.Actor { return Principal{Kind: PersonKind, From: from}.Actor() }

// network is an address's, as it is stored; all callers without an address are one network.
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
