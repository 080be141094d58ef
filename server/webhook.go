package main

import (
	"context"
	"time"

	"otpbridge/server/audit"
	"otpbridge/server/otp"
	"otpbridge/server/webhook"
)

// lookForWebhooks is the pause between two looks for what webhooks are to be told.
const lookForWebhooks = time.Second

// openWebhooks begins to tell accounts' own servers what happens.
func (s *Server) openWebhooks() {
	s.webhooks = webhook.New(webhook.Options{Store: s.store, Vault: s.manage.Vault(), Guard: openGuard(s.settings),
		Log: s.log, Look: lookForWebhooks})
	s.metrics.registry.MustRegister(s.webhooks.Collectors()...)
	s.metrics.registry.MustRegister(s.audit.Collectors()...)
	s.audit.Tell = func(ctx context.Context, c audit.Checkpoint) error {
		return s.webhooks.TellCheckpoint(ctx, c.Size, c.Note, otp.At(c.At))
	}
}
