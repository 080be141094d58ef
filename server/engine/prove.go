package engine

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Proof is one guess, at the challenge with an id or at a target's newest.
type Proof struct {
	ID      otp.ID // if zero, Target selects
	Target  Target
	Code    string
	Type    string // the challenge's; empty is otp.DefaultType
	Binding string // with ID: what the challenge must be bound to, as CanonicalBinding returns it; empty for nothing
}

// Verified is the result of a right guess.
type Verified struct {
	ID         otp.ID
	VerifiedAt time.Time
	Attempts   int // wrong guesses before
	Metadata   json.RawMessage
	Receipt    string // a JWS; see Receipt
}

// VerifyNamed decides one guess. The error is nil for the right code only. If the challenge is not the caller's, or
// has another binding or type, the answer is NotFound and nothing is compared.
//
// Refusals: those of otp.Verify (WrongCode with Remaining, Locked with RetryAfter), Overloaded.
func (e *Engine) VerifyNamed(ctx context.Context, c *Caller, p Proof) (Verified, error) {
	target, binding := p.Target, p.Target.Binding
	if !p.ID.IsZero() {
		binding = p.Binding
	}
	op := e.on(c, p.ID, &target, func(op *sql.Operation, _ *otp.Challenge) {
		e.lockConversion(c, op, target)
	})
	op.Rank = sql.Verifying
	hash, types := e.bindingHash(c, binding), c.types(p.Type)
	var verified otp.Challenge
	op.Decide = func(s *sql.State) error {
		challenge := s.Challenge.Meant(hash, types)
		err := e.decideGuess(op, c, s, target.Recipient, challenge, p.Code)
		if err == nil {
			verified = *challenge
		}
		return err
	}
	err := e.store.Do(op)
	e.countVerified(op, target, err)
	if err != nil {
		return Verified{}, err
	}
	return e.verified(ctx, c, op.Event, &verified, target.Recipient, binding), nil
}

// verified returns the result of a right guess. The code is used now and the caller must learn that, so parts that
// cannot be added are logged and left out.
func (e *Engine) verified(ctx context.Context, c *Caller, event otp.ID, challenge *otp.Challenge, recipient,
	binding string) Verified {
	v := Verified{ID: challenge.ID, VerifiedAt: challenge.UsedAt.Time(), Attempts: challenge.Wrong}
	var lacking, err error
	if challenge.Details != nil {
		v.Metadata, lacking = e.openMetadata(challenge.ID, challenge.Details.Metadata)
	}
	v.Receipt, err = e.receipt(ctx, c, event, challenge, recipient, binding)
	if lacking = errors.Join(lacking, err); lacking != nil {
		e.log.ErrorContext(ctx, "answer of a verification is incomplete", "account", c.Account.Address,
			"challenge", challenge.ID.Text("otp"), "error", lacking)
	}
	return v
}

// foundChallenge is a challenge read outside any operation: only fields that never change may be relied on.
type foundChallenge struct {
	challenge *otp.Challenge
	recipient *otp.Recipient
	target    Target // without subject and binding
}

// find reads the caller's challenge with this id and its recipient. Refusal: NotFound, also for challenges of other
// accounts and environments.
func (e *Engine) find(ctx context.Context, c *Caller, id otp.ID) (foundChallenge, error) {
	challenge, recipient, err := e.store.Challenges.ByID(context.WithoutCancel(ctx), id)
	if errors.Is(err, sql.ErrNotFound) || err == nil && !c.owned(recipient) {
		return foundChallenge{}, otp.Refuse(otp.NotFound, "there is no challenge with this id")
	}
	if err != nil {
		return foundChallenge{}, err
	}
	k := foundChallenge{challenge: challenge, recipient: recipient}
	k.target, err = e.addressee(challenge, recipient)
	return k, err
}

// owned reports whether a recipient is the caller's.
func (c *Caller) owned(r *otp.Recipient) bool {
	return r.Account == c.Account.Address && r.Environment == c.Environment
}

// addressee opens the recipient that a challenge was sent to.
func (e *Engine) addressee(challenge *otp.Challenge, recipient *otp.Recipient) (t Target, err error) {
	to, err := e.keyring.Open(vault.Recipient(recipient.ID), recipient.Sealed)
	if err != nil {
		return t, err
	}
	t.Recipient = string(to)
	if challenge.Mailbox != nil {
		mailbox, err := e.keyring.Open(vault.Mailbox(challenge.ID), challenge.Mailbox)
		if err != nil {
			return t, err
		}
		t.Mailbox = string(mailbox)
	}
	return t, nil
}
