package conform

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of the frame use the reference server, and servers that are wrong in ways that its mutants are not: in
// front of it, or instead of it.

// newTestTarget returns a target whose connections end with the test.
func newTestTarget(t *testing.T, address string) *Target {
	t.Helper()
	target, err := NewTarget(address, 10*time.Second, nil)
	require.NoError(t, err)
	t.Cleanup(target.Close)
	return target
}

// serve runs a handler until the test ends.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// changed is the reference server with one text replaced in its answers.
func changed(t *testing.T, from, to string) string {
	t.Helper()
	behind, err := url.Parse(serve(t, newReference("")))
	require.NoError(t, err)
	return serve(t, &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(behind)
			p.Out.URL.RawQuery = p.In.URL.RawQuery
		},
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			if err != nil || strings.HasPrefix(r.Request.URL.Path, "/sandbox/") {
				r.Body = io.NopCloser(bytes.NewReader(body))
				return err
			}
			body = bytes.ReplaceAll(body, []byte(from), []byte(to))
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.Header.Set("Content-Length", fmt.Sprint(len(body)))
			return nil
		},
	})
}

// needs skips a test whose programs are missing on a developer's machine, and fails it in CI.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not on PATH", program)
			}
			t.Skipf("%s is not on PATH", program)
		}
	}
}

// What a new user does: run, read which requirement fails, paste the script, see the failure.
func TestRun_AChangedTextIsReportedWithAScriptThatShowsIt(t *testing.T) {
	needs(t, "bash", "curl", "openssl", "base64", "od", "sed", "tr")
	for _, wrong := range []struct{ from, to, cases string }{
		{"Verified successfully", "Verified with success", "servlet/validate servlet/cipher servlet/accounts"},
		{"OTPEXPIRED", "OTP EXPIRED", "servlet/validate servlet/regenerate"},
		{"Retries remaining", "tries remaining", "servlet/cipher servlet/validate"},
		{"Invalid Parameters", "Invalid parameters", "servlet/request servlet/generate"},
		{"SMSEMAILFAIL", "FAIL", "servlet/generate"},
		{"Max no of tries for", "Max number of tries for", "servlet/validate servlet/limits"},
		{"MISMATCH", "NO_MATCH", "v1/verify/4 v1/verify/5 v1/verify/17 v1/limits/10 parity/35 parity/43"},
		{"REPLACED", "OLD", "v1 parity"},
		{"AUTH_004", "AUTH_404", "v1/common"},
		{"RATE_LIMIT_EXCEEDED", "TOO_MUCH", "v1/limits v1/resend"},
		{"NOT_FOUND", "NOBODY", "v1/verify parity"},
	} {
		t.Run(wrong.to, func(t *testing.T) {
			t.Parallel()
			target := newTestTarget(t, changed(t, wrong.from, wrong.to))
			report, err := Run(t.Context(), Options{Target: target, Cases: Cases(), Patterns: strings.Fields(wrong.cases),
				Profile: Live})
			require.NoError(t, err)
			require.Equal(t, ExitFail, report.ExitCode())
			shown, failed := 0, 0
			for i := range report.Results {
				r := &report.Results[i]
				require.NotEqual(t, Error, r.Status, "%s: %s", r.Case.ID, r.Reason)
				if r.Status != Fail || !strings.Contains(r.Expected, wrong.from) {
					continue
				}
				if failed++; failed%5 != 1 && os.Getenv("FULL") == "" {
					continue // each script takes a dozen processes
				}
				require.Contains(t, r.Actual, wrong.to)
				require.NotEmpty(t, r.Exchange)
				out := ""
				// On a busy machine a script can outlive the two seconds that one of its codes has left.
				for tries := 0; tries < 3 && !strings.Contains(lastAnswer(out), wrong.to); tries++ {
					script := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", r.reproduction())
					script.Env = []string{"PATH=" + os.Getenv("PATH"), "NO_PROXY=*"}
					printed, err := script.CombinedOutput()
					require.NoError(t, err, "%s\n%s\n%s", r.Case.ID, r.reproduction(), printed)
					out = string(printed)
				}
				require.Contains(t, lastAnswer(out), wrong.to, "%s\n%s\n%s", r.Case.ID, r.reproduction(), out)
				shown++
			}
			require.Positive(t, shown)
		})
	}
}

