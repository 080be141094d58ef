package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/testclient/conform"
)

// The conformance client is written from the protocol and shares no code with the server. Every case of every level
// passes with both profiles. The server runs in this process, so that the race detector and goleak watch it.
func TestConformance_EveryCasePasses(t *testing.T) {
	t.Parallel()
	requireAllPass(t, boot(t, variables(t)...).URL())
}

// Every case passes with other process-wide settings too. Each server is a normal build.
func TestConformance_EveryCasePassesWithOtherSettings(t *testing.T) {
	t.Parallel()
	for name, environ := range map[string][]string{
		"live house on another path": {"OTPBRIDGE_MESSAGE_PROFILE=live", "OTPBRIDGE_CONTEXT_PATH=/legacy/otp"},
		"strict house":               {"OTPBRIDGE_STRICT_HTTP=true"},
		"nothing in path":            {"OTPBRIDGE_CONTEXT_PATH=/"},
	} {
		t.Run(name, func(t *testing.T) {
			address := startChild(t, t.TempDir(), environ...).url + contextPathOf(environ)
			if name == "strict house" {
				requireOnlyStatusFails(t, conformance(t, address))
				return
			}
			requireAllPass(t, address)
		})
	}
}

func requireAllPass(t *testing.T, address string) {
	t.Helper()
	report := conformance(t, address)
	unasked := slices.ContainsFunc(report.Results, func(r conform.Result) bool {
		return r.Status == conform.Skip && !needsMore(r.Reason)
	})
	if report.ExitCode() != conform.ExitPass || unasked {
		var text strings.Builder
		require.NoError(t, conform.PlainText(&text, report))
		t.Fatal(text.String())
	}
	t.Logf("%d cases in %s", len(report.Results), report.Took)
}

// needsMore reports whether a case was skipped because a sandbox's accounts have no such key, or because it has to
// wait in real time. TestConformance_WithKeysThatSignAndOfBothEnvironments runs the former, and FULL=1 the latter.
func needsMore(reason string) bool {
	return strings.Contains(reason, "--signing-secret") || strings.Contains(reason, "--other-api-key") ||
		strings.Contains(reason, "--slow")
}

// The keys of a sandbox's accounts do not sign and are of one environment only. So this test makes such keys as an
// operator does, and runs the cases that need them with a named account.
func TestConformance_WithKeysThatSignAndOfBothEnvironments(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	server := startChild(t, folder)
	key := func(flags ...string) (made struct {
		Secret        string `json:"secret"`
		SigningSecret string `json:"signing_secret"`
	}) {
		command := exec.CommandContext(t.Context(), program(t),
			append([]string{"key", "create", "10000000000001", "--json"}, flags...)...)
		command.Dir, command.Env = folder, []string{"PATH=" + os.Getenv("PATH")}
		out, err := command.Output()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &made))
		return made
	}
	signing, live := key("--signing", "optional"), key("--environment", "live")
	target, err := conform.NewTarget(server.url, 30*time.Second, nil)
	require.NoError(t, err)
	defer target.Close()
	report, err := conform.Run(t.Context(), conform.Options{
		Target: target, Cases: conform.Cases(), Patterns: []string{"v1", "parity"},
		AccessKey: documentedKey, CipherKey: sampleKey, CipherIV: sampleIV,
		APIKey: signing.Secret, SigningSecret: signing.SigningSecret, OtherAPIKey: live.Secret,
	})
	require.NoError(t, err)
	require.Equal(t, conform.ExitPass, report.ExitCode())
	asked := 0
	for _, r := range report.Results {
		require.False(t, r.Status == conform.Skip && needsMore(r.Reason), r.Case.ID)
		if r.Status == conform.Pass && (r.Case.Section() == "v1/signing" ||
			strings.Contains(r.Case.Requirement, "the same environment")) {
			asked++
		}
	}
	require.Equal(t, 6+4, asked, "every case of signing, and of environments where no plain servlet is switched on")
}

