package people

import (
	"context"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// attempt is one guess that has been counted and not checked yet.
type attempt struct {
	ids     []otp.ID
	limits  []otp.GuessLimit
	blocked []otp.Millis // until when it blocks further guesses
}

// charge counts one guess at a password, or refuses it unchecked if there were too many. It counts guesses for the
// pair of address and network, and for the network. If the person has a session in that network, only the pair is
// counted, so that other people's guesses do not keep them out. Unknown addresses are counted like known ones.
// Refusal: RateLimited.
func (p *People) charge(ctx context.Context, email string, person otp.ID, from Client, at otp.Millis) (*attempt,
	error) {
	net := network(from.Address)
	a := &attempt{}
	a.add(otp.ID(p.Vault.Index.Sum("guesses at a person", email, net)), otp.PersonGuesses)
	known, err := p.knows(ctx, person, net, at)
	if err != nil {
		return nil, err
	}
	if !known {
		a.add(otp.ID(p.Vault.Index.Sum("guesses from a network", net)), otp.NetworkGuesses)
	}
	return a, p.chargeAttempt(ctx, a, at, tooMany)
}

// chargeNetwork counts one guess of a network, for requests that do not name a person. Refusal: RateLimited.
func (p *People) chargeNetwork(ctx context.Context, from Client, at otp.Millis) (*attempt, error) {
	a := &attempt{}
	a.add(otp.ID(p.Vault.Index.Sum("guesses from a network", network(from.Address))), otp.NetworkGuesses)
	return a, p.chargeAttempt(ctx, a, at, tooMany)
}

// chargeFactor counts one guess at a person's second factors. Refusal: PersonLocked.
func (p *People) chargeFactor(ctx context.Context, person otp.ID, at otp.Millis) (*attempt, error) {
	a := &attempt{}
	a.add(p.factorGuesses(person), otp.FactorGuesses)
	return a, p.chargeAttempt(ctx, a, at, func(wait time.Duration) error {
		return &otp.Error{Kind: otp.PersonLocked, RetryAfter: wait,
			Message: "too many wrong codes; wait, or have another admin reset the second factor"}
	})
}

func (p *People) factorGuesses(person otp.ID) otp.ID {
	return otp.ID(p.Vault.Index.Sum("guesses at a factor", string(person[:])))
}

func tooMany(wait time.Duration) error {
	return &otp.Error{Kind: otp.RateLimited, RetryAfter: wait,
		Message: "too many wrong passwords from this network; wait, or log in from elsewhere"}
}

func tooManyQuestions(wait time.Duration) error {
	return &otp.Error{Kind: otp.RateLimited, RetryAfter: wait,
		Message: "too many questions to passkeys from this network; wait, or log in with your password"}
}

func (a *attempt) add(id otp.ID, limit otp.GuessLimit) {
	a.ids, a.limits = append(a.ids, id), append(a.limits, limit)
}

// chargeAttempt decides with a guarded write. A caller who still has to wait is refused after a read, so that a flood
// of guesses costs no writes.
func (p *People) chargeAttempt(ctx context.Context, a *attempt, at otp.Millis, refuse func(time.Duration) error) error {
	for _, id := range a.ids {
		g, err := p.rows.Guesses(ctx, id)
		if err != nil {
			return err
		}
		if wait := g.Wait(at); wait > 0 {
			return refuse(wait)
		}
	}
	return p.rows.Guess(ctx, a.ids, func(all []otp.Guesses) error {
		a.blocked = a.blocked[:0]
		for i := range all {
			if wait := all[i].Wait(at); wait > 0 {
				return refuse(wait)
			}
			all[i].Charge(a.limits[i], at)
			a.blocked = append(a.blocked, all[i].BlockedUntil)
		}
		return nil
	})
}

// forgive takes back a right guess. It resets the person's count, but only subtracts one from the network's: otherwise
// somebody with a login could reset it and guess at others' passwords without end.
func (a *attempt) forgive(tx guesser) error {
	if a == nil {
		return nil
	}
	return tx.Guess(a.ids, func(all []otp.Guesses) error {
		for i := range all {
			if a.limits[i] == otp.NetworkGuesses {
				all[i].Forgive(a.blocked[i])
			} else {
				all[i].Clear()
			}
		}
		return nil
	})
}

// guesser is a transaction, or a store that begins one.
type guesser interface {
	Guess(ids []otp.ID, rule func([]otp.Guesses) error) error
}

// alone counts guesses in a separate transaction.
type alone struct {
	ctx  context.Context
	rows *sql.People
}

// Guess implements guesser.
func (w alone) Guess(ids []otp.ID, rule func([]otp.Guesses) error) error {
	return w.rows.Guess(w.ctx, ids, rule)
}

// knows reports whether a person has a session in a network.
func (p *People) knows(ctx context.Context, person otp.ID, net string, at otp.Millis) (bool, error) {
	sessions, err := p.rows.Sessions(ctx, person, at)
	if err != nil {
		return false, err
	}
	for _, s := range sessions {
		if s.Network == net && !over(s, at) {
			return true, nil
		}
	}
	return false, nil
}
