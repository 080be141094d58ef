package main

import (
	"encoding/base32"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// secretMembers are the members and fields in which callers send secrets, in any call.
var secretMembers = []string{"password", "current_password", "new_password", "mfa_code", "refresh_token", "setup_token",
	"invitation", "recovery_token", "client_secret", "client_assertion", "private_key", "secret", "cipher_key"}

// Every call gets passwords, seeds, tokens and private keys, in the right members and in wrong ones, and some calls
// make them. None is stored or shown, except where it is shown once.
func TestSentinel_NothingSecretOfPeopleIsKeptOrTold(t *testing.T) {
	t.Parallel()
	environ := variables(t, "OTPBRIDGE_LOG_LEVEL=debug", "OTPBRIDGE_AUTH_FAILURES_PER_MINUTE=0",
		"OTPBRIDGE_METRICS_ADDR=127.0.0.1:0")
	s := boot(t, environ...)
	w := new(witness)
	password := w.text("password")
	owner := w.made(s, "/api/auth/register", `{"email":"boss@shop.example","name":"Olga","password":"`+password+`"}`, "")
	var delivered output
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(&delivered, r.Body)
		fmt.Fprintln(&delivered, r.Header)
	}))
	defer receiver.Close()
	w.made(s, "/api/webhooks", `{"account":"10000000000001","events":["*"],"url":"`+receiver.URL+`"}`, owner)
	answers := w.everyManagementCall(s, owner)
	answers.WriteString(s.do("GET", "/api/audit?limit=100", "", "Authorization", "Bearer "+owner).body)
	require.Greater(t, len(w.sentinels), 1000)
	require.Empty(t, leaks([]byte(answers.String()), w.sentinels), "in an answer")
	require.Empty(t, leaks([]byte(scrape(t, s.Server, "/metrics")), w.sentinels), "in the metrics")
	require.Empty(t, leaks([]byte(s.log.String()), w.sentinels), "in the log")
	require.Contains(t, s.log.String(), "msg=request")
	require.Eventually(t, func() bool { return strings.Count(delivered.String(), `"type":"key.created"`) >= 5 },
		20*time.Second, 10*time.Millisecond)
	require.Empty(t, leaks([]byte(delivered.String()), w.sentinels), "in a webhook's delivery")
	path := strings.TrimPrefix(environ[1], "OTPBRIDGE_DATABASE_URL=sqlite:")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NotEmpty(t, content)
		require.Empty(t, leaks(content, w.sentinels), "in the database")
	}
}

// made makes an object whose secrets are shown once, remembers the secrets, and returns the access token or the id.
func (w *witness) made(s *booted, path, body, owner string) string {
	headers := []string{"Content-Type", "application/json"}
	if owner != "" {
		headers = append(headers, "Authorization", "Bearer "+owner)
	}
	a := s.do("POST", path, body, headers...)
	require.Equal(s.t, 201, a.status, "%s: %s", path, a.body)
	document, found := decoded(s.t, a), 0
	for _, name := range []string{"access_token", "refresh_token", "secret", "client_secret", "key", "private_key",
		"signing_secret", "recovery_token", "invitation"} {
		text, _ := document[name].(string)
		if text == "" {
			continue
		}
		found++
		w.add(textSentinel(name+" of "+path, text))
		if block, _ := pem.Decode([]byte(text)); block != nil {
			w.add(bytesSentinel("private key", block.Bytes), bytesSentinel("seed of a key", block.Bytes[len(block.Bytes)-32:]))
		}
		if seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text); err == nil {
			w.add(bytesSentinel("seed", seed))
		}
	}
	require.NotZero(s.t, found, "%s made nothing secret: %s", path, a.body)
	if token, is := document["access_token"].(string); is {
		return token
	}
	return ""
}

// form returns a form with a secret in each field that accepts one.
func (w *witness) form() url.Values {
	form := url.Values{}
	for _, name := range secretMembers {
		form.Set(name, w.text(name))
	}
	return form
}

// browserSession returns the cookie and the CSRF token of an access token's session.
func (s *booted) browserSession(token string) (cookie, csrf string) {
	ask := func(path string) map[string]any {
		return decoded(s.t, s.do("GET", path, "", "Authorization", "Bearer "+token))
	}
	session := ask("/api/auth/sessions")["data"].([]any)[0].(map[string]any)["id"].(string)
	return "otpbridge=" + s.people.Cookie(session), ask("/api/csrf-token")["csrf_token"].(string)
}

