//go:build unix

package sql

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever may write in the state folder can neither have another file overwritten nor make the start wait.
func TestWitness_IsAFileInItsFolder(t *testing.T) {
	const name = "otpbridge-0123456789abcdef"
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	require.NoError(t, os.WriteFile(elsewhere, []byte("theirs"), 0o600))
	for kind, plant := range map[string]func(path string) error{
		"link":    func(path string) error { return os.Symlink(elsewhere, path) },
		"missing": func(path string) error { return os.Symlink(elsewhere+"x", path) },
		"device":  func(path string) error { return os.Symlink(os.DevNull, path) },
		"pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder":  func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		folder := t.TempDir()
		path := filepath.Join(folder, name+".1")
		require.NoError(t, plant(path))
		_, _, err := openWitness(folder, name)
		require.ErrorContains(t, err, path+" names", kind)
	}
	require.NoFileExists(t, elsewhere+"x")
}
