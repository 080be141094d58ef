//go:build unix

package deliver

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const plainProfile = `{"form":{"to":"{to}","text":"{text}"}}`

// hostileFolder returns a folder with every kind of file, and a path outside it.
func hostileFolder(t *testing.T) (folder, outside string) {
	t.Helper()
	base, err := os.MkdirTemp("", "files") // short, for the socket's name
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(base) })
	folder, outside = filepath.Join(base, "in"), filepath.Join(base, "out.json")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "..data"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "sub"), 0o700))
	write := func(path string, text []byte) { require.NoError(t, os.WriteFile(path, text, 0o600)) }
	write(outside, []byte(plainProfile))
	write(filepath.Join(folder, "good.json"), []byte(plainProfile))
	write(filepath.Join(folder, "sub", "good.json"), []byte(plainProfile))
	write(filepath.Join(folder, "..data", "mounted.json"), []byte(plainProfile))
	write(filepath.Join(folder, "large.json"), bytes.Repeat([]byte(" "), maxFile+1))
	write(filepath.Join(folder, "largest.json"), append([]byte(plainProfile),
		bytes.Repeat([]byte(" "), maxFile-len(plainProfile))...))
	// as Kubernetes mounts them
	require.NoError(t, os.Symlink("..data/mounted.json", filepath.Join(folder, "mounted.json")))
	require.NoError(t, os.Symlink(outside, filepath.Join(folder, "out.json")))
	require.NoError(t, os.Symlink("../out.json", filepath.Join(folder, "up.json")))
	require.NoError(t, os.Symlink("/dev/zero", filepath.Join(folder, "zero")))
	require.NoError(t, os.Symlink("/proc/self/environ", filepath.Join(folder, "environ")))
	require.NoError(t, os.Symlink("circle", filepath.Join(folder, "circle")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(folder, "dangling")))
	require.NoError(t, os.Symlink(".", filepath.Join(folder, "self")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(folder, "fifo"), 0o600))
	socket, err := net.Listen("unix", filepath.Join(folder, "socket"))
	require.NoError(t, err)
	t.Cleanup(func() { socket.Close() })
	return folder, outside
}

// A setting can use a regular file below the folder, under any name for it, and an account a file by its name only.
// Nothing hangs, no read is endless, and no error reveals what is outside.
func TestFiles_OnlyRegularOnesInTheFolderAreRead(t *testing.T) {
	folder, outside := hostileFolder(t)
	files, err := OpenFiles(folder)
	require.NoError(t, err)
	const url = "https://gw.example/?to={to}&text={text}#profile="
	for name, usable := range map[string]struct{ setting, account bool }{
		"good.json":                        {true, true},
		"largest.json":                     {true, true},
		"mounted.json":                     {true, true},
		"sub/good.json":                    {true, false},
		"./good.json":                      {true, false},
		"sub/../good.json":                 {true, false},
		filepath.Join(folder, "good.json"): {true, false},
		filepath.Join(folder, "sub/../good.json"): {true, false},
		folder + "/../in/good.json":               {true, false},
		"large.json":                              {},
		"GOOD.JSON":                               {},
		"good.json/":                              {true, false},
		"out.json":                                {},
		"up.json":                                 {},
		"zero":                                    {},
		"environ":                                 {},
		"circle":                                  {},
		"dangling":                                {},
		"self":                                    {},
		"self/good.json":                          {},
		"fifo":                                    {},
		"socket":                                  {},
		"sub":                                     {},
		".":                                       {},
		"..":                                      {},
		"../out.json":                             {},
		"../in/../out.json":                       {},
		outside:                                   {},
		outside + "x":                             {},
		"/dev/zero":                               {},
		"/dev/stdin":                              {},
		"/etc/passwd":                             {},
		"/proc/self/environ":                      {},
		"good.json%00":                            {},
		"..%5Cout.json":                           {},
		"nothing.json":                            {},
		"file:///etc/passwd":                      {},
		strings.Repeat("x", 5000):                 {},
		strings.Repeat("../", 100) + "etc/passwd":   {},
		"%2e%2e/out.json":                           {},
		filepath.Join(folder, "..", "in", "fifo"):   {},
		filepath.Join(folder, "zero"):               {},
		strings.TrimSuffix(folder, "in") + "inside": {},
	} {
		for _, account := range []bool{false, true} {
			want := usable.setting
			if account {
				want = usable.account
			}
			_, err := Parse(url+name, Options{Medium: "sms", Files: files, Account: account})
			if want {
				require.NoError(t, err, "%q, account %v", name, account)
				continue
			}
			require.Error(t, err, "%q, account %v", name, account)
			for _, word := range []string{"no such file", "denied", "not a directory", "too many", plainProfile, folder} {
				require.NotContains(t, err.Error(), word, name)
			}
			dkim := "smtp://mail.example?from=a@b.example&dkim_selector=k&dkim_key=" + name
			_, err = Parse(dkim, Options{Medium: "email", Files: files, Account: account})
			require.Error(t, err, name)
		}
	}
	// The error does not reveal whether something exists outside.
	for _, account := range []bool{false, true} {
		_, there := Parse(url+outside, Options{Medium: "sms", Files: files, Account: account})
		_, missing := Parse(url+outside+"x", Options{Medium: "sms", Files: files, Account: account})
		require.Equal(t, there.Error(), missing.Error())
	}
}

func TestFiles_AreReadOnceAtTheStart(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "p.json")
	require.NoError(t, os.WriteFile(path, []byte(plainProfile), 0o600))
	files, err := OpenFiles(folder)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err = Parse("https://gw.example/?to={to}&text={text}#profile=p.json",
		Options{Medium: "sms", Files: files, Account: true})
	require.NoError(t, err, "what is put in its place later is not opened")
	_, err = OpenFiles(filepath.Join(folder, "nothing"))
	require.ErrorContains(t, err, "open the folder of files")
	_, err = OpenFiles(path)
	require.Error(t, err, "a pipe is not a folder")
	none, err := OpenFiles("")
	require.NoError(t, err)
	_, err = none.read("p.json")
	require.ErrorIs(t, err, errNoFolder)
}

// Whatever the name, only the folder's files are read, and an account's name has no path.
func FuzzFiles(f *testing.F) {
	for _, name := range []string{"a", "sub/b", "../x", "/etc/passwd", "a/../sub/b", "\x00", `..\x`, "sub//b", "./a", ""} {
		f.Add(name)
	}
	folder := f.TempDir()
	for name, text := range map[string]string{"a": "in a", "sub/b": "in b"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	files, err := OpenFiles(folder)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if text, err := files.read(name); err == nil && string(text) != "in a" && string(text) != "in b" {
			t.Fatalf("%q is %q", name, text)
		}
		if text, err := files.readNamed(name); err == nil && (string(text) != "in a" || name != "a") {
			t.Fatalf("an account's %q is %q", name, text)
		}
	})
}
