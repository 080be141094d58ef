package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The commands of the pages on the audit log and on alerts work beside a production server, and a call leaves its
// entry in the log.
func TestAudit_ThePagesCommandsWork(t *testing.T) {
	needs(t, "bash", "curl")
	t.Parallel()
	folder := t.TempDir()
	pushed := filepath.Join(folder, "pushed")
	environ := productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s", "OTPBRIDGE_DOORS=api,v1",
		"OTPBRIDGE_AUDIT_CHECKPOINT_FILE="+pushed))
	s := boot(t, environ...)
	bash := func(script string, more ...string) string {
		t.Helper()
		command := exec.Command("bash", "-euo", "pipefail", "-c", script)
		command.Dir = folder
		command.Env = append(append(append([]string{}, environ...), "OTPBRIDGE_ADDR="+s.Addr(), "NO_PROXY=*",
			"no_proxy=*", "URL="+s.URL(), "PATH="+filepath.Dir(program(t))+string(os.PathListSeparator)+os.Getenv("PATH")),
			more...)
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s\n%s\n%s", script, out, s.log)
		return string(out)
	}
	text := page(t, "doc/audit.md")
	setup := regexp.MustCompile(`otpl_[\w-]{43}`).FindString(bash("otpbridge setup"))
	const password = "tandem-marzipan-kayak-41"
	made := s.do("POST", "/api/auth/register", `{"setup_token":"`+setup+`","email":"owner@shop.example","name":"Olga",`+
		`"password":"`+password+`"}`, "Content-Type", "application/json")
	require.Equal(t, 201, made.status, made.body)
	token := regexp.MustCompile(`"access_token":"([^"]+)"`).FindStringSubmatch(made.body)[1]

	require.Contains(t, bash(blocks(t, text, "checkpoint", "sh")[0]), "entries fit")
	require.Contains(t, bash(blocks(t, text, "verify", "sh")[0]), "entries fit")
	require.Contains(t, bash(blocks(t, text, "export", "sh")[0]), "entries fit")
	require.Contains(t, bash(blocks(t, text, "search", "sh")[0], "TOKEN="+token), `"actor_kind":"operator"`)
	require.Contains(t, bash(blocks(t, text, "prove", "sh")[0], "TOKEN="+token), `"fits":true`)
	bash(`echo '[{"esme_address":"10000000000001","otp_cipher":"none"}]' | otpbridge account import --profile live -`)
	require.Contains(t, bash(blocks(t, text, "own", "sh")[0]), `"has_more":false`)
	require.Contains(t, bash("otpbridge audit prove 0"), `"hashes"`)

	s.watched(t)
	text = page(t, "doc/insight.md")
	require.Regexp(t, `"of":"IN",.*"stopped":1,`, bash(blocks(t, text, "statistics", "sh")[0], "TOKEN="+token))
	alerts := bash(blocks(t, text, "alerts", "sh")[0], "TOKEN="+token)
	require.Contains(t, alerts, `"rule":"prefix_stopped","account":"10000000000001"`)
	alert := regexp.MustCompile(`alr_\w+`).FindString(alerts)
	bash(strings.ReplaceAll(blocks(t, text, "acknowledge", "sh")[0], "alr_…", alert), "TOKEN="+token)
	require.Contains(t, bash(blocks(t, text, "alerts", "sh")[0], "TOKEN="+token), `"state":"acknowledged"`)
	for range 2 {
		alerts = bash(blocks(t, text, "checklist", "sh")[0], "TOKEN="+token)
	}
	require.Contains(t, alerts, `"note":"the shop has no forms without a token"`)

	s.do("GET", "/api/people?limit=3&919551492394=x", "", "Authorization", "Bearer "+token)
	require.NoError(t, s.Shutdown(t.Context()))
	log := bash("otpbridge audit export")
	require.Regexp(t, `"action":"GET /api/people","actor":"per_\w+","actor_kind":"person".*"parameters":\["limit","other"\]`, log)
	require.Regexp(t, `"action":"POST /api/auth/register",.*"parameters":\["setup_token","email","name","password"\]`, log)
	for _, secret := range []string{password, token, setup, "919551492394", "Olga"} {
		require.NotContains(t, log, secret)
	}
	bash("otpbridge audit verify --since pushed")
	long := "{ head -c 17000000 /dev/zero | tr '\\0' '\\n'; cat pushed; } > long"
	require.Contains(t, bash(long+" && otpbridge audit verify --since long"), "so do",
		"a busy server writes as much in half a day")
	require.Greater(t, strings.Count(page(t, pushed), "— otpbridge-"), 1, "the server pushes checkpoints")
	require.Contains(t, s.log.String(), "audit checkpoint")
}
