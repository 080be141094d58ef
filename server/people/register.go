package people

import (
	"context"
	"errors"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The purposes of a ticket.
const (
	setupTicket      = "setup"
	invitationTicket = "invitation"
	recoveryTicket   = "recovery"
)

// Registration has what a person enters to register.
type Registration struct {
	Email    string
	Password string
	Name     string
	Ticket   string // of a setup or an invitation; not needed in a sandbox
}

func closed() error {
	return otp.Refuse(otp.RegistrationClosed,
		`registration needs a link that is good: ask an admin to invite you, or run "otpbridge setup" on the server`)
}

// Register makes a person and logs them in. Without a valid ticket, known and unknown addresses get the same answer
// after the same work. Refusals: RegistrationClosed, Invalid, PersonExists, RateLimited.
func (p *People) Register(ctx context.Context, in Registration, from Client) (Tokens, error) {
	at := now()
	person := sql.Person{
		ID: sql.NewID(), Email: normalEmail(in.Email), Name: in.Name, Role: string(Owner), Version: 1,
		CreatedAt: at, UpdatedAt: at,
	}
	if err := checkEmail(person.Email); err != nil {
		return Tokens{}, err
	}
	if err := checkName(in.Name); err != nil {
		return Tokens{}, err
	}
	guess, err := p.chargeNetwork(ctx, from, at)
	if err != nil {
		return Tokens{}, err
	}
	password := normalPassword(in.Password)
	// After the charge: to judge a password takes longer than all else here.
	if err := checkPassword("password", password, person.Email, in.Name); err != nil {
		return Tokens{}, err
	}
	if person.PasswordHash, err = p.Passwords.Hash(ctx, password); err != nil {
		return Tokens{}, err
	}
	session, refresh := begin(person.ID, "", from, at)
	err = p.change(ctx, func(tx *sql.Tx) error {
		if err := p.admit(tx, in.Ticket, &person, at); err != nil {
			return err
		}
		if err := tx.InsertPerson(person); err != nil {
			return err
		}
		if err := guess.forgive(tx); err != nil {
			return err
		}
		actor := stranger(from)
		actor.ID = person.ID
		err := record(tx, otp.PersonRegistered, actor, person.ID, at, "role", person.Role, "accounts",
			listed(person.Accounts))
		if err != nil {
			return err
		}
		return p.insert(tx, session, refresh, person.ID, from)
	})
	if otp.KindOf(err) == otp.RegistrationClosed {
		refused := p.change(ctx, func(tx *sql.Tx) error {
			return record(tx, otp.RegistrationRefused, stranger(from),
				otp.ID{}, at)
		})
		if refused != nil {
			return Tokens{}, refused
		}
	}
	if err != nil {
		return Tokens{}, err
	}
	return p.tokens(person, session, refresh, at)
}

// admit uses a ticket up and gives the person its grant.
func (p *People) admit(tx *sql.Tx, text string, person *sql.Person, at otp.Millis) error {
	if text == "" && p.Sandbox {
		return nil
	}
	ticket, found, err := tx.UseTicket(crypto.HashToken(text), at)
	if err != nil {
		return err
	}
	switch {
	case !found:
		return closed()
	case ticket.Purpose == setupTicket:
		owners, err := tx.Owners(string(Owner), otp.ID{})
		if err == nil && owners > 0 {
			err = closed()
		}
		return err
	case ticket.Purpose != invitationTicket:
		return closed()
	case ticket.Email != person.Email:
		return otp.RefuseField("email", "is not the address that was invited; use that one, or ask for another invitation")
	}
	person.Role, person.Accounts, person.Permissions = ticket.Role, ticket.Accounts, ticket.Permissions
	return nil
}

// Recover sets a person's new password, with a ticket that an admin or the command line made. It ends their sessions
// and keeps second factors. Refusals: RegistrationClosed, Invalid, RateLimited.
func (p *People) Recover(ctx context.Context, ticket, password string, from Client) error {
	at := now()
	guess, err := p.chargeNetwork(ctx, from, at)
	if err != nil {
		return err
	}
	hash := crypto.HashToken(ticket)
	var person sql.Person
	found, err := p.rows.Ticket(ctx, hash)
	if err == nil && !found.Person.IsZero() {
		person, err = p.rows.ByID(ctx, found.Person)
	}
	if err != nil && !errors.Is(err, sql.ErrNotFound) {
		return err
	}
	password = normalPassword(password)
	if err := checkPassword("password", password, person.Email, person.Name); err != nil {
		return err
	}
	fresh, err := p.Passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	return p.change(ctx, func(tx *sql.Tx) error {
		used, there, err := tx.UseTicket(hash, at)
		if err != nil {
			return err
		}
		if !there || used.Purpose != recoveryTicket {
			return closed()
		}
		current, there, err := tx.Person(used.Person)
		if err != nil {
			return err
		}
		if !there {
			return closed()
		}
		actor := stranger(from)
		actor.ID = current.ID
		if err := p.replacePassword(tx, current, fresh, otp.ID{}, at); err != nil {
			return err
		}
		if err := guess.forgive(tx); err != nil {
			return err
		}
		return record(tx, otp.PersonRecovered, actor, current.ID, at)
	})
}

// replacePassword writes a new password and ends all sessions except one.
func (p *People) replacePassword(tx *sql.Tx, person sql.Person, hash string, except otp.ID, at otp.Millis) error {
	person.UpdatedAt = at
	kept, err := tx.UpdatePerson(person)
	if err == nil && kept {
		kept, err = tx.UpdatePassword(person.ID, person.PasswordHash, hash)
	}
	if err == nil && !kept {
		err = otp.Refuse(otp.Outdated, "the person was changed meanwhile; try again")
	}
	if err == nil {
		_, err = tx.EndSessions(person.ID, except, at)
	}
	return err
}

// ChangePassword replaces the person's own password, given the current one, and ends their other sessions. Refusals:
// WrongPassword, Invalid, RateLimited.
func (p *People) ChangePassword(ctx context.Context, who Principal, present, password string) error {
	at := now()
	person, err := p.self(ctx, who.ID)
	if err != nil {
		return err
	}
	password = normalPassword(password)
	if err := checkPassword("new_password", password, person.Email, person.Name); err != nil {
		return err
	}
	guess, _, err := p.judgePassword(ctx, person, person.Email, present, who.From, at)
	if otp.KindOf(err) == otp.Invalid {
		return otp.InField("current_password", err)
	}
	if err != nil {
		return err
	}
	if password == normalPassword(present) {
		return otp.RefuseField("new_password", "is the present one; choose another")
	}
	hash, err := p.Passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	return p.change(ctx, func(tx *sql.Tx) error {
		current, found, err := tx.Person(person.ID)
		if err != nil {
			return err
		}
		if !found || current.PasswordHash != person.PasswordHash {
			return wrongPassword()
		}
		if err := p.replacePassword(tx, current, hash, who.Session, at); err != nil {
			return err
		}
		if err := guess.forgive(tx); err != nil {
			return err
		}
		return record(tx, otp.PasswordChanged, who.Actor(), who.ID, at)
	})
}
