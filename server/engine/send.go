package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// The limits of the JSON API.
const (
	minTTL = 30 * time.Second
	// MaxTTL is how long a code is valid at most. NIST SP 800-63B, section 5.1.3.2: an out-of-band secret is valid for
	// at most 10 minutes.
	MaxTTL      = 10 * time.Minute
	maxLength   = 10
	maxMetadata = 1024 // bytes, without insignificant space
	maxLocale   = 35   // RFC 5646, section 4.4.1: what every implementation must accept
)

// Send is a request for a new challenge. Zero fields take the account's or the API's default.
type Send struct {
	Target   Target
	Method   string          // sms or email
	Fallback []string        // methods tried in turn once the one before surely did not send
	Type     string          // verification (the default), two_factor, password_reset, transaction
	Template string          // name of one of the account's templates
	Locale   string          // a language tag (BCP 47)
	TTL      time.Duration   // 30 s or more; more than 10 minutes is reduced to that; 0: the account's
	Length   int             // digits, from the account's up to 10; 0: the account's
	Metadata json.RawMessage // an object of at most 1 KiB
	// Challenge is the id that Once gave. If a challenge with this id exists it is returned and nothing is sent. Zero
	// makes a new id.
	Challenge otp.ID
}

// Send makes a new challenge for the target's slot, replaces the one that is live there, and returns at once with the
// status queued; Status tells how its delivery ends.
//
// A lifetime shorter than the account's is granted, because it only makes a code harder to guess; a shorter code is
// refused, because it makes guessing easier.
//
// Refusals: Invalid with its Field, Locked, OverLimit, CostLimited, Overloaded.
func (e *Engine) Send(ctx context.Context, c *Caller, s Send) (Challenge, error) {
	policy, err := c.policyFor(&s)
	if err != nil {
		return Challenge{}, err
	}
	channels, fallback, err := c.methods(&s)
	if err != nil {
		return Challenge{}, err
	}
	op := e.operation(c, s.Target)
	draft := otp.Challenge{ID: s.Challenge, Channels: channels}
	if draft.ID.IsZero() {
		draft.ID = sql.NewID()
	} else {
		op.Event, op.Repeats = draft.ID, true
	}
	if draft.Details, err = e.details(c, draft.ID, &s); err != nil {
		return Challenge{}, err
	}
	draft.Details.Fallback = fallback
	made, err := e.generate(c, s.Target, op, &draft, policy)
	if err != nil {
		return Challenge{}, err
	}
	if made.happened {
		return e.Made(ctx, c, draft.ID)
	}
	e.sendOff(made.send)
	challenge := &made.send.challenge
	return Challenge{
		ID: challenge.ID, To: deliver.Mask(s.Target.Recipient), Method: channels.String(), Type: challenge.Type(),
		Status:    statusQueued,
		CreatedAt: challenge.CreatedAt.Time(), ExpiresAt: challenge.ExpiresAt.Time(),
		AttemptsRemaining: &made.remaining, ResendsRemaining: &policy.MaxRegenerations, Metadata: s.Metadata,
		Sends: []Delivery{{Number: 1, Method: channels.String(), Status: statusQueued, At: made.send.at.Time()}},
	}, nil
}

// policyFor returns the account's policy with the requested values of s.
func (c *Caller) policyFor(s *Send) (otp.Policy, error) {
	p := c.policy()
	switch {
	case s.Length == 0:
	case s.Length < p.Length || s.Length > maxLength:
		return p, otp.RefuseField("length", fmt.Sprintf("must be %d (the account's) to %d", p.Length, maxLength))
	default:
		p.Length = s.Length
	}
	switch {
	case s.TTL == 0:
	case s.TTL < minTTL:
		return p, otp.RefuseField("ttl", "must be 30 or more seconds; more than 600 are cut to 600")
	default:
		p.TTL = otp.Span(s.TTL)
	}
	p.TTL = min(p.TTL, otp.Span(MaxTTL))
	return p, nil
}

// methods reads the requested methods of s.
func (c *Caller) methods(s *Send) (first otp.Channels, fallback []otp.Channels, err error) {
	if first, err = c.method("method", s.Method, s.Target); err != nil {
		return 0, nil, err
	}
	seen := first
	for i, name := range s.Fallback {
		next, err := c.method("fallback", name, s.Target)
		if err != nil {
			return 0, nil, err
		}
		if seen.Has(next) {
			return 0, nil, otp.RefuseField("fallback", fmt.Sprintf("names %s, which is tried before it (entry %d)", name, i+1))
		}
		seen |= next
		fallback = append(fallback, next)
	}
	return first, fallback, nil
}

