package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"otpbridge/config"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
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

// folderRemedy adds a remedy to err if path's folder, or the nearest existing one above it, cannot be written.
// Other errors stay as they are.
func folderRemedy(err error, path, setting string) error {
	folder := filepath.Dir(path)
	for {
		if info, statErr := os.Stat(folder); statErr == nil && info.IsDir() || folder == filepath.Dir(folder) {
			break
		} else if statErr == nil {
			return unusable{fmt.Errorf("%w: %s is a file and no folder; remove it, or set %s%s to a path elsewhere", err,
				folder, config.Prefix, setting)}
		}
		folder = filepath.Dir(folder)
	}
	probe, probeErr := os.CreateTemp(folder, ".otpbridge-*")
	if probeErr == nil {
		_ = errors.Join(probe.Close(), os.Remove(probe.Name())) // the folder can be written
		return err
	}
	if !errors.Is(probeErr, fs.ErrPermission) && !errors.Is(probeErr, syscall.EROFS) {
		return err
	}
	shown, _ := filepath.Abs(folder)
	return unusable{fmt.Errorf("%w: user %d cannot write to %s; start in a folder that it can write to, give it this one "+
		"(chown %d %s), or set %s%s to a path "+
		"elsewhere", err, os.Getuid(), shown, os.Getuid(), shown, config.Prefix, setting)}
}

// databaseRemedy is folderRemedy for an error of opening the database.
func databaseRemedy(err error, settings config.Settings) error {
	path, isFile := settings.DatabaseURL.File()
	if !isFile {
		return err
	}
	return folderRemedy(err, path, "DATABASE_URL")
}

// keyringRemedy adds a remedy to the error of a sandbox that lost the keyring that it made for itself.
func keyringRemedy(err error, settings config.Settings) error {
	if _, wrong := errors.AsType[vault.KeyringError](err); !wrong || !settings.MayMakeKeyringFile() {
		return err
	}
	return fmt.Errorf("%w; this sandbox made its keyring itself, in %s, and what is there now is another one: put the "+
		"former file back, "+
		"or begin anew without the accounts and codes of this database (%v) by removing "+
		"it", err, settings.KeyringFile, settings.DatabaseURL)
}
