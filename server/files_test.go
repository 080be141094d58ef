//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// Somebody who makes an account in a sandbox, or changes a row with SQL, cannot make the server open a file of their
// choice: the server does not end, hang or reveal what exists.
func TestFiles_NoAccountNamesAPath(t *testing.T) {
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "p.json"), []byte(`{"form":{"to":"{to}","text":"{text}"}}`),
		0o600))
	s := boot(t, variables(t, "OTPBRIDGE_FILES_DIR="+folder)...)
	const mail, gateway = "smtp://127.0.0.1:25?tls=off&from=a@b.example&dkim_selector=k&dkim_key=",
		"http://127.0.0.1:9/#profile="
	refusals := map[string]string{}
	for _, path := range []string{"/dev/zero", pipe, "pipe", "/etc/passwd", "/etc/nothing", "../p.json",
		filepath.Join(folder, "p.json"), ".", "/proc/self/environ", "./p.json"} {
		for column, url := range map[string]string{"sms_channels": gateway + path, "email_channels": mail + path} {
			a := s.do("POST", "/sandbox/accounts", fmt.Sprintf(`{"email_enabled":true,%q:%q}`, column, url))
			require.Equal(t, 400, a.status, a.body)
			require.Contains(t, a.body, column)
			refusals[column+path] = decoded(t, a)["detail"].(string)
		}
	}
	require.Equal(t, refusals["sms_channels/etc/passwd"], refusals["sms_channels/etc/nothing"],
		"what is there cannot be told")
	made := s.account(`{"sms_channels":"http://127.0.0.1:9/?to={to}&text={text}#profile=p.json"}`)

	db := sqltest.Connect(t, s.settings.DatabaseURL.Reveal())
	for _, path := range []string{"/dev/zero", pipe, "pipe"} {
		_, err := db.Exec(`UPDATE otp_auth_config SET sms_channels = ? WHERE esme_address = ?`, gateway+path, made.Address)
		require.NoError(t, err)
		eventually(t, "the row is broken", func() bool {
			return s.servlet("otpgenservlet", made.AccessKey, person("919876543210")) == "ERROR"
		})
		require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919876543210")),
			"its neighbours go on")
	}
}
