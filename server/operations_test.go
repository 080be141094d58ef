package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/crypto"
	"otpbridge/server/vault"
)

// logged is one line in each of the two forms.
func logged(t *testing.T, write func(*slog.Logger)) (text string, object map[string]any) {
	t.Helper()
	for _, format := range []config.LogFormat{config.JSONFormat, "text"} {
		var out bytes.Buffer
		writer := newLogWriter(&out)
		write(newLog(config.Settings{LogFormat: format}, writer))
		require.NoError(t, writer.Close())
		if format == config.JSONFormat {
			require.NoError(t, json.Unmarshal(out.Bytes(), &object), out.String())
		} else {
			text = out.String()
		}
	}
	return text, object
}

func TestLog_DurationsHaveTheirUnit(t *testing.T) {
	for name, tt := range map[string]struct {
		write func(*slog.Logger)
		text  string
	}{
		"as an argument":      {func(l *slog.Logger) { l.Info("m", "took", 1500*time.Microsecond) }, "took_ms=1.5"},
		"as an attribute":     {func(l *slog.Logger) { l.Info("m", slog.Duration("took", time.Second)) }, "took_ms=1000"},
		"under a microsecond": {func(l *slog.Logger) { l.Info("m", "took", 900*time.Nanosecond) }, "took_ms=0"},
		"an hour":             {func(l *slog.Logger) { l.Info("m", "took", time.Hour) }, "took_ms=3.6e+06"},
		"below zero":          {func(l *slog.Logger) { l.Info("m", "off", -time.Millisecond) }, "off_ms=-1"},
		"of the logger":       {func(l *slog.Logger) { l.With("wait", time.Millisecond).Info("m") }, "wait_ms=1"},
		"behind others": {func(l *slog.Logger) { l.Info("m", "a", 1, "b", "x", "wait", time.Millisecond) },
			"wait_ms=1"},
		"two of them": {func(l *slog.Logger) { l.Info("m", "a", time.Millisecond, "b", time.Second) },
			"a_ms=1 b_ms=1000"},
		"in a group": {func(l *slog.Logger) { l.Info("m", slog.Group("g", "wait", time.Millisecond)) },
			"g.wait_ms=1"},
		"below a group": {func(l *slog.Logger) { l.WithGroup("g").Info("m", "wait", time.Millisecond) }, "g.wait_ms=1"},
		"of a valuer":   {func(l *slog.Logger) { l.Info("m", "wait", valuer(time.Millisecond)) }, "wait_ms=1"},
	} {
		text, object := logged(t, tt.write)
		require.Contains(t, text, tt.text, name)
		encoded, err := json.Marshal(object)
		require.NoError(t, err)
		require.Contains(t, string(encoded), `_ms":`, name)
		require.NotContains(t, string(encoded), "000000", "%s: nanoseconds", name)
	}
	text, _ := logged(t, func(l *slog.Logger) { l.Info("m", "text", "1ms", "count", 3) })
	require.Contains(t, text, "text=1ms count=3", "only durations change")
}

type valuer time.Duration

func (v valuer) LogValue() slog.Value { return slog.DurationValue(time.Duration(v)) }

func TestLog_ARequestNamesItsServletAndKey(t *testing.T) {
	s := boot(t, variables(t)...)
	last := func() string {
		lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
		return lines[len(lines)-1]
	}
	for _, name := range []string{"otpgenservlet", "otpvalidationservlet", "otpregenservlet",
		"plainotpvalidationservlet", "OTPGenServlet", "otpgenservlet;jsessionid=1"} {
		canonical, _, _ := strings.Cut(strings.ToLower(name), ";")
		s.servlet(name, liveKey, person("919551492394", "otp", "123456"))
		require.Contains(t, last(), " servlet="+canonical+" ", name)
		require.Regexp(t, ` key=key_[0-9a-z]{26}\b`, last(), name)
		require.Regexp(t, ` duration_ms=[0-9.e+-]+ `, last(), name)
	}
	s.servlet("otpgenservlet", "nobody's-key-at-all", person("919551492394"))
	require.NotContains(t, last(), " key=", "nobody's key has no id")
	require.Contains(t, last(), " servlet=otpgenservlet ")
	s.do("POST", "/v1/send", `{"to":"+919551492394","method":"sms","type":"verification"}`, asAPI...)
	require.Regexp(t, ` key=key_[0-9a-z]{26}\b`, last())
	s.do("GET", "/livez", "")
	require.NotContains(t, s.log.String(), liveKey)
}

