package main

import (
	"context"
	"log/slog"
	"time"

	"otpbridge/config"
	"otpbridge/server/otp"
	"otpbridge/server/privacy"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

func newPrivacy(settings config.Settings, store *sql.Store, v *vault.Vault, log *slog.Logger) (
	*privacy.Privacy, error) {
	return privacy.New(privacy.Options{Store: store, Vault: v, Log: log, CallDays: settings.AuditCallDays,
		ChangeDays: settings.AuditChangeDays, LedgerFile: privacy.LedgerFile(settings.AuditCheckpointFile)})
}

// openPrivacy opens s.privacy, has its ledger pushed with the audit log's checkpoints, and finishes erasures that were
// interrupted.
func (s *Server) openPrivacy() (err error) {
	if s.privacy, err = newPrivacy(s.settings, s.store, s.manage.Vault(), s.log); err != nil {
		return err
	}
	s.audit.Pushed = s.privacy.Push
	s.served.Go(func() {
		n, err := s.privacy.Resume(context.Background(), otp.At(time.Now()))
		switch {
		case err != nil:
			s.log.Error("an erasure was interrupted, and could not be finished; the next start tries again", "error", err)
		case n > 0:
			s.log.Info("interrupted erasures were finished", "erasures", n)
		}
	})
	return nil
}
