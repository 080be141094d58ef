package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Guard makes requests to URLs that customers set, such as webhooks and key sets. It only connects to addresses that
// the customer could reach too: never to this machine, to private networks, or to a cloud's metadata service.
//
// The checked address is the dialled address. A name is resolved once per connection, all its addresses are checked,
// and one of those is dialled, so a name server gains nothing by answering differently the second time. Redirects and
// proxies are not followed: with either, somebody else would choose the address.
//
// The zero value opens no networks; it is for production.
type Guard struct {
	// Networks are opened by the operator. They may contain private addresses, but never open link-local addresses,
	// multicast or metadata services; loopback only if a network is that single address.
	Networks []netip.Prefix
	// Sandbox opens loopback, where http:// is allowed too.
	Sandbox bool
	// Roots are the trusted certificate authorities; nil means the system's.
	Roots *x509.CertPool
	// Resolver finds the addresses of names; nil means the system's.
	Resolver *net.Resolver
}

// ErrGuarded is wrapped by the refusal of an address that customers must not make the server connect to.
var ErrGuarded = errors.New("is not allowed as an address of requests")

const (
	// guardConnect bounds each of name resolution, connecting and the TLS handshake.
	guardConnect = 5 * time.Second
	// guardHeader bounds the header of an answer, in bytes.
	guardHeader = 16 << 10
	// guardAddresses bounds how many addresses of one name are tried.
	guardAddresses = 4
)

// Client returns a client whose requests all pass the guard and end within timeout, including the body of the answer.
// It keeps idle connections: make one client per use, not one per request.
func (g *Guard) Client(timeout time.Duration) *http.Client {
	transport := g.Transport(2)
	transport.ResponseHeaderTimeout, transport.IdleConnTimeout = timeout, gatewayIdle
	return &http.Client{
		Timeout:       timeout,
		Transport:     guarded{guard: g, next: transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Transport returns a transport that connects only to allowed addresses, with at most perHost connections to one host.
// It follows no redirects and does not check URLs: use it with a URL that Parse has read.
func (g *Guard) Transport(perHost int) Transport {
	return Transport{&http.Transport{
		Proxy:                  nil, // a proxy would choose the address
		DialContext:            g.dial,
		TLSClientConfig:        &tls.Config{RootCAs: g.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    guardConnect,
		MaxResponseHeaderBytes: guardHeader,
		MaxConnsPerHost:        perHost,
		DisableCompression:     true, // a small answer stays small
	}}
}

// Transport is a transport for which an answer 101 is an error. Of such an answer net/http returns the bare connection
// as body, which no timeout and no context ends: who reads it waits for as long as the other side likes.
type Transport struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.Transport.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close() // it holds nothing that is of use
		return nil, errors.New("the answer was 101, which no request asks for")
	}
	return response, err
}

// guarded checks the URL of each request before it is sent.
type guarded struct {
	guard *Guard
	next  Transport
}

// RoundTrip implements http.RoundTripper.
func (t guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := t.guard.Parse(r.URL.String()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, err
	}
	return t.next.RoundTrip(r)
}

// CloseIdleConnections is called by http.Client.
func (t guarded) CloseIdleConnections() { t.next.CloseIdleConnections() }

// Fetch reads a document of at most most bytes with a client made by Client. Any status but 200 is an error. The error
// is safe to log and to show: it quotes neither the answer nor an address.
func Fetch(ctx context.Context, client *http.Client, address string, most int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if errors.Is(err, ErrGuarded) {
		return nil, unwrapURL(err)
	}
	if err != nil {
		return nil, errors.New(Unreached(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with status %d where 200 is expected; redirects are not followed",
			response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	switch {
	case err != nil:
		return nil, errors.New("did not answer in full: " + Phrase(err))
	case int64(len(body)) > most:
		return nil, fmt.Errorf("answered with more than %d bytes", most)
	}
	return body, nil
}

// Unreached returns in words why a request of a guarded client got no answer. The text is safe to log and to show: it
// quotes no address.
func Unreached(err error) string {
	if errors.Is(err, ErrGuarded) {
		return unwrapURL(err).Error()
	}
	return "was not reached: " + Phrase(err)
}

// unwrapURL removes the method and URL that http.Client puts in front of its errors.
func unwrapURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// dial connects to one of a host's addresses after checking all of them.
func (g *Guard) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*guardConnect)
	defer cancel()
	name, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	addresses, err := g.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	// Check again: Control gets the exact address that the kernel connects to.
	control := func(_, address string, _ syscall.RawConn) error {
		dialled, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("the address %w", ErrGuarded)
		}
		return g.judge(dialled.Addr())
	}
	dialer := net.Dialer{Timeout: guardConnect, FallbackDelay: -1, Control: control}
	for _, address := range addresses[:min(len(addresses), guardAddresses)] {
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(address.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// resolve returns the addresses of a host, at least one. If one is refused, all are: a name with both public and
// private addresses is made to be retried until it leads inside.
func (g *Guard) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{address}, g.judge(address)
	}
	resolver := g.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	looking, cancel := context.WithTimeout(ctx, guardConnect)
	defer cancel()
	addresses, err := resolver.LookupNetIP(looking, "ip", name)
	if err != nil {
		return nil, err
	}
	for i, address := range addresses {
		addresses[i] = address.Unmap()
		if err := g.judge(address); err != nil {
			return nil, err
		}
	}
	if len(addresses) == 0 {
		return nil, &net.DNSError{Err: "no addresses", IsNotFound: true}
	}
	return addresses, nil
}

// Check is Parse without the URL.
func (g *Guard) Check(text string) error {
	_, err := g.Parse(text)
	return err
}

// Parse reads a URL that a customer set, and refuses it if its text shows that requests must not be sent to it. An IP
// address must be in standard form: other spellings (decimal, octal, hexadecimal, shortened) mean different addresses
// to different programs. The error follows the name of the setting and says what to write.
func (g *Guard) Parse(text string) (*url.URL, error) {
	for _, r := range text {
		if r <= ' ' || r > '~' || r == '\\' {
			return nil, refusal("has blanks, backslashes or characters beyond ASCII; percent-encode them, a host as xn--…")
		}
	}
	u, err := url.Parse(text)
	switch {
	case len(text) > maxGuardedURL:
		return nil, refusal(fmt.Sprintf("is longer than %d characters", maxGuardedURL))
	case err != nil, u.Opaque != "", u.Host == "":
		return nil, refusal("is not a URL with a host; write one like https://hooks.example.com/otp")
	case u.User != nil:
		return nil, refusal("has a user or password, or an @ in front of the host; leave them out")
	case strings.Contains(text, "#"):
		return nil, refusal("has a fragment, which is never sent; leave out # and what follows")
	}
	if err := g.judgeHost(u); err != nil {
		return nil, err
	}
	return u, g.judgeScheme(u)
}

// ParseBase is Parse for a URL that names are appended to.
func (g *Guard) ParseBase(text string) (*url.URL, error) {
	base, err := g.Parse(text)
	if err == nil && strings.Contains(text, "?") {
		err = refusal("has a query; write what stands before the names, as in https://otp.example.com/otpauthapi")
	}
	return base, err
}

// maxGuardedURL bounds a URL, in characters.
const maxGuardedURL = 2048

// refusal returns an error that wraps ErrGuarded and follows the name of a setting.
func refusal(text string) error { return &guardError{text} }

type guardError struct{ text string }

// Error implements error.
func (e *guardError) Error() string { return e.text }

// Is makes errors.Is find ErrGuarded.
func (e *guardError) Is(target error) bool { return target == ErrGuarded }
