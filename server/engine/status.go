package engine

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"otpbridge/server/otp"
)

// Challenge is a challenge as the API shows it.
type Challenge struct {
	ID                otp.ID
	To                string // masked
	Method            string // sms, email; "sms,email" for one that the servlets sent on both
	Type              string
	Status            string // queued, sent, delivered, failed, verified, expired, canceled, replaced, max_attempts
	CreatedAt         time.Time
	ExpiresAt         time.Time
	VerifiedAt        *time.Time
	Attempts          int  // wrong guesses
	AttemptsRemaining *int // nil unless live
	ResendsRemaining  *int // nil unless live
	Metadata          json.RawMessage
	Sends             []Delivery
}

// Delivery is one send of a challenge.
type Delivery struct {
	Number int // from 1
	Method string
	Status string // queued, sent, delivered, failed; unknown: it may have been sent, and no outcome will come
	At     time.Time
	Error  string // the provider's code for the failure; empty if it gave none
}

// The statuses of a send. A live challenge has the status of its last send; unknown counts as sent, because the code
// may be on its way.
const (
	statusQueued  = "queued"
	statusSent    = "sent"
	statusFailed  = "failed"
	statusUnknown = "unknown"
	// The provider reported that it arrived.
	statusDelivered = "delivered"
)

// Status returns the status of the caller's challenge: from its row while it exists, later from its history until the
// account's retention ends. It changes nothing, and decisions must not be based on it. Refusal: NotFound.
func (e *Engine) Status(ctx context.Context, c *Caller, id otp.ID) (Challenge, error) {
	return e.status(ctx, c, id, false)
}

