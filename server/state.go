package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"otpbridge/config"
	"otpbridge/server/otp"
)

// stateFolder returns the folder in which the store remembers its last commit, and makes it if needed. It is
// an error if a folder that the settings name cannot be written. If the default folder cannot be written,
// stateFolder logs a warning and returns none.
func stateFolder(settings config.Settings, log *slog.Logger) (string, error) {
	if settings.StateDir == "" {
		return "", nil
	}
	err := tryFolder(settings.StateDir)
	if err == nil {
		return settings.StateDir, nil
	}
	err = fmt.Errorf("write in the folder that %sSTATE_DIR names: %w", config.Prefix, err)
	if settings.NamesStateDir() {
		return "", unusable{err}
	}
	log.Warn("a backup of the database that is restored will not be noticed", "error", err,
		"set", config.Prefix+"STATE_DIR to a folder of this server's own, or to nothing")
	return "", nil
}

func tryFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(path, ".try-*")
	if err != nil {
		return err
	}
	file.Close()
	return os.Remove(file.Name())
}

// tellRestored logs what a restored backup means, once, at the start after the restore.
func (s *Server) tellRestored() {
	restored := s.store.Restored()
	if restored == nil {
		return
	}
	s.log.Warn("this database is not the one that this server last committed to: a backup was restored, or it is "+
		"another one. "+
		"Every code that was live in it and every login has been ended. What was changed in between is lost: "+restoredRemedy,
		"codes_ended", restored.Ended, "lost_from", shownMillis(restored.From), "lost_until", shownMillis(restored.Until))
}

const restoredRemedy = "revoke again the keys that were revoked since (otpbridge key list), look at accounts that " +
	"were changed or switched off (otpbridge account list), and have people who used backup codes since make new " +
	"ones; locks, spend and guesses that were counted are those of the backup"

// restoresTold is how long doctor reminds of a restored backup.
const restoresTold = 7 * 24 * time.Hour

func shownMillis(at otp.Millis) string {
	if at == 0 {
		return "unknown"
	}
	return shown(time.UnixMilli(int64(at)))
}