func lastAnswer(out string) string { return out[max(0, strings.LastIndex(out, "HTTP/1.1")):] }

// mirror is the worst server for a report: it answers everything that it was sent.
func mirror(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sandbox/") {
		http.NotFound(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	values, _ := url.ParseQuery(r.URL.RawQuery)
	w.Header().Set("X-Told", r.Header.Get("access_key"))
	w.Header().Add("X-Told", r.Header.Get("Authorization"))
	if r.URL.Path == "/v1/send" && strings.Contains(string(body), "verification") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id":"otp_0123456789","to":%q,"told":%q,"expires_at":"2030-01-01T00:00:00Z","code":%q}`,
			sentinelMobile, r.Header, sentinelCode)
		return
	}
	if strings.HasSuffix(r.URL.Path, genServlet) && len(values["mobile"]) == 1 &&
		r.Header.Get("access_key") == sentinelKey {
		fmt.Fprint(w, "OTP Generated Successfully")
		return
	}
	fmt.Fprintln(w, r.Header, r.URL, values, string(body), "the code is "+sentinelCode)
}

const (
	sentinelKey    = "SentinelAccess+Key/0123456789=="
	sentinelCipher = "c2VudGluZWwgY2lwaGVyIGtleSBvZiAzMiBieXRlcyE="
	sentinelIV     = "c2VudGluZWwtaXYtMTYtYg=="
	sentinelCode   = "493817"
	sentinelMobile = "919812345678"
	sentinelAPIKey = "otpb_live_sk_SentinelAPIKey0123456789abcdefgh"
	sentinelSigner = "sentinel signing secret"
)

func sentinels(t *testing.T) []string {
	t.Helper()
	c, err := newParamCipher("", sentinelCipher, sentinelIV)
	require.NoError(t, err)
	list := []string{
		sentinelKey, url.QueryEscape(sentinelKey), strings.ToUpper(sentinelKey), sentinelKey[:20],
		sentinelCipher, sentinelIV, sentinelCode, sentinelMobile, rotated(sentinelCode),
		sentinelAPIKey, sentinelAPIKey[13:], sentinelSigner,
		fmt.Sprintf("%x", "sentinel cipher key of 32 bytes!"), fmt.Sprintf("%x", "sentinel-iv-16-b"),
	}
	for as := Base64; as <= HexUpper; as++ {
		list = append(list, c.write(sentinelCode, as), url.QueryEscape(c.write(sentinelCode, as)))
	}
	return list
}

func TestReports_HoldNoSecret(t *testing.T) {
	target := newTestTarget(t, serve(t, http.HandlerFunc(mirror)))
	report, err := Run(t.Context(), Options{
		Target: target, Cases: Cases(), Profile: Documented,
		AccessKey: sentinelKey, CipherKey: sentinelCipher, CipherIV: sentinelIV, APIKey: sentinelAPIKey,
		SigningSecret: sentinelSigner,
		Mobiles:       []string{sentinelMobile}, Codes: AskedCodes(strings.NewReader(strings.Repeat(sentinelCode+"\n", 1000)),
			io.Discard),
	})
	require.NoError(t, err)
	require.Greater(t, report.Count(Fail), 20)
	require.Positive(t, report.Count(Skip))
	for name, format := range Formats {
		var text bytes.Buffer
		require.NoError(t, format(&text, report))
		require.Contains(t, text.String(), "ACCESS_KEY", name)
		for _, secret := range sentinels(t) {
			if at := strings.Index(text.String(), secret); at >= 0 {
				t.Errorf("the report %s holds %q: …%q…", name, secret, text.String()[max(0, at-400):min(text.Len(), at+100)])
			}
		}
	}
}

