package engine

import (
	"errors"

	"otpbridge/server/otp"
)

// doors holds the rules that differ between doors. The servlets' numbers are the vendor's, and their OTPEXPIRED
// requires comparing guesses at closed challenges.
var doors = map[otp.Door]struct {
	maxAttempts int
	closed      otp.Closed
}{
	otp.ServletDoor: {maxAttempts: 3, closed: otp.ClosedIsCompared},
	otp.V1Door:      {maxAttempts: 5, closed: otp.ClosedIsFinal},
}

// types returns the types of the challenges that the caller can use: the one it names, else the door's. The servlets
// cannot name a type, so the account says which ones they can use.
func (c *Caller) types(named string) []string {
	switch {
	case named != "":
		return []string{named}
	case c.Door == otp.ServletDoor:
		return c.Account.ServletTypes
	}
	return []string{otp.DefaultType}
}

// limits are the limits on sends to one recipient.
var limits = []struct {
	span otp.Millis
	max  func(*otp.Account) int
}{
	{otp.Minute, func(a *otp.Account) int { return a.SendsPerMinute }},
	{otp.Hour, func(a *otp.Account) int { return a.SendsPerHour }},
	{otp.Day, func(a *otp.Account) int { return a.SendsPerDay }},
}

// policy returns the numbers that apply to the caller's operation.
func (c *Caller) policy() otp.Policy {
	p := otp.Policy{
		Length:           c.Account.Length,
		TTL:              otp.Millis(c.Account.TTLSeconds) * otp.Second,
		MaxAttempts:      otp.ValueOr(c.Account.MaxAttempts, doors[c.Door].maxAttempts),
		MaxRegenerations: c.Account.MaxRegenerations,
		Limits:           make([]otp.Limit, len(limits)),
	}
	for i, limit := range limits {
		p.Limits[i] = otp.Limit{Span: limit.span, Max: limit.max(c.Account)}
	}
	return p
}

// rehearsed reports whether a send to t by these channels reaches test recipients only. Nothing is sent then, so
// neither send limits nor cost guards apply.
func (e *Engine) rehearsed(t Target, channels otp.Channels) bool {
	if len(e.options.TestRecipients) == 0 || channels == 0 {
		return false
	}
	for _, medium := range channels.Each() {
		to := t.Recipient
		if medium == otp.Email {
			to = t.Mailbox
		}
		if !e.options.TestRecipients.Has(to) {
			return false
		}
	}
	return true
}

// unthrottled returns p, without send limits if the send to t by these channels reaches test recipients only.
func (e *Engine) unthrottled(p otp.Policy, t Target, channels otp.Channels) otp.Policy {
	if e.rehearsed(t, channels) {
		p.Limits = nil
	}
	return p
}

// channels returns how a send to t travels: by SMS if the account has it switched on, and by e-mail if that is
// switched on and an address is known; none if e-mail is the only one and there is no address.
func (c *Caller) channels(t Target) otp.Channels {
	var channels otp.Channels
	if c.Account.SMSEnabled {
		channels |= otp.SMS
	}
	if c.Account.EmailEnabled && t.Mailbox != "" {
		channels |= otp.Email
	}
	return channels
}

func remaining(refusal error) int {
	if e, ok := errors.AsType[*otp.Error](refusal); ok {
		return e.Remaining
	}
	return 0
}
