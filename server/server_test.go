package main

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/crypto"
)

func TestServer_GenerateInboxValidate(t *testing.T) {
	s := boot(t, variables(t)...)
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919551492394")))

	found := s.messages("to=919551492394")
	require.Len(t, found, 1)
	require.Equal(t, "+919551492394", found[0].To)
	require.Equal(t, "10000000000001", found[0].Account)
	require.Equal(t, "sms", found[0].Channel)
	require.Regexp(t, `^[0-9]{6}$`, found[0].Code)
	require.Contains(t, found[0].Text, found[0].Code)

	otp := encrypted(t, sampleKey, sampleIV, found[0].Code)
	require.Equal(t, "Verified successfully", s.servlet("otpvalidationservlet", documentedKey,
		person("919551492394", "otp", otp)))
	require.Equal(t, "OTPEXPIRED", s.servlet("otpvalidationservlet", documentedKey, person("919551492394", "otp", otp)))
}

func TestServer_TheLiveAccountValidatesPlainly(t *testing.T) {
	s := boot(t, variables(t)...)
	require.Equal(t, "OTP Generated Successfully\r\n", s.servlet("otpgenservlet", liveKey, person("919551492394")))
	code := s.messages("account=10000000000002")[0].Code
	require.Equal(t, "Verified successfully\r\n", s.servlet("plainotpvalidationservlet", liveKey,
		person("919551492394", "otp", code)))
}

func TestServer_FixedCodeReplacesEveryCode(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_SANDBOX_FIXED_CODE=123456")...)
	s.servlet("otpgenservlet", documentedKey, person("919551492394"))
	require.Equal(t, "123456", s.messages("")[0].Code)
	otp := encrypted(t, sampleKey, sampleIV, "123456")
	require.Equal(t, "Verified successfully", s.servlet("otpvalidationservlet", documentedKey,
		person("919551492394", "otp", otp)))
}

func TestServer_SettingsReachTheServlets(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_CONTEXT_PATH=/", "OTPBRIDGE_MESSAGE_PROFILE=live", "OTPBRIDGE_STRICT_HTTP=true",
		"OTPBRIDGE_SERVLET_CONTENT_TYPE=text/html")...)
	a := s.do("GET", "/otpgenservlet", "", "access_key", "nobody")
	require.Equal(t, 401, a.status)
	require.Equal(t, "UNAUTHERISED USER\r\n", a.body)
	require.Equal(t, "text/html", a.header.Get("Content-Type"))
	require.Equal(t, 200, s.do("GET", "/sandbox/credentials", "").status, "the root is shared with the rest")
	require.Equal(t, 200, s.do("GET", "/livez", "").status)
	require.Equal(t, 405, s.do("DELETE", "/otpgenservlet", "").status)
}

// Two servers on one database file are one service.
func TestServer_TwoServersShareOneDatabase(t *testing.T) {
	environ := variables(t)
	a, b := boot(t, environ...), boot(t, environ...)

	waiting := make(chan []message, 1)
	go func() {
		response, err := b.agent.Get(b.url + "/sandbox/messages?wait=30s&after=2026-01-01T00:00:00Z&to=%2B919551492394")
		if err != nil {
			waiting <- nil
			return
		}
		defer response.Body.Close()
		var list struct{ Data []message }
		_ = json.NewDecoder(response.Body).Decode(&list)
		waiting <- list.Data
	}()
	require.Equal(t, "OTP Generated Successfully", a.servlet("otpgenservlet", documentedKey, person("919551492394")))
	found := <-waiting
	require.Len(t, found, 1, "b waits for what a sends")
	require.Equal(t, found, a.messages(""))

	wrong := "000000"
	if found[0].Code == wrong {
		wrong = "000001"
	}
	require.Equal(t, "Wrong PIN. No of Retries remaining #2",
		a.servlet("otpvalidationservlet", documentedKey, person("919551492394", "otp",
			encrypted(t, sampleKey, sampleIV, wrong))))
	require.Equal(t, "Wrong PIN. No of Retries remaining #1",
		b.servlet("otpvalidationservlet", documentedKey, person("919551492394", "otp",
			encrypted(t, sampleKey, sampleIV, wrong))))
	otp := encrypted(t, sampleKey, sampleIV, found[0].Code)
	require.Equal(t, "Verified successfully", b.servlet("otpvalidationservlet", documentedKey,
		person("919551492394", "otp", otp)))
	require.Equal(t, "OTPEXPIRED", a.servlet("otpvalidationservlet", documentedKey, person("919551492394", "otp", otp)))
}

