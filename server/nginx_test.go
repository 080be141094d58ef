package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fronted is a real nginx with the documented configuration, in front of a test's servers.
type fronted struct {
	client
	folder string
}

// startFront runs nginx with doc/nginx.conf. It changes what a reader has to change: name and certificate, the
// servers' addresses and the folders; and also the port, to one that needs no privileges.
func startFront(t *testing.T, changes []string, servers ...string) *fronted {
	t.Helper()
	needs(t, "nginx")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())

	folder := t.TempDir()
	writeCertificate(t, filepath.Join(folder, "tls.pem"), filepath.Join(folder, "tls.key"), "otp.vendor.example")
	upstream := ""
	for _, server := range servers {
		upstream += "server " + server + " max_fails=0; "
	}
	configuration := strings.NewReplacer(append(changes,
		"listen 443 ssl", "listen "+address+" ssl", "server 127.0.0.1:8080;", upstream,
		"/etc/nginx/otp.vendor.example.pem", folder+"/tls.pem", "/etc/nginx/otp.vendor.example.key", folder+"/tls.key",
		"/var/log/nginx", folder,
	)...).Replace(page(t, "doc/nginx.conf"))
	require.NotRegexp(t, `(?m)^[^#\n]*/(etc|var)/`, configuration)
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		configuration = fmt.Sprintf("%s_temp_path %s/%s;\n", kind, folder, kind) + configuration
	}
	whole := fmt.Sprintf("pid %s/pid;\nworker_processes 1;\nevents {}\nhttp {\n%s}\n", folder, configuration)
	runNginx(t, folder, whole, address)
	c := newClient(t, "https://"+address)
	c.agent.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // its own, of a minute ago
	return &fronted{client: c, folder: folder}
}

