package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"otpbridge/config"
	"otpbridge/server/audit"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/webhook"
	"otpbridge/sql"
)

// refuseMissing refuses a database that lacks tables or columns of its schema's version.
func refuseMissing(ctx context.Context, store *sql.Store) error {
	missing, err := store.MissingColumns(ctx)
	if err == nil && len(missing) > 0 {
		err = unusable{fmt.Errorf("the database lacks %s; restore it from a backup", strings.Join(missing, ", "))}
	}
	return err
}

// outlets are the open channels for SMS and e-mail that the settings name.
type outlets struct {
	sms, email []deliver.Channel
	operators  []string // who is mailed of alerts
	keepers    []string // who is mailed checkpoints of the audit log
	recipients deliver.TestRecipients
	relay      deliver.RelayRecipients
	files      deliver.Files
}

// paused returns the names of the channels that are paused after failures.
func (o outlets) paused() (names []string) {
	for _, b := range deliver.Breakers(slices.Concat(o.sms, o.email)...) {
		if b.Open() {
			names = append(names, b.Name())
		}
	}
	return names
}

// openGuard returns the guard that makes requests to addresses that customers set.
func openGuard(settings config.Settings) *deliver.Guard {
	return &deliver.Guard{Networks: settings.OutboundNetworks, Sandbox: settings.Sandbox()}
}

// openFiles opens the folder of the files that channels may name.
func openFiles(settings config.Settings) (deliver.Files, error) {
	files, err := deliver.OpenFiles(settings.FilesDir)
	if err != nil {
		return files, unusable{fmt.Errorf("%sFILES_DIR: %w", config.Prefix, err)}
	}
	return files, nil
}

// openOutlets opens the channels and the files that they name; inbox is the sandbox's. The error names
// every fault.
func openOutlets(settings config.Settings, inbox deliver.Channel) (out outlets, err error) {
	var faults []error
	if out.files, err = openFiles(settings); err != nil {
		return outlets{}, err
	}
	open := func(medium, setting string, urls config.Secret) (channels []deliver.Channel) {
		if urls.Empty() {
			return nil
		}
		channels, err := deliver.Parse(urls.Reveal(), deliver.Options{Medium: medium, Sandbox: settings.Sandbox(),
			Inbox: inbox, Files: out.files})
		if err != nil {
			faults = append(faults, fmt.Errorf("%s%s: %w", config.Prefix, setting, err))
		}
		return channels
	}
	sms := open("sms", "SMS_CHANNELS", settings.SMSChannels)
	email := open("email", "EMAIL_CHANNELS", settings.EmailChannels)
	out.recipients, err = deliver.ParseTestRecipients(settings.SandboxTestRecipients.Reveal())
	if err != nil {
		faults = append(faults, fmt.Errorf("%sSANDBOX_TEST_RECIPIENTS: %w", config.Prefix, err))
	}
	if out.relay, err = deliver.ParseRelayRecipients(settings.SandboxRelayRecipients.Reveal()); err != nil {
		faults = append(faults, fmt.Errorf("%sSANDBOX_RELAY_RECIPIENTS: %w", config.Prefix, err))
	}
	if out.operators, err = readMailboxes(settings.AlertMailboxes, email); err != nil {
		faults = append(faults, fmt.Errorf("%sALERT_MAILBOXES: %w", config.Prefix, err))
	}
	if out.keepers, err = readMailboxes(settings.AuditCheckpointMailboxes, email); err != nil {
		faults = append(faults, fmt.Errorf("%sAUDIT_CHECKPOINT_MAILBOXES: %w", config.Prefix, err))
	}
	if err := errors.Join(faults...); err != nil {
		return outlets{}, unusable{err}
	}
	out.sms, out.email = out.recipients.Before(sms), out.recipients.Before(email)
	return out, nil
}

// lookForWebhooks is the pause between two searches for events that webhooks have to be told of.
const lookForWebhooks = time.Second

// openWebhooks starts the delivery of events to the accounts' own servers, and of checkpoints to those who keep them.
func (s *Server) openWebhooks() {
	s.webhooks = webhook.New(webhook.Options{Store: s.store, Vault: s.manage.Vault(), Guard: openGuard(s.settings),
		Log: s.log, Look: lookForWebhooks})
	s.metrics.registry.MustRegister(s.webhooks.Collectors()...)
	s.metrics.registry.MustRegister(s.audit.Collectors()...)
	s.audit.Tell = func(ctx context.Context, c audit.Checkpoint) error {
		s.mails.checkpoint(c, time.Now())
		return s.webhooks.TellCheckpoint(ctx, c.Size, c.Note, otp.At(c.At))
	}
}