func TestReports_AreWhatTheyClaim(t *testing.T) {
	target := newTestTarget(t, changed(t, "MAXREGEN", "MAXIMUM <b>&amp;</b>"))
	report, err := Run(t.Context(), Options{Target: target, Cases: Cases(), Patterns: []string{"servlet/regenerate"}})
	require.NoError(t, err)
	require.Positive(t, report.Count(Fail))

	var text bytes.Buffer
	require.NoError(t, JSON(&text, report))
	var read struct {
		ExitCode int `json:"exit_code"`
		Results  []struct{ ID, Status string }
	}
	require.NoError(t, json.Unmarshal(text.Bytes(), &read))
	require.Equal(t, ExitFail, read.ExitCode)
	require.Len(t, read.Results, len(report.Results))

	text.Reset()
	require.NoError(t, JUnit(&text, report))
	var suites junitSuites
	require.NoError(t, xml.Unmarshal(text.Bytes(), &suites))
	require.Equal(t, report.Count(Fail), suites.Failures)
	require.Len(t, suites.Suites, 2, "a suite for each profile")

	text.Reset()
	require.NoError(t, HTML(&text, report))
	for _, foreign := range []string{"<script", "src=", "@import", "url(", "<b>&"} {
		require.NotContains(t, text.String(), foreign)
	}
	require.Contains(t, text.String(), `<html lang="en">`)

	text.Reset()
	require.NoError(t, Markdown(&text, report))
	require.Contains(t, text.String(), "| servlet/regenerate | live |")

	text.Reset()
	require.NoError(t, PlainText(&text, report))
	require.NotContains(t, text.String(), "\x1b", "colour is for terminals")
	require.Contains(t, text.String(), "to see it again")
}

// The error says what was tried and what to do, never a stack trace.
func TestRun_ATargetThatCannotBeTestedIsExplained(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	silence := make(chan struct{})
	t.Cleanup(func() { close(silence) })
	withTLS := httptest.NewUnstartedServer(newReference(""))
	withTLS.Config.ErrorLog = quiet()
	withTLS.StartTLS()
	t.Cleanup(withTLS.Close)
	for _, c := range []struct{ name, target, remedy string }{
		{"down", "http://" + closed.Addr().String(), "Nothing listens there"},
		{"slow", serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-silence:
			case <-r.Context().Done():
			}
		})), "or allow more with --timeout"},
		{"HTML", serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<!DOCTYPE html><title>Welcome</title>")
		})), "Something else stands at this address"},
		{"not found", serve(t, http.NotFoundHandler()), "There is no servlet there"},
		{"resets", raw(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }), "closed the connection without an answer"},
		{"hangs up", raw(t, func(net.Conn) {}), "closed the connection without an answer"},
		{"other protocol", raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n") }),
			"does not speak HTTP"},
		{"another protocol after HTTP", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			<-silence
		}), "Look at the address in --target"},
		{"unknown certificate", withTLS.URL, "--ca FILE"},
		{"plain instead of TLS", "https" + strings.TrimPrefix(serve(t, newReference("")), "http"), "write http://"},
		{"unknown name", "http://no-such-host.invalid", "not known here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			timeout := 10 * time.Second // a busy machine is not a silent server
			if strings.Contains(c.remedy, "--timeout") {
				timeout = 300 * time.Millisecond
			}
			target, err := NewTarget(c.target, timeout, nil)
			require.NoError(t, err)
			defer target.Close()
			_, err = Run(t.Context(), Options{Target: target, Cases: Cases()})
			require.Error(t, err)
			require.Contains(t, err.Error(), c.remedy)
			require.Contains(t, err.Error(), c.target, "it says what was tried")
			require.NotContains(t, err.Error(), "goroutine")
		})
	}
}

// raw accepts connections, reads the beginning of a request, calls do, and hangs up.
func raw(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024))
			do(c)
			_ = c.Close()
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestRun_OverTLSWithTheAuthorityNamed(t *testing.T) {
	server := httptest.NewUnstartedServer(newReference(""))
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	target, err := NewTarget(server.URL, 10*time.Second, roots)
	require.NoError(t, err)
	defer target.Close()
	report, err := Run(t.Context(), Options{Target: target, Cases: Cases(), Patterns: []string{"servlet/validate/1"}})
	require.NoError(t, err)
	require.Equal(t, ExitPass, report.ExitCode())
}

