package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// counting listens with TLS at an address and counts the connections that it accepts.
func counting(t *testing.T, address string, handler http.HandlerFunc) (string, *atomic.Int32, *httptest.Server) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	accepted := new(atomic.Int32)
	server := httptest.NewUnstartedServer(handler)
	require.NoError(t, server.Listener.Close())
	server.Listener = listener
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted.Add(1)
		}
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port, accepted, server
}

// spellings are URLs that lead to this machine, to a private network or to a cloud's metadata, or that some program
// reads like that. P is the port of a listener on this machine.
var spellings = []string{
	"https://127.0.0.1:P/", "https://127.0.0.2:P/", "https://127.255.255.254:P/", "https://127.1:P/",
	"https://127.0.1:P/",
	"https://2130706433:P/", "https://0x7f000001:P/", "https://0X7F000001:P/", "https://0x7f.0.0.1:P/",
	"https://0x7f.1:P/",
	"https://017700000001:P/", "https://0177.0.0.1:P/", "https://0177.1:P/", "https://127.0.0.1.:P/",
	"https://127.000.000.001:P/",
	"https://0:P/", "https://0.0.0.0:P/", "https://00000:P/", "https://0x0:P/", "https://127.0.0.0x1:P/",
	"https://[::1]:P/", "https://[::]:P/", "https://[0:0:0:0:0:0:0:1]:P/", "https://[::ffff:127.0.0.1]:P/",
	"https://[::ffff:7f00:1]:P/",
	"https://[::127.0.0.1]:P/", "https://[::ffff:0:127.0.0.1]:P/", "https://[64:ff9b::127.0.0.1]:P/",
	"https://[64:ff9b:1::7f00:1]:P/",
	"https://[2002:7f00:1::]:P/", "https://[2001:0:7f00:1::]:P/", "https://[2001:4860::5efe:127.0.0.1]:P/",
	"https://[fe80::1%25lo]:P/",
	"https://[::1%25lo]:P/", "https://[fe80::1]:P/", "https://[fec0::1]:P/", "https://[fc00::1]:P/",
	"https://[ff02::1]:P/",
	"https://localhost:P/", "https://LOCALHOST:P/", "https://localhost.:P/", "https://a.localhost:P/",
	"https://user@127.0.0.1:P/", "https://example.com@127.0.0.1:P/", "https://example.com:x@localhost:P/",
	"https://127.0.0.1:P\\@example.com/",
	"https://example.com\\@127.0.0.1:P/", "https://127.0.0.1:P#@example.com/",
	"https://127.0.0.1%00.example.com:P/", "https://127.0.0.1%2f:P/",
	"https://%31%32%37.0.0.1:P/", "https://１２７.0.0.1:P/", "https://①②⑦.⓪.⓪.①:P/", "https://127。0。0。1:P/",
	"https://loc\u00adalhost:P/",
	"https:127.0.0.1:P/", "https:///127.0.0.1:P/", "//127.0.0.1:P/", "http://127.0.0.1:P/",
	"http://localhost:P/", "HTTP://127.0.0.1:P/",
	"ftp://127.0.0.1:P/", "gopher://127.0.0.1:P/", "file:///etc/passwd", "https://127.0.0.1:P:80/",
	"https://127.0.0.1 :P/", " https://127.0.0.1:P/",
	"https://169.254.169.254/", "https://[fd00:ec2::254]/", "https://100.100.100.200/", "https://168.63.129.16/",
	"https://10.0.0.1/",
	"https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/", "https://198.18.0.1/",
	"https://224.0.0.1/", "https://255.255.255.255/",
	"https://[64:ff9b::a9fe:a9fe]/", "https://[2002:a9fe:a9fe::1]/", "https://[::ffff:169.254.169.254]/",
	"https://192.0.2.1/", "https://[2001:db8::1]/",
}