func conformance(t *testing.T, address string) *conform.Report {
	t.Helper()
	target, err := conform.NewTarget(address, 30*time.Second, nil)
	require.NoError(t, err)
	defer target.Close()
	report, err := conform.Run(t.Context(), conform.Options{Target: target, Cases: conform.Cases(),
		Slow: os.Getenv("FULL") != ""})
	require.NoError(t, err)
	require.Equal(t, []conform.Profile{conform.Documented, conform.Live}, report.Detection.Profiles)
	return report
}

// requireOnlyStatusFails requires the findings for an account whose refused keys get 401: two client libraries take
// that for an outage, and the client reports it.
func requireOnlyStatusFails(t *testing.T, report *conform.Report) {
	t.Helper()
	require.NotZero(t, report.Count(conform.Fail))
	for _, r := range report.Results {
		if r.Status != conform.Pass && !needsMore(r.Reason) {
			require.Equal(t, "status 401 Unauthorized", r.Actual, r.Case.ID)
			require.Equal(t, conform.Client, r.Case.Source, r.Case.ID)
		}
	}
}

func contextPathOf(environ []string) string {
	for _, variable := range environ {
		if path, ok := strings.CutPrefix(variable, "OTPBRIDGE_CONTEXT_PATH="); ok {
			return path
		}
	}
	return ""
}

// testclient is the program, built once for a test.
func testclient(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "testclient")
	out, err := exec.Command("go", "build", "-o", path, "../testclient").CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// runClient runs the program and returns its exit code and output.
func runClient(t *testing.T, program string, arguments ...string) (int, string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, arguments...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "NO_PROXY=*"}
	out, err := command.CombinedOutput()
	if command.ProcessState == nil {
		require.NoError(t, err)
	}
	return command.ProcessState.ExitCode(), string(out)
}

// The binary works as its README says: one program against another, over sockets.
func TestConformance_ByTheBinary(t *testing.T) {
	t.Parallel()
	program := testclient(t)
	server := startChild(t, t.TempDir())
	report := filepath.Join(t.TempDir(), "report.json")
	began := time.Now()
	code, out := runClient(t, program, "--target", server.url, "--report", "json="+report)
	require.Equal(t, conform.ExitPass, code, out)
	t.Logf("the binary took %s", time.Since(began))
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	var read struct {
		Counts  map[string]int
		Results []struct{ ID, Status, Reason string }
	}
	require.NoError(t, json.Unmarshal(text, &read))
	require.Zero(t, read.Counts["fail"]+read.Counts["error"])
	require.Greater(t, read.Counts["pass"], 500)
	for _, r := range read.Results {
		require.True(t, r.Status == "pass" || needsMore(r.Reason), "%s: %s", r.ID, r.Reason)
	}

	t.Run("a named account", func(t *testing.T) {
		code, out := runClient(t, program, "--target", server.url,
			"--access-key", documentedKey, "--cipher-key", sampleKey, "--cipher-iv", sampleIV)
		require.Equal(t, conform.ExitPass, code, out)
		require.Contains(t, out, "answers like the profile documented")
		require.NotContains(t, out, documentedKey)
	})
	t.Run("diff between the demo accounts", func(t *testing.T) {
		code, out := runClient(t, program, "diff", server.url+"#10000000000001", server.url+"#10000000000002")
		require.Equal(t, conform.ExitFail, code)
		requireOnlyProfilesDiffer(t, out)
		code, out = runClient(t, program, "diff", server.url+"#10000000000001", server.url+"#10000000000001")
		require.Equal(t, conform.ExitPass, code, out)
	})
	t.Run("record an integration and replay it", func(t *testing.T) {
		needs(t, "node")
		recordAndReplay(t, program, server.url)
	})
	t.Run("a new user and a wrong text", func(t *testing.T) {
		needs(t, "bash", "curl", "openssl")
		reportsWrongText(t, program, server.url)
	})
}