func TestNewTarget_WhatIsNoAddressIsRefused(t *testing.T) {
	for _, address := range []string{"", "http://", "ftp://host", "http://user:secret@host",
		"http://host?access_key=secret", "://"} {
		_, err := NewTarget(address, time.Second, nil)
		require.Error(t, err, address)
		require.NotContains(t, err.Error(), "secret")
	}
	for _, timeout := range []time.Duration{0, -time.Second} {
		_, err := NewTarget("localhost:8080", timeout, nil)
		require.ErrorContains(t, err, "--timeout 10s", "a server that hangs would be waited for without end")
	}
	target, err := NewTarget("localhost:8080", time.Second, nil)
	require.NoError(t, err)
	require.Equal(t, "/otpauthapi", target.Context)
	target, err = NewTarget("https://host/other/path/", time.Second, nil)
	require.NoError(t, err)
	require.Equal(t, "/other/path", target.Context)
}

// The target dies in the middle: earlier results stay, the other cases could not run.
func TestRun_ATargetThatDiesIsNoFailure(t *testing.T) {
	reference := newReference("")
	calls := make(chan struct{}, 60)
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case calls <- struct{}{}:
			reference.ServeHTTP(w, r)
		default:
			panic(http.ErrAbortHandler)
		}
	}))
	report, err := Run(t.Context(), Options{Target: newTestTarget(t, address), Cases: Cases(), Parallel: 1})
	require.NoError(t, err)
	require.Positive(t, report.Count(Pass))
	require.Zero(t, report.Count(Fail))
	require.Equal(t, ExitCouldNot, report.ExitCode())
	require.Contains(t, report.Results[len(report.Results)-1].Reason, "Not tried")
}

func TestRun_ABrokenCaseIsAnErrorAndNoFailure(t *testing.T) {
	broken := []Case{{ID: "x/1", Run: func(s *Story) { s.Concurrently(2, func(i int) Answer { return []Answer{}[i] }) }}}
	report, err := Run(t.Context(), Options{Target: newTestTarget(t, serve(t, newReference(""))), Cases: broken})
	require.NoError(t, err)
	require.Equal(t, ExitCouldNot, report.ExitCode())
	require.Contains(t, report.Results[0].Reason, "a fault of this client")
	require.NotContains(t, report.Results[0].Reason, "goroutine")
}

func TestSelected(t *testing.T) {
	cases := []Case{
		{ID: "servlet/generate/1", Level: Must}, {ID: "servlet/validate/1", Level: Should, Profile: Live},
		{ID: "servlet/validate/12", Level: May}, {ID: "v1/send/1", Level: Must, Profile: Documented},
	}
	for _, c := range []struct {
		patterns string
		level    Level
		profile  Profile
		want     string
	}{
		{"", 0, Any, "servlet/generate/1 servlet/validate/1 servlet/validate/12 v1/send/1"},
		{"servlet/validate", 0, Any, "servlet/validate/1 servlet/validate/12"},
		{"servlet/validate/1", 0, Any, "servlet/validate/1"},
		{"servlet/val*", 0, Any, "servlet/validate/1 servlet/validate/12"},
		{"*/*/1", 0, Any, "servlet/generate/1 servlet/validate/1 v1/send/1"},
		{"v1 servlet/generate", 0, Any, "servlet/generate/1 v1/send/1"},
		{"", Must, Any, "servlet/generate/1 v1/send/1"},
		{"", Should, Documented, "servlet/generate/1 v1/send/1"},
		{"", 0, Live, "servlet/generate/1 servlet/validate/1 servlet/validate/12"},
	} {
		picked, err := Selected(cases, strings.Fields(c.patterns), c.level, c.profile)
		require.NoError(t, err)
		var ids []string
		for _, one := range picked {
			ids = append(ids, one.ID)
		}
		require.Equal(t, c.want, strings.Join(ids, " "), "%+v", c)
	}
	_, err := Selected(cases, []string{"servlet/valid"}, 0, Any)
	require.ErrorContains(t, err, "no case is called")
}

