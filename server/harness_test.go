package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"otpbridge/config"
	"otpbridge/crypto"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

// These tests run whole servers: in this process if they read its state, and as child processes of a normal build if
// they kill servers, race them or read their output.

func TestMain(m *testing.M) {
	if os.Getenv(bareVariable) != "" {
		fmt.Fprintln(os.Stderr, serveBare())
		os.Exit(1)
	}
	defaults := []string{"state", "data"} // a server's, in the folder it runs in
	defaults = slices.DeleteFunc(defaults, isThere)
	// Tests build without cgo, as the Dockerfile does, so that the build cache has one form of each package.
	os.Setenv("CGO_ENABLED", "0")
	code := sqltest.Run(m)
	for _, name := range slices.DeleteFunc(defaults, func(name string) bool { return !isThere(name) }) {
		fmt.Fprintf(os.Stderr, "a test left %s beside the sources: give its server OTPBRIDGE_STATE_DIR and "+
			"OTPBRIDGE_DATABASE_URL\n", name)
		code = 1
	}
	if built.folder != "" {
		os.RemoveAll(built.folder)
	}
	if err := stopChromium(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping Chromium:", err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// The demo accounts, as the contract states them; not taken from the code that makes them.
const (
	documentedKey = "ZGVtby1hY2Nlc3Mta2V5MQ=="
	liveKey       = "ZGVtby1hY2Nlc3Mta2V5Mg=="
	sampleKey     = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	sampleIV      = "8PHy8/T19vf4+fr7/P3+/w=="
)

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

// times returns how often something is repeated: few times by default, and full times with FULL=1.
func times(full, few int) int {
	if os.Getenv("FULL") == "1" {
		return full
	}
	return few
}

// output is a log or a stream that may be read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// variables returns an environment for a separate server: a free port, its own database and keyring. Later variables
// win.
func variables(t *testing.T, more ...string) []string {
	t.Helper()
	if slices.Contains(more, "OTPBRIDGE_MODE=production") { // which has metrics at a port that a real server may have
		more = append([]string{"OTPBRIDGE_METRICS_ADDR=127.0.0.1:0"}, more...)
	}
	return append([]string{
		"OTPBRIDGE_ADDR=127.0.0.1:0",
		"OTPBRIDGE_DATABASE_URL=" + migrated.SQLite(t),
		"OTPBRIDGE_KEYRING=" + crypto.NewKeyringText("k1"),
		"OTPBRIDGE_STATE_DIR=" + t.TempDir(),
	}, more...)
}

// booted is a server in this process and a client of it.
type booted struct {
	*Server
	client
	log *output
}

// boot runs a server until the test ends.
func boot(t *testing.T, environ ...string) *booted {
	t.Helper()
	settings, err := config.Load(environ)
	require.NoError(t, err)
	log := new(output)
	s := New(settings, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: settings.LogLevel})))
	require.NoError(t, s.Start(t.Context()))
	b := &booted{Server: s, client: newClient(t, s.URL()), log: log}
	t.Cleanup(func() {
		if !s.isStopping() {
			require.NoError(t, s.Shutdown(context.Background()))
		}
	})
	return b
}

// client calls one server.
type client struct {
	t     *testing.T
	url   string
	agent *http.Client
}

func newClient(t *testing.T, url string) client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return client{t: t, url: url, agent: &http.Client{Transport: transport}}
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends one request; headers are name, value, name, value.
func (c client) do(method, path, body string, headers ...string) answer {
	c.t.Helper()
	a, err := c.try(method, path, body, headers...)
	require.NoError(c.t, err)
	return a
}

func (c client) try(method, path, body string, headers ...string) (answer, error) {
	r, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := c.agent.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}, err
}

// servlet calls a servlet as a client does and returns its text.
func (c client) servlet(name, key string, parameters url.Values) string {
	c.t.Helper()
	return c.do("GET", "/otpauthapi/"+name+"?"+parameters.Encode(), "", "access_key", key).body
}

// message is a message of the inbox as JSON.
type message struct {
	ID          string `json:"id"`
	Account     string `json:"account"`
	Channel     string `json:"channel"`
	To          string `json:"to"`
	Subject     string `json:"subject"`
	Text        string `json:"text"`
	Code        string `json:"code"`
	ChallengeID string `json:"challenge_id"`
	CreatedAt   string `json:"created_at"`
}

func (c client) messages(query string) []message {
	c.t.Helper()
	a := c.do("GET", "/sandbox/messages?"+query, "")
	require.Equal(c.t, 200, a.status, a.body)
	var list struct {
		Data []message `json:"data"`
	}
	require.NoError(c.t, json.Unmarshal([]byte(a.body), &list))
	return list.Data
}

