package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// A backup from before an erasure restores the person's data. Doctor reports that, and reapply erases it again.
func TestPrivacy_ARestoredBackupIsErasedAgain(t *testing.T) {
	needs(t, "bash")
	folder := t.TempDir()
	environ := variables(t, "OTPBRIDGE_AUDIT_CHECKPOINT_FILE="+filepath.Join(folder, "pushed"))
	command := func(code int, arguments ...string) string {
		t.Helper()
		var out, problems bytes.Buffer
		require.Equal(t, code, run(arguments, process{environ: environ, stdout: &out, stderr: &problems}), problems.String())
		return out.String() + problems.String()
	}
	history := func() (n int) {
		require.NoError(t, sqltest.Connect(t, databaseOf(t, environ)).Get(&n, `SELECT COUNT(*) FROM events`))
		return n
	}

	s := boot(t, environ...)
	account := s.account(`{}`)
	key := regexp.MustCompile(`otpb_\w+`).FindString(command(exitOK, "key", "create", account.Address, "--permissions", "*"))
	headers := []string{"X-API-Key", key, "Content-Type", "application/json"}
	for _, user := range []string{"u-77", "u-78"} {
		sent := s.do("POST", "/v1/send", `{"to":"+9198765432`+user[2:]+`","method":"sms","type":"verification","metadata":`+
			`{"user_id":"`+user+`"}}`, headers...)
		require.Equal(t, 201, sent.status, sent.body)
	}
	require.NoError(t, s.Shutdown(t.Context()))
	database := strings.TrimPrefix(databaseOf(t, environ), "sqlite:")
	backup, err := os.ReadFile(database)
	require.NoError(t, err)
	both := history()

	s = boot(t, environ...)
	erased := s.do("DELETE", "/v1/users/u-77/delete", "", headers...)
	require.Equal(t, 200, erased.status, erased.body)
	require.NoError(t, s.Shutdown(t.Context()))
	one := history()
	require.Less(t, one, both)
	require.NotContains(t, command(exitOK, "doctor"), "fail  erasures")

	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(database + suffix)
	}
	require.NoError(t, os.WriteFile(database, backup, 0o600))
	require.Equal(t, both, history())
	require.Contains(t, command(exitFailed, "doctor"), "1 erasures in")
	command(exitUnusable, "privacy", "reapply", filepath.Join(folder, "nothing"))
	forged := filepath.Join(folder, "forged")
	require.NoError(t, os.WriteFile(forged, []byte("not a certificate\n"), 0o600))
	require.Contains(t, command(exitFailed, "privacy", "reapply", forged), "no certificate")
	require.Equal(t, both, history(), "what is refused erases nothing")

	var done struct{ Erasures, Missing int }
	require.NoError(t, json.Unmarshal([]byte(command(exitOK, "privacy", "reapply", "--json")), &done))
	require.Equal(t, struct{ Erasures, Missing int }{1, 1}, done)
	require.Equal(t, one, history(), "the other person stays")
	require.NotContains(t, command(exitOK, "doctor"), "fail  erasures")
	again, err := ran(t, folder, append(environ, "PATH="+filepath.Dir(program(t))+string(os.PathListSeparator)+
		os.Getenv("PATH")), "bash", "-euo", "pipefail", "-c", blocks(t, page(t, "doc/privacy.md"), "reapply", "sh")[0])
	require.NoError(t, err)
	require.Contains(t, again, "0 of which the database did not know")
	require.Contains(t, again, "The ledger has 1 erasures, 0 of them not done yet.")
	require.Contains(t, command(exitOK, "audit", "verify"), "entries fit")
}
