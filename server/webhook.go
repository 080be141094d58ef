package main

import (
	"context"
	"time"

	"otpbridge/server/audit"
	"otpbridge/server/otp"
	"otpbridge/server/webhook"
)

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
