package people

import (
	"context"
	"errors"
	"slices"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// How long tickets are valid.
const (
	setupLife      = otp.Day
	invitationLife = 7 * otp.Day
	recoveryLife   = otp.Day
)

// Staff manages people, for admins and the command line. A caller must have all permissions and accounts that the
// person has or gets, so that nobody can gain more through another person.
type Staff struct{ p *People }

// Invitation is an invitation that has not been used yet.
type Invitation struct {
	ID        string
	Email     string
	Grant     Grant
	CreatedAt otp.Millis
	ExpiresAt otp.Millis
}

// Issued is a new ticket with its text, which is shown only once.
type Issued struct {
	ID        string
	Email     string // the person's address; empty for the first owner
	Token     string
	ExpiresAt otp.Millis
}

func issued(text string, t sql.Ticket) Issued {
	return Issued{t.ID.Text(TicketPrefix), t.Email, text, t.ExpiresAt}
}

// Setup makes the ticket for the first owner and ends earlier ones. Refusal: PersonExists if there is an owner.
func (s *Staff) Setup(ctx context.Context, who Principal) (Issued, error) {
	if err := who.May(WriteOwners); err != nil {
		return Issued{}, err
	}
	at := now()
	text, ticket := issue(setupTicket, who, at, setupLife)
	ticket.Role = string(Owner)
	err := s.p.change(ctx, func(tx *sql.Tx) error {
		owners, err := tx.Owners(string(Owner), otp.ID{})
		if err != nil {
			return err
		}
		if owners > 0 {
			return otp.Refuse(otp.PersonExists,
				`there is an owner already; have them invite you, or run "otpbridge user create"`)
		}
		if _, err := tx.EndTickets(setupTicket, otp.ID{}, "", at); err != nil {
			return err
		}
		if err := tx.InsertTicket(ticket); err != nil {
			return err
		}
		return record(tx, otp.SetupIssued, who.Actor(), otp.ID{}, at)
	})
	return issued(text, ticket), err
}

// Invite makes a ticket with which a person can register, and mails it if there is a mail server. It ends an earlier
// ticket for the same address. Refusals: Forbidden, Invalid, PersonExists, ReauthenticationRequired.
func (s *Staff) Invite(ctx context.Context, who Principal, email string, grant Grant) (Issued, error) {
	at := now()
	if err := who.May(WritePeople); err != nil {
		return Issued{}, err
	}
	if err := who.ProvedRecently(at); err != nil {
		return Issued{}, err
	}
	email = normalEmail(email)
	if err := checkEmail(email); err != nil {
		return Issued{}, err
	}
	if err := s.mayGive(who, grant); err != nil {
		return Issued{}, err
	}
	if err := exist(ctx, s.p.Store, grant.Accounts); err != nil {
		return Issued{}, err
	}
	if person, err := s.p.byEmail(ctx, email); err != nil || !person.ID.IsZero() {
		if err == nil {
			err = otp.Refuse(otp.PersonExists, "this address belongs to somebody here; change what they may do instead")
		}
		return Issued{}, err
	}
	text, ticket := issue(invitationTicket, who, at, invitationLife)
	ticket.Email, ticket.Role, ticket.Accounts, ticket.Permissions = email, string(grant.Role), grant.Accounts,
		grant.Permissions
	err := s.p.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.EndTickets(invitationTicket, otp.ID{}, email, at); err != nil {
			return err
		}
		if err := tx.InsertTicket(ticket); err != nil {
			return err
		}
		return record(tx, otp.PersonInvited, who.Actor(), otp.ID{}, at, "email", email, "role", ticket.Role, "accounts",
			listed(ticket.Accounts))
	})
	made := issued(text, ticket)
	if err == nil {
		s.p.mailInvitation(who, made, grant.Role)
	}
	return made, err
}

// mayGive refuses a grant that is invalid or exceeds who's own.
func (s *Staff) mayGive(who Principal, grant Grant) error {
	if err := grant.Check(); err != nil {
		return err
	}
	if !grant.within(who.Grant) {
		return otp.Refuse(otp.Forbidden, "nobody can give more than they hold; ask somebody who holds all of it")
	}
	return nil
}

// visible reports whether who may know of a person with a list of accounts, nil for all. Answer for others as for
// those who do not exist.
func visible(who Principal, accounts []string) bool {
	return (Grant{Accounts: accounts}).within(Grant{Accounts: who.Grant.Accounts})
}

