package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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

// maxKeyring is the size of a keyring file at most, in bytes: about a thousand keys.
const maxKeyring = 64 << 10

// editKeyring changes the lines of a keyring file. It locks the file against other commands, checks that it
// is a valid keyring before and after, and replaces it as a whole: a reader sees the old keyring or the new
// one, also after a power cut. The file keeps its owner, and only the owner may read it.
func editKeyring(path string, edit func(lines []string) ([]string, error)) error {
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return noKeyring(path, err)
	}
	defer folder.Close()
	file, err := lockKeyring(folder, path)
	if err != nil {
		return err
	}
	defer file.Close() // releases the lock
	text, err := io.ReadAll(io.LimitReader(file, maxKeyring+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxKeyring {
		return unusable{fmt.Errorf("%s is larger than %d KiB, so it is no keyring", path, maxKeyring>>10)}
	}
	if _, err := crypto.ParseKeyring(string(text)); err != nil {
		return unusable{fmt.Errorf("%s is not changed, because it is no keyring as it is: %w", path, err)}
	}
	lines := strings.Split(strings.TrimRight(string(text), "\r\n"), "\n")
	if lines, err = edit(lines); err != nil {
		return unusable{err}
	}
	changed := strings.Join(lines, "\n") + "\n"
	if _, err := crypto.ParseKeyring(changed); err != nil {
		return unusable{fmt.Errorf("%s is not changed, because it would be no keyring afterwards: %w", path, err)}
	}
	if err := replaceKeyring(folder, file, path, changed); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// lockKeyring opens a keyring file and waits until no other command changes it. It refuses a symbolic link,
// because the edit would replace the link and leave its target unchanged; anything else that is not a
// regular file; and a file that others can read or write, because they would know a key written there.
func lockKeyring(folder *os.Root, path string) (*os.File, error) {
	name := filepath.Base(path)
	for {
		named, err := folder.Lstat(name)
		switch {
		case err != nil:
			return nil, noKeyring(path, err)
		case named.Mode()&fs.ModeSymlink != 0:
			return nil, unusable{fmt.Errorf("%s is a link; name the file that it leads to", path)}
		case !named.Mode().IsRegular():
			return nil, unusable{fmt.Errorf("%s is not a regular file", path)}
		case files.OpenToOthers(named):
			return nil, unusable{fmt.Errorf("others than the owner may read or write %s (%v); chmod 600 it first, and think "+
				"about who has read it",
				path, named.Mode().Perm())}
		}
		file, err := files.OpenIn(folder, name, os.O_RDWR)
		if err != nil {
			return nil, unusable{fmt.Errorf("--file %w", err)}
		}
		if err := files.Lock(file); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		// While this waited for the lock, the file may have been replaced.
		locked, err := file.Stat()
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		now, err := folder.Lstat(name)
		if err == nil && os.SameFile(locked, now) {
			return file, nil
		}
		file.Close()
	}
}

// replaceKeyring renames within the folder as it was opened: Windows lets only that replace a file that is open.
func replaceKeyring(folder *os.Root, old *os.File, path, text string) (err error) {
	draft, err := os.CreateTemp(filepath.Dir(path), ".keyring-*") // readable by the owner only
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(draft.Name())
		}
	}()
	_, err = draft.WriteString(text)
	if err = errors.Join(err, files.KeepOwner(old, draft), draft.Sync(), draft.Close()); err != nil {
		return err
	}
	if err = folder.Rename(filepath.Base(draft.Name()), filepath.Base(path)); err != nil {
		return err
	}
	return files.SyncFolder(filepath.Dir(path))
}

// keyLine returns the index of a key's line, -1 if there is none.
func keyLine(lines []string, id string) int {
	return slices.IndexFunc(lines, func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) == 2 && fields[0] == id
	})
}

// firstKey returns the index of the first key's line, which is the primary key's; -1 if there is none.
func firstKey(lines []string) int {
	return slices.IndexFunc(lines, func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) > 0 && !strings.HasPrefix(fields[0], "#")
	})
}

func noKeyring(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no keyring at %s; the first is made by otpbridge keyring new --file %s", path, path)
	}
	return unusable{err}
}

func noSuchKey(path, id string) error { return fmt.Errorf("%s has no key %q", path, id) }
