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

// Recipients finds and unlocks recipients, for operators and support.
type Recipients struct{ *core }

// Recipient is a recipient as an operator sees it: enough to help, but not enough to send or log in.
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
	Limits      Limits          `json:"limits"`
	Challenges  []Outline       `json:"challenges"`
	History     []Happening     `json:"history"` // of the last 24 hours, newest first, at most 50
}

// Limits are the limits that a recipient's counts reach; 0 for none.
type Limits struct {
	Failures int `json:"failures_per_hour"`
	Run      int `json:"failures_in_a_row"`
	Minute   int `json:"sends_per_minute"`
	Hour     int `json:"sends_per_hour"`
	Day      int `json:"sends_per_day"`
}

// Look is Find for a caller who is not on the server's machine. It records the look-up before it returns anything.
func (c Recipients) Look(ctx context.Context, by otp.Actor, address string, environment otp.Environment, to string) (
	Recipient, error) {
	found, _, err := c.look(ctx, by, address, environment, to)
	return found, err
}

// look is Look with the row.
func (c Recipients) look(ctx context.Context, by otp.Actor, address string, environment otp.Environment, to string) (
	Recipient, otp.Recipient, error) {
	if _, err := c.account(ctx, address); err != nil {
		return Recipient{}, otp.Recipient{}, err // nothing was looked up
	}
	found, row, err := c.find(ctx, address, environment, to)
	if err != nil && otp.KindOf(err) != otp.NotFound {
		return found, row, err
	}
	recording := c.store.Change(ctx, func(tx *sql.Tx) error {
		return record(tx, otp.RecipientRead, by, address, otp.At(time.Now()), "recipient", found.Mask,
			"environment", string(environment))
	})
	if recording != nil {
		return Recipient{}, otp.Recipient{}, recording
	}
	return found, row, err
}

// Outline is a challenge without its code and anything from which the code could be found.
type Outline struct {
	ID            string    `json:"id"`
	State         string    `json:"state"` // live, used, expired, canceled, replaced or exhausted
	CreatedAt     time.Time `json:"created_at"`
	ExpiresAt     time.Time `json:"expires_at"`
	Wrong         int       `json:"wrong"`
	MaxAttempts   int       `json:"max_attempts"`
	Sends         int       `json:"sends"`
	MaxSends      int       `json:"max_sends"` // as many as there can be with all resends
	Regenerations int       `json:"regenerations"`
}

// Find returns an account's recipient with a number, in any spelling, or a mailbox. Refusals: NotFound; Invalid.
func (c Recipients) Find(ctx context.Context, address string, environment otp.Environment, to string) (Recipient,
	error) {
	found, _, err := c.find(ctx, address, environment, to)
	return found, err
}