// mayTouch refuses changes of a person who has more than who.
func mayTouch(who Principal, person sql.Person) error {
	if !grantOf(person).within(who.Grant) {
		return otp.Refuse(otp.Forbidden, "this person holds more than you; ask somebody who holds all of it")
	}
	return nil
}

// notOneself refuses calls about oneself that another admin has to make: whoever stole a session must not be able to
// take over the login.
func notOneself(who Principal, person sql.Person) error {
	if who.ID == person.ID {
		return otp.Refuse(otp.Forbidden, "another admin has to do this for you")
	}
	return nil
}

// Link returns the URL of a console page that takes a ticket. The token is in the fragment, after #, which browsers do
// not send, so that no log contains it. base is the server's URL; member is the token's name in the body.
func Link(base, page, member, token string) string {
	return base + "/console/" + page + "#" + member + "=" + token
}

func issue(purpose string, who Principal, at, life otp.Millis) (string, sql.Ticket) {
	text := crypto.NewToken(ticketPrefix)
	return text, sql.Ticket{ID: sql.NewID(), Hash: crypto.HashToken(text), Purpose: purpose, CreatedBy: who.ID,
		CreatedAt: at, ExpiresAt: at + life}
}

// Invitations returns the usable invitations that who may see, oldest first. Refusal: Forbidden.
func (s *Staff) Invitations(ctx context.Context, who Principal) ([]Invitation, error) {
	if err := who.May(ReadPeople); err != nil {
		return nil, err
	}
	tickets, err := s.p.rows.Tickets(ctx, invitationTicket, now())
	if err != nil {
		return nil, err
	}
	var all []Invitation
	for _, t := range slices.Backward(tickets) {
		if visible(who, t.Accounts) {
			all = append(all, Invitation{ID: t.ID.Text(TicketPrefix), Email: t.Email, CreatedAt: t.CreatedAt,
				ExpiresAt: t.ExpiresAt, Grant: Grant{Role(t.Role), t.Accounts, t.Permissions}})
		}
	}
	return all, nil
}

// Withdraw ends an invitation. Refusals: Forbidden, NotFound.
func (s *Staff) Withdraw(ctx context.Context, who Principal, id string) error {
	if err := who.May(WritePeople); err != nil {
		return err
	}
	at := now()
	invitations, err := s.Invitations(ctx, who)
	if err != nil {
		return err
	}
	for _, i := range invitations {
		if i.ID != id {
			continue
		}
		if !i.Grant.within(who.Grant) {
			return otp.Refuse(otp.Forbidden, "this invitation gives more than you hold; ask somebody who holds all of it")
		}
		return s.p.change(ctx, func(tx *sql.Tx) error {
			if _, err := tx.EndTickets(invitationTicket, otp.ID{}, i.Email, at); err != nil {
				return err
			}
			return record(tx, otp.InvitationEnded, who.Actor(), otp.ID{}, at, "email", i.Email)
		})
	}
	return otp.Refuse(otp.NotFound, "there is no such invitation that can be used")
}

// List returns the people whom who may see, oldest first. Refusal: Forbidden.
func (s *Staff) List(ctx context.Context, who Principal) ([]Profile, error) {
	if err := who.May(ReadPeople); err != nil {
		return nil, err
	}
	rows, err := s.p.rows.List(ctx)
	if err != nil {
		return nil, err
	}
	var all []Profile
	for _, r := range rows {
		if visible(who, r.Accounts) {
			all = append(all, profile(r))
		}
	}
	return all, nil
}

// Find returns the person with an id or an address. Refusals: Forbidden, NotFound.
func (s *Staff) Find(ctx context.Context, who Principal, idOrEmail string) (Profile, error) {
	if err := who.May(ReadPeople); err != nil {
		return Profile{}, err
	}
	person, err := s.row(ctx, who, idOrEmail)
	return profile(person), err
}

// row reads a person whom who may see.
func (s *Staff) row(ctx context.Context, who Principal, idOrEmail string) (sql.Person, error) {
	var person sql.Person
	var err error
	if id, ok := otp.ParseID(PersonPrefix, idOrEmail); ok {
		person, err = s.p.rows.ByID(ctx, id)
	} else {
		person, err = s.p.rows.ByEmail(ctx, normalEmail(idOrEmail))
	}
	if errors.Is(err, sql.ErrNotFound) || err == nil && !visible(who, person.Accounts) {
		return sql.Person{}, noPerson()
	}
	return person, err
}

