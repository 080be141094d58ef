package conform

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Trouble says why a test could not run, for the person who has to act: what was tried, the cause, and the remedy.
type Trouble struct {
	Tried  string
	Remedy string
	Err    error
}

func (t *Trouble) Error() string {
	text := t.Tried
	if t.Err != nil {
		text += ": " + t.Err.Error()
	}
	return text + "\n  " + t.Remedy
}

func (t *Trouble) Unwrap() error { return t.Err }

// Target is a server under test.
type Target struct {
	Root    string // scheme and host
	Context string // the path before the names of the servlets

	client  *http.Client
	guessed bool // Context was not given
	sandbox bool
	demo    []*account
	house   Profile // of UNAUTHERISED USER, which is the same for all accounts
	strict  bool    // UNAUTHERISED USER has status 401

	// faults is held by the case that sets faults: the target has one table for all.
	faults sync.Mutex

	// Only set by tests of this client.
	patience time.Duration                        // the longest wait of await
	idle     func(person string, d time.Duration) // replaces waiting for a person's sessions
}

// DefaultContext is the path of the vendor's servlets.
const DefaultContext = "/otpauthapi"

// maxBody is more than any answer of the protocol has; a longer one is some other page.
const maxBody = 1 << 20

// NewTarget reads the address of a server. A path in it is the context path.
func NewTarget(address string, timeout time.Duration, roots *x509.CertPool) (*Target, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, &Trouble{Tried: "the target " + quoted(address) + " is no address of a server",
			Remedy: "Write it as http://host:port, and add a path if the servlets are not below " + DefaultContext + "."}
	}
	if u.User != nil || u.RawQuery != "" {
		return nil, &Trouble{Tried: "the target has a user, a password or a query",
			Remedy: "Write scheme, host, port and path only; the access key belongs into --access-key."}
	}
	if timeout <= 0 {
		return nil, &Trouble{Tried: "--timeout is " + timeout.String() + ", within which no server answers",
			Remedy: "Write more than 0, such as --timeout 10s."}
	}
	t := &Target{Root: u.Scheme + "://" + u.Host, Context: strings.TrimRight(u.EscapedPath(), "/"), house: Documented}
	if u.Path == "" || u.Path == "/" {
		t.Context, t.guessed = DefaultContext, true
	}
	t.client = &http.Client{
		Timeout: timeout,
		// A redirect would be judged as an answer, and would carry the key elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: unswitched{&http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{RootCAs: roots},
			MaxIdleConnsPerHost: 128,
			IdleConnTimeout:     5 * time.Second,
			DisableCompression:  true,
		}},
	}
	return t, nil
}

// unswitched is a transport for which an answer 101 is an error. Of such an answer net/http returns the bare connection
// as body, and a read of it would wait without end.
type unswitched struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (u unswitched) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := u.Transport.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close() // it holds nothing that is of use
		return nil, errors.New("the answer is 101 Switching Protocols, which no request asked for")
	}
	return response, err
}

// Close closes the connections.
func (t *Target) Close() { t.client.CloseIdleConnections() }

func quoted(text string) string { return fmt.Sprintf("%q", text) }

// path returns the path of r on the server.
func (t *Target) path(r Request) string {
	path := r.Path
	if !strings.HasPrefix(path, "/") {
		path = t.Context + "/" + path
	}
	return path
}

// Do sends a request unchanged.
func (t *Target) Do(ctx context.Context, r Request) (Answer, error) {
	root, err := url.Parse(t.Root)
	if err != nil {
		return Answer{}, err
	}
	// Opaque is sent unchanged; Path would be escaped again.
	root.Opaque, root.RawQuery = t.path(r), r.Query
	request := (&http.Request{Method: r.method(), URL: root, Host: root.Host, Header: make(http.Header)}).WithContext(ctx)
	if r.Body != "" {
		request.Body, request.ContentLength = io.NopCloser(strings.NewReader(r.Body)), int64(len(r.Body))
	} else if r.method() == http.MethodPost {
		request.Body = http.NoBody
	}
	request.Header["User-Agent"] = []string{"otpbridge-testclient"}
	for name, values := range r.Header {
		request.Header[name] = values
	}
	if r.Type != "" {
		request.Header["Content-Type"] = []string{r.Type}
	}
	response, err := t.client.Do(request)
	if err != nil {
		return Answer{}, t.trouble(r.method()+" "+t.Root+t.path(r), err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return Answer{}, t.trouble("read the answer to "+r.method()+" "+t.Root+t.path(r), err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}, nil
}

// What the sockets of Windows fail with (winsock2.h). No other system uses these numbers, and syscall does not name
// them.
const (
	wsaReset   = syscall.Errno(10054)
	wsaRefused = syscall.Errno(10061)
)

// trouble explains a failed exchange and what to do. The error of net/http would repeat the address with its query,
// which has secrets.
func (t *Target) trouble(tried string, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	trouble := &Trouble{Tried: tried, Err: err}
	_, dns := errors.AsType[*net.DNSError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, badHost := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		trouble.Remedy = "The run was stopped."
	case unknown:
		trouble.Remedy = "The certificate comes from an authority that this machine does not know. Name the authority's " +
			"certificate with --ca FILE."
	case badHost:
		trouble.Remedy = "The certificate is for another name. Call the target by the name in its certificate."
	case invalid:
		trouble.Remedy = "The certificate is not valid now, or not for this use. Renew it, and look at this machine's clock."
	case dns:
		trouble.Remedy = "The name of the target is not known here. Look for a typing error in --target, or at the DNS."
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, wsaRefused):
		trouble.Remedy = "Nothing listens there. Start the server, or say where it is with --target URL."
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, wsaReset), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF):
		trouble.Remedy = "The target closed the connection without an answer. Look into its log; if it speaks TLS, write " +
			"https:// in --target."
	case isNet && timeout.Timeout():
		trouble.Remedy = fmt.Sprintf("No answer within %s. Look whether the server is busy or a firewall is in between, "+
			"or allow more with --timeout.", t.client.Timeout)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		trouble.Remedy = "The target speaks plain HTTP there: write http:// in --target."
	case strings.Contains(err.Error(), "malformed HTTP"):
		trouble.Remedy = "What listens there does not speak HTTP. If it speaks TLS, write https:// in --target; else look " +
			"at the port."
	default:
		trouble.Remedy = "Look at the address in --target, and into the log of the server."
	}
	return trouble
}

