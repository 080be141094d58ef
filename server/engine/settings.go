package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
)

// channelsOf returns the account's own list for a medium, nil if the server's applies.
func (a *account) channelsOf(medium otp.Channels) []deliver.Channel {
	switch {
	case a == nil:
		return nil
	case medium == otp.Email:
		return a.email
	}
	return a.sms
}

// has reports whether the account has a template of this name.
func (a *account) has(template string) bool { return a != nil && a.catalog.Has(template) }

// furnish makes the account's channels and templates from its row. The error names the column.
func (e *Engine) furnish(a *account) (err error) {
	if a.sms, err = e.lists.open(e, "sms_channels", "sms", a.row.SMSChannels); err != nil {
		return err
	}
	if a.email, err = e.lists.open(e, "email_channels", "email", a.row.EmailChannels); err != nil {
		return err
	}
	if a.issuers, err = vault.ReadIssuers(a.row.JWTIssuers, e.options.Guard.Check); err != nil {
		return err
	}
	a.catalog, err = deliver.NewCatalog(a.row.Templates, a.row.SMSTemplate, a.row.EmailTemplate)
	return err
}

// channelLists are the lists of channels that accounts name, by their text. Accounts are loaded every few seconds;
// what a list has learnt about its providers, such as the state of a circuit breaker, must outlive that.
type channelLists struct {
	mu    sync.Mutex
	lists map[[2]string][]deliver.Channel
}

// maxLists bounds the lists, so that edits of the columns cannot fill the memory.
const maxLists = 1000

func (l *channelLists) open(e *Engine, column, medium string, urls *string) ([]deliver.Channel, error) {
	if urls == nil || strings.TrimSpace(*urls) == "" {
		return nil, nil
	}
	key := [2]string{medium, *urls}
	l.mu.Lock()
	defer l.mu.Unlock()
	if channels, known := l.lists[key]; known {
		return channels, nil
	}
	channels, err := deliver.Parse(*urls, e.parsing(medium))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", column, err)
	}
	channels = e.options.TestRecipients.Before(channels)
	if len(l.lists) >= maxLists {
		clear(l.lists)
	}
	l.lists[key] = channels
	return channels, nil
}

// parsing returns the options for reading an account's channel URLs.
func (e *Engine) parsing(medium string) deliver.Options {
	o := deliver.AccountOptions(medium, e.options.Sandbox, e.options.Files)
	if e.options.Inbox != nil {
		o.Inbox = deliver.Faulty{Channel: e.options.Inbox, Faults: e.options.Faults}
	}
	return o
}

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