var pathParameter = regexp.MustCompile(`[:*][a-z_]+`)

// everyManagementCall makes every call of the server, except those of the servlets and the sandbox, with secrets in
// every place, as a stranger and as the owner; it also posts the console's forms with a browser's session. It returns
// the answers. It skips the inbox's stream, which never ends.
func (w *witness) everyManagementCall(s *booted, owner string) *strings.Builder {
	answers := new(strings.Builder)
	w.made(s, "/api/auth/mfa/enable", `{"name":"phone"}`, owner)
	for i := range 5 {
		w.made(s, "/api/keys", fmt.Sprintf(`{"account":"10000000000001","name":"k%d","signing":"required"}`, i), owner)
		w.made(s, "/api/service-accounts", fmt.Sprintf(`{"name":"s%d","role":"auditor"}`, i), owner)
		w.made(s, "/api/people", fmt.Sprintf(`{"email":"p%d@shop.example","role":"auditor"}`, i), owner)
	}
	calls, taken := 0, 0
	cookie, csrf := s.browserSession(owner)
	for _, route := range s.router().Routes() {
		prefix := strings.SplitN(route.Path+"/", "/", 3)[1]
		if strings.HasSuffix(route.Path, "inbox/live") || !strings.Contains(" api oauth v1 console ", " "+prefix+" ") {
			continue
		}
		calls++
		path := pathParameter.ReplaceAllString(route.Path, "x")
		ask := func(body, kind string, headers ...string) {
			a := s.do(route.Method, path, body, append(headers, "Content-Type", kind)...)
			answers.WriteString(a.body)
			fmt.Fprintln(answers, a.header)
		}
		const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
		ask(`{}`, asJSON, "Authorization", "Bearer "+w.text("bearer"))
		ask(`{}`, asJSON, "Authorization", "Bearer eyJhbGciOiJIUzI1NiJ9."+w.text("claims")+"."+w.text("signature"))
		ask(`{}`, asJSON, "Cookie", "otpbridge="+w.text("cookie"), "X-CSRF-Token", w.text("CSRF token"))
		if route.Method == http.MethodGet {
			continue
		}
		form := w.form()
		ask(form.Encode(), asForm)
		all := []string{`"email":"boss@shop.example"`}
		for name, values := range w.form() {
			all = append(all, fmt.Sprintf("%q:%q", name, values[0]))
		}
		ask(`{`+strings.Join(all, ",")+`}`, asJSON)
		if strings.Contains(path, "logout") || strings.Contains(path, "sessions") || strings.Contains(path, "security/end") {
			continue // these end the owner's
		}
		one := secretMembers[calls%len(secretMembers)]
		ask(fmt.Sprintf(`{%q:%q}`, one, w.text(one)), asJSON, "Authorization", "Bearer "+owner)
		if prefix == "console" {
			taken++
			form = w.form()
			form.Set("csrf", csrf)
			ask(form.Encode(), asForm, "Cookie", cookie, "Origin", s.URL())
		}
	}
	require.NotContains(s.t, answers.String(), "of another login", "the forms come with a session that counts")
	require.Greater(s.t, calls, 100)
	require.Greater(s.t, taken, 40)
	w.wrongLogins(s, answers)
	return answers
}

// wrongLogins sends secrets as wrong credentials to the logins.
func (w *witness) wrongLogins(s *booted, answers *strings.Builder) {
	for _, ask := range []string{`login {"email":"boss@shop.example","password":%q}`, `refresh {"refresh_token":%q}`,
		`login {"email":"boss@shop.example","password":%q,"mfa_code":"1"}`, `recover {"recovery_token":"x","password":%q}`,
		`recover {"recovery_token":%q,"password":"x"}`, `login {"email":"nobody@shop.example","password":%q}`} {
		call, body, _ := strings.Cut(ask, " ")
		answers.WriteString(s.do("POST", "/api/auth/"+call, fmt.Sprintf(body, w.text(call)), "Content-Type",
			"application/json").body)
	}
}