func TestGuard_NoSpellingReachesThisMachine(t *testing.T) {
	require.GreaterOrEqual(t, len(spellings), 60)
	port, accepted, _ := counting(t, "127.0.0.1:0", nil)
	if listener, err := net.Listen("tcp", "[::1]:"+port); err == nil {
		defer listener.Close()
		go func() {
			for {
				if conn, err := listener.Accept(); err != nil {
					return
				} else if accepted.Add(1); conn.Close() != nil {
					return
				}
			}
		}()
	}
	client := new(Guard).Client(5 * time.Second)
	for _, spelling := range spellings {
		spelling = strings.ReplaceAll(spelling, ":P", ":"+port)
		if _, err := new(Guard).Parse(spelling); err == nil {
			require.Contains(t, strings.ToLower(spelling), "localhost", "%s: only what a name leads to shows later", spelling)
		}
		_, err := Fetch(t.Context(), client, spelling, 1000)
		require.Error(t, err, spelling)
		require.Zero(t, accepted.Load(), "%s reached a listener", spelling)
	}
	naive := &http.Client{Timeout: time.Second}
	for _, host := range []string{"127.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]", "example.com@127.0.0.1"} {
		_, err := naive.Get("https://" + host + ":" + port + "/")
		require.Error(t, err, "its certificate is not known")
	}
	require.Equal(t, int32(4), accepted.Load(), "without the guard they do reach one")
}

func TestGuard_ParseSaysWhatToMend(t *testing.T) {
	for text, want := range map[string]string{
		"": "not a URL", "hooks.example.com/x": "not a URL", "https://": "not a URL",
		"https:/hooks": "not a URL", "mailto:a@b.example": "not a URL",
		"http://hooks.example.com": "https://", "ftp://hooks.example.com": "https://",
		"https://u:p@hooks.example.com": "user",
		"https://@hooks.example.com":    "user", "https://hooks.example.com.": "dot",
		"https://hooks.example.com#x": "fragment", "https://hooks.example.com#": "fragment",
		"https://2130706433": "192.0.2.7", "https://0x8.0x8.8.8": "192.0.2.7", "https://8.8.8": "192.0.2.7",
		"https://010.8.8.8": "192.0.2.7",
		"https://8.8.8.8.":  "dot", "https://example.0x1f": "192.0.2.7", "https://[v1.a]/": "not a URL",
		"https://2606:4700::1111/": "URL",
		"https://bücher.example":   "ASCII", "https://exa mple.com": "blanks",
		"https://example.com\\a": "backslashes", "https://exa\x00mple.com": "blanks",
		"https://a..example": "letters", "https://-a.example": "letters", "https://a,b.example": "letters",
		"https://*.example":     "letters",
		"https://example.com:0": "port", "https://example.com:": "port", "https://example.com:0443": "port",
		"https://example.com:65536": "port",
		"https://example.com:22":    "port of another", "https://example.com:25": "port of another",
		"https://example.com:6667":                         "port of another",
		"https://example.com/" + strings.Repeat("a", 2100): "longer",
		"https://" + strings.Repeat("a.", 130) + "example": "letters",
	} {
		_, err := new(Guard).Parse(text)
		require.ErrorContains(t, err, want, "%q", text)
		require.ErrorIs(t, err, ErrGuarded, "%q", text)
	}
	for _, text := range []string{
		"https://hooks.example.com", "https://hooks.example.com:443/a?b=c", "HTTPS://Hooks.Example.com/",
		"https://example.com:8443", "https://8.8.8.8/",
		"https://[2606:4700::1111]/", "https://xn--bcher-kva.example/%20", "https://a_b.example",
		"https://1a.example", "https://[64:ff9b::808:808]/",
		"https://[2002:808:808::1]/",
	} {
		_, err := new(Guard).Parse(text)
		require.NoError(t, err, text)
	}
}

