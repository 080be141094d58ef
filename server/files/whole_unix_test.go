//go:build unix

package files

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A limit on the size of files stands for a full disk: the system writes what fits.
func TestWriteWhole_TakesBackWhatFits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints")
	add := func(text string) error {
		file, err := Append(path)
		require.NoError(t, err)
		defer file.Close()
		return WriteWhole(file, text)
	}
	require.NoError(t, add("first\n"))

	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	full := before
	full.Cur = 9
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full))
	err := add("second\n")
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before))
	require.ErrorIs(t, err, syscall.EFBIG)

	require.NoError(t, add("third\n"))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "first\nthird\n", string(content))
}