// method reads one method by its name and refuses it if it cannot reach t.
func (c *Caller) method(field, name string, t Target) (otp.Channels, error) {
	isMailbox := strings.Contains(t.Recipient, "@")
	switch {
	case name != "sms" && name != "email":
		return 0, otp.RefuseField(field, "must be sms or email")
	case name == "sms" && !c.Account.SMSEnabled, name == "email" && !c.Account.EmailEnabled:
		return 0, otp.RefuseField(field, name+" is switched off for the account")
	case name == "sms" && isMailbox:
		return 0, otp.RefuseField(field, "sms cannot reach a mailbox; use email, or a number as to")
	case name == "email" && t.Mailbox == "":
		return 0, otp.RefuseField(field, "email needs an address: give email, or a mailbox as to")
	case name == "sms":
		return otp.SMS, nil
	}
	return otp.Email, nil
}

// details returns the details that s requests for its challenge.
func (e *Engine) details(c *Caller, challenge otp.ID, s *Send) (*otp.Details, error) {
	details := &otp.Details{Type: s.Type, Template: s.Template, Locale: s.Locale,
		Binding: e.bindingHash(c, s.Target.Binding)}
	if s.Type == "" {
		details.Type = otp.DefaultType
	}
	if types := otp.Types(); !slices.Contains(types, details.Type) {
		return nil, otp.RefuseField("type", "must be one of "+strings.Join(types, ", "))
	}
	if s.Template != "" && !c.settings.has(s.Template) {
		return nil, otp.RefuseField("template", "names none of the account's templates")
	}
	if !validLocale(s.Locale) {
		return nil, otp.RefuseField("locale", "must be a language tag such as en or pt-BR")
	}
	metadata, err := compactMetadata(s.Metadata)
	if err != nil {
		return nil, err
	}
	if s.Metadata = metadata; metadata != nil {
		details.Metadata = e.keyring.Seal(vault.Metadata(challenge), metadata)
		if user := otp.UserOf(metadata); user != "" {
			details.User = e.vault.UserHash(c.Account.Address, c.Environment, user)
		}
	}
	return details, nil
}

// validLocale reports whether s is empty or has the form of a language tag (RFC 5646, section 2.1): subtags of 1–8
// letters and digits. It does not check whether a template has this language.
func validLocale(s string) bool {
	if s == "" {
		return true
	}
	for i, subtag := range strings.Split(s, "-") {
		for _, r := range subtag {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
				return false
			}
		}
		if subtag == "" || len(subtag) > 8 {
			return false
		}
	}
	return len(s) <= maxLocale
}

// compactMetadata reads a JSON object and removes insignificant space; nil for null and none.
func compactMetadata(metadata json.RawMessage) (json.RawMessage, error) {
	if trimmed := bytes.TrimSpace(metadata); len(trimmed) == 0 || string(trimmed) == "null" {
		return nil, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, metadata); err != nil || compact.Bytes()[0] != '{' {
		return nil, otp.RefuseField("metadata", "must be a JSON object")
	}
	if compact.Len() > maxMetadata {
		return nil, otp.RefuseField("metadata", fmt.Sprintf("must be at most %d bytes of JSON", maxMetadata))
	}
	return compact.Bytes(), nil
}

func (e *Engine) openMetadata(challenge otp.ID, sealed []byte) (json.RawMessage, error) {
	if sealed == nil {
		return nil, nil
	}
	metadata, err := e.keyring.Open(vault.Metadata(challenge), sealed)
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	return metadata, nil
}

// bindingHash returns the hash of a binding that a challenge stores, zero for none.
func (e *Engine) bindingHash(c *Caller, binding string) otp.ID {
	if binding == "" {
		return otp.ID{}
	}
	return e.index.Sum("binding", c.Account.Address, string(c.Environment), binding)
}

// summaryOf returns what the history keeps of a challenge.
func summaryOf(c *otp.Challenge, t Target) *otp.Summary {
	return &otp.Summary{
		Mask: deliver.Mask(t.Recipient), Type: c.Type(), MaxAttempts: c.MaxAttempts, ExpiresAt: c.ExpiresAt,
		Metadata: c.Details.Metadata,
	}
}
