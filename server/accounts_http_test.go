package main

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
)

// The page's own commands, on a production server, as an owner with a second factor.
func TestAccounts_ThePagesCommandsWork(t *testing.T) {
	needs(t, "bash", "curl", "sed")
	environ := productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s", "OTPBRIDGE_DOORS=servlet,api"))
	s := boot(t, environ...)
	folder, text := t.TempDir(), page(t, "doc/accounts.md")
	run := func(script string) string {
		t.Helper()
		command := exec.Command("bash", "-euo", "pipefail", "-c", script)
		command.Dir, command.Env = folder, append([]string{"PATH=/usr/bin:/bin", "NO_PROXY=*", "no_proxy=*"}, environ...)
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s\n%s\n%s", script, out, s.log)
		return string(out)
	}
	token := ownerToken(t, s.URL(), environ)
	here := strings.NewReplacer("https://otp.shop.example", s.URL(), "TOKEN=…", "TOKEN="+token)
	begin := here.Replace(blocks(t, text, "account", "sh")[0])
	script := begin
	for _, marker := range []string{"change", "messages", "reviewer"} {
		script += blocks(t, text, marker, "sh")[0]
	}
	out := run(script)
	for _, said := range []string{`"state":"active"`, `"otp_ttl_seconds":180`, `"text":"123456 logs you in to Shop"`,
		`"reason":"review of app 3.2"`} {
		require.Contains(t, out, said)
	}
	require.NotContains(t, out, "246810")
	var made struct{ Secrets map[string]string }
	require.NoError(t, json.Unmarshal([]byte(page(t, folder+"/made.json")), &made))
	request, err := http.NewRequest(http.MethodPost, s.URL()+"/otpauthapi/otpgenservlet?ipaddress=1&mobile=919551492394",
		nil)
	require.NoError(t, err)
	request.Header.Set("access_key", made.Secrets["access_key"])
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	response.Body.Close()
	again, _, _ := strings.Cut(begin, "api $URL/api/accounts -d") // who and where, without making it anew
	out = run(again + blocks(t, text, "support", "sh")[0] + blocks(t, text, "delete", "sh")[0])
	require.Contains(t, out, `"sends_last_hour":1`)
	require.Contains(t, out, `"spend_today":null`)
	require.NotContains(t, s.log.String(), "9551492394")
}

// ownerToken registers the first owner of a server, enrols an app and logs in with it.
func ownerToken(t *testing.T, url string, environ []string) string {
	t.Helper()
	var out, problems output
	require.Equal(t, exitOK, run([]string{"setup"}, process{environ: environ, stdout: &out, stderr: &problems}),
		problems.String())
	ask := func(path, token, body string) (got map[string]any) {
		t.Helper()
		request, err := http.NewRequest(http.MethodPost, url+path, strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		require.NoError(t, json.NewDecoder(response.Body).Decode(&got))
		require.Less(t, response.StatusCode, 300, got)
		return got
	}
	const who = `"email":"owner@shop.example","password":"tandem-marzipan-kayak-41"`
	issued := regexp.MustCompile(`otpl_[\w-]{43}`).FindString(out.String())
	token := ask("/api/auth/register", "", `{`+who+`,"name":"Olga","setup_token":"`+issued+`"}`)["access_token"].(string)
	app := ask("/api/auth/mfa/enable", token, `{}`)
	code := func(later time.Duration) string {
		text, err := totp.GenerateCode(app["secret"].(string), time.Now().Add(later))
		require.NoError(t, err)
		return text
	}
	ask("/api/auth/mfa/confirm", token, `{"id":"`+app["id"].(string)+`","code":"`+code(0)+`"}`)
	return ask("/api/auth/login", "", `{`+who+`,"mfa_code":"`+code(30*time.Second)+`"}`)["access_token"].(string)
}