func TestGuard_OpensWhatTheOperatorNames(t *testing.T) {
	parse := func(g Guard, host string) error {
		_, err := g.Parse("https://" + host + ":8443/")
		return err
	}
	open := Guard{Networks: prefixes("10.0.0.0/8", "127.0.0.2/32", "169.254.0.0/16", "fe80::/10", "127.0.0.0/8",
		"64:ff9b::/96", "fd00::/8", "0.0.0.0/1", "100.64.0.0/10", "2002::/16")}
	for _, host := range []string{
		"10.1.2.3", "127.0.0.2", "[fd00::1]", "[::ffff:10.1.2.3]", "100.64.0.1", "[64:ff9b::10.1.2.3]",
	} {
		require.NoError(t, parse(open, host), host)
		require.Error(t, parse(Guard{}, host), host)
	}
	for _, host := range []string{
		"127.0.0.1", "127.0.0.3", "[::1]", "169.254.1.1", "169.254.169.254", "[fe80::1]", "0.0.0.0",
		"100.100.100.200", "[fd00:ec2::254]",
		"[64:ff9b::169.254.169.254]", "[64:ff9b::127.0.0.1]", "[2002:a9fe:a9fe::]", "192.168.0.1",
		"[::ffff:169.254.169.254]", "224.0.0.1",
	} {
		require.Error(t, parse(open, host), host)
	}
	sandbox := Guard{Sandbox: true}
	for _, text := range []string{
		"http://127.0.0.1:80/", "http://localhost/", "https://127.9.9.9:1/", "http://[::1]:8080/", "https://localhost:22",
	} {
		_, err := sandbox.Parse(text)
		require.NoError(t, err, text)
	}
	for _, text := range []string{
		"http://10.0.0.1/", "http://example.com/", "https://10.0.0.1/", "http://169.254.169.254/", "http://a.localhost/",
	} {
		_, err := sandbox.Parse(text)
		require.Error(t, err, text)
	}
}

// resolving answers the nth question (from 0) for an A record of a name with answer's result.
func resolving(t *testing.T, answer func(name string, n int) []string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		asked := map[string]int{}
		packet := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeSuccess, nil
			if question := m.Questions[0]; question.Type == dnsmessage.TypeA {
				for _, address := range answer(question.Name.String(), asked[question.Name.String()]) {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET},
						Body:   &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()},
					})
				}
				asked[question.Name.String()]++
			}
			if reply, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestGuard_ANameThatChangesItsMindReachesNothing(t *testing.T) {
	port, inside, _ := counting(t, "127.0.0.1:0", nil)
	_, outside, server := counting(t, "127.0.0.2:"+port, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "https://127.0.0.1:"+port+"/", http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprint(w, "outside")
	})
	resolver := resolving(t, func(name string, n int) []string {
		switch {
		case strings.HasPrefix(name, "both."):
			return []string{"127.0.0.2", "127.0.0.1"}
		case strings.HasPrefix(name, "steady.") || n%2 == 0:
			return []string{"127.0.0.2"}
		}
		return []string{"127.0.0.1"}
	})
	guard := &Guard{Networks: prefixes("127.0.0.2/32"), Resolver: resolver}
	client := guard.Client(5 * time.Second)
	transport := client.Transport.(guarded).next
	transport.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport.TLSClientConfig.ServerName = "example.com" // the name in httptest's certificate
	transport.DisableKeepAlives = true

	reached := 0
	for range 20 {
		body, err := Fetch(t.Context(), client, "https://rebind.example.com:"+port+"/", 100)
		if err == nil {
			require.Equal(t, "outside", string(body))
			reached++
			continue
		}
		require.ErrorIs(t, err, ErrGuarded)
		require.EqualError(t, err, "leads to this machine")
	}
	require.Equal(t, 10, reached, "every other answer of the name server is one that may be dialled")
	_, err := Fetch(t.Context(), client, "https://both.example.com:"+port+"/", 100)
	require.ErrorIs(t, err, ErrGuarded, "a name with one address inside is refused as a whole")
	_, err = Fetch(t.Context(), client, "https://steady.example.com:"+port+"/redirect", 100)
	require.ErrorContains(t, err, "status 307")
	require.Zero(t, inside.Load())
	require.Equal(t, int32(11), outside.Load())

	// This test must fail for a guard that checks first and lets the dialler resolve again.
	lookThenDial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, err := guard.resolve(ctx, "naive.example.com"); err != nil {
			return nil, err
		}
		return (&net.Dialer{Resolver: resolver}).DialContext(ctx, network, address)
	}
	naive := &http.Client{Transport: &http.Transport{DialContext: lookThenDial}}
	_, err = naive.Get("https://naive.example.com:" + port + "/")
	require.Error(t, err)
	require.NotZero(t, inside.Load())
}

