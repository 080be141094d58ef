//go:build unix

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
)

// sandboxSettings returns the settings of an unconfigured sandbox.
func sandboxSettings(t *testing.T) config.Settings {
	t.Helper()
	settings, err := config.Load(nil)
	require.NoError(t, err)
	return settings
}

func TestKeyring_TheSandboxMakesItsOwn(t *testing.T) {
	t.Chdir(t.TempDir())
	log := new(output)
	first, err := openKeyring(sandboxSettings(t), slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	require.Equal(t, []string{"k1"}, first.IDs())
	require.Empty(t, first.SampleIDs())

	folder, err := os.Stat("data")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), folder.Mode().Perm())
	file, err := os.Stat("data/keyring")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), file.Mode().Perm())
	entries, err := os.ReadDir("data")
	require.NoError(t, err)
	require.Len(t, entries, 1, "no draft is left")

	again, err := openKeyring(sandboxSettings(t), slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	firstCheck, err := first.Check("k1")
	require.NoError(t, err)
	againCheck, err := again.Check("k1")
	require.NoError(t, err)
	require.Equal(t, firstCheck, againCheck, "the second start reads what the first made")
	require.Empty(t, log.String())
}

func TestKeyring_AFileSomebodyNamedIsNeverMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring")
	for _, mode := range []string{"sandbox", "production"} {
		settings, err := config.Load([]string{"OTPBRIDGE_MODE=" + mode, "OTPBRIDGE_KEYRING_FILE=" + path})
		require.NoError(t, err)
		_, err = openKeyring(settings, slog.New(slog.DiscardHandler))
		require.ErrorIs(t, err, os.ErrNotExist)
		require.ErrorContains(t, err, "OTPBRIDGE_KEYRING_FILE")
		require.NoFileExists(t, path)
	}
}

// A pipe would hold the start for ever, and a device without an end fill the memory.
func TestStart_ReadsRegularFilesOnly(t *testing.T) {
	folder := t.TempDir()
	pipe, large := filepath.Join(folder, "pipe"), filepath.Join(folder, "large")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Symlink(pipe, filepath.Join(folder, "link")))
	require.NoError(t, os.WriteFile(large, make([]byte, 65<<10), 0o600))
	for _, path := range []string{pipe, filepath.Join(folder, "link"), folder, "/dev/zero", "/dev/tty", "/dev/null",
		large} {
		settings, err := config.Load([]string{"OTPBRIDGE_KEYRING_FILE=" + path})
		require.NoError(t, err)
		_, err = openKeyring(settings, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "OTPBRIDGE_KEYRING_FILE", path)
		_, err = withEnvironmentFile(nil, path)
		if path != large {
			require.ErrorContains(t, err, "--env-file names something that is not a regular file; write", path)
			_, err = openCertificate(path, path, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, "not a regular file", path)
		}
	}
}

func TestKeyring_AFileOthersMayReadIsWarnedOf(t *testing.T) {
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true} {
		t.Chdir(t.TempDir())
		require.NoError(t, makeKeyringFile("data/keyring", madeKeyID))
		require.NoError(t, os.Chmod("data/keyring", mode))
		log := new(output)
		_, err := openKeyring(sandboxSettings(t), slog.New(slog.NewTextHandler(log, nil)))
		require.NoError(t, err)
		require.Equal(t, warned, strings.Contains(log.String(), "chmod 600"), "%o: %s", mode, log)
	}
}

func TestKeyring_ABrokenFileIsNamedAndNotQuoted(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("data", 0o700))
	require.NoError(t, os.WriteFile("data/keyring", []byte("k1 c2VjcmV0LXRleHQ=\n"), 0o600))
	_, err := openKeyring(sandboxSettings(t), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "data/keyring")
	require.ErrorContains(t, err, "line 1")
	require.NotContains(t, err.Error(), "c2VjcmV0")
}

// The process that loses the race reads the winner's whole key.
func TestKeyring_FirstStartRace(t *testing.T) {
	settings := sandboxSettings(t)
	for range 20 {
		t.Chdir(t.TempDir())
		var all sync.WaitGroup
		start := make(chan struct{})
		checks := make([]string, 32)
		for i := range checks {
			all.Go(func() {
				<-start
				keyring, err := openKeyring(settings, slog.New(slog.DiscardHandler))
				if err != nil {
					checks[i] = err.Error()
					return
				}
				check, err := keyring.Check("k1")
				if err != nil {
					checks[i] = err.Error()
					return
				}
				checks[i] = string(check)
			})
		}
		close(start)
		all.Wait()
		for _, check := range checks {
			require.Len(t, check, 16, "%q", check)
			require.Equal(t, checks[0], check)
		}
		entries, err := os.ReadDir("data")
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

// The same with two processes: both start at once in an empty folder, and each verifies codes that the other
// generated.
func TestKeyring_FirstStartOfTwoProcessesRace(t *testing.T) {
	t.Parallel()
	for range 3 {
		folder := t.TempDir()
		var both [2]*child
		var starting sync.WaitGroup
		program(t)
		for i := range both {
			starting.Go(func() { both[i] = startChild(t, folder) })
		}
		starting.Wait()
		require.Equal(t, "OTP Generated Successfully", both[0].servlet("otpgenservlet", documentedKey,
			person("919551492394")))
		code := both[1].messages("")[0].Code
		require.Equal(t, "Verified successfully",
			both[1].servlet("otpvalidationservlet", documentedKey,
				person("919551492394", "otp", encrypted(t, sampleKey, sampleIV, code))))
		for _, one := range both {
			require.NoError(t, one.command.Process.Kill())
			require.Error(t, one.command.Wait())
		}
	}
}
