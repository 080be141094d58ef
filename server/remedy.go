package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"otpbridge/config"
	"otpbridge/server/vault"
)

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