// runNginx runs nginx with a configuration that listens on an address.
func runNginx(t *testing.T, folder, configuration, address string) {
	t.Helper()
	if os.Getuid() == 0 {
		configuration = "user root;\n" + configuration
	}
	file := filepath.Join(folder, "nginx.conf")
	require.NoError(t, os.WriteFile(file, []byte(configuration), 0o600))
	log := new(output)
	process := exec.Command("nginx", "-e", "stderr", "-p", folder, "-c", file, "-g", "daemon off;")
	process.Stderr = log
	require.NoError(t, process.Start())
	t.Cleanup(func() {
		require.NoError(t, process.Process.Signal(syscall.SIGTERM))
		_ = process.Wait()
	})
	eventually(t, "nginx listens", func() bool {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	require.Empty(t, log.String(), "nginx warns of nothing")
}

// written returns what nginx has written to a log.
func (f *fronted) written(name string) string {
	text, err := os.ReadFile(filepath.Join(f.folder, name))
	require.NoError(f.t, err)
	return string(text)
}

func TestNginx_TheDocumentedFrontPassesEverythingOn(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_TRUSTED_PROXIES=127.0.0.1")...)
	f := startFront(t, nil, s.Addr())

	// The key and the parameters arrive as they were sent: a plus as a blank or as %2B, and in lower case.
	account := s.account(`{"sends_per_minute":0,"sends_per_hour":0,"sends_per_day":0}`)
	for _, code := range []string{"000087", "000139", "123456"} { // two of the published ones begin with a plus
		otp := encrypted(t, account.CipherKey, account.CipherIV, code)
		for _, spelling := range []string{url.QueryEscape(otp), strings.ReplaceAll(url.QueryEscape(otp), "%2B", "+"),
			strings.ToLower(url.QueryEscape("+"))} {
			query := person("919551492394").Encode() + "&otp=" + spelling
			direct := s.do("GET", "/otpauthapi/otpvalidationservlet?"+query, "", "access_key", account.AccessKey)
			a := f.do("GET", "/otpauthapi/otpvalidationservlet?"+query, "", "access_key", account.AccessKey)
			require.Equal(t, direct.body, a.body)
		}
	}
	plus := s.account(`{"cipher_key":"` + sampleIV + `~` + sampleKey + `"}`)
	require.Equal(t, "OTP Generated Successfully", f.servlet("otpgenservlet", plus.AccessKey, person("919551492001")))
	code := s.messages("limit=1")[0].Code
	require.Equal(t, "Verified successfully", f.servlet("otpvalidationservlet", plus.AccessKey,
		person("919551492001", "otp", encrypted(t, sampleKey, sampleIV, code))))
	form := person("919551492001", "otp", encrypted(t, sampleKey, sampleIV, code))
	a := f.do("POST", "/otpauthapi/otpvalidationservlet", form.Encode(), "access_key", plus.AccessKey, "Content-Type",
		"application/x-www-form-urlencoded")
	require.Equal(t, "OTPEXPIRED", a.body)

	// The client's address is the one that nginx saw, not the one that the client claims.
	s.account(`{"access_keys":[{"key":"bound-to-this-machine","allowed_ips":["127.0.0.1"]}]}`)
	s.account(`{"access_keys":[{"key":"bound-to-another-one","allowed_ips":["203.0.113.9"]}]}`)
	said := []string{"X-Forwarded-For", "203.0.113.9", "X-Real-IP", "203.0.113.9", "Forwarded", "for=203.0.113.9"}
	generate := func(key string) string {
		return f.do("GET", "/otpauthapi/otpgenservlet?"+person("919551492394").Encode(), "",
			append(said, "access_key", key)...).body
	}
	require.Equal(t, "UNAUTHERISED USER", generate("bound-to-another-one"))
	require.Equal(t, "OTP Generated Successfully", generate("bound-to-this-machine"))

	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"HEAD", "/otpauthapi/otpgenservlet", 405}, {"POST", "/v1/send", 401}, {"GET",
			"/v1/status/otp_06bq3c7k5sqn2e8v4g1t9hp0mc", 401},
		{"GET", "/docs", 200}, {"GET", "/docs/docs.js", 200}, {"GET", "/openapi.json", 200}, {"GET", "/openapi.yaml", 200},
		{"GET", "/.well-known/jwks.json", 200}, {"POST", "/callbacks/nobody?secret=hush", 401}, {"GET", "/favicon.ico", 204},
		{"GET", "/sandbox/messages", 404}, {"POST", "/sandbox/reset", 404}, {"GET", "/", 404}, {"HEAD", "/", 404},
		{"GET", "/readyz", 404}, {"GET", "/metrics", 404}, {"GET", "/otpauthapi/../sandbox/messages", 404}, {"GET",
			"/v1/%2e%2e/sandbox/messages", 404},
	} {
		a := f.do(tt.method, tt.path, "")
		require.Equal(t, tt.status, a.status, "%s %s: %s", tt.method, tt.path, a.body)
		require.Equal(t, "max-age=31536000", a.header.Get("Strict-Transport-Security"), tt.path)
	}
	require.Contains(t, f.do("GET", "/docs", "").body, " https://"+strings.TrimPrefix(f.url, "https://")+"/v1/send")
	before := len(s.messages(""))
	a = f.do("POST", "/otpauthapi/otpgenservlet", person("919551492394").Encode()+"&x="+strings.Repeat("x", 64<<10),
		"access_key", account.AccessKey, "Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, http.StatusRequestEntityTooLarge, a.status)
	require.Len(t, s.messages(""), before, "what is too large reaches no server")

	f.checkLogs(t, account.AccessKey, plus.AccessKey)
}

// checkLogs searches nginx's logs for texts that must not be there.
func (f *fronted) checkLogs(t *testing.T, secrets ...string) {
	t.Helper()
	eventually(t, "the access log is written", func() bool {
		return strings.Contains(f.written("otpbridge.log"),
			"/favicon.ico")
	})
	logs := f.written("otpbridge.log") + f.written("otpbridge_error.log")
	for _, secret := range append(secrets, "?", "mobile", "9551492", "otp=", "hush", "secret") {
		require.NotContains(t, logs, secret)
	}
	require.Regexp(t,
		regexp.MustCompile(`(?m)^\S+ 127\.0\.0\.1 GET /otpauthapi/otpgenservlet 200 \d+ [\d.]+ 127\.0\.0\.1:\d+ 200 req_[A-Z2-7]{26}$`), logs)
}

// nginx does not repeat a request at the next server after a timeout, a broken connection or a dead server, because
// the request may have been executed.
func TestNginx_TheDocumentedFrontRepeatsNothing(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked.Add(1)
		switch r.URL.Path {
		case "/v1/broken":
			panic(http.ErrAbortHandler)
		case "/v1/503":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}))
	defer silent.Close()
	defer close(release)
	address := silent.Listener.Addr().String()
	f := startFront(t, []string{"proxy_read_timeout    35s", "proxy_read_timeout 1s"}, address, address)
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/otpauthapi/otpgenservlet", 504}, {"GET", "/otpauthapi/otpvalidationservlet", 504},
		{"POST", "/v1/broken", 502}, {"GET", "/v1/broken", 502}, {"POST", "/v1/503", 503}, {"GET", "/v1/503", 503},
	} {
		asked.Store(0)
		require.Equal(t, tt.status, f.do(tt.method, tt.path, "", "access_key", "k").status, tt.path)
		require.EqualValues(t, 1, asked.Load(), "%s %s is asked once", tt.method, tt.path)
	}
	gone := startFront(t, []string{"proxy_connect_timeout 3s", "proxy_connect_timeout 1s"}, "127.0.0.1:1", "127.0.0.1:1")
	began := time.Now()
	require.Equal(t, 502, gone.do("GET", "/otpauthapi/otpgenservlet", "").status)
	require.Less(t, time.Since(began), 10*time.Second)
}
