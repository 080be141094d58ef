package people

import (
	"context"
	"errors"
	"strings"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// The prefixes of ids and tokens.
const (
	PersonPrefix  = "per"
	SessionPrefix = "ses"
	FactorPrefix  = "fac"
	TicketPrefix  = "inv"

	refreshPrefix = "otpr_" // refresh tokens
	ticketPrefix  = "otpl_" // tickets in links
)

// Issues reports whether a text looks like a secret of this package and so is not an API key: an access token, a
// refresh token, a ticket or a service account's secret.
func Issues(text string) bool {
	return strings.Count(text, ".") == 2 || strings.HasPrefix(text, refreshPrefix) ||
		strings.HasPrefix(text, ticketPrefix) || strings.HasPrefix(text, servicePrefix)
}

// audience is the audience of access tokens.
const audience = "otpbridge"

// Options are what People needs. Passwords and Issuer are not needed if nobody logs in.
type Options struct {
	Store     *sql.Store
	Vault     *vault.Vault
	Passwords *crypto.Passwords
	Issuer    string // of access tokens: the server's public URL
	// Mail sends a mail in the background; nil without a mail server. It must not block.
	Mail func(Mail)
	// Sandbox opens registration: a person who registers without a link becomes an owner.
	Sandbox bool
}

// People logs people in and manages their sessions. Methods that take a Principal check its permissions; the others
// are for callers who have not logged in yet.
type People struct {
	Sessions *Sessions
	Factors  *Factors
	Passkeys *Passkeys
	Staff    *Staff
	Services *Services
	Steps    *Steps

	Options
	rows *sql.People
}

// New returns People on a store.
func New(o Options) *People {
	p := &People{Options: o, rows: o.Store.People}
	p.Sessions, p.Factors, p.Staff = &Sessions{p}, &Factors{p}, &Staff{p}
	p.Passkeys = &Passkeys{p, newParty(o.Issuer, o.Sandbox)}
	p.Steps = &Steps{p}
	p.Services = NewServices(o.Store, o.Vault.Keyring, o.Issuer)
	return p
}

// Profile is a person as others may see them.
type Profile struct {
	ID          string
	Email       string
	Name        string
	Role        Role
	Accounts    []string // nil: all
	Permissions []string // the effective ones
	Version     int64    // a new one after every change
	CreatedAt   otp.Millis
	DisabledAt  otp.Millis // 0: not disabled
}

func profile(p sql.Person) Profile {
	return Profile{
		ID: p.ID.Text(PersonPrefix), Email: p.Email, Name: p.Name, Role: Role(p.Role), Accounts: p.Accounts,
		Permissions: grantOf(p).permissions(), Version: p.Version, CreatedAt: p.CreatedAt, DisabledAt: p.DisabledAt,
	}
}

func grantOf(p sql.Person) Grant {
	return Grant{Role: Role(p.Role), Accounts: p.Accounts, Permissions: p.Permissions}
}

// change runs do in a transaction. If a unique key is taken, it refuses the address as known.
func (p *People) change(ctx context.Context, do func(*sql.Tx) error) error {
	err := p.Store.Change(ctx, do)
	if errors.Is(err, sql.ErrTaken) {
		return otp.Refuse(otp.PersonExists, "this address belongs to somebody here; let them log in, or choose another")
	}
	return err
}

// record adds a change to the history, within a transaction.
func record(tx *sql.Tx, kind otp.ChangeKind, actor otp.Actor, person otp.ID, at otp.Millis, details ...string) error {
	c := otp.Change{ID: sql.NewID(), At: at, Kind: kind, Actor: actor, Person: person}
	for i := 0; i+1 < len(details); i += 2 {
		if c.Details == nil {
			c.Details = map[string]string{}
		}
		c.Details[details[i]] = details[i+1]
	}
	return tx.Record(c)
}

// listed formats a list for the history; nil is "all".
func listed(texts []string) string {
	if texts == nil {
		return "all"
	}
	return strings.Join(texts, " ")
}

func noPerson() error { return otp.Refuse(otp.NotFound, "there is no such person") }
