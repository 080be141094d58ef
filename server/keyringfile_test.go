//go:build unix

package main

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/sql/sqltest"
)

func keyringIn(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func idsIn(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	ring, err := crypto.ParseKeyring(string(text))
	require.NoError(t, err)
	return ring.IDs()
}

func TestKeyringNew_MakesIdsThatDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		code, out, problems := command("keyring", "new")
		require.Equal(t, exitOK, code, problems)
		id, _, _ := strings.Cut(out, " ")
		require.False(t, seen[id], id)
		seen[id] = true
	}
}

// A file with a fault stays unchanged.
func TestKeyringAdd_RefusesWhatIsNoPrivateKeyring(t *testing.T) {
	k1 := crypto.NewKeyringText("k1")
	as := func(text string, mode os.FileMode) func(t *testing.T) string {
		return func(t *testing.T) string {
			path := keyringIn(t, text)
			require.NoError(t, os.Chmod(path, mode))
			return path
		}
	}
	for _, tt := range []struct {
		name    string
		file    func(t *testing.T) string
		id      string
		problem string
	}{
		{"no file", func(t *testing.T) string { return filepath.Join(t.TempDir(), "keyring") }, "", "there is no keyring at"},
		{"no name", func(*testing.T) string { return "" }, "", "--file is given without a value"},
		{"readable by the group", as(k1, 0o640), "", "others than the owner"},
		{"readable by everybody", as(k1, 0o644), "", "others than the owner"},
		{"writable by everybody", as(k1, 0o602), "", "others than the owner"},
		{"a link", func(t *testing.T) string {
			link := filepath.Join(t.TempDir(), "link")
			require.NoError(t, os.Symlink(keyringIn(t, k1), link))
			return link
		}, "", "is a link"},
		{"a link to nothing", func(t *testing.T) string {
			link := filepath.Join(t.TempDir(), "link")
			require.NoError(t, os.Symlink("nothing", link))
			return link
		}, "", "is a link"},
		{"a folder", func(t *testing.T) string { return t.TempDir() }, "", "is not a regular file"},
		{"a pipe", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "pipe")
			require.NoError(t, syscall.Mkfifo(path, 0o600))
			return path
		}, "", "is not a regular file"},
		{"a device", func(*testing.T) string { return os.DevNull }, "", "is not a regular file"},
		{"empty", as("", 0o600), "", "holds no key"},
		{"comments alone", as("# k1\n\n", 0o600), "", "holds no key"},
		{"prose", as("this is not a keyring\n", 0o600), "", "fields where an id"},
		{"a key cut short", as(k1[:len(k1)-10]+"\n", 0o600), "", "32 bytes"},
		{"one id twice", as(k1+crypto.NewKeyringText("k1"), 0o600), "", "the id is that of line 1"},
		{"larger than a keyring", as(k1+strings.Repeat("# comment\n", 10_000), 0o600), "", "is larger"},
		{"an id that is taken", as(k1, 0o600), "k1", `has a key "k1" already`},
		{"an id of blanks", as(k1, 0o600), "k 1", "the id is not"},
		{"an id too long", as(k1, 0o600), strings.Repeat("k", 33), "the id is not"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.file(t)
			var before []byte
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
				before, err = os.ReadFile(path)
				require.NoError(t, err)
			}
			arguments := []string{"keyring", "add", "--file", path}
			if tt.id != "" {
				arguments = append(arguments, tt.id)
			}
			code, out, problems := command(arguments...)
			require.Equal(t, exitUnusable, code, problems)
			require.Contains(t, problems, tt.problem)
			require.Empty(t, out)
			if before != nil {
				after, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, string(before), string(after))
			}
		})
	}
}

func TestKeyringAdd_KeepsWhatIsThere(t *testing.T) {
	k1, k2 := strings.TrimSpace(crypto.NewKeyringText("k1")), strings.TrimSpace(crypto.NewKeyringText("k2"))
	for name, text := range map[string]string{
		"as made":           k1 + "\n" + k2 + "\n",
		"no end of line":    k1 + "\n" + k2,
		"lines of Windows":  k1 + "\r\n" + k2 + "\r\n",
		"comments, blanks":  "# ours\n\n" + k1 + "\n# the former\n" + k2 + "\n\n",
		"blanks in a line":  "  " + k1 + "\t\n" + strings.Replace(k2, " ", "\t ", 1) + "\n",
		"ends with comment": k1 + "\n" + k2 + "\n# end",
	} {
		t.Run(name, func(t *testing.T) {
			path := keyringIn(t, text)
			code, _, problems := command("keyring", "add", "--file", path, "last")
			require.Equal(t, exitOK, code, problems)
			require.Equal(t, []string{"k1", "k2", "last"}, idsIn(t, path))
			code, _, problems = command("keyring", "add", "--file", path, "first", "--first")
			require.Equal(t, exitOK, code, problems)
			require.Equal(t, []string{"first", "k1", "k2", "last"}, idsIn(t, path))
			code, _, problems = command("keyring", "promote", "k2", "--file", path)
			require.Equal(t, exitOK, code, problems)
			require.Equal(t, []string{"k2", "first", "k1", "last"}, idsIn(t, path))
			code, _, problems = command("keyring", "promote", "k9", "--file", path)
			require.Equal(t, exitUnusable, code)
			require.Contains(t, problems, `has no key "k9"`)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			entries, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Len(t, entries, 1, "no draft is left")
			require.Equal(t, strings.Count(text, "#"), strings.Count(page(t, path), "#"), "comments stay")
		})
	}
}