// Made by OpenSSL.
func TestParamCipher_Vectors(t *testing.T) {
	const key, iv = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "8PHy8/T19vf4+fr7/P3+/w=="
	const hexKey, hexIV = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
	for _, given := range [][2]string{{key, iv}, {hexKey, hexIV}, {iv + "~" + key, ""}} {
		c, err := newParamCipher("", given[0], given[1])
		require.NoError(t, err)
		for as, want := range map[Writing]string{
			Base64: "Xrgn4bpX/4iYytICyC1wNg==", Base64Unpadded: "Xrgn4bpX/4iYytICyC1wNg",
			Base64URL: "Xrgn4bpX_4iYytICyC1wNg==", Base64URLUnpadded: "Xrgn4bpX_4iYytICyC1wNg",
			Hex: "5eb827e1ba57ff8898cad202c82d7036", HexUpper: "5EB827E1BA57FF8898CAD202C82D7036",
		} {
			require.Equal(t, want, c.write("123456", as))
			sealed := decodings(want)
			require.NotEmpty(t, sealed)
			require.Equal(t, padded("123456"), c.opened(sealed[0]))
		}
	}
	_, err := newParamCipher("", "short", iv)
	require.ErrorContains(t, err, "must be [16 24 32] bytes")
	require.NotContains(t, err.Error(), "short")
}

func TestDetect(t *testing.T) {
	for _, profile := range []Profile{Documented, Live} {
		address := serve(t, newReference(""))
		target := newTestTarget(t, address)
		require.NoError(t, target.findSandbox(t.Context()))
		made, err := target.makeAccount(t.Context(), Settings{"message_profile": string(profile)})
		require.NoError(t, err)
		o := Options{
			Target: target, AccessKey: made.AccessKey, CipherKey: made.CipherKey, CipherIV: made.CipherIV,
			Mobiles: []string{"917000000042"},
		}
		found, err := Detect(t.Context(), o)
		require.NoError(t, err)
		require.Equal(t, []Profile{profile}, found.Profiles)
		require.Len(t, found.Found, 1)
	}

	t.Run("like neither", func(t *testing.T) {
		target := newTestTarget(t, changed(t, "Retries", "Attempts"))
		found, err := Detect(t.Context(), Options{Target: target})
		require.NoError(t, err)
		require.Contains(t, strings.Join(found.Found, "\n"), "as in neither profile")
	})
	t.Run("a refused key", func(t *testing.T) {
		target := newTestTarget(t, serve(t, newReference("")))
		_, err := Detect(t.Context(), Options{Target: target, AccessKey: "no such key", CipherKey: sentinelCipher,
			CipherIV: sentinelIV, Mobiles: []string{"917000000042"}})
		require.ErrorContains(t, err, "refuses the access key")
		require.NotContains(t, err.Error(), "no such key")
	})
}

// A given account, and codes from the sources that need no sandbox.
func TestRun_AgainstATargetThatIsNoSandbox(t *testing.T) {
	reference := newReference("")
	inside := newTestTarget(t, serve(t, reference))
	made, err := inside.makeAccount(t.Context(), Settings{"message_profile": "live"})
	require.NoError(t, err)
	outside := newTestTarget(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/sandbox/") {
			http.NotFound(w, r)
			return
		}
		reference.ServeHTTP(w, r)
	})))
	o := Options{
		Target: outside, Cases: Cases(), AccessKey: made.AccessKey, CipherKey: made.CipherKey, CipherIV: made.CipherIV,
		APIKey: made.APIKey, SigningSecret: made.SigningSecret, OtherAPIKey: made.OtherAPIKey,
	}

	_, err = Run(t.Context(), Options{Target: outside, Cases: Cases()})
	require.ErrorContains(t, err, "--access-key")
	_, err = Run(t.Context(), o)
	require.ErrorContains(t, err, "--mobile")
	for n := range 600 {
		o.Mobiles = append(o.Mobiles, fmt.Sprintf("9171%08d", n))
	}
	_, err = Run(t.Context(), o)
	require.ErrorContains(t, err, "--codes")

	o.Codes = sandboxOf{inside, made.Address}
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, []Profile{Live}, report.Detection.Profiles)
	for _, r := range report.Results {
		require.Contains(t, []Status{Pass, Skip}, r.Status, "%s %s: %s%s, came %s", r.Status, r.Case.ID, r.Reason,
			r.Expected, r.Actual)
		if r.Status == Skip {
			require.NotEmpty(t, r.Reason)
		}
	}
	require.Greater(t, report.Count(Pass), 50)
	require.Positive(t, report.Count(Skip))
}

