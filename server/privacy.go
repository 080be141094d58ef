package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"otpbridge/config"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

type privacyCommand struct {
	Report  privacyReportCommand  `cmd:"" help:"Say which personal data is kept, for how long, and how many exports and erasures there were."`
	Reapply privacyReapplyCommand `cmd:"" help:"Erase again the data that a restored backup brought back."`
}

// withPrivacy calls do with the privacy functions of the database that the settings name.
func withPrivacy(p process, do func(ctx context.Context, settings config.Settings, all *privacy.Privacy) error) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		all, err := newPrivacy(at.settings, at.store, at.Vault(), slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		return do(ctx, at.settings, all)
	})
}

type privacyReportCommand struct{ asJSON }

// Run reports, and records the report in the audit log.
func (c privacyReportCommand) Run(p process) error {
	return withPrivacy(p, func(ctx context.Context, _ config.Settings, all *privacy.Privacy) error {
		report, err := all.Report(ctx, people.Operator().Actor(), func(string) bool { return true })
		if err != nil {
			return err
		}
		return c.print(p.stdout, report, func(w io.Writer) {
			rows := []string{"CLASS\tOLDEST\tKEPT\tWHAT"}
			for _, h := range report.Held {
				rows = append(rows, h.Class+"\t"+shownOr(h.Oldest, "none")+"\t"+h.Kept+"\t"+h.What)
			}
			table(w, rows...)
			rows = []string{"\nACCOUNT\tDAYS KEPT\tEXPORTS\tERASURES"}
			for _, a := range report.Accounts {
				rows = append(rows, fmt.Sprintf("%s\t%d\t%d\t%d", a.Account, a.RetentionDays, a.Exports, a.Erasures))
			}
			table(w, rows...)
			fmt.Fprintf(w, "\nThe ledger has %d erasures, %d of them not done yet.\n", report.Ledger.Erasures,
				report.Ledger.Open)
		})
	})
}

type privacyReapplyCommand struct {
	asJSON
	File string `arg:"" optional:"" help:"The ledger of erasures, kept apart from backups. Without it, the one beside OTPBRIDGE_AUDIT_CHECKPOINT_FILE."`
}

// Help implements kong.HelpProvider.
func (privacyReapplyCommand) Help() string {
	return `Run it after each restore, before servers start: the backup still has data that was erased after the backup was made.

    otpbridge privacy reapply /mnt/elsewhere/checkpoints.erasures

It may be repeated. A ledger with a line that this installation has not signed is refused, and nothing is erased then.`
}

// Run erases again.
func (c privacyReapplyCommand) Run(p process) error {
	return withPrivacy(p, func(ctx context.Context, settings config.Settings, all *privacy.Privacy) error {
		file := privacy.LedgerFile(settings.AuditCheckpointFile)
		if c.File != "" {
			if _, err := os.Stat(c.File); err != nil {
				return unusable{err}
			}
			file = c.File
		}
		done, err := all.Reapply(ctx, people.Operator().Actor(), file)
		if err != nil {
			return err
		}
		return c.print(p.stdout, done, func(w io.Writer) {
			fmt.Fprintf(w, "%d erasures were made again, %d of which the database did not know. %d lines of history are gone.\n",
				done.Erasures, done.Missing, done.Erased.Events)
		})
	})
}

// erasures finds a database that was restored and still holds data that was erased.
func (f *findings) erasures(ctx context.Context, settings config.Settings, store *sql.Store) {
	file := privacy.LedgerFile(settings.AuditCheckpointFile)
	if file == "" {
		return
	}
	switch behind, err := privacy.Behind(ctx, store, file); {
	case err != nil:
		f.fail("erasures", "restore the file, or move it away if it is another installation's", "%v", err)
	case behind > 0:
		f.fail("erasures", "otpbridge privacy reapply",
			"%d erasures in %s are unknown to the database: a backup from before was restored", behind, file)
	default:
		f.pass("erasures", "the database knows every erasure in %s", file)
	}
}

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