// status is Status. With byTarget it does not find a challenge that Verify would not find.
func (e *Engine) status(ctx context.Context, c *Caller, id otp.ID, byTarget bool) (Challenge, error) {
	history, err := e.store.Challenges.History(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	history = slices.DeleteFunc(history, func(event otp.Event) bool {
		return event.Account != c.Account.Address || event.Environment != c.Environment
	})
	found, err := e.find(ctx, c, id)
	switch {
	case err == nil:
		return e.fromRow(ctx, c, found, history, byTarget)
	case otp.KindOf(err) != otp.NotFound || len(history) == 0 || byTarget:
		return Challenge{}, err
	}
	return e.fromHistory(c, id, history)
}

// Made returns what Send or ResendNamed returned, if the challenge is live, and else its Status: the answer to a
// request that is repeated after its server died. Refusal: NotFound.
func (e *Engine) Made(ctx context.Context, c *Caller, id otp.ID) (Challenge, error) {
	challenge, err := e.Status(ctx, c, id)
	if err == nil && challenge.AttemptsRemaining != nil {
		challenge.Status = statusQueued
	}
	return challenge, err
}

func (e *Engine) fromRow(ctx context.Context, c *Caller, found foundChallenge, history []otp.Event,
	byTarget bool) (Challenge, error) {
	row, recipient := found.challenge, found.recipient
	now, err := e.moment(ctx, c.Account.Address, row.UpdatedAt, recipient.UpdatedAt)
	if err != nil {
		return Challenge{}, err
	}
	if byTarget && row.Forgotten(now) {
		return Challenge{}, otp.Refuse(otp.NotFound, "there is no such challenge")
	}
	shown := Challenge{
		ID: row.ID, To: recipient.Mask, Method: row.Channels.String(), Type: row.Type(),
		CreatedAt: row.CreatedAt.Time(), ExpiresAt: row.ExpiresAt.Time(),
		Attempts: row.Wrong, Sends: deliveries(history),
	}
	if row.Details != nil {
		if shown.Metadata, err = e.openMetadata(row.ID, row.Details.Metadata); err != nil {
			return Challenge{}, err
		}
	}
	stage := row.Stage(now)
	shown.Status = string(stage)
	switch stage {
	case otp.StageVerified:
		at := row.UsedAt.Time()
		shown.VerifiedAt = &at
	case otp.StageLive:
		shown.Status = standing(shown.Sends)
		attempts, resends := recipient.AttemptsLeft(row, now), max(0, c.Account.MaxRegenerations-row.Regenerations)
		shown.AttemptsRemaining, shown.ResendsRemaining = &attempts, &resends
	}
	return shown, nil
}

// moment returns the time of an account's rules, for rows last written at the given moments.
func (e *Engine) moment(ctx context.Context, account string, written ...otp.Millis) (otp.Millis, error) {
	now := otp.At(time.Now())
	if e.options.Sandbox {
		_, offset, err := e.store.Sandbox.Clock(ctx, account)
		if err != nil {
			return 0, err
		}
		now += otp.Span(offset)
	}
	return otp.Moment(now, written...), nil
}

// fromHistory assembles a challenge whose row is swept. The history of a challenge of the servlets does not contain
// the recipient's mask.
func (e *Engine) fromHistory(c *Caller, id otp.ID, history []otp.Event) (Challenge, error) {
	first := slices.IndexFunc(history, func(event otp.Event) bool { return event.Kind == otp.EventSent })
	if first < 0 {
		return Challenge{}, otp.Refuse(otp.NotFound, "there is no challenge with this id")
	}
	sent, policy := &history[first], c.policy()
	kept := otp.ValueOr(sent.Summary,
		otp.Summary{Type: otp.DefaultType, MaxAttempts: policy.MaxAttempts, ExpiresAt: sent.At + policy.TTL})
	shown := Challenge{
		ID: id, To: kept.Mask, Method: sent.Channels.String(), Type: kept.Type,
		CreatedAt: sent.At.Time(), ExpiresAt: kept.ExpiresAt.Time(), Sends: deliveries(history),
	}
	var err error
	if shown.Metadata, err = e.openMetadata(id, kept.Metadata); err != nil {
		return Challenge{}, err
	}
	ended := otp.Challenge{MaxAttempts: kept.MaxAttempts, ExpiresAt: kept.ExpiresAt}
	for _, event := range history {
		switch event.Kind {
		case otp.EventWrong:
			ended.Wrong++
		case otp.EventVerified:
			at := event.At.Time()
			ended.UsedAt, shown.VerifiedAt = event.At, &at
		case otp.EventCanceled:
			ended.CanceledAt = event.At
		case otp.EventReplaced:
			ended.ReplacedAt = event.At
		}
	}
	shown.Attempts, shown.Status = ended.Wrong, string(ended.Stage(kept.ExpiresAt))
	return shown, nil
}

// deliveries reads a challenge's sends from its history, oldest first.
func deliveries(history []otp.Event) []Delivery {
	sends := []Delivery{}
	for _, event := range history {
		switch event.Kind {
		case otp.EventSent, otp.EventResent:
			status := statusQueued
			// The servlets wait for the outcome and record an event only if the send surely failed.
			if event.Summary == nil || event.Summary.Taken {
				status = statusSent
			}
			sends = append(sends, Delivery{Number: event.Send, Method: event.Channels.String(), Status: status,
				At: event.At.Time()})
		case otp.EventUnsent:
			setStatus(sends, event.Send, statusFailed)
		case otp.EventTaken:
			setStatus(sends, event.Send, statusSent)
		case otp.EventUnknown:
			setStatus(sends, event.Send, statusUnknown)
		case otp.EventDelivered:
			setStatus(sends, event.Send, statusDelivered)
			setError(sends, event.Send, "")
		case otp.EventUndelivered:
			setStatus(sends, event.Send, statusFailed)
			if event.Summary != nil {
				setError(sends, event.Send, event.Summary.ProviderError)
			}
		}
	}
	return sends
}

func setStatus(sends []Delivery, number int, status string) {
	for i := range sends {
		if sends[i].Number == number {
			sends[i].Status = status
		}
	}
}

func setError(sends []Delivery, number int, code string) {
	for i := range sends {
		if sends[i].Number == number {
			sends[i].Error = code
		}
	}
}

// standing returns the status of a live challenge from its sends.
func standing(sends []Delivery) string {
	if len(sends) == 0 {
		return statusSent // its history was removed by hand
	}
	if last := sends[len(sends)-1].Status; last != statusUnknown {
		return last
	}
	return statusSent
}

// Pages is what the web pages of an origin may use, by all accounts that list it together; nil: all that the API has.
type Pages struct{ Methods, Headers []string }

// AllowedOrigins returns the origins of all enabled accounts: for answers to browsers' preflights, which carry no
// credential.
func (e *Engine) AllowedOrigins(ctx context.Context) (map[string]Pages, error) {
	return e.origins.value(ctx, "")
}

func (e *Engine) loadOrigins(ctx context.Context, _ string) (map[string]Pages, error) {
	origins := map[string]Pages{}
	either := func(a, b []string) []string {
		if len(a) == 0 || len(b) == 0 {
			return nil
		}
		return append(slices.Clone(a), b...)
	}
	err := e.store.Accounts.Each(ctx, func(account otp.Account, broken error) error {
		if broken != nil || !account.Enabled {
			return nil
		}
		for _, origin := range account.CORSOrigins {
			pages, known := origins[origin]
			if !known {
				pages = Pages{account.CORSMethods, account.CORSHeaders}
			} else {
				pages = Pages{either(pages.Methods, account.CORSMethods), either(pages.Headers, account.CORSHeaders)}
			}
			origins[origin] = pages
		}
		return nil
	})
	return origins, err
}