// requireOnlyProfilesDiffer requires exactly the differences between the demo accounts in the contract: the line end,
// the text of a wrong code, the text of the regeneration limit, and the plain servlet.
func requireOnlyProfilesDiffer(t *testing.T, out string) {
	t.Helper()
	answers := regexpAnswer.FindAllStringSubmatch(out, -1)
	require.NotEmpty(t, answers)
	require.Zero(t, len(answers)%2)
	plain := 0
	for i := 0; i < len(answers); i += 2 {
		a, b := answers[i][1], answers[i+1][1]
		b = strings.TrimSuffix(b, `\r\n`)
		b = strings.Replace(b, "Wrong PIN . No of Retries remaining # ", "Wrong PIN. No of Retries remaining #", 1)
		b = strings.Replace(b, "MAXREGEN", "Max no of tries to regeneration of pin has been reached. Please generate other",
			1)
		if a == "The feature is not enabled" && b == "Verified successfully" {
			plain++
			continue
		}
		require.Equal(t, a, b)
	}
	require.Equal(t, 1, plain, "the plain servlet")
}

var regexpAnswer = regexp.MustCompile(`(?m)^      200 text/plain; charset=utf-8 "(.*)"$`)

func recordAndReplay(t *testing.T, program, server string) {
	transcript := filepath.Join(t.TempDir(), "node.txt")
	listen := freeAddress(t)
	recorder := exec.Command(program, "record", "--target", server, "--listen", listen, transcript)
	log := new(output)
	recorder.Stderr = log
	require.NoError(t, recorder.Start())
	t.Cleanup(func() {
		if recorder.ProcessState == nil {
			_ = recorder.Process.Kill()
			_ = recorder.Wait()
		}
	})
	eventually(t, "the recorder listens", func() bool { return strings.Contains(log.String(), "Recording") })
	for _, encoding := range []string{"base64", "hex"} {
		runInteropClient(t, "node", "node/servlet_client.js",
			"TARGET=http://"+listen, "CONTEXT_PATH=/otpauthapi", "ACCESS_KEY="+liveKey,
			"CIPHER_KEY="+interopCipherKey, "CIPHER_IV="+interopCipherIV,
			"MOBILE="+newInteropMobiles().next(), "PROFILE=live", "PARAM_ENCODING="+encoding, "NO_PROXY=*", "no_proxy=*")
	}
	require.NoError(t, recorder.Process.Signal(syscall.SIGINT))
	require.NoError(t, recorder.Wait(), log)
	text, err := os.ReadFile(transcript)
	require.NoError(t, err)
	for _, secret := range []string{liveKey, interopCipherKey, "91" + "7", "203.0.113"} {
		require.NotContains(t, string(text), secret)
	}

	fresh := startChild(t, t.TempDir())
	code, out := runClient(t, program, "replay", "--target", fresh.url, transcript)
	require.Equal(t, conform.ExitPass, code, "%s\n%s", out, text)
	require.Contains(t, out, "No difference")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// reportsWrongText runs the client against another implementation with one wrong text, and runs the command that the
// report prints.
func reportsWrongText(t *testing.T, program, server string) {
	behind, err := url.Parse(server)
	require.NoError(t, err)
	wrong := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(behind) },
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			body = bytes.ReplaceAll(body, []byte("Verified successfully"), []byte("Verified succesfully"))
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Del("Content-Length")
			return err
		},
	})
	defer wrong.Close()
	code, out := runClient(t, program, "--target", wrong.URL, "--profile", "documented", "--level", "must",
		"servlet/validate")
	require.Equal(t, conform.ExitFail, code, out)
	require.Contains(t, out, `expected     the answer "Verified successfully"`)
	require.Contains(t, out, `came         the answer "Verified succesfully"`)
	_, script, found := strings.Cut(out, "to see it again (bash)\n")
	require.True(t, found)
	script, _, _ = strings.Cut(script, "\n\n")
	paste := exec.CommandContext(t.Context(), "bash", "-c", script)
	paste.Env = []string{"PATH=" + os.Getenv("PATH"), "NO_PROXY=*"}
	seen, err := paste.CombinedOutput()
	require.NoError(t, err, string(seen))
	require.True(t, strings.HasSuffix(string(seen), "Verified succesfully"), "%s\n%s", script, seen)
}
