package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
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

// ShadowCall is a call that an account's upstream has answered.
type ShadowCall struct {
	Permission string // of the call: otp.PermitSend, PermitVerify or PermitResend
	Guess      string // of a validation; empty if it cannot be read
	Right      bool   // the upstream found the guess right, in time or too late
	Accepted   bool   // the upstream did what the call asked for
	// Agrees reports whether a decision of the local rules agrees with the upstream's answer.
	Agrees func(decision error) bool
}

// shadow is the state of a recipient by the local rules.
type shadow struct {
	Recipient  otp.Recipient
	Challenges map[string]*otp.Challenge // by slot
}

const (
	// shadowSlots bounds the slots of a shadow.
	shadowSlots = 20
	// shadowSends is how many sends a shadow stores beyond the account's limits, if the upstream allows more.
	shadowSends = 100
)

// Shadow decides a call by the local rules on a separate state: nothing is sent, and no limit, code or history of the
// account is touched. If the rules disagree with the upstream, their decision is returned, and the state then follows
// what the upstream did, so that one difference does not cause others. Calls about codes made before shadowing began
// are not compared. The error is a fault.
func (e *Engine) Shadow(ctx context.Context, c *Caller, t Target, call ShadowCall) (differs bool, decision, err error) {
	now, err := e.accountTime(ctx, c)
	if err != nil {
		return false, nil, err
	}
	channels := c.channels(t)
	policy := e.unthrottled(c.policy(), t, channels)
	id, slot := e.recipientHash(c, t.Recipient), e.slot(c, t).Text("slot")
	err = e.store.Shadows.Change(ctx, c.Account.Address, id, otp.At(time.Now()), func(stored []byte) ([]byte, error) {
		s, err := readShadow(stored, now)
		if err != nil {
			return nil, err
		}
		var known bool
		decision, known = s.decide(slot, call, channels, policy, now)
		if differs = known && !call.Agrees(decision); differs {
			if s, err = readShadow(stored, now); err != nil {
				return nil, err
			}
			s.follow(slot, call, policy, now)
		}
		return json.Marshal(s)
	})
	return differs, decision, err
}

// decide decides a call. known is false if the slot has no challenge to decide about.
func (s *shadow) decide(slot string, call ShadowCall, channels otp.Channels, policy otp.Policy,
	now otp.Millis) (decision error, known bool) {
	challenge := s.Challenges[slot]
	switch {
	case call.Permission == otp.PermitSend:
		if channels == 0 {
			return otp.Refuse(otp.Invalid, "email is required: the account sends by e-mail only"), true
		}
		next := &otp.Challenge{}
		if decision = otp.Generate(&s.Recipient, nil, challenge, next, policy, now); decision == nil {
			s.Challenges[slot] = next
		}
		return decision, true
	case challenge == nil:
		return nil, false
	case call.Permission == otp.PermitResend:
		return otp.Resend(&s.Recipient, nil, challenge, policy, now), true
	}
	right := call.Right && len(call.Guess) == challenge.Length
	return otp.Verify(&s.Recipient, challenge, otp.ClosedIsCompared, right, now), true
}

// follow changes the state to what the upstream did.
func (s *shadow) follow(slot string, call ShadowCall, policy otp.Policy, now otp.Millis) {
	switch {
	case call.Permission == otp.PermitVerify:
		delete(s.Challenges, slot)
	case call.Accepted:
		s.Recipient.Unlock(now)
		policy.MaxRegenerations, policy.Limits = math.MaxInt, slices.Clone(policy.Limits)
		for i := range policy.Limits {
			policy.Limits[i].Max = max(policy.Limits[i].Max, shadowSends)
		}
		if decision, _ := s.decide(slot, call, otp.SMS, policy, now); decision != nil {
			delete(s.Challenges, slot)
		}
	}
}

// readShadow reads a stored state, nil for none. It drops what the rules no longer use, and the oldest slots beyond
// shadowSlots.
func readShadow(stored []byte, now otp.Millis) (*shadow, error) {
	s := &shadow{Challenges: map[string]*otp.Challenge{}}
	if stored != nil {
		if err := json.Unmarshal(stored, s); err != nil {
			return nil, fmt.Errorf("read a shadow: %w", err)
		}
	}
	maps.DeleteFunc(s.Challenges, func(_ string, c *otp.Challenge) bool { return c.Forgotten(now) })
	for len(s.Challenges) >= shadowSlots {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(s.Challenges)), func(a, b string) int {
			return cmp.Compare(s.Challenges[a].CreatedAt, s.Challenges[b].CreatedAt)
		})
		delete(s.Challenges, oldest)
	}
	return s, nil
}
