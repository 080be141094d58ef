//go:build unix

package files

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const limit = 16

// hostile returns a folder with files of every kind and what opening each says; "" for one that opens.
func hostile(t *testing.T) (folder string, says map[string]string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "files") // short, for the socket's name
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	at := func(name string) string { return filepath.Join(folder, name) }
	require.NoError(t, os.WriteFile(at("empty"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("full"), []byte(strings.Repeat("x", limit)), 0o600))
	require.NoError(t, os.WriteFile(at("large"), []byte(strings.Repeat("x", limit+1)), 0o600))
	require.NoError(t, os.Mkdir(at("folder"), 0o700))
	require.NoError(t, syscall.Mkfifo(at("pipe"), 0o600))
	for name, target := range map[string]string{"link": "full", "link to a pipe": "pipe", "link to nothing": "nothing",
		"circle": "circle", "device": "/dev/zero", "null": os.DevNull, "link to a folder": "folder"} {
		require.NoError(t, os.Symlink(target, at(name)))
	}
	socket, err := net.Listen("unix", at("socket"))
	require.NoError(t, err)
	t.Cleanup(func() { socket.Close() })
	const irregular, closed = "not a regular file", "cannot be opened"
	return folder, map[string]string{
		"empty": "", "full": "", "link": "", "large": "",
		"folder": irregular, "pipe": irregular, "socket": irregular, "link to a pipe": irregular, "device": irregular,
		"null": irregular, "link to a folder": irregular, ".": irregular,
		"nothing": closed, "link to nothing": closed, "circle": closed, "full/x": closed, "": closed, "a\x00": closed,
		strings.Repeat("x", 300): closed,
	}
}

// Nothing waits, no read is endless, and no error shows a path.
func TestRead_RegularFilesOnly(t *testing.T) {
	folder, says := hostile(t)
	root, err := os.OpenRoot(folder)
	require.NoError(t, err)
	defer root.Close()
	says["large"] = "more than 0 KiB"
	for name, problem := range says {
		path := folder + "/" + name
		if name == "" {
			path = ""
		}
		_, err := Read(path, limit)
		_, within := ReadIn(root, name, limit)
		if problem == "" {
			require.NoError(t, err, name)
			require.NoError(t, within, name)
			continue
		}
		require.ErrorContains(t, err, problem, name)
		require.NotContains(t, err.Error(), folder)
		require.Error(t, within, name)
		require.NotContains(t, within.Error(), folder)
		require.ErrorContains(t, Named("OTPBRIDGE_X", err), "OTPBRIDGE_X names", name)
	}
	_, err = Read(folder+"/nothing", limit)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = ReadIn(root, "device", limit)
	require.ErrorContains(t, err, "cannot be opened", "it is outside")
}

// What is appended to a pipe or a device is kept nowhere.
func TestAppend_RegularFilesOnly(t *testing.T) {
	folder, says := hostile(t)
	says["nothing"], says["link to nothing"] = "", "" // it is made
	for name, problem := range says {
		if name == "" {
			continue
		}
		for range 2 {
			file, err := Append(folder + "/" + name)
			if problem != "" {
				require.ErrorContains(t, err, problem, name)
				continue
			}
			require.NoError(t, err, name)
			_, err = file.WriteString("x")
			require.NoError(t, err)
			require.NoError(t, file.Close())
		}
	}
	written, err := os.ReadFile(filepath.Join(folder, "nothing"))
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", 4), string(written), "by its name and by a link")
	about, err := os.Stat(filepath.Join(folder, "nothing"))
	require.NoError(t, err)
	require.False(t, OpenToOthers(about))
}

func TestTryLock_OneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Append(path)
	require.NoError(t, err)
	second, err := Append(path)
	require.NoError(t, err)
	defer second.Close()
	require.NoError(t, Lock(first))
	locked, err := TryLock(second)
	require.NoError(t, err)
	require.False(t, locked)
	require.NoError(t, first.Close())
	locked, err = TryLock(second)
	require.NoError(t, err)
	require.True(t, locked)
}
