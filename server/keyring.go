package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"otpbridge/config"
	"otpbridge/crypto"
	"otpbridge/server/files"
)

// madeKeyID is the id of the key in a keyring that a sandbox made for itself.
const madeKeyID = "k1"

// openKeyring reads the keyring that the settings name; a sandbox makes its own if there is none.
// Production refuses a keyring with a published key.
func openKeyring(settings config.Settings, log *slog.Logger) (*crypto.Keyring, error) {
	text, source, err := keyringText(settings, log)
	if err != nil {
		return nil, unusable{err}
	}
	keyring, err := crypto.ParseKeyring(text)
	if err != nil {
		return nil, unusable{fmt.Errorf("read the keyring from %s: %w", source, err)}
	}
	if samples := keyring.SampleIDs(); len(samples) > 0 && !settings.Sandbox() {
		return nil, unusable{fmt.Errorf("key %s of the keyring from %s is the published sample key, which all the world "+
			"knows: "+
			"make one of your own, for example with openssl rand -base64 32", strings.Join(samples, ", "), source)}
	}
	return keyring, nil
}

func keyringText(settings config.Settings, log *slog.Logger) (text, source string, err error) {
	if settings.KeyringFile == "" {
		return settings.Keyring.Reveal(), config.Prefix + "KEYRING", nil
	}
	path := settings.KeyringFile
	raw, err := files.Read(path, config.MaxSecretFile)
	if errors.Is(err, fs.ErrNotExist) && settings.MayMakeKeyringFile() {
		if err := makeKeyringFile(path, madeKeyID); err != nil {
			return "", "", folderRemedy(fmt.Errorf("make a keyring for this sandbox in %s: %w", path, err), path, "KEYRING_FILE")
		}
		raw, err = files.Read(path, config.MaxSecretFile)
	}
	if err != nil {
		return "", "", files.Named(config.Prefix+"KEYRING_FILE", err)
	}
	warnIfReadable(path, log)
	return string(raw), path, nil
}

// makeKeyringFile makes path with a new key of that id, unless another process makes it first.
//
// The file appears complete or not at all: it is written under another name and then linked, which
// fails if the name is taken. A process that loses that race reads the winner's whole key, and never
// an empty or half-written file.
func makeKeyringFile(path, id string) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(folder, ".keyring-*") // readable by the owner only
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	_, err = draft.WriteString(crypto.NewKeyringText(id))
	if err := errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	err = os.Link(draft.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; where a file system has no links, make the file yourself: "+
			`umask 077 && echo "%s $(openssl rand -base64 32)" > %s`, err, id, path)
	}
	// The database, which is written next, cannot be read without this key.
	return files.SyncFolder(folder)
}

// warnIfReadable warns if others than the owner may read the keyring. It does not refuse that: secrets
// that an orchestrator mounts are often readable by a group.
func warnIfReadable(path string, log *slog.Logger) {
	info, err := os.Stat(path)
	if err == nil && files.OpenToOthers(info) {
		log.Warn("others than the owner may read the keyring file, and with it every code and recipient; chmod 600 it",
			"file", path, "mode", info.Mode().Perm().String())
	}
}