// find is Find with the row.
func (c Recipients) find(ctx context.Context, address string, environment otp.Environment, to string) (Recipient,
	otp.Recipient, error) {
	account, err := c.account(ctx, address)
	if err != nil {
		return Recipient{}, otp.Recipient{}, err
	}
	hash, err := c.recipientOf(&account.Account, environment, to)
	if err != nil {
		return Recipient{}, otp.Recipient{}, err
	}
	now, err := c.now(ctx, address)
	if err != nil {
		return Recipient{}, otp.Recipient{}, err
	}
	recipient, challenges, err := c.store.Challenges.Recipient(ctx, hash)
	if errors.Is(err, sql.ErrNotFound) {
		return Recipient{}, recipient, otp.Refuse(otp.NotFound,
			"nothing is known of this recipient: nothing was sent to it in the "+
				string(environment)+" environment of account "+address+" for a day, and it is not locked")
	}
	if err != nil {
		return Recipient{}, otp.Recipient{}, err
	}
	found := Recipient{
		Account: address, Environment: environment, Mask: recipient.Mask,
		LockedFor: recipient.LockedFor(now), Failures: recipient.Failures.Within(otp.Hour, now), Run: recipient.Run,
		Minute: recipient.Sends.Within(otp.Minute, now), Hour: recipient.Sends.Within(otp.Hour, now),
		Day: recipient.Sends.Within(otp.Day, now), Challenges: []Outline{},
		Limits: Limits{otp.FailuresPerHour, otp.FailuresInRun, account.SendsPerMinute, account.SendsPerHour,
			account.SendsPerDay},
	}
	if found.LockedFor > 0 {
		until := (now + otp.Span(found.LockedFor)).Time()
		found.LockedUntil = &until
	}
	for i := range challenges {
		if c := &challenges[i]; !c.Forgotten(now) {
			found.Challenges = append(found.Challenges, Outline{
				ID: c.ID.Text("otp"), State: string(c.Stage(now)), CreatedAt: c.CreatedAt.Time(), ExpiresAt: c.ExpiresAt.Time(),
				Wrong: c.Wrong, MaxAttempts: c.MaxAttempts, Regenerations: c.Regenerations,
				Sends: c.Sends, MaxSends: c.Sends + max(0, account.MaxRegenerations-c.Regenerations),
			})
		}
	}
	found.History, err = c.timeline(ctx, address, hash)
	return found, recipient, err
}

// Unlock lifts both locks of a recipient, and records the caller and the reason, which has 1 to 200 characters.
// Refusals: NotFound; Invalid, also for a recipient that is not locked: unlocking it would only give more guesses.
func (c Recipients) Unlock(ctx context.Context, by otp.Actor, address string, environment otp.Environment, to,
	reason string) (event otp.ID, err error) {
	if err := checkReason(reason); err != nil {
		return event, err
	}
	account, err := c.account(ctx, address)
	if err != nil {
		return otp.ID{}, err
	}
	hash, err := c.recipientOf(&account.Account, environment, to)
	if err != nil {
		return otp.ID{}, err
	}
	known, _, err := c.store.Challenges.Recipient(ctx, hash)
	if errors.Is(err, sql.ErrNotFound) {
		return event, otp.Refuse(otp.NotFound, "nothing is known of this recipient, so it is not locked")
	}
	if err != nil {
		return event, err
	}
	op := &sql.Operation{
		Event: sql.NewID(), Account: address, Recipient: hash, Now: otp.At(time.Now()),
		Slot: sql.NewID(), // belongs to no challenge
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
		s.Change(otp.Change{ID: sql.NewID(), At: s.Now, Kind: otp.RecipientUnlocked, Actor: by, Account: address,
			Details: map[string]string{"recipient": known.Mask, "environment": string(environment), "reason": reason}})
		return nil
	}
	return op.Event, c.store.Do(op)
}

func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return otp.RefuseField("reason", "is missing; say why, in up to 200 characters")
	}
	if err := otp.CheckName(reason); err != nil {
		return otp.RefuseField("reason", err.Error())
	}
	return nil
}

// recipientOf returns the id under which a recipient is stored, also in a broken account.
func (c *core) recipientOf(account *otp.Account, environment otp.Environment, to string) (hash otp.ID, err error) {
	to = strings.TrimSpace(to)
	if strings.Contains(to, "@") {
		if to, err = deliver.Mailbox(to); err != nil {
			return otp.ID{}, otp.RefuseField("to", err.Error())
		}
	} else if to, err = deliver.NormalNumber(to, account.Countries); err != nil {
		return otp.ID{}, otp.InField("to", err)
	}
	return c.vault.RecipientHash(account.Address, environment, deliver.Identity(to)), nil
}

// now returns the time that an account's rules use.
func (c *core) now(ctx context.Context, address string) (otp.Millis, error) {
	now := time.Now()
	if !c.sandbox {
		return otp.At(now), nil
	}
	_, effective, err := c.store.Sandbox.Clock(ctx, address)
	return otp.At(now.Add(effective)), err
}
