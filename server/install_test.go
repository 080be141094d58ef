//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// unitValues returns the values of a directive of the systemd unit, in order.
func unitValues(t *testing.T, directive string) []string {
	t.Helper()
	var values []string
	for _, found := range regexp.MustCompile(`(?m)^`+directive+`=(.*)$`).FindAllStringSubmatch(page(t,
		"doc/otpbridge.service"), -1) {
		values = append(values, found[1])
	}
	return values
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	return path
}

// The steps of the page install everything where the unit expects it, and the unit's user can read it.
func TestInstall_PutsThingsWhereTheUnitLooks(t *testing.T) {
	m := newMachine(t, "127.0.0.1")
	m.do(page(t, "doc/operating.md"), "install")
	root := m.root
	start := strings.Fields(unitValues(t, "ExecStart")[0])
	out, err := exec.Command(filepath.Join(root, start[0]), "--version").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, []string{"serve"}, start[1:])
	for _, address := range unitValues(t, "Documentation") {
		path, isFile := strings.CutPrefix(address, "file://")
		require.True(t, isFile)
		require.FileExists(t, filepath.Join(root, path))
	}
	installedUnit, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/otpbridge.service"))
	require.NoError(t, err)
	require.Equal(t, page(t, "doc/otpbridge.service"), string(installedUnit))

	// The user exists before the unit needs it.
	user := unitValues(t, "User")
	require.Equal(t, user, unitValues(t, "Group"))
	require.Len(t, user, 1)
	users := page(t, filepath.Join(root, "usr/lib/sysusers.d/otpbridge.conf"))
	require.Regexp(t, `(?m)^u `+user[0]+` - "OTPBridge" /var/lib/`+unitValues(t, "StateDirectory")[0]+`$`, users)

	for path, mode := range map[string]os.FileMode{
		start[0]: 0o755, "etc/systemd/system/otpbridge.service": 0o644, "usr/lib/sysusers.d/otpbridge.conf": 0o644,
		"usr/local/share/doc/otpbridge/operating.md": 0o644, "usr/local/share/doc/otpbridge/nginx.conf": 0o644,
		"usr/lib/tmpfiles.d/otpbridge.conf": 0o644, "etc/otpbridge": 0o750, "etc/otpbridge/files": 0o750,
		"var/lib/otpbridge": 0o700, "var/lib/otpbridge/state": 0o700,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
	id, group := m.ids()
	for path, owner := range map[string][2]int{
		"etc/otpbridge": {os.Getuid(), group}, "etc/otpbridge/files": {os.Getuid(), group},
		"var/lib/otpbridge": {id, group}, "var/lib/otpbridge/state": {id, group},
	} {
		require.Equal(t, owner, ownerOf(t, filepath.Join(root, path)), path)
	}
	if os.Getuid() == 0 {
		require.NotZero(t, id)
		require.NotZero(t, group)
	}
}

func ownerOf(t *testing.T, path string) [2]int {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	about := info.Sys().(*syscall.Stat_t)
	return [2]int{int(about.Uid), int(about.Gid)}
}

// The page makes what the unit reads: the two secrets, which only root can read, by their names, and files of other
// settings in a folder that the unit's group can read.
func TestInstall_TheUnitCanReadWhatThePageMakes(t *testing.T) {
	text := page(t, "doc/operating.md")
	steps := strings.Join(blocks(t, text, "operator", "sh"), "\n")
	credentials := map[string]string{}
	for _, value := range unitValues(t, "LoadCredential") {
		name, path, _ := strings.Cut(value, ":")
		credentials[name] = path
		require.Contains(t, steps, path, "a missing credential keeps the unit from starting")
	}
	for _, value := range unitValues(t, "Environment") {
		name, path, _ := strings.Cut(value, "=")
		if credential, isCredential := strings.CutPrefix(path, "%d/"); isCredential {
			require.Contains(t, credentials, credential)
			path = credentials[credential]
		}
		path = strings.Replace(path, "%S/", "/var/lib/", 1)
		require.Contains(t, steps, "export "+name+"="+path+"\n", "commands and service have the same settings")
	}
	require.Equal(t, []string{"-/etc/otpbridge/environment"}, unitValues(t, "EnvironmentFile"), "which may be missing")

	// The page's commands make them in the folder that make install made.
	require.Contains(t, unitValues(t, "Environment"), "OTPBRIDGE_FILES_DIR=/etc/otpbridge/files",
		"in which the service reads")
	m := newMachine(t, "127.0.0.1", "https://gateway.example/api/send?apikey=KEY&to={to_digits}&text={text}", "discard:")
	m.do(text, "install")
	m.run("umask 077; : > /etc/otpbridge/environment; echo 'set -a; . /etc/otpbridge/environment; set +a' > " +
		"/etc/otpbridge/shell")
	m.do(text, "channel")
	files := filepath.Join(m.root, "etc/otpbridge/files")
	info, err := os.Stat(files + "/sms_channels")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	_, group := m.ids()
	require.Equal(t, [2]int{os.Getuid(), group}, ownerOf(t, files+"/sms_channels"))
	environment := page(t, filepath.Join(m.root, "etc/otpbridge/environment"))
	require.Equal(t, "OTPBRIDGE_SMS_CHANNELS_FILE="+files+"/sms_channels\n", environment)
	s := boot(t, append(variables(t), strings.TrimSpace(environment), "OTPBRIDGE_FILES_DIR="+files)...)
	require.Equal(t, "ready\n", s.do("GET", "/readyz", "").body)
}

// make install without a built program is refused.
func TestInstall_IsRefusedWithoutAProgram(t *testing.T) {
	needs(t, "make")
	install := exec.Command("make", "install", "DESTDIR="+t.TempDir(), "BINARY="+filepath.Join(t.TempDir(), "none"))
	install.Dir = ".."
	var out bytes.Buffer
	install.Stderr, install.Stdout = &out, &out
	require.Error(t, install.Run(), out.String())
}
