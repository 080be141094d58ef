package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Steps logs people in on pages, which ask for the code of a second factor only after the right password. Between the
// two steps the browser keeps a mark that says that its person gave the right password.
//
// A mark is worth no more than a password that is known: without a code it opens nothing, and codes are counted as
// usual. It lasts five minutes and begins one session. It ends with a change of the password. A dump of the database
// is not enough to make one, because the database does not contain the key of its MAC.
type Steps struct{ p *People }

// mark is the stored part of a mark.
type mark struct {
	Purpose  string `json:"purpose"`
	Password string `json:"password"` // the hash that the password was compared with
	Stronger string `json:"stronger"` // the hash to store instead; empty if that one is good enough
}

const passwordGiven = "password given"

// Password is Login for people without a second factor. For others it returns a mark instead of tokens. Refusals:
// those of Login, except FactorRequired.
func (s *Steps) Password(ctx context.Context, in Login, from Client) (Tokens, string, error) {
	p, at := s.p, now()
	e, err := p.byPassword(ctx, in, from, at)
	if err != nil {
		return Tokens{}, "", err
	}
	factors, err := p.rows.Factors(ctx, e.person.ID)
	if err != nil {
		return Tokens{}, "", err
	}
	if len(factors) == 0 {
		tokens, err := p.finish(ctx, e, proof{}, from, at)
		return tokens, "", err
	}
	if err := e.guess.forgive(alone{ctx, p.rows}); err != nil {
		return Tokens{}, "", err
	}
	kept, err := json.Marshal(mark{passwordGiven, e.person.PasswordHash, e.hash})
	if err != nil {
		return Tokens{}, "", fmt.Errorf("encode a login's mark: %w", err)
	}
	row := sql.Ceremony{ID: sql.NewID(), Person: e.person.ID, Data: kept, ExpiresAt: at + ceremonyLife}
	id := row.ID.Text(CeremonyPrefix)
	return Tokens{}, id + "." + p.sessionMAC("login mark", id), p.rows.InsertCeremony(ctx, row)
}

// Code begins a session for the person of a mark, given the code of an app or a backup code. A wrong code leaves the
// mark. Refusals: FactorRequired for a wrong code, PersonLocked, and WrongPassword for a mark that was used or is too
// old: the person has to give the password again.
func (s *Steps) Code(ctx context.Context, given, code string, from Client) (Tokens, error) {
	p, at := s.p, now()
	e, err := s.open(ctx, given, at)
	if err != nil {
		return Tokens{}, err
	}
	shown, err := p.judgeFactor(ctx, e.person, code, from, at)
	if err != nil {
		return Tokens{}, err
	}
	return p.finish(ctx, e, shown, from, at)
}

// open returns the person of a mark.
func (s *Steps) open(ctx context.Context, given string, at otp.Millis) (entrant, error) {
	id, mac, _ := strings.Cut(given, ".")
	parsed, ok := otp.ParseID(CeremonyPrefix, id)
	if !ok || !same(mac, s.p.sessionMAC("login mark", id)) {
		return entrant{}, passwordAgain()
	}
	row, err := s.p.rows.Ceremony(ctx, parsed, at)
	if errors.Is(err, sql.ErrNotFound) {
		return entrant{}, passwordAgain()
	}
	if err != nil {
		return entrant{}, err
	}
	var kept mark
	if err := json.Unmarshal(row.Data, &kept); err != nil {
		return entrant{}, fmt.Errorf("read the login's mark %s: %w", id, err)
	}
	if kept.Purpose != passwordGiven {
		return entrant{}, passwordAgain()
	}
	person, err := s.p.rows.ByID(ctx, row.Person)
	if errors.Is(err, sql.ErrNotFound) || err == nil && (person.DisabledAt != 0 || person.PasswordHash != kept.Password) {
		return entrant{}, passwordAgain()
	}
	return entrant{person: person, hash: kept.Stronger, mark: row.ID}, err
}

func passwordAgain() error {
	return otp.Refuse(otp.WrongPassword, "this login took too long, or began in another window; give your password again")
}
