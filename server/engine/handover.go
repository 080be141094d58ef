package engine

import (
	"context"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Handling returns how the caller's servlet calls are handled now, by its account's clock. Refusal: FeatureOff once
// the account's servlets are off.
func (e *Engine) Handling(ctx context.Context, c *Caller) (otp.Handling, error) {
	if !c.Account.Timed() {
		return c.Account.Handling(0), nil
	}
	now, err := e.accountTime(ctx, c)
	if err != nil {
		return otp.Handling{}, err
	}
	if c.Account.ServletsOff(now) {
		return otp.Handling{}, otp.Refuse(otp.FeatureOff, "the account's servlets have ended, or rehearse it")
	}
	return c.Account.Handling(now), nil
}

// accountTime returns the time by the clock of the caller's account.
func (e *Engine) accountTime(ctx context.Context, c *Caller) (otp.Millis, error) {
	if !e.options.Sandbox {
		return otp.At(time.Now()), nil
	}
	_, ahead, err := e.store.Sandbox.Clock(ctx, c.Account.Address)
	return otp.At(time.Now().Add(ahead)), err
}

// GiveWay replaces the challenge of the target's slot, because the account's upstream has made a newer code for it.
// Refusal: Overloaded.
func (e *Engine) GiveWay(c *Caller, t Target) error {
	op := e.operation(c, t)
	op.Slot, op.Rank = e.slot(c, t), sql.Verifying
	op.Decide = func(s *sql.State) error {
		challenge := s.Challenge
		if challenge == nil || challenge.ReplacedAt != 0 {
			return nil
		}
		challenge.ReplacedAt, challenge.UpdatedAt = s.Now, s.Now
		if challenge.Details != nil && challenge.UsedAt == 0 && challenge.CanceledAt == 0 {
			s.Record(event(op, c, s, challenge, otp.EventReplaced))
			return nil
		}
		s.Mark()
		return nil
	}
	return e.store.Do(op)
}

// standing returns the challenge that an operation found, nil if during a hand-over the upstream may have made a newer
// code.
func (t Target) standing(challenge *otp.Challenge, now otp.Millis) *otp.Challenge {
	if t.HandOver != nil && !t.HandOver.Stands(challenge, now) {
		return nil
	}
	return challenge
}
