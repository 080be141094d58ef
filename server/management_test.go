package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
)

// The page's commands work in order on a production server, from the first owner to the logout. The commands that the
// program prints work too.
func TestManagement_ThePagesCommandsWork(t *testing.T) {
	needs(t, "bash", "curl", "sed")
	t.Parallel()
	environ := productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s", "OTPBRIDGE_DOORS=api"))
	s := boot(t, environ...)
	folder := t.TempDir()
	bash := func(script, input string) string {
		t.Helper()
		command := exec.Command("bash", "-euo", "pipefail", "-c", script)
		command.Dir, command.Stdin = folder, strings.NewReader(input)
		command.Env = append(append([]string{}, environ...), "OTPBRIDGE_ADDR="+s.Addr(), "NO_PROXY=*", "no_proxy=*",
			"PATH="+filepath.Dir(program(t))+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s\n%s\n%s", script, out, s.log)
		return string(out)
	}
	text := page(t, "doc/management.md")
	const password = "tandem-marzipan-kayak-41"
	token := regexp.MustCompile(`otpl_[\w-]{43}`).FindString(bash(blocks(t, text, "setup", "sh")[0], ""))
	require.NotEmpty(t, token)
	steps := regexp.MustCompile("(?s)\\n<!-- [a-z-]+ -->\\n```sh\\n(.*?)```\\n").FindAllStringSubmatch(text, -1)
	require.Greater(t, len(steps), 10)
	script := ""
	for _, step := range steps[1:] { // the first one is setup
		script += step[1]
	}
	here := strings.NewReplacer("https://otp.shop.example", s.URL(), "otpl_…", token)
	// At the point where a person reads the app's code, the script is split into two.
	before, after, found := strings.Cut(here.Replace(script), "read -rp 'Code in the app: ' CODE\n")
	require.True(t, found)
	out := bash(before+"declare -p URL PASSWORD TOKEN > shell; declare -f member >> shell\n", password+"\n")
	var factor struct{ Secret string }
	require.NoError(t, json.Unmarshal([]byte(page(t, filepath.Join(folder, "factor.json"))), &factor))
	code, err := totp.GenerateCode(factor.Secret, time.Now())
	require.NoError(t, err)
	out += bash("source ./shell; CODE="+code+"\n"+after, "")
	require.Contains(t, out, `"backup_codes":["`)
	require.Contains(t, out, `"email":"owner@shop.example"`)
	require.Contains(t, out, `"role":"owner"`)
	for _, part := range []string{`"permissions":["send:otp","verify:otp"]`, `"allowed_ips":["203.0.113.0/24"]`,
		`"status":"active"`, `"status":"revoked"`, `"look_at":"/api/audit?credential=key_`} {
		require.Contains(t, out, part)
	}
	require.NoFileExists(t, filepath.Join(folder, "session.json"))

	// The printed command asks for the password, so that it is not on a command line.
	printed := regexp.MustCompile(`(?s)  (read .*? -d @-\n)`)
	pasted := func(command string) string {
		made := strings.Replace(printed.FindString(bash(command, "")), `"name":"…"`, `"name":"Dev"`, 1)
		require.NotContains(t, made[max(0, strings.Index(made, "curl ")):], "otpl_", "nor the token")
		return bash(made, "quartz violin harbour 77\n")
	}
	require.Contains(t, pasted("otpbridge user create dev@shop.example --role developer"), `"role":"developer"`)
	require.Empty(t, pasted("otpbridge user recover dev@shop.example"), "204 has no body")
	require.NotContains(t, s.log.String(), password)
	require.NotContains(t, s.log.String(), token)
}