func TestServer_RequestIDs(t *testing.T) {
	s := boot(t, variables(t)...)
	for _, tt := range []struct {
		name, given string
		echoed      bool
	}{
		{"eight characters", "abcd.EF_", true},
		{"all that may be in it", "aZ09._:-aZ09._:-", true},
		{"128 characters", strings.Repeat("x", 128), true},
		{"seven", "abcdefg", false},
		{"129", strings.Repeat("x", 129), false},
		{"none", "", false},
		{"a blank", "abcd efgh", false},
		{"a slash", "abcd/efgh", false},
		{"not ASCII", "abcdéfgh", false},
		{"a forged attribute", "abcdefgh status=200", false},
	} {
		a := s.do("GET", "/livez", "", "X-Request-Id", tt.given)
		got := a.header.Get("X-Request-Id")
		if tt.echoed {
			require.Equal(t, tt.given, got, tt.name)
			continue
		}
		require.Regexp(t, `^req_[A-Z2-7]{26}$`, got, tt.name)
	}

	a := s.do("GET", "/sandbox/clock?account=4711", "", "X-Request-Id", "find-me-1")
	require.Equal(t, 404, a.status)
	require.Contains(t, a.body, `"request_id":"find-me-1"`)
	require.Contains(t, s.log.String(), "route=/sandbox/clock status=404")
	require.Contains(t, s.log.String(), "request_id=find-me-1 peer=127.0.0.1 kind=not_found")
}

func TestServer_TheLogNamesTheClientBehindAProxy(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_TRUSTED_PROXIES=127.0.0.1")...)
	s.do("GET", "/sandbox/clock", "", "X-Forwarded-For", "198.51.100.1", "X-Forwarded-For", "203.0.113.9")
	require.Contains(t, s.log.String(), "peer=203.0.113.9")

	untrusting := boot(t, variables(t)...)
	untrusting.do("GET", "/sandbox/clock", "", "X-Forwarded-For", "203.0.113.9")
	require.Contains(t, untrusting.log.String(), "peer=127.0.0.1")
	require.NotContains(t, untrusting.log.String(), "203.0.113.9")
}

// A key's network list is checked against the resolved client address, not against what the caller claims.
func TestServer_NetworksOfKeysGoByTheResolvedClient(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_TRUSTED_PROXIES=127.0.0.1")...)
	account := s.account(`{"access_keys":[{"allowed_ips":["203.0.113.0/24"]}]}`)
	call := func(forwarded ...string) string {
		headers := []string{"access_key", account.AccessKey}
		for _, line := range forwarded {
			headers = append(headers, "X-Forwarded-For", line)
		}
		return s.do("GET", "/otpauthapi/otpgenservlet?"+person("919551492394").Encode(), "", headers...).body
	}
	require.Equal(t, "OTP Generated Successfully", call("203.0.113.9"))
	require.Equal(t, "UNAUTHERISED USER", call("198.51.100.1"))
	require.Equal(t, "UNAUTHERISED USER", call(), "the proxy itself")
	require.Equal(t, "UNAUTHERISED USER", call("203.0.113.9", "198.51.100.1"),
		"the client wrote the first line, the proxy the second")
	require.Equal(t, "UNAUTHERISED USER", call("203.0.113.9, 198.51.100.1"))
}

func TestServer_Health(t *testing.T) {
	s := boot(t, variables(t)...)
	require.Equal(t, answer{200, nil, "ok\n"}, bodyOf(s.do("GET", "/livez", "")))
	require.Equal(t, answer{200, nil, "ready\n"}, bodyOf(s.do("GET", "/readyz", "")))
	require.Equal(t, answer{200, nil, "database ok\nclock ok\nkeyring ok\nqueue ok\nshutdown ok\nready\n"},
		bodyOf(s.do("GET", "/readyz?verbose", "")))
	require.Equal(t, 200, s.do("HEAD", "/readyz", "").status)

	require.NoError(t, s.store.Close())
	require.Equal(t, 200, s.do("GET", "/livez", "").status, "a restart would not mend the database")
	a := s.do("GET", "/readyz", "")
	require.Equal(t, 503, a.status)
	require.Equal(t, "not ready: database, keyring\n", a.body)
	require.Contains(t, s.do("GET", "/readyz?verbose", "").body, "database failed\nclock ok\nkeyring failed\nqueue ok\n")
	require.Equal(t, 1, strings.Count(s.log.String(), `msg="not ready" check=database`),
		"logged once, not for every question")
}

func bodyOf(a answer) answer { return answer{status: a.status, body: a.body} }

func TestServer_UnknownPathsAndMethods(t *testing.T) {
	s := boot(t, variables(t)...)
	for _, path := range []string{"/nothing", "/otpauthapi", "/otpauthapi/", "/livez/", "/SANDBOX/clock",
		"/sandbox/clock/", "/otpauthapi/otpgenservlet/x"} {
		a := s.do("GET", path, "")
		require.Equal(t, 404, a.status, path)
		require.NotEmpty(t, a.header.Get("X-Request-Id"), path)
	}
	for _, method := range []string{"HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"} {
		a := s.do(method, "/otpauthapi/otpgenservlet", "", "access_key", documentedKey)
		require.Equal(t, 405, a.status, method)
	}
	require.Equal(t, 405, s.do("POST", "/sandbox/credentials", "").status)
	require.NotContains(t, s.log.String(), "BREW", "a method is a caller's free text")
}

