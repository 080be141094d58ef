package people

import (
	"cmp"
	"context"
	"errors"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Login has what a person enters to log in.
type Login struct {
	Email    string
	Password string
	Code     string // of an app, or a backup code; empty for none
}

// Tokens are the result of a login or a refresh.
type Tokens struct {
	AccessToken  string // valid for an hour
	RefreshToken string // valid once, until the session ends
	Session      string
	ExpiresAt    otp.Millis // of the session
	Person       Profile
}

// AccessLife is how long an access token is valid.
const AccessLife = crypto.TokenLifetime

// maxSecret is the length of a password that is hashed at most, in bytes: four for each character.
const maxSecret = 4 * mostPassword

func wrongPassword() error {
	return otp.Refuse(otp.WrongPassword, "the e-mail address or the password is wrong")
}

// Login begins a session. Known and unknown addresses get the same refusal after the same work. Refusals:
// WrongPassword; FactorRequired and PersonLocked, both only after the right password; RateLimited; Overloaded.
func (p *People) Login(ctx context.Context, in Login, from Client) (Tokens, error) {
	at := now()
	e, err := p.byPassword(ctx, in, from, at)
	if err != nil {
		return Tokens{}, err
	}
	shown, err := p.judgeFactor(ctx, e.person, in.Code, from, at)
	if err != nil {
		return Tokens{}, cmp.Or(e.guess.forgive(alone{ctx, p.rows}), err)
	}
	return p.finish(ctx, e, shown, from, at)
}

// entrant is a person whose password was right.
type entrant struct {
	person sql.Person
	guess  *attempt // at the password; nil if it is not counted any more
	hash   string   // to store instead of an outdated one; empty for none
	mark   otp.ID   // of Steps; zero for none
}

// byPassword returns the person with an address and password.
func (p *People) byPassword(ctx context.Context, in Login, from Client, at otp.Millis) (e entrant, err error) {
	email := normalEmail(in.Email)
	if e.person, err = p.byEmail(ctx, email); err != nil {
		return e, err
	}
	var outdated bool
	if e.guess, outdated, err = p.judgePassword(ctx, e.person, email, in.Password, from, at); err == nil && outdated {
		e.hash, err = p.Passwords.Hash(ctx, normalPassword(in.Password))
	}
	return e, err
}

// finish begins the session of a person who gave the proof of a second factor, or has none. It uses up what they gave.
func (p *People) finish(ctx context.Context, e entrant, shown proof, from Client, at otp.Millis) (Tokens, error) {
	session, refresh := begin(e.person.ID, shown.kind, from, at)
	err := p.change(ctx, func(tx *sql.Tx) error {
		if err := unchanged(tx, e.person); err != nil {
			return err
		}
		if !e.mark.IsZero() {
			if used, err := p.Store.Passkeys.UseCeremony(tx, e.mark, at); err != nil || !used {
				return cmp.Or(err, passwordAgain())
			}
		}
		if err := shown.use(tx, e.person.ID, from, at); err != nil {
			return err
		}
		if err := e.guess.forgive(tx); err != nil {
			return err
		}
		if e.hash != "" {
			if _, err := tx.UpdatePassword(e.person.ID, e.person.PasswordHash, e.hash); err != nil {
				return err
			}
		}
		return p.insert(tx, session, refresh, e.person.ID, from)
	})
	if otp.KindOf(err) == otp.FactorRequired { // the password was right, but the code was used before or is wrong
		err = cmp.Or(e.guess.forgive(alone{ctx, p.rows}), p.wrongFactor(ctx, e.person, shown.guess, from, at))
	}
	if err != nil {
		return Tokens{}, err
	}
	return p.tokens(e.person, session, refresh, at)
}

// byEmail returns the person with an address, the zero Person if there is none.
func (p *People) byEmail(ctx context.Context, email string) (sql.Person, error) {
	person, err := p.rows.ByEmail(ctx, email)
	if errors.Is(err, sql.ErrNotFound) {
		return sql.Person{}, nil
	}
	return person, err
}

// judgePassword counts a guess and checks the password. If it is right it returns the counted guess, and whether the
// hash is outdated.
func (p *People) judgePassword(ctx context.Context, person sql.Person, email, password string, from Client,
	at otp.Millis) (*attempt, bool, error) {
	if len(password) > maxSecret {
		return nil, false, otp.RefuseField("password", "must be at most 128 characters long")
	}
	guess, err := p.charge(ctx, email, person.ID, from, at)
	if err != nil {
		return nil, false, err
	}
	right, outdated, err := p.Passwords.Check(ctx, normalPassword(password), person.PasswordHash)
	if err != nil {
		return nil, false, err
	}
	if !right {
		err := p.change(ctx, func(tx *sql.Tx) error { return record(tx, otp.SessionRefused, stranger(from), person.ID, at) })
		return nil, false, cmp.Or(err, wrongPassword())
	}
	if person.DisabledAt != 0 {
		return nil, false, otp.Refuse(otp.PersonLocked, "you are switched off here; ask an admin")
	}
	return guess, outdated, nil
}

// unchanged refuses a person who was removed or switched off, or whose password was changed, since person was read. A
// stronger hash of the same password does not change the version.
func unchanged(tx *sql.Tx, person sql.Person) error {
	current, found, err := tx.Person(person.ID)
	if err != nil {
		return err
	}
	if !found || current.DisabledAt != 0 || current.PasswordHash != person.PasswordHash &&
		current.Version != person.Version {
		return wrongPassword()
	}
	return nil
}

// begin makes a session and its first refresh token.
func begin(person otp.ID, factor string, from Client, at otp.Millis) (sql.Session, string) {
	return sql.Session{
		ID: sql.NewID(), Person: person, Factor: factor, Address: shownAddress(from.Address),
		Network: network(from.Address), Agent: agent(from),
		CreatedAt: at, AuthenticatedAt: at, SeenAt: at, ExpiresAt: at + sessionLife,
	}, crypto.NewToken(refreshPrefix)
}

func (p *People) insert(tx *sql.Tx, s sql.Session, refresh string, person otp.ID, from Client) error {
	if err := tx.InsertSession(s, crypto.HashToken(refresh)); err != nil {
		return err
	}
	actor := stranger(from)
	actor.ID, actor.Session = person, s.ID
	return record(tx, otp.SessionBegan, actor, person, s.CreatedAt, "factor", s.Factor)
}

func (p *People) tokens(person sql.Person, s sql.Session, refresh string, at otp.Millis) (Tokens, error) {
	access, err := p.Vault.Keyring.SignAccessToken(p.Issuer, audience, crypto.AccessClaims{
		Type: crypto.PersonToken, Subject: person.ID.Text(PersonPrefix), Email: person.Email, Name: person.Name,
		Session: s.ID.Text(SessionPrefix), ID: sql.NewID().Text("tok"),
	}, at.Time())
	return Tokens{AccessToken: access, RefreshToken: refresh, Session: s.ID.Text(SessionPrefix), ExpiresAt: s.ExpiresAt,
		Person: profile(person)}, err
}

// agent returns the User-Agent, cut to 200 characters and without those that cannot be shown.
func agent(from Client) string {
	kept := make([]rune, 0, 200)
	for _, r := range from.Agent {
		if r >= ' ' && r < 0x7f && len(kept) < cap(kept) {
			kept = append(kept, r)
		}
	}
	return string(kept)
}
