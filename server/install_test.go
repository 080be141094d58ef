package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// unitValues are the values of a directive of the unit, in order.
func unitValues(t *testing.T, directive string) []string {
	t.Helper()
	var values []string
	for _, found := range regexp.MustCompile(`(?m)^`+directive+`=(.*)$`).FindAllStringSubmatch(page(t, "doc/otpbridge.service"), -1) {
		values = append(values, found[1])
	}
	return values
}

// installed runs the page's installation below a root of its own: make as it is, and in place of the commands that
// change the machine, ones that write down how they were called.
func installed(t *testing.T) (root, called string) {
	t.Helper()
	needs(t, "bash", "make", "install")
	root, shims := t.TempDir(), t.TempDir()
	calls := filepath.Join(shims, "calls")
	for name, text := range map[string]string{
		"sudo":             `exec "$@"`,
		"systemd-sysusers": `echo "systemd-sysusers $*" >> ` + calls,
		"make":             `[ "$1" = build ] && exit 0; exec ` + lookPath(t, "make") + ` "$@" DESTDIR=` + root + ` BINARY=` + program(t),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(shims, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700))
	}
	bash := exec.Command("bash", "-euo", "pipefail", "-c", blocks(t, page(t, "doc/operating.md"), "install", "sh")[0])
	bash.Dir = ".."
	bash.Env = append(os.Environ(), "PATH="+shims+":"+os.Getenv("PATH"))
	out, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return root, page(t, calls)
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	return path
}

// The steps of the page put everything where the unit looks for it, and the user of the unit can read it.
func TestInstall_PutsThingsWhereTheUnitLooks(t *testing.T) {
	root, called := installed(t)
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
	require.Equal(t, "systemd-sysusers otpbridge.conf\n", called)
	users := page(t, filepath.Join(root, "usr/lib/sysusers.d/otpbridge.conf"))
	require.Regexp(t, `(?m)^u `+user[0]+` - "OTPBridge" /var/lib/`+unitValues(t, "StateDirectory")[0]+`$`, users)
	if sysusers, err := exec.LookPath("systemd-sysusers"); err == nil {
		out, err := exec.Command(sysusers, "--root="+root, "otpbridge.conf").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, page(t, filepath.Join(root, "etc/passwd")), user[0]+":x:")
	}

	for path, mode := range map[string]os.FileMode{
		start[0]: 0o755, "etc/systemd/system/otpbridge.service": 0o644, "usr/lib/sysusers.d/otpbridge.conf": 0o644,
		"usr/local/share/doc/otpbridge/operating.md": 0o644, "usr/local/share/doc/otpbridge/nginx.conf": 0o644,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
}

// What the unit reads is what the page makes: the two secrets, which are root's alone, by their names, and files
// of other settings in a folder that the unit's group can read.
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
			require.Contains(t, steps, "export "+name+"="+credentials[credential], "commands and service read one file")
		}
	}
	require.Equal(t, []string{"-/etc/otpbridge/environment"}, unitValues(t, "EnvironmentFile"), "which may be missing")

	// As the page's own commands make them, with whoever runs the test for root and for the group.
	root := t.TempDir()
	block := strings.NewReplacer("/etc/otpbridge", filepath.Join(root, "etc"), "-o root -g otpbridge", "").
		Replace(blocks(t, text, "files", "sh")[0])
	require.NotContains(t, block, "root")
	bash := exec.Command("bash", "-euo", "pipefail", "-c", "umask 077\n"+block)
	bash.Env = append(os.Environ(), "OTPBRIDGE_SMS_CHANNELS=discard:")
	out, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, 2, strings.Count(blocks(t, text, "files", "sh")[0], "-o root -g "+unitValues(t, "Group")[0]))
	for path, mode := range map[string]os.FileMode{"etc": 0o750, "etc/files": 0o750, "etc/files/sms_channels": 0o640} {
		info, err := os.Stat(filepath.Join(root, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
	environment := page(t, filepath.Join(root, "etc", "environment"))
	require.Equal(t, "OTPBRIDGE_SMS_CHANNELS_FILE="+filepath.Join(root, "etc")+"/files/sms_channels\n", environment)
	s := boot(t, append(variables(t), strings.TrimSpace(environment))...)
	require.Equal(t, "ready\n", s.do("GET", "/readyz", "").body)
}

// The whole Makefile's target with nothing replaced but the root.
func TestInstall_IsRefusedWithoutAProgram(t *testing.T) {
	needs(t, "make")
	install := exec.Command("make", "install", "DESTDIR="+t.TempDir(), "BINARY="+filepath.Join(t.TempDir(), "none"))
	install.Dir = ".."
	var out bytes.Buffer
	install.Stderr, install.Stdout = &out, &out
	require.Error(t, install.Run(), out.String())
}