// account makes a throwaway account.
func (c client) account(columns string) (created struct {
	Address   string `json:"esme_address"`
	AccessKey string `json:"access_key"`
	APIKey    string `json:"api_key"`
	CipherKey string `json:"cipher_key"`
	CipherIV  string `json:"cipher_iv"`
}) {
	c.t.Helper()
	a := c.do("POST", "/sandbox/accounts", columns)
	require.Equal(c.t, 201, a.status, a.body)
	require.NoError(c.t, json.Unmarshal([]byte(a.body), &created))
	return created
}

// untilFaultsStruck returns when the request for a counted fault is in flight.
func (c client) untilFaultsStruck() {
	c.t.Helper()
	eventually(c.t, "the fault strikes", func() bool {
		return c.do("GET", "/sandbox/faults", "").body == "{\"faults\":[]}\n"
	})
}

// eventually waits until holds is true, because of another process or goroutine.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	within(t, 10*time.Second, what, holds)
}

func within(t testing.TB, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "not in time: "+what)
		}
	}
}

// encrypted makes an otp parameter.
func encrypted(t testing.TB, key, iv, code string) string {
	t.Helper()
	secretKey, err := crypto.ParseKeyText(key)
	require.NoError(t, err)
	secretIV, err := crypto.ParseKeyText(iv)
	require.NoError(t, err)
	cipher, err := crypto.NewServletCipher(crypto.AESCBC, crypto.EncodingBase64, secretKey, secretIV)
	require.NoError(t, err)
	value, err := cipher.Encrypt(code)
	require.NoError(t, err)
	return value
}

// person returns the parameters of a servlet call about its end user.
func person(mobile string, more ...string) url.Values {
	values := url.Values{"ipaddress": {"203.0.113.7"}, "mobile": {mobile}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return values
}

// built has programs, each built once for all tests.
var built struct {
	sync.Mutex
	folder string
	errs   map[string]error // by the program's name
}

// program returns the path of the server without the race detector, with which the database is twelve times slower.
func program(t *testing.T) string {
	t.Helper()
	return builtOnce(t, "otpbridge", func() []string { return nil })
}

func builtOnce(t *testing.T, name string, flags func() []string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.folder == "" {
		var err error
		built.folder, err = os.MkdirTemp("", "otpbridge-test-*")
		require.NoError(t, err)
		built.errs = map[string]error{}
	}
	path := filepath.Join(built.folder, name)
	if _, tried := built.errs[name]; !tried {
		built.errs[name] = build(path, flags()...)
	}
	require.NoError(t, built.errs[name], "build %s", name)
	return path
}

// build builds the server as the Dockerfile does, without debug information.
func build(program string, flags ...string) error {
	command := exec.Command("go", append(append([]string{"build", "-buildvcs=false",
		"-ldflags=-s -w -X main.stamped=v1.2.3-4-gabcdef0", "-o", program}, flags...), ".")...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// child is the program as a separate process in its own folder.
type child struct {
	client
	command *exec.Cmd
	banner  string // what it printed when it was up
	log     *output
}

// startChild runs "otpbridge serve" in folder and returns when it is up: a sandbox says so on
// stdout. It is killed when the test ends, if it still runs.
func startChild(t *testing.T, folder string, environ ...string) *child {
	t.Helper()
	return startProgram(t, program(t), folder, environ...)
}

// startProgram is startChild with another build of the program.
func startProgram(t *testing.T, program, folder string, environ ...string) *child {
	t.Helper()
	c := &child{command: exec.Command(program), log: new(output)}
	c.command.Dir = folder
	c.command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "OTPBRIDGE_ADDR=127.0.0.1:0"}, environ...)
	c.command.Stderr = c.log
	stdout, err := c.command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.command.Start())
	t.Cleanup(func() {
		if c.command.ProcessState == nil {
			_ = c.command.Process.Kill()
			_ = c.command.Wait()
		}
	})

	lines := bufio.NewReader(stdout)
	for !strings.Contains(c.banner, "Stop with Ctrl-C") {
		line, err := lines.ReadString('\n')
		require.NoError(t, err, "the child ended: %s", c.log)
		c.banner += line
	}
	_, rest, _ := strings.Cut(c.banner, "sandbox on ")
	address, _, _ := strings.Cut(rest, "/\n")
	c.client = newClient(t, address)
	return c
}

// kill ends the child at once, as kill -9 does, and returns when it is gone.
func (c *child) kill() {
	c.t.Helper()
	require.NoError(c.t, c.command.Process.Kill())
	require.Error(c.t, c.command.Wait())
}

// exitCode waits for a child that ends by itself.
func (c *child) exitCode() int {
	err := c.command.Wait()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode()
	}
	require.NoError(c.t, err)
	return 0
}