// refusedCall is an unexpected answer of the sandbox API. The target was reached.
type refusedCall struct{ Trouble }

// ask makes one call of the sandbox API. It stores the answer in out unless that is nil.
func (t *Target) ask(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("write a call of the sandbox: %w", err)
		}
		payload = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, t.Root+path, payload)
	if err != nil {
		return fmt.Errorf("make a call of the sandbox: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	tried := method + " " + t.Root + strings.SplitN(path, "?", 2)[0]
	response, err := t.client.Do(request)
	if err != nil {
		return t.trouble(tried, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 16*maxBody))
	if err != nil {
		return t.trouble("read the answer to "+tried, err)
	}
	if response.StatusCode >= 300 {
		var problem struct{ Detail string }
		_ = json.Unmarshal(text, &problem)
		return &refusedCall{Trouble{Tried: tried + " was answered " + statusText(response.StatusCode) + " " + problem.Detail,
			Remedy: "The sandbox of the target refused what the test needs. Is it of a version that this client knows?"}}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &refusedCall{Trouble{Tried: tried + " was answered with something that is no JSON of a sandbox", Err: err,
			Remedy: "Look at what stands behind that address."}}
	}
	return nil
}

// credentials is an account as the sandbox shows it.
type credentials struct {
	Address   string  `json:"esme_address"`
	AccessKey string  `json:"access_key"`
	CipherKey string  `json:"cipher_key"`
	CipherIV  string  `json:"cipher_iv"`
	Profile   Profile `json:"message_profile"`
	APIKey    string  `json:"api_key"`

	// Optional: without them the cases about them are skipped.
	SigningSecret string `json:"signing_secret"`
	OtherAPIKey   string `json:"other_api_key"`
}

func (c credentials) account() *account {
	return &account{
		Address: c.Address, AccessKey: c.AccessKey, CipherKey: c.CipherKey, CipherIV: c.CipherIV, Profile: c.Profile,
		APIKey: c.APIKey, SigningSecret: c.SigningSecret, OtherAPIKey: c.OtherAPIKey,
	}
}

// demoAPIKey returns the API key that a sandbox shows beside an access key, or nothing.
func (t *Target) demoAPIKey(accessKey string) string {
	for _, a := range t.demo {
		if a.AccessKey == accessKey {
			return a.APIKey
		}
	}
	return ""
}

// makeAccount creates a throwaway account.
func (t *Target) makeAccount(ctx context.Context, settings Settings) (*account, error) {
	var made credentials
	if err := t.ask(ctx, http.MethodPost, "/sandbox/accounts", settings, &made); err != nil {
		return nil, err
	}
	a := made.account()
	return a, a.prepare(settings.text("otp_cipher"))
}

func (t *Target) messages(ctx context.Context, account, more string) ([]Message, error) {
	var list struct{ Data []Message }
	err := t.ask(ctx, http.MethodGet, "/sandbox/messages?limit=500&account="+url.QueryEscape(account)+more, nil, &list)
	return list.Data, err
}

func (t *Target) setClock(ctx context.Context, account string, offset time.Duration) error {
	return t.ask(ctx, http.MethodPut, "/sandbox/clock", map[string]string{"account": account, "offset": offset.String()},
		nil)
}

// faultRule is one row of the table that PUT /sandbox/faults replaces.
type faultRule struct {
	Target  string `json:"target"`
	Kind    string `json:"kind"`
	Account string `json:"account"`
	Count   int    `json:"count"`
	Delay   string `json:"delay,omitempty"`
}

func ruleOf(account, kind string, count int) faultRule {
	rule := faultRule{Target: "inbox", Kind: kind, Account: account, Count: count}
	switch kind {
	case "error", "panic":
		rule.Target = "servlet"
	case "v1 error", "v1 panic":
		rule.Target, rule.Kind, _ = strings.Cut(kind, " ")
	case "delay":
		rule.Delay = "1s"
	}
	return rule
}

func (t *Target) setFault(ctx context.Context, account, kind string, count int) error {
	return t.ask(ctx, http.MethodPut, "/sandbox/faults",
		map[string][]faultRule{"faults": {ruleOf(account, kind, count)}}, nil)
}

func (t *Target) clearFaults(ctx context.Context) error {
	return t.ask(ctx, http.MethodDelete, "/sandbox/faults", nil, nil)
}