// The vendor's service has no /v1, so no case of /v1 is tested there.
func TestRun_ATargetWithoutV1IsNotAskedForIt(t *testing.T) {
	reference := newReference("")
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			require.Empty(t, r.Header.Get("Authorization"), "no key goes to who did not ask for one")
			http.NotFound(w, r)
			return
		}
		reference.ServeHTTP(w, r)
	}))
	report, err := Run(t.Context(), Options{Target: newTestTarget(t, address), Cases: Cases(),
		Patterns: []string{"v1", "parity", "servlet/validate/1"}})
	require.NoError(t, err)
	require.Equal(t, ExitPass, report.ExitCode())
	require.Equal(t, 2, report.Count(Pass))
	for _, r := range report.Results {
		if r.Case.Needs&NeedsV1 != 0 {
			require.Equal(t, Skip, r.Status)
			require.Equal(t, "The target has no /v1: POST /v1/send was answered 404 Not Found.", r.Reason)
		}
	}
}

// A server may block a client that fails to authenticate 60 times a minute, so one run must stay below that.
func TestRun_FailsToAuthenticateAtV1LessThan40Times(t *testing.T) {
	reference := newReference("")
	report, err := Run(t.Context(), Options{Target: newTestTarget(t, serve(t, reference)), Cases: Cases()})
	require.NoError(t, err)
	require.Zero(t, report.Count(Fail))
	require.Less(t, reference.v1.failures, 40)
	require.Greater(t, reference.v1.failures, 10)
}

// Cases without a profile are played once, whatever the profile.
func TestRun_CasesOfV1ArePlayedOnce(t *testing.T) {
	for _, profile := range []Profile{Any, Documented, Live} {
		target := newTestTarget(t, serve(t, newReference("")))
		report, err := Run(t.Context(), Options{Target: target, Cases: Cases(), Patterns: []string{"v1/send/1", "parity/1"},
			Profile: profile})
		require.NoError(t, err)
		require.Len(t, report.Results, 2)
		for _, r := range report.Results {
			require.Equal(t, Pass, r.Status)
			require.Equal(t, None, r.Profile)
		}
	}
}

// sandboxOf reads the codes of an account through a separate target.
type sandboxOf struct {
	target  *Target
	account string
}

func (s sandboxOf) Code(ctx context.Context, w Wanted) (string, error) {
	w.Account = s.account
	return sandboxCodes{s.target}.Code(ctx, w)
}

// A server that is overloaded says so; the request is repeated, and the next answer counts.
func TestRun_ABusyServerIsAskedAgain(t *testing.T) {
	reference := newReference("")
	var refused atomic.Int64
	target := newTestTarget(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/auth/login") && refused.CompareAndSwap(0, 1) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"code":"OVERLOADED"}`)
			return
		}
		reference.ServeHTTP(w, r)
	})))
	report, err := Run(t.Context(), Options{Target: target, Cases: Cases(), Patterns: []string{"management/4"},
		Profile: Live})
	require.NoError(t, err)
	require.Equal(t, ExitPass, report.ExitCode())
	require.EqualValues(t, 1, refused.Load())
}

// If something was inserted into a parameter, the script inserts it at the same place for another code.
func TestInserted_NeverSplitsAnEscape(t *testing.T) {
	for _, tt := range []struct {
		text, changed string
		at            int
		put           string
		ok            bool
	}{
		{"abcdef", "abc%0Adef", 3, "%0A", true},
		{"abc%2Bdef", "abc%0A%2Bdef", 3, "%0A", true}, // both begin with abc%
		{"abc%2Bdef", "abc%2B%20def", 4, "%20", true},
		{"%2B%2Fabc", "%2B%0A%2Fabc", 1, "%0A", true},
		{"a%2Ba%2Fb", "a%2Ba%2F%0D%0Ab", 4, "%0D%0A", true},
		{"abc", "+abc", 0, "+", true},
		{"%3Dabc", "%0A%3Dabc", 0, "%0A", true},
		{"abc", "abd", 0, "", false},
		{"abc", "axyzbc", 1, "xyz", false},
		{"abc", "abc", 0, "", false},
		{"a%2Bb", "a%2b%0Ab", 0, "", false},
	} {
		at, put, ok := inserted(tt.text, tt.changed)
		require.Equal(t, tt.ok, ok, "%s, %s", tt.text, tt.changed)
		if ok {
			require.Equal(t, tt.put, put, "%s, %s", tt.text, tt.changed)
			require.Equal(t, tt.at, at, "%s, %s", tt.text, tt.changed)
		}
	}
}
