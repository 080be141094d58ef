package engine

import (
	"context"
	"fmt"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
)

// testRecipient is one of an account's numbers that gets no message. Challenges made for it between from and to have
// its fixed code; those made before were for a real recipient.
type testRecipient struct {
	code     string
	from, to otp.Millis
}

// loadTestRecipients reads an account's test recipients, by number.
func (e *Engine) loadTestRecipients(ctx context.Context, account string) (map[string]testRecipient, error) {
	rows, err := e.store.Tests.List(ctx, account, otp.At(time.Now()))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	all := make(map[string]testRecipient, len(rows))
	for i := range rows {
		row := &rows[i]
		number, err := e.keyring.Open(vault.TestNumber(row.ID), row.Number)
		if err != nil {
			return nil, fmt.Errorf("open test recipient: %w", err)
		}
		code, err := e.keyring.Open(vault.TestCode(row.ID), row.Code)
		if err != nil {
			return nil, fmt.Errorf("open test recipient: %w", err)
		}
		all[string(number)] = testRecipient{string(code), row.CreatedAt, row.ExpiresAt}
	}
	return all, nil
}

// tests returns the test recipient of a number, for a challenge made at a moment.
func (a *account) tests(number string, made otp.Millis) (testRecipient, bool) {
	if a == nil || len(a.rehearsals) == 0 {
		return testRecipient{}, false
	}
	t, found := a.rehearsals[deliver.Identity(number)]
	return t, found && made >= t.from && made < t.to
}

// toward returns the caller for the sends of a challenge to a number: for a test recipient it has simulated channels
// only.
func (c *Caller) toward(number string, challenge *otp.Challenge) *Caller {
	if _, test := c.settings.tests(number, challenge.CreatedAt); !test {
		return c
	}
	muted := *c
	muted.muted = true
	return &muted
}