func TestFetch_IsBoundedInTimeAndSize(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fits":
			fmt.Fprint(w, strings.Repeat("a", 1000))
		case "/large":
			fmt.Fprint(w, strings.Repeat("a", 1001))
		case "/status":
			w.WriteHeader(http.StatusNoContent)
		case "/header":
			w.Header().Set("X-Long", strings.Repeat("a", guardHeader+5000))
		case "/trickle":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-over
		case "/hang":
			<-over
		}
	}))
	defer server.CloseClientConnections()
	client := (&Guard{Sandbox: true}).Client(300 * time.Millisecond)
	for path, want := range map[string]string{
		"/fits": "", "/large": "more than 1000 bytes", "/status": "status 204", "/header": "was not reached",
		"/trickle": "the time is over",
		"/hang":    "the time is over",
	} {
		body, err := Fetch(t.Context(), client, server.URL+path, 1000)
		if want == "" {
			require.NoError(t, err)
			require.Len(t, body, 1000)
			continue
		}
		require.ErrorContains(t, err, want, path)
		require.NotContains(t, err.Error(), "127.0.0.1")
	}
}

// Every URL that the guard accepts is read alike by every program: an https URL whose host is a plain name or a public
// address.
func FuzzGuard_Parse(f *testing.F) {
	for _, spelling := range spellings {
		f.Add(spelling)
	}
	f.Add("https://hooks.example.com:8443/otp?x=1")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := new(Guard).Parse(text)
		if err != nil {
			require.True(t, errors.Is(err, ErrGuarded))
			return
		}
		require.Equal(t, "https", u.Scheme)
		require.Nil(t, u.User)
		require.NotContains(t, u.Host, "@")
		again, err := new(Guard).Parse(u.String())
		require.NoError(t, err)
		require.Equal(t, u.Host, again.Host)
		if address, err := netip.ParseAddr(u.Hostname()); err == nil {
			requirePublic(t, address)
			return
		}
		require.Regexp(t, `^[A-Za-z0-9._-]+$`, u.Hostname())
		require.NotRegexp(t, `(^|\.)(0[xX][0-9a-fA-F]*|[0-9]+)?$`, u.Hostname())
	})
}

func FuzzGuard_Judge(f *testing.F) {
	for _, spelling := range spellings {
		if u, err := url.Parse(strings.ReplaceAll(spelling, ":P", "")); err == nil {
			if address, err := netip.ParseAddr(u.Hostname()); err == nil {
				raw := address.As16()
				f.Add(raw[:])
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if address, ok := netip.AddrFromSlice(raw); ok && new(Guard).judge(address) == nil {
			requirePublic(t, address)
		}
	})
}

// requirePublic checks an address with the standard library's knowledge of addresses.
func requirePublic(t *testing.T, address netip.Addr) {
	t.Helper()
	address = address.Unmap()
	require.True(t, address.IsGlobalUnicast() && !address.IsPrivate() && address.Zone() == "", address.String())
	if address.Is6() {
		raw := address.As16()
		nat := strings.HasPrefix(address.StringExpanded(), "0064:ff9b:0000:0000:0000:0000:")
		require.True(t, nat || raw[0]>>5 == 1, address.String())
		if nat {
			requirePublic(t, netip.AddrFrom4([4]byte(raw[12:])))
		}
	}
}
