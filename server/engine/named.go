package engine

import (
	"context"
	"errors"
	"slices"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Named says which challenge an application means: the one with an id, or the newest of a target.
type Named struct {
	ID     otp.ID // if zero, Target says which
	Target Target
	// Type is the challenge's; empty is otp.DefaultType, and any beside an ID, which is as good as a
	// name for everything that does not verify.
	Type string
	// Binding stands beside an ID: what the challenge is bound to, as CanonicalBinding gives it; empty
	// is anything.
	Binding string
}

// meant returns a function that returns the challenge that was loaded for n if n means it, else nil.
func (e *Engine) meant(c *Caller, n Named) func(*otp.Challenge) *otp.Challenge {
	binding := n.Binding
	if n.ID.IsZero() {
		binding = n.Target.Binding
	}
	hash, types := e.bindingHash(c, binding), c.types(n.Type)
	return func(loaded *otp.Challenge) *otp.Challenge {
		hash, types := hash, types
		if loaded != nil && !n.ID.IsZero() {
			if binding == "" {
				hash = loaded.Binding()
			}
			if n.Type == "" {
				types = []string{loaded.Type()}
			}
		}
		return loaded.Meant(hash, types)
	}
}

// ahead reads the challenge that n means outside any operation, so only what never changes may be
// relied on. Refusal: NotFound.
func (e *Engine) ahead(ctx context.Context, c *Caller, n Named) (foundChallenge, error) {
	id := n.ID
	if id.IsZero() {
		newest, err := e.store.Newest(context.WithoutCancel(ctx), e.recipientHash(c, n.Target.Recipient), e.slot(c, n.Target))
		if err != nil {
			return foundChallenge{}, err
		}
		if newest == nil {
			return foundChallenge{}, otp.Refuse(otp.NotFound, "there is no challenge of this recipient")
		}
		id = newest.ID
	}
	found, err := e.find(ctx, c, id)
	if err == nil && e.meant(c, n)(found.challenge) == nil {
		return found, otp.Refuse(otp.NotFound, "there is no such challenge")
	}
	return found, err
}

// on starts an operation on the challenge that n means, which was found ahead.
func (e *Engine) on(c *Caller, n Named, found foundChallenge) *sql.Operation {
	op := e.operation(c, found.target)
	if n.ID.IsZero() {
		op.Slot = e.slot(c, n.Target)
	} else {
		op.Challenge = n.ID
	}
	return op
}

// errMoved says that a newer challenge took the place of the one that was found ahead.
var errMoved = errors.New("another challenge is the newest now")

// maxMoves is how often an operation looks again after errMoved. Each time somebody sent anew in the
// moment between two reads.
const maxMoves = 20

// ResendNamed sends a challenge's code again, same code and expiry: by method, or if that is empty
// by the one it was made with. It counts like a regeneration of the servlets. Once is the id that
// Once gave: what was sent again with it before is answered and not sent once more; zero for none.
//
// Refusals: Invalid (method), those of otp.Resend, CostLimited, Overloaded.
func (e *Engine) ResendNamed(ctx context.Context, c *Caller, n Named, method string, once otp.ID) (Challenge, error) {
	if done, err := e.resentBefore(ctx, once); err != nil || !done.IsZero() {
		return e.madeOr(ctx, c, done, err)
	}
	for move := 0; ; move++ {
		found, err := e.ahead(ctx, c, n)
		if err != nil {
			return Challenge{}, err
		}
		done, err := e.resend(c, n, found, method, once)
		if errors.Is(err, errMoved) && move < maxMoves {
			continue
		}
		if err == nil && done.IsZero() {
			done, err = e.resentBefore(ctx, once)
		}
		return e.madeOr(ctx, c, done, err)
	}
}

func (e *Engine) madeOr(ctx context.Context, c *Caller, id otp.ID, err error) (Challenge, error) {
	if err != nil {
		return Challenge{}, err
	}
	return e.Made(ctx, c, id)
}

// resentBefore returns the challenge whose code was sent again under the id that Once gave, zero for
// none. A recipient's newest challenge may be another one by now.
func (e *Engine) resentBefore(ctx context.Context, once otp.ID) (otp.ID, error) {
	if once.IsZero() {
		return otp.ID{}, nil
	}
	challenge, err := e.store.ChallengeOf(context.WithoutCancel(ctx), once)
	if errors.Is(err, sql.ErrNotFound) {
		return otp.ID{}, nil
	}
	return challenge, err
}

// resend sends the found challenge's code again and returns its id, zero if that has happened before
// under once. The error is errMoved if the target has a newer challenge.
func (e *Engine) resend(c *Caller, n Named, found foundChallenge, method string, once otp.ID) (otp.ID, error) {
	channels := found.challenge.Channels
	if method != "" {
		var err error
		if channels, err = c.method("method", method, found.target); err != nil {
			return otp.ID{}, err
		}
	}
	op := e.on(c, n, found)
	if !once.IsZero() {
		op.Event, op.Repeats = once, true
	}
	if channels.Has(otp.Email) {
		e.lockMailbox(c, op, found.target)
	}
	policy, meant := e.unthrottled(c.policy(), found.target, channels), e.meant(c, n)
	guard := e.guard(c, op, found.target, channels)
	var resent send
	var done otp.ID
	op.Decide = func(s *sql.State) error {
		if done = (otp.ID{}); s.Happened {
			return nil
		}
		challenge := meant(s.Challenge)
		if challenge != nil && challenge.ID != found.challenge.ID {
			return errMoved
		}
		if err := otp.Resend(s.Recipient, s.Mailbox, challenge, policy, s.Now); err != nil {
			return err
		}
		var err error
		if resent, err = e.recordResend(op, c, s, challenge, found.target, channels, guard); err == nil {
			done = challenge.ID
		}
		return err
	}
	if err := e.store.Do(op); err != nil || done.IsZero() {
		return otp.ID{}, err
	}
	if method != "" {
		resent.fallback = slices.DeleteFunc(slices.Clone(resent.fallback), channels.Has)
	}
	e.sendOff(resent)
	return done, nil
}

// CancelNamed calls a live challenge off. Refusals: those of otp.Cancel, Overloaded.
func (e *Engine) CancelNamed(ctx context.Context, c *Caller, n Named) (Challenge, error) {
	found := foundChallenge{target: n.Target}
	if !n.ID.IsZero() {
		var err error
		if found, err = e.find(ctx, c, n.ID); err != nil {
			return Challenge{}, err
		}
	}
	op, meant := e.on(c, n, found), e.meant(c, n)
	op.Rank = sql.Verifying // it ends guessing
	var canceled otp.ID
	op.Decide = func(s *sql.State) error {
		challenge := meant(s.Challenge)
		if err := otp.Cancel(challenge, s.Now); err != nil {
			return err
		}
		canceled = challenge.ID
		s.Record(event(op, c, s, challenge, otp.EventCanceled))
		return nil
	}
	if err := e.store.Do(op); err != nil {
		return Challenge{}, err
	}
	return e.Status(ctx, c, canceled)
}

// StatusNamed is Status of the challenge that n means. By a target it finds none that expired more than
// an hour ago, as a guess does not; by an ID it does. Refusal: NotFound.
func (e *Engine) StatusNamed(ctx context.Context, c *Caller, n Named) (Challenge, error) {
	if !n.ID.IsZero() {
		return e.Status(ctx, c, n.ID)
	}
	found, err := e.ahead(ctx, c, n)
	if err != nil {
		return Challenge{}, err
	}
	now, err := e.moment(ctx, c.Account.Address, found.challenge.UpdatedAt, found.recipient.UpdatedAt)
	if err != nil {
		return Challenge{}, err
	}
	if found.challenge.Forgotten(now) {
		return Challenge{}, otp.Refuse(otp.NotFound, "there is no challenge of this recipient")
	}
	return e.Status(ctx, c, found.challenge.ID)
}
