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

// Guard makes requests to URLs that customers set, such as webhooks and key sets. It sends a request only to
// an address that the customer could reach too: never to this machine, to private networks, or to the
// metadata service of a cloud.
//
// The address that is judged is the address that is dialled. A name is resolved once for each connection, all
// its addresses are judged, and one of those is dialled, so that a name server which answers differently the
// second time gains nothing. Redirects and proxies are not followed: either would have somebody else choose
// the address.
//
// The zero value opens no network and is for production.
type Guard struct {
	// Networks are opened by the operator. They open private addresses, but never link-local addresses,
	// multicast or metadata services; loopback only where a network is that one address.
	Networks []netip.Prefix
	// Sandbox opens loopback, where http:// may be used as well.
	Sandbox bool
	// Roots are the certificate authorities that are trusted; nil for the system's.
	Roots *x509.CertPool
	// Resolver finds the addresses of names; nil for the system's.
	Resolver *net.Resolver
}

// ErrGuarded is wrapped by the refusal of an address that a customer may not send us to.
var ErrGuarded = errors.New("is not allowed as an address of requests")

const (
	// guardConnect bounds finding, reaching and greeting a host, each.
	guardConnect = 5 * time.Second
	// guardHeader bounds the header of an answer, in bytes.
	guardHeader = 16 << 10
	// guardAddresses bounds how many addresses of one name are tried.
	guardAddresses = 4
)

// Client returns a client whose every request passes the guard and ends within timeout, the body of the
// answer included. It keeps idle connections: make one for each use, not one for each request.
func (g *Guard) Client(timeout time.Duration) *http.Client {
	transport := g.Transport(2)
	transport.ResponseHeaderTimeout, transport.IdleConnTimeout = timeout, gatewayIdle
	return &http.Client{
		Timeout:       timeout,
		Transport:     guarded{guard: g, next: transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Transport returns a transport that connects only to addresses that the guard allows, with at most so many
// connections to one host. It follows no redirect, and it judges no URL: use it with one that Parse has read.
func (g *Guard) Transport(perHost int) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // the environment's would dial in our place
		DialContext:            g.dial,
		TLSClientConfig:        &tls.Config{RootCAs: g.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    guardConnect,
		MaxResponseHeaderBytes: guardHeader,
		MaxConnsPerHost:        perHost,
		DisableCompression:     true, // a small answer stays small
	}
}

// guarded judges the URL of each request before it is sent.
type guarded struct {
	guard *Guard
	next  http.RoundTripper
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

// CloseIdleConnections is what http.Client asks its transport for.
func (t guarded) CloseIdleConnections() { t.next.(*http.Transport).CloseIdleConnections() }

// Fetch reads a document of at most so many bytes with client, which Client made. Any status but 200 is an
// error. The error is safe to log and to show: it quotes neither the answer nor an address.
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

// Unreached says in words why a request of a guarded client got no answer. It is safe to log and to show: it quotes
// no address.
func Unreached(err error) string {
	if errors.Is(err, ErrGuarded) {
		return unwrapURL(err).Error()
	}
	return "was not reached: " + Phrase(err)
}

// unwrapURL takes off the method and URL that http.Client puts in front of its errors.
func unwrapURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// dial connects to one of a host's addresses, all of which it has judged.
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
	// The kernel's own view is judged once more: Control sees the very address that connect is given.
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

// resolve returns the addresses of a host, at least one. One that is refused refuses all: a name that leads
// both outside and inside was made to be tried until it leads inside.
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

// Check is Parse for who needs the error only.
func (g *Guard) Check(text string) error {
	_, err := g.Parse(text)
	return err
}

// Parse reads a URL that a customer set and refuses what requests may not be sent to, as far as the text
// tells. An address in it has one spelling: the others (decimal, octal, hexadecimal, shortened) mean different
// addresses to different programs. The error follows the name of the setting and says what to write.
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

// refusal makes an error that wraps ErrGuarded and reads well after the name of a setting.
func refusal(text string) error { return &guardError{text} }

type guardError struct{ text string }

// Error implements error.
func (e *guardError) Error() string { return e.text }

// Is makes errors.Is find ErrGuarded.
func (e *guardError) Is(target error) bool { return target == ErrGuarded }