// After root has changed the file, the service's user can still read it.
func TestKeyringAdd_KeepsTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := keyringIn(t, crypto.NewKeyringText("k1"))
	require.NoError(t, os.Chown(path, 4711, 4712))
	code, _, problems := command("keyring", "add", "--file", path)
	require.Equal(t, exitOK, code, problems)
	info, err := os.Stat(path)
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	require.Equal(t, []uint32{4711, 4712}, []uint32{owner.Uid, owner.Gid})
}

// Concurrent commands lose no keys, and a reader never sees half a keyring.
func TestKeyringAdd_Race(t *testing.T) {
	path := keyringIn(t, crypto.NewKeyringText("k1"))
	var adding, reading sync.WaitGroup
	done := make(chan struct{})
	reading.Go(func() {
		for {
			text, err := os.ReadFile(path)
			if err == nil {
				_, err = crypto.ParseKeyring(string(text))
			}
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range 16 {
		adding.Go(func() {
			arguments := []string{"keyring", "add", "--file", path}
			if i%2 == 0 {
				arguments = append(arguments, fmt.Sprint("own", i))
			}
			if code, _, problems := command(arguments...); code != exitOK {
				t.Error(problems)
			}
		})
	}
	adding.Wait()
	close(done)
	reading.Wait()
	require.Len(t, idsIn(t, path), 17)
}

// The page's rotation works step by step with two servers, twice on one day. Codes that were sent stay valid.
func TestOperating_TheRotationWorksTwiceOnOneDay(t *testing.T) {
	needs(t, "bash", "awk")
	t.Parallel()
	steps := blocks(t, page(t, "doc/operating.md"), "rotation", "sh")
	require.Len(t, steps, 5)
	database := sqltest.Shared(t)
	databaseURL := database.Schema(t)
	path := keyringIn(t, crypto.NewKeyringText("k1"))
	var environs [2][]string
	var servers [2]*child
	for i := range environs {
		environs[i] = []string{"OTPBRIDGE_DATABASE_URL=" + databaseURL, "OTPBRIDGE_KEYRING_FILE=" + path,
			"OTPBRIDGE_SHUTDOWN_TIMEOUT=1s"}
		servers[i] = startChild(t, t.TempDir(), environs[i]...)
	}
	restart := func() {
		for i, c := range servers {
			require.NoError(t, c.command.Process.Signal(os.Interrupt))
			require.Equal(t, exitOK, c.exitCode(), c.log)
			servers[i] = startChild(t, t.TempDir(), environs[i]...)
		}
	}
	variables := ""
	step := func(n int) {
		t.Helper()
		script := variables + strings.ReplaceAll(steps[n-1], "/etc/otpbridge/keyring", path) + "\necho \"new=$new\""
		bash := exec.Command("bash", "-euo", "pipefail", "-c", script)
		bash.Env = append([]string{"PATH=" + filepath.Dir(program(t)) + ":" + os.Getenv("PATH")}, environs[0]...)
		out, err := bash.CombinedOutput()
		require.NoError(t, err, "step %d: %s", n, out)
		_, id, _ := strings.Cut(string(out), "new=")
		variables = fmt.Sprintf("former=%s; new=%s; ", idsIn(t, path)[0], strings.TrimSpace(id))
	}
	used := []string{"k1"}
	for day := range 2 {
		number := fmt.Sprint("91955149230", day)
		require.Equal(t, "OTP Generated Successfully", servers[0].servlet("otpgenservlet", documentedKey, person(number)))
		code := servers[1].messages("to=%2B" + number)[0].Code
		former := used[len(used)-1]
		step(1)
		restart()
		step(2)
		restart()
		step(3)
		require.Equal(t, "Verified successfully",
			servers[1].servlet("otpvalidationservlet", documentedKey,
				person(number, "otp", encrypted(t, sampleKey, sampleIV, code))))
		// An hour and a half later.
		parsed, err := url.Parse(databaseURL)
		require.NoError(t, err)
		require.NoError(t, database.Exec("DELETE FROM "+strings.Trim(parsed.Path, "/")+".challenges"))
		step(4)
		variables = "former=" + former + "; new=; "
		step(5)
		restart()
		ids := idsIn(t, path)
		require.Len(t, ids, 1)
		require.False(t, slices.Contains(used, ids[0]), "an id is never used twice")
		used = append(used, ids[0])
	}
	require.Equal(t, "ready\n", servers[0].do("GET", "/readyz", "").body)
}
