package engine

import (
	"context"
	"errors"
	"slices"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Named selects an application's challenge: the one with an id, or the newest of a target.
type Named struct {
	ID     otp.ID // if zero, Target selects
	Target Target
	// Type is the challenge's type; empty means otp.DefaultType, or any type if ID is set: for all but verifying, the
	// id is enough.
	Type string
	// Binding goes with ID: what the challenge must be bound to, as CanonicalBinding returns it; empty means anything.
	Binding string
}

// meant returns a function that returns the loaded challenge if n selects it, else nil.
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

// on starts an operation on the challenge with this id, or, if id is zero, on the newest of t's slot. It calls learn
// once t is known, to add what else the operation needs. For an id, the batch finds t and passes learn the challenge,
// of which only fields that never change may be used. If the id is not the caller's, t stays empty, learn is not
// called and the operation finds no challenge.
func (e *Engine) on(c *Caller, id otp.ID, t *Target, learn func(*sql.Operation, *otp.Challenge)) *sql.Operation {
	op := operation(c)
	if id.IsZero() {
		op.Recipient, op.Slot = e.recipientHash(c, t.Recipient), e.slot(c, *t)
		learn(op, nil)
		return op
	}
	op.Challenge = id
	op.Found = func(challenge *otp.Challenge, recipient *otp.Recipient) (err error) {
		if !c.owned(recipient) {
			return nil
		}
		if *t, err = e.addressee(challenge, recipient); err != nil {
			return err
		}
		op.Recipient = recipient.Hash
		learn(op, challenge)
		return nil
	}
	return op
}

// newest returns the id of the target's newest challenge if n selects it. It reads outside any operation. Refusal:
// NotFound.
func (e *Engine) newest(ctx context.Context, c *Caller, n Named) (otp.ID, error) {
	newest, err := e.store.Challenges.Newest(context.WithoutCancel(ctx), e.recipientHash(c, n.Target.Recipient),
		e.slot(c, n.Target))
	if err != nil {
		return otp.ID{}, err
	}
	if newest = e.meant(c, n)(newest); newest == nil {
		return otp.ID{}, otp.Refuse(otp.NotFound, "there is no such challenge")
	}
	return newest.ID, nil
}

// errMoved says that the target has a newer challenge than the one that was read.
var errMoved = errors.New("another challenge is the newest now")

// maxMoves is how often an operation is repeated after errMoved. Each time a new challenge was sent between two reads.
const maxMoves = 20

// ResendNamed sends a challenge's code again, with the same expiry: by method, or if method is empty, by the method
// that it was made with. It counts like a regeneration at the servlets. once is the id that Once gave, zero for none:
// if the code was already resent under it, that result is returned and nothing is sent.
//
// Refusals: Invalid (method), those of otp.Resend, CostLimited, Overloaded.
func (e *Engine) ResendNamed(ctx context.Context, c *Caller, n Named, method string, once otp.ID) (Challenge, error) {
	if done, err := e.resentBefore(ctx, once); err != nil || !done.IsZero() {
		return e.madeOr(ctx, c, done, err)
	}
	for move := 0; ; move++ {
		id := n.ID
		if id.IsZero() {
			var err error
			if id, err = e.newest(ctx, c, n); err != nil {
				return Challenge{}, err
			}
		}
		done, err := e.resend(c, n, id, method, once)
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

// resentBefore returns the challenge whose code was resent under the id that Once gave, zero for none. The recipient's
// newest challenge may be another one by now.
func (e *Engine) resentBefore(ctx context.Context, once otp.ID) (otp.ID, error) {
	if once.IsZero() {
		return otp.ID{}, nil
	}
	challenge, err := e.store.Challenges.OfEvent(context.WithoutCancel(ctx), once)
	if errors.Is(err, sql.ErrNotFound) {
		return otp.ID{}, nil
	}
	return challenge, err
}

// resend sends the code of the challenge with this id again and returns the id, zero if that has already happened
// under once. The error is errMoved if n is a target that has a newer challenge.
func (e *Engine) resend(c *Caller, n Named, id otp.ID, method string, once otp.ID) (otp.ID, error) {
	var (
		target   Target
		channels otp.Channels
		refusal  error // of the method
		policy   otp.Policy
		guard    *guard
		resent   send
		done     otp.ID
	)
	op := e.on(c, id, &target, func(op *sql.Operation, challenge *otp.Challenge) {
		channels = challenge.Channels
		if method != "" {
			if channels, refusal = c.method("method", method, target); refusal != nil {
				return
			}
		}
		if channels.Has(otp.Email) {
			e.lockMailbox(c, op, target)
		}
		policy, guard = e.unthrottled(c.policy(), target, channels), e.guard(c, op, target, channels)
	})
	if !once.IsZero() {
		op.Event, op.Repeats = once, true
	}
	meant := e.meant(c, n)
	op.Decide = func(s *sql.State) error {
		if done = (otp.ID{}); s.Happened {
			return nil
		}
		challenge := meant(s.Challenge)
		switch {
		case challenge == nil:
			return otp.Refuse(otp.NotFound, "there is no such challenge")
		case n.ID.IsZero() && challenge.ReplacedAt != 0:
			return errMoved
		case refusal != nil:
			return refusal
		}
		if err := otp.Resend(s.Recipient, s.Mailbox, challenge, policy, s.Now); err != nil {
			return err
		}
		var err error
		if resent, err = e.recordResend(op, c, s, challenge, target, channels, guard); err == nil {
			done = id
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

// CancelNamed cancels a live challenge. Refusals: those of otp.Cancel, Overloaded.
func (e *Engine) CancelNamed(ctx context.Context, c *Caller, n Named) (Challenge, error) {
	target := n.Target
	op, meant := e.on(c, n.ID, &target, func(*sql.Operation, *otp.Challenge) {}), e.meant(c, n)
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

// StatusNamed is Status of the challenge that n selects. By a target it finds none that expired more than an hour ago,
// as Verify does; by an ID it does. Refusal: NotFound.
func (e *Engine) StatusNamed(ctx context.Context, c *Caller, n Named) (Challenge, error) {
	if !n.ID.IsZero() {
		return e.Status(ctx, c, n.ID)
	}
	id, err := e.newest(ctx, c, n)
	if err != nil {
		return Challenge{}, err
	}
	return e.status(ctx, c, id, true)
}
