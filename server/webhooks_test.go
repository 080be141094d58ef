package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

// The page's commands work with a sandbox and a receiver that verifies as the page says.
func TestWebhooks_ThePagesCommandsWork(t *testing.T) {
	needs(t, "bash", "curl", "sed")
	environ := variables(t)
	s := boot(t, environ...)
	folder := t.TempDir()
	secrets := make(chan string, 1)
	types := make(chan string, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		secret := <-secrets
		secrets <- secret
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err != nil || verifier.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, rest, _ := strings.Cut(string(body), `"type":"`)
		name, _, _ := strings.Cut(rest, `"`)
		types <- name
	}))
	t.Cleanup(receiver.Close)
	here := strings.NewReplacer("https://otp.shop.example", s.URL(), "https://hooks.shop.example", receiver.URL)
	text := page(t, "doc/webhooks.md")
	script := ""
	bash := func(marker, after string) string {
		t.Helper()
		command := exec.Command("bash", "-euo", "pipefail", "-c", script+here.Replace(blocks(t, text, marker, "sh")[0])+after)
		command.Dir = folder
		command.Env = append(append([]string{}, environ...), "NO_PROXY=*", "no_proxy=*",
			"PATH="+filepath.Dir(program(t))+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s\n%s\n%s", marker, out, s.log)
		return string(out)
	}
	key := regexp.MustCompile(`otpb_\w+`).FindString(bash("key", ""))
	require.NotEmpty(t, key)
	script = strings.Replace(here.Replace(blocks(t, text, "call", "sh")[0]), "otpb_…", key, 1)
	known := strings.Split(bash("create", `printf '%s\n%s\n' "$ID" "$SECRET"`), "\n")
	require.Regexp(t, `^whsec_`, known[1])
	secrets <- known[1]
	script += "ID=" + known[0] + "\n"

	answer := s.do("POST", "/v1/send", `{"to":"+919551492394","method":"sms","type":"verification"}`, "Authorization",
		"Bearer "+s.manage.Sandbox.DemoCredentials()[0].APIKey, "Content-Type", "application/json")
	require.Equal(t, http.StatusCreated, answer.status, answer.body)
	told := func() string {
		select {
		case name := <-types:
			return name
		case <-time.After(20 * time.Second):
			return "nothing"
		}
	}
	require.Equal(t, "otp.sent", told())
	require.Contains(t, bash("change", ""), `"description":"orders"`)
	require.Contains(t, bash("test", ""), `"ok":true`)
	require.Equal(t, "webhook.test", told())
	require.Eventually(t, func() bool { return strings.Contains(bash("deliveries", ""), `"type":"otp.sent"`) },
		20*time.Second, 50*time.Millisecond)
	require.Equal(t, "{\"count\":0}{\"count\":0}", bash("replay", ""))
	bash("rotate", "")
	require.Contains(t, page(t, filepath.Join(folder, "made.json")), `"secret":"whsec_`)
	require.Empty(t, bash("delete", ""))
	for _, secret := range []string{known[1], key, "9551492394"} {
		require.NotContains(t, s.log.String(), secret)
	}
}
