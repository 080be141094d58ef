package manage

import (
	"context"
	"errors"
	"strings"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Recipients shows and unlocks recipients, for operators.
type Recipients struct{ *core }

// Recipient is a recipient as an operator sees it: enough to help, too little to send or log in.
type Recipient struct {
	Account     string          `json:"esme_address"`
	Environment otp.Environment `json:"environment"`
	Mask        string          `json:"recipient"`
	LockedFor   time.Duration   `json:"-"`
	LockedUntil *time.Time      `json:"locked_until"` // nil: not locked
	Failures    int             `json:"failures_last_hour"`
	Run         int             `json:"failures_in_a_row"`
	Minute      int             `json:"sends_last_minute"`
	Hour        int             `json:"sends_last_hour"`
	Day         int             `json:"sends_last_day"`
	Challenges  []Outline       `json:"challenges"`
}

// Outline is a challenge without its code or anything that leads to it.
type Outline struct {
	ID            string    `json:"id"`
	State         string    `json:"state"` // live, used, expired, canceled, replaced or exhausted
	CreatedAt     time.Time `json:"created_at"`
	ExpiresAt     time.Time `json:"expires_at"`
	Wrong         int       `json:"wrong"`
	MaxAttempts   int       `json:"max_attempts"`
	Sends         int       `json:"sends"`
	Regenerations int       `json:"regenerations"`
}

// Find gives the recipient of an account that a number in any of its spellings, or a mailbox,
// names. Refusals: NotFound; Invalid.
func (c Recipients) Find(ctx context.Context, address string, environment otp.Environment, to string) (Recipient,
	error) {
	hash, err := c.recipientOf(ctx, address, environment, to)
	if err != nil {
		return Recipient{}, err
	}
	now, err := c.now(ctx, address)
	if err != nil {
		return Recipient{}, err
	}
	recipient, challenges, err := c.store.Challenges.Recipient(ctx, hash)
	if errors.Is(err, sql.ErrNotFound) {
		return Recipient{}, otp.Refuse(otp.NotFound, "nothing is known of this recipient: nothing was sent to it in the "+
			string(environment)+" environment of account "+address+" for a day, and it is not locked")
	}
	if err != nil {
		return Recipient{}, err
	}
	found := Recipient{
		Account: address, Environment: environment, Mask: recipient.Mask,
		LockedFor: recipient.LockedFor(now), Failures: recipient.Failures.Within(otp.Hour, now), Run: recipient.Run,
		Minute: recipient.Sends.Within(otp.Minute, now), Hour: recipient.Sends.Within(otp.Hour, now),
		Day: recipient.Sends.Within(otp.Day, now), Challenges: []Outline{},
	}
	if found.LockedFor > 0 {
		until := (now + otp.Span(found.LockedFor)).Time()
		found.LockedUntil = &until
	}
	for i := range challenges {
		if c := &challenges[i]; !c.Forgotten(now) {
			found.Challenges = append(found.Challenges, Outline{
				ID: c.ID.Text("otp"), State: string(c.Stage(now)), CreatedAt: c.CreatedAt.Time(), ExpiresAt: c.ExpiresAt.Time(),
				Wrong: c.Wrong, MaxAttempts: c.MaxAttempts, Sends: c.Sends, Regenerations: c.Regenerations,
			})
		}
	}
	return found, nil
}

// Unlock lifts both locks of a recipient, and records that it did. Refusals: NotFound; Invalid,
// also for a recipient that is not locked, whose budget is not to be filled up by the way.
func (c Recipients) Unlock(ctx context.Context, address string, environment otp.Environment, to string) (event otp.ID,
	err error) {
	hash, err := c.recipientOf(ctx, address, environment, to)
	if err != nil {
		return otp.ID{}, err
	}
	op := &sql.Operation{
		Event: sql.NewID(), Account: address, Recipient: hash, Now: otp.At(time.Now()),
		Slot: sql.NewID(), // of no challenge
		Rank: sql.Verifying,
	}
	op.Decide = func(s *sql.State) error {
		if s.Recipient.Version == 0 {
			return otp.Refuse(otp.NotFound, "nothing is known of this recipient, so it is not locked")
		}
		if s.Recipient.LockedFor(s.Now) == 0 {
			return otp.Refuse(otp.Invalid, "the recipient is not locked; nothing was changed")
		}
		s.Recipient.Unlock(s.Now)
		s.Record(otp.Event{
			ID: op.Event, At: s.Now, Account: address, Environment: environment,
			Kind: otp.EventUnlocked, Door: otp.CommandLine, Recipient: hash,
		})
		return nil
	}
	return op.Event, c.store.Do(op)
}

// recipientOf finds what a recipient is stored under, broken accounts included.
func (c *core) recipientOf(ctx context.Context, address string, environment otp.Environment, to string) (otp.ID,
	error) {
	account, err := c.account(ctx, address)
	if err != nil {
		return otp.ID{}, err
	}
	to = strings.TrimSpace(to)
	if strings.Contains(to, "@") {
		if to, err = deliver.Mailbox(to); err != nil {
			return otp.ID{}, otp.Refuse(otp.Invalid, "email "+err.Error())
		}
	} else if to, err = deliver.NormalNumber(to, account.Countries); err != nil {
		return otp.ID{}, err
	}
	return c.vault.RecipientHash(address, environment, deliver.Identity(to)), nil
}

// now is the moment the rules of an account use.
func (c *core) now(ctx context.Context, address string) (otp.Millis, error) {
	now := time.Now()
	if !c.sandbox {
		return otp.At(now), nil
	}
	_, effective, err := c.store.Sandbox.Clock(ctx, address)
	return otp.At(now.Add(effective)), err
}