// An error of the start is logged in the log's own form; otherwise a log collector never shows it.
func TestServe_StartFailuresAreInTheLogsForm(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, []byte("no folder"), 0o600))
	good := []string{
		"OTPBRIDGE_ADDR=127.0.0.1:0", "OTPBRIDGE_METRICS_ADDR=", "OTPBRIDGE_MODE=production",
		"OTPBRIDGE_DATABASE_URL=sqlite:" + filepath.Join(folder, "otp.db"), "OTPBRIDGE_KEYRING=" +
			crypto.NewKeyringText("k1"),
		"OTPBRIDGE_STATE_DIR=" + filepath.Join(folder, "state"),
	}
	for name, tt := range map[string]struct {
		variable string
		code     int
		says     string
	}{
		"an unknown setting": {"OTPBRIDGE_ADRR=:1", exitUnusable, "OTPBRIDGE_ADDR"},
		"a bad value":        {"OTPBRIDGE_READ_TIMEOUT=10", exitUnusable, "READ_TIMEOUT"},
		"an unknown mode":    {"OTPBRIDGE_MODE=prod", exitUnusable, "OTPBRIDGE_MODE"},
		"an address in use": {"OTPBRIDGE_ADDR=" + taken.Addr().String(), exitFailed,
			"another program has this address"},
		"a metrics address in use": {"OTPBRIDGE_METRICS_ADDR=" + taken.Addr().String(), exitFailed,
			"another program has this address"},
		"no keyring":         {"OTPBRIDGE_KEYRING=", exitUnusable, "KEYRING"},
		"what is no keyring": {"OTPBRIDGE_KEYRING=k1 AAAA", exitUnusable, "keyring"},
		"a bad channel":      {"OTPBRIDGE_SMS_CHANNELS=gopher://x", exitUnusable, "SMS_CHANNELS"},
		"a database in a file": {"OTPBRIDGE_DATABASE_URL=sqlite:" + filepath.Join(file, "otp.db"), exitUnusable,
			"is a file and no folder"},
		"a database that is none":   {"OTPBRIDGE_DATABASE_URL=sqlite:" + file, exitFailed, "database"},
		"nobody answers for MySQL":  {"OTPBRIDGE_DATABASE_URL=mysql://u:p@127.0.0.1:1/d", exitFailed, "127.0.0.1:1"},
		"no certificate":            {"OTPBRIDGE_TLS_CERT_FILE=" + file, exitUnusable, "TLS"},
		"what belongs to a sandbox": {"OTPBRIDGE_SANDBOX_FIXED_CODE=123456", exitUnusable, "SANDBOX_FIXED_CODE"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr output
			environ := append(append([]string{}, good...), tt.variable)
			if name == "an unknown mode" {
				environ = append(environ, "OTPBRIDGE_LOG_FORMAT=json")
			}
			require.Equal(t, tt.code, run([]string{"serve"}, process{environ: environ, stdout: io.Discard, stderr: &stderr}),
				stderr.String())
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			var last map[string]any
			for _, line := range lines {
				last = nil
				require.NoError(t, json.Unmarshal([]byte(line), &last), stderr.String())
			}
			require.Equal(t, "ERROR", last["level"])
			require.Contains(t, last["error"], tt.says)
			require.Equal(t, 1, strings.Count(stderr.String(), `"level":"ERROR"`), "it is said once")
		})
	}
	var stderr output
	require.Equal(t, exitUnusable, run([]string{"serve"}, process{environ: []string{"OTPBRIDGE_ADRR=:1"},
		stdout: io.Discard, stderr: &stderr}))
	require.True(t, strings.HasPrefix(stderr.String(), "otpbridge: the settings have 1 fault:\n  "),
		"a person reads text: %s", stderr.String())
}