func TestServer_HeadersAreBounded(t *testing.T) {
	s := boot(t, variables(t)...)
	require.Equal(t, 431, s.do("GET", "/livez", "", "X-Large", strings.Repeat("x", 64<<10)).status)
}

// A panic that no door recovered is answered, logged once with its stack, and does not affect other requests.
func TestServer_PanicsAreAnswered(t *testing.T) {
	settings, err := config.Load(variables(t))
	require.NoError(t, err)
	log := new(output)
	s := New(settings, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	s.engine = nil // so that readiness panics
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.listener = listener
	s.settings.Mode, s.settings.Doors = config.Production, nil
	server := &http.Server{Handler: s.routes()}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	defer served.Wait()
	defer server.Close()

	c := newClient(t, s.URL())
	a := c.do("GET", "/readyz", "", "X-Request-Id", "find-me-2")
	require.Equal(t, 500, a.status)
	require.Contains(t, a.body, "find-me-2")
	require.NotContains(t, a.body, "goroutine")
	require.Equal(t, 1, strings.Count(log.String(), "msg=panic"))
	require.Contains(t, log.String(), "health.go")
	require.Contains(t, log.String(), "route=/readyz status=500")
	require.Equal(t, 200, c.do("GET", "/livez", "").status)
}

func TestServer_PortInUse(t *testing.T) {
	s := boot(t, variables(t)...)
	folder := t.TempDir()
	settings, err := config.Load([]string{"OTPBRIDGE_ADDR=" + s.Addr(), "OTPBRIDGE_DATABASE_URL=sqlite:" +
		filepath.Join(folder, "data", "otp.db"), "OTPBRIDGE_STATE_DIR=" + folder})
	require.NoError(t, err)
	err = New(settings, slog.New(slog.DiscardHandler)).Start(t.Context())
	require.ErrorContains(t, err, "another program has this address")
	require.ErrorContains(t, err, "OTPBRIDGE_ADDR=")
	require.NoDirExists(t, filepath.Join(folder, "data"), "nothing was touched")
}

func TestServer_AWrongKeyringRefusesToStart(t *testing.T) {
	environ := variables(t)
	s := boot(t, environ...)
	require.NoError(t, s.Shutdown(t.Context()))
	for _, other := range []string{crypto.NewKeyringText("k1"), crypto.NewKeyringText("k2")} {
		settings, err := config.Load(append(environ, "OTPBRIDGE_KEYRING="+other))
		require.NoError(t, err)
		err = New(settings, slog.New(slog.DiscardHandler)).Start(t.Context())
		require.ErrorContains(t, err, `"k1"`)
	}
	boot(t, environ...)
}

// A wait may last longer than the server's read and write timeouts.
func TestServer_WaitsOutlastTheTimeouts(t *testing.T) {
	t.Parallel()
	s := boot(t, variables(t, "OTPBRIDGE_READ_TIMEOUT=1s", "OTPBRIDGE_WRITE_TIMEOUT=1s",
		"OTPBRIDGE_DELIVERY_WAIT=500ms")...)
	began := time.Now()
	require.Equal(t, answer{200, nil, "{\"data\":[]}\n"}, bodyOf(s.do("GET",
		"/sandbox/messages?wait=1500ms&after=2026-01-01T00:00:00Z", "")))
	require.GreaterOrEqual(t, time.Since(began), 1500*time.Millisecond)
}

func TestServe_ReportsEverySettingThatIsWrong(t *testing.T) {
	var stdout, stderr output
	code := run([]string{"serve"}, process{
		environ: []string{"OTPBRIDGE_ADRR=:1", "OTPBRIDGE_MODE=prod", "OTPBRIDGE_READ_TIMEOUT=10",
			"OTPBRIDGE_PORT=tcp://10.0.0.1:80"},
		stdout: &stdout, stderr: &stderr,
	})
	require.Equal(t, exitUnusable, code)
	for _, name := range []string{"OTPBRIDGE_ADRR", "OTPBRIDGE_ADDR", "OTPBRIDGE_MODE", "OTPBRIDGE_READ_TIMEOUT"} {
		require.Contains(t, stderr.String(), name)
	}
	require.NotContains(t, stderr.String(), "OTPBRIDGE_PORT:", "Kubernetes sets it")
	require.Empty(t, stdout.String())
}

func TestServer_ExposedSandboxIsWarnedOf(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_ADDR=0.0.0.0:0")...)
	require.Contains(t, s.log.String(), "shows every code")
	require.Regexp(t, `^http://127\.0\.0\.1:[0-9]+$`, s.URL())
	require.NotContains(t, boot(t, variables(t)...).log.String(), "shows every code")
	require.NoFileExists(t, filepath.Join("data", "keyring"), "tests leave nothing behind")
	_, err := os.Stat("data")
	require.ErrorIs(t, err, os.ErrNotExist)
}