// Remove removes a person for good; the history keeps their id. version is the one that the caller has seen, 0 for
// any. Their unused invitations and links end. Refusals: those of touch, LastOwner, Outdated.
func (s *Staff) Remove(ctx context.Context, who Principal, id string, version int64) error {
	return s.touch(ctx, who, id, true, func(tx *sql.Tx, person sql.Person, at otp.Millis) error {
		if version != 0 && version != person.Version {
			return outdated()
		}
		if err := keepsAnOwner(tx, person, sql.Person{}); err != nil {
			return err
		}
		if err := s.p.rows.EndTicketsBy(tx, person.ID, at); err != nil {
			return err
		}
		if _, err := tx.DeletePerson(person.ID); err != nil {
			return err
		}
		return record(tx, otp.PersonRemoved, who.Actor(), person.ID, at, "email", person.Email)
	})
}

// Recover makes a ticket with which a person chooses a new password, and ends an earlier one. The caller gets the
// ticket; the person's mail says only that it was made. Refusals: those of touch.
func (s *Staff) Recover(ctx context.Context, who Principal, id string) (link Issued, err error) {
	err = s.touch(ctx, who, id, true, func(tx *sql.Tx, person sql.Person, at otp.Millis) error {
		if err := notOneself(who, person); err != nil {
			return err
		}
		text, ticket := issue(recoveryTicket, who, at, recoveryLife)
		ticket.Person, ticket.Email = person.ID, person.Email
		if _, err := tx.EndTickets(recoveryTicket, person.ID, "", at); err != nil {
			return err
		}
		if err := tx.InsertTicket(ticket); err != nil {
			return err
		}
		link = issued(text, ticket)
		return record(tx, otp.RecoveryIssued, who.Actor(), person.ID, at)
	})
	if err == nil {
		s.p.mailRecovery(who, link)
	}
	return link, err
}

// ResetFactors removes all second factors and backup codes of a person, and ends their sessions. Refusals: those of
// touch.
func (s *Staff) ResetFactors(ctx context.Context, who Principal, id string) error {
	return s.touch(ctx, who, id, true, func(tx *sql.Tx, person sql.Person, at otp.Millis) error {
		if err := notOneself(who, person); err != nil {
			return err
		}
		if _, err := tx.DeleteFactor(person.ID, otp.ID{}); err != nil {
			return err
		}
		if _, err := tx.EndSessions(person.ID, otp.ID{}, at); err != nil {
			return err
		}
		guess := attempt{}
		guess.add(s.p.factorGuesses(person.ID), otp.FactorGuesses)
		if err := guess.forgive(tx); err != nil {
			return err
		}
		return record(tx, otp.FactorsReset, who.Actor(), person.ID, at)
	})
}

// EndSessions ends all sessions of a person. It needs no recent login, because it may be urgent. Refusals: Forbidden,
// NotFound.
func (s *Staff) EndSessions(ctx context.Context, who Principal, id string) error {
	return s.touch(ctx, who, id, false, func(tx *sql.Tx, person sql.Person, at otp.Millis) error {
		if _, err := tx.EndSessions(person.ID, otp.ID{}, at); err != nil {
			return err
		}
		return record(tx, otp.SessionEnded, who.Actor(), person.ID, at, "sessions", "all")
	})
}

// touch calls do in a transaction for a person whom who may change. Refusals: Forbidden, NotFound, and, if recent is
// set, ReauthenticationRequired.
func (s *Staff) touch(ctx context.Context, who Principal, id string, recent bool,
	do func(*sql.Tx, sql.Person, otp.Millis) error) error {
	at := now()
	if err := who.May(WritePeople); err != nil {
		return err
	}
	row, err := s.row(ctx, who, id)
	if err != nil {
		return err
	}
	if err := who.ProvedRecently(at); recent && err != nil {
		return err
	}
	return s.p.change(ctx, func(tx *sql.Tx) error {
		person, found, err := tx.Person(row.ID)
		if err != nil {
			return err
		}
		if !found {
			return noPerson()
		}
		if err := mayTouch(who, person); err != nil {
			return err
		}
		return do(tx, person, at)
	})
}