func TestRemedies_OfFoldersAndKeyrings(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	cause := errors.New("the cause")
	require.Equal(t, cause, folderRemedy(cause, filepath.Join(folder, "new", "keyring"), "KEYRING_FILE"),
		"it can be written")
	require.Equal(t, cause, folderRemedy(cause, filepath.Join(folder, "keyring"), "KEYRING_FILE"))
	require.Empty(t, mustGlob(t, filepath.Join(folder, ".otpbridge*")), "nothing is left behind")
	for _, path := range []string{filepath.Join(file, "keyring"), filepath.Join(file, "a", "b", "keyring")} {
		err := folderRemedy(cause, path, "KEYRING_FILE")
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, file+" is a file and no folder")
		require.ErrorContains(t, err, "OTPBRIDGE_KEYRING_FILE")
	}
	if runtime.GOOS == "linux" { // where not even root can write
		err := folderRemedy(cause, "/proc/data/keyring", "KEYRING_FILE")
		if _, remedied := errors.AsType[unusable](err); remedied {
			require.ErrorContains(t, err, "cannot write to /proc")
		}
	}

	// A sandbox whose keyring was lost makes another, which does not match the database.
	data := filepath.Join(folder, "sandbox")
	require.NoError(t, os.Mkdir(data, 0o700))
	start := func() (int, string) {
		c := exec.Command(program(t), "account", "list")
		c.Dir, c.Env = data, []string{"PATH=" + os.Getenv("PATH")}
		out, _ := c.CombinedOutput()
		return c.ProcessState.ExitCode(), string(out)
	}
	child := startChild(t, data)
	child.kill()
	code, out := start()
	require.Equal(t, exitOK, code, out)
	require.NoError(t, os.WriteFile(filepath.Join(data, "data", "keyring"), []byte(crypto.NewKeyringText("k1")), 0o600))
	code, out = start()
	require.Equal(t, exitUnusable, code, out)
	for _, says := range []string{"data/keyring", "put the former file back", "begin anew"} {
		require.Contains(t, out, says)
	}
	require.Equal(t, cause, keyringRemedy(cause, config.Settings{}))
	wrong := vault.KeyringError{}
	require.Equal(t, error(wrong), keyringRemedy(wrong, config.Settings{Mode: config.Production}),
		"production's is not the program's to remake")
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	require.NoError(t, err)
	return found
}

func TestVersion_IsRealEverywhere(t *testing.T) {
	needs(t, "go")
	for _, arguments := range [][]string{{"--version"}, {"version"}} {
		out, err := exec.Command(program(t), arguments...).CombinedOutput()
		require.NoError(t, err)
		require.Regexp(t, `^otpbridge v1\.2\.3-4-gabcdef0 go1\.[0-9.]+\S* \w+/\w+\n$`, string(out))
	}
	s := boot(t, variables(t, "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0")...)
	require.Contains(t, scrape(t, s.Server, "/metrics"), `version="`+version()+`"`)
	require.NotEqual(t, "(devel)", version())
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	require.Contains(t, string(makefile), "-X main.stamped=$(VERSION)")
}

func TestServer_RootAndIconAreNoNoise(t *testing.T) {
	s := boot(t, variables(t)...)
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", http.StatusOK}, {"HEAD", "/", http.StatusOK},
		{"GET", "/favicon.ico", http.StatusNoContent}, {"HEAD", "/favicon.ico", http.StatusNoContent},
		{"POST", "/favicon.ico", http.StatusMethodNotAllowed}, {"POST", "/", http.StatusMethodNotAllowed},
	} {
		a := s.do(tt.method, tt.path, "")
		require.Equal(t, tt.status, a.status, tt.method+" "+tt.path)
		if tt.method == "HEAD" {
			require.Empty(t, a.body)
		}
	}
	p := boot(t, productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s"))...)
	require.Equal(t, http.StatusNoContent, p.do("GET", "/favicon.ico", "").status)
	require.Equal(t, p.do("GET", "/", "").status, p.do("HEAD", "/", "").status)

	root := boot(t, variables(t, "OTPBRIDGE_CONTEXT_PATH=/")...)
	require.Equal(t, http.StatusNoContent, root.do("GET", "/favicon.ico", "").status, "the servlets' paths do not take it")
}

// The calls at the beginning of the API's page work when they are pasted.
func TestDocs_TheExampleWorks(t *testing.T) {
	needs(t, "bash", "curl", "sed")
	s := boot(t, variables(t)...)
	page := s.do("GET", "/docs", "").body
	_, rest, found := strings.Cut(page, `<pre id="example"`)
	require.True(t, found)
	_, rest, _ = strings.Cut(rest, ">")
	example, _, _ := strings.Cut(rest, "</pre>")
	script := html.UnescapeString(example)
	require.Contains(t, script, demoAPIKey)
	out, err := exec.Command("bash", "-euo", "pipefail", "-c", script).CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
	require.Contains(t, string(out), `"status":"queued"`)
	require.Contains(t, string(out), `"valid":true`)

	p := boot(t, productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s"))...)
	shown := p.do("GET", "/docs", "").body
	require.NotContains(t, shown, demoAPIKey)
	require.NotContains(t, shown, "/sandbox/")
	require.Contains(t, shown, "YOUR_API_KEY")
}
