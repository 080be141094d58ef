package main

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClientAddr(t *testing.T) {
	proxies := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fd00::/8"),
	}
	for _, tt := range []struct {
		name      string
		peer      string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		{"nobody is trusted", "10.0.0.1", []string{"203.0.113.9"}, nil, "10.0.0.1"},
		{"the peer is no proxy", "198.51.100.1", []string{"203.0.113.9"}, proxies, "198.51.100.1"},
		{"a proxy that says nothing", "10.0.0.1", nil, proxies, "10.0.0.1"},
		{"one hop", "10.0.0.1", []string{"203.0.113.9"}, proxies, "203.0.113.9"},
		{"two proxies", "10.0.0.1", []string{"203.0.113.9, 192.0.2.7"}, proxies, "203.0.113.9"},
		{"what the client wrote is not believed", "10.0.0.1", []string{"1.1.1.1, 203.0.113.9, 10.0.0.2"}, proxies,
			"203.0.113.9"},
		{"nor in a line of its own", "10.0.0.1", []string{"1.1.1.1", "203.0.113.9"}, proxies, "203.0.113.9"},
		{"lines are one list", "10.0.0.1", []string{"1.1.1.1, 203.0.113.9", "10.0.0.3, 10.0.0.2"}, proxies, "203.0.113.9"},
		{"a client that claims a proxy's address", "10.0.0.1", []string{"10.9.9.9, 203.0.113.9"}, proxies, "203.0.113.9"},
		{"all are proxies", "10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, proxies, "10.0.0.3"},
		{"no address stops at the last good hop", "10.0.0.1", []string{"203.0.113.9, unknown, 10.0.0.2"}, proxies,
			"10.0.0.2"},
		{"no address at all", "10.0.0.1", []string{"unknown"}, proxies, "10.0.0.1"},
		{"an obfuscated one", "10.0.0.1", []string{"_hidden"}, proxies, "10.0.0.1"},
		{"empty places mean nothing", "10.0.0.1", []string{", 203.0.113.9, ,", "", " "}, proxies, "203.0.113.9"},
		{"with a port", "10.0.0.1", []string{"203.0.113.9:4711"}, proxies, "203.0.113.9"},
		{"IPv6", "fd00::1", []string{"2001:db8::9"}, proxies, "2001:db8::9"},
		{"IPv6 in brackets", "fd00::1", []string{"[2001:db8::9]"}, proxies, "2001:db8::9"},
		{"IPv6 with a port", "fd00::1", []string{"[2001:db8::9]:4711"}, proxies, "2001:db8::9"},
		{"half a bracket", "fd00::1", []string{"[2001:db8::9"}, proxies, "fd00::1"},
		{"IPv4 in IPv6 is IPv4", "::ffff:10.0.0.1", []string{"::ffff:203.0.113.9"}, proxies, "203.0.113.9"},
		{"a zone means something here only", "fe80::1%eth0", nil, proxies, "fe80::1"},
		{"leading zeros are no address", "10.0.0.1", []string{"203.000.113.009"}, proxies, "10.0.0.1"},
		{"blanks and tabs", "10.0.0.1", []string{"\t203.0.113.9 ,\t10.0.0.2 "}, proxies, "203.0.113.9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := clientAddr(netip.MustParseAddr(tt.peer), tt.forwarded, tt.trusted)
			require.Equal(t, tt.want, got.String())
		})
	}
}

func TestResolveClient(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct{ name, remote, want string }{
		{"a client of its own keeps its port", "198.51.100.1:4711", "198.51.100.1:4711"},
		{"behind a proxy there is no port", "10.0.0.1:4711", "203.0.113.9:0"},
		{"what is no address stays", "@", "@"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}}
		resolveClient(r, proxies)
		require.Equal(t, tt.want, r.RemoteAddr, tt.name)
	}
}

func TestResolveClient_PlainHTTPIsWhatOthersCanRead(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}
	https, both := []string{"https"}, []string{"https", "http"}
	for _, tt := range []struct {
		name, remote, client string
		tls                  bool
		protocol             []string
		plain                bool
	}{
		{"another machine", "198.51.100.1:1", "", false, nil, true},
		{"another machine over TLS", "198.51.100.1:1", "", true, nil, false},
		{"a client's own word", "198.51.100.1:1", "", false, https, true},
		{"this machine", "127.0.0.1:1", "", false, nil, false},
		{"this machine by IPv6", "[::1]:1", "", false, nil, false},
		{"this machine as IPv4 in IPv6", "[::ffff:127.0.0.1]:1", "", false, nil, false},
		{"a proxy that ended TLS", "10.0.0.1:1", "203.0.113.9", false, https, false},
		{"a proxy in other letters", "10.0.0.1:1", "203.0.113.9", false, []string{"HTTPS"}, false},
		{"a proxy that did not", "10.0.0.1:1", "203.0.113.9", false, []string{"http"}, true},
		{"a proxy that says nothing", "10.0.0.1:1", "203.0.113.9", false, nil, true},
		{"a list", "10.0.0.1:1", "203.0.113.9", false, []string{"https, http"}, true},
		{"two lines", "10.0.0.1:1", "203.0.113.9", false, both, true},
		{"a proxy on this machine", "127.0.0.1:1", "203.0.113.9", false, nil, true},
		{"a proxy on this machine that ended TLS", "127.0.0.1:1", "203.0.113.9", false, https, false},
		{"a client that claims to be here", "198.51.100.1:1", "127.0.0.1", false, nil, true},
		{"a proxy's word that the client is here", "10.0.0.1:1", "127.0.0.1", false, nil, true},
		{"what is no address", "@", "", false, nil, true},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-Proto": tt.protocol}}
		if tt.client != "" {
			r.Header.Set("X-Forwarded-For", tt.client)
		}
		if tt.tls {
			r.TLS = new(tls.ConnectionState)
		}
		require.Equal(t, tt.plain, resolveClient(r, proxies), tt.name)
	}
}

// The law: hops to the left of an untrusted hop do not change the result.
func FuzzClientAddr(f *testing.F) {
	f.Add("1.2.3.4", "203.0.113.9")
	f.Add("x, ,[::1", "10.0.0.2")
	f.Fuzz(func(t *testing.T, forged, more string) {
		trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		peer := netip.MustParseAddr("10.0.0.1")
		want := netip.MustParseAddr("203.0.113.9")
		require.Equal(t, want, clientAddr(peer, []string{forged, more + ",203.0.113.9, 10.0.0.2"}, trusted))
		require.Equal(t, peer, clientAddr(peer, []string{forged, more}, nil))
	})
}

// forgeries returns headers with which some proxies state a client's address. A client can send all of them.
func forgeries(address string) []string {
	return []string{
		"X-Forwarded-For", address, "X-Real-IP", address, "True-Client-IP", address, "CF-Connecting-IP", address,
		"X-Client-IP", address, "X-Cluster-Client-IP", address, "Forwarded", `for="` + address +
			`"`, "X-Forwarded", address, "Via", address,
	}
}

// A forged address neither passes a key's network list nor gets a new rate limit.
func TestServer_AForgedAddressIsNoAddress(t *testing.T) {
	s := boot(t, variables(t)...)
	bound := s.account(`{"access_keys":[{"allowed_ips":["203.0.113.0/24"]}]}`)
	limited := s.account(`{"requests_per_minute":3}`)
	call := func(key, address string) string {
		return s.do("GET", "/otpauthapi/otpgenservlet?"+person("919551492394").Encode(), "",
			append([]string{"access_key", key}, forgeries(address)...)...).body
	}
	require.Equal(t, "UNAUTHERISED USER", call(bound.AccessKey, "203.0.113.9"))
	answered := map[string]int{}
	for _, address := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4", "2001:db8::5"} {
		answered[call(limited.AccessKey, address)]++
	}
	require.Equal(t, map[string]int{"OTP Generated Successfully": 3, "ERROR": 2}, answered)

	behind := boot(t, variables(t, "OTPBRIDGE_TRUSTED_PROXIES=127.0.0.1")...)
	bound = behind.account(`{"access_keys":[{"allowed_ips":["203.0.113.0/24"]}]}`)
	headers := append([]string{"access_key", bound.AccessKey}, forgeries("203.0.113.9")[2:]...)
	path := "/otpauthapi/otpgenservlet?" + person("919551492394").Encode()
	require.Equal(t, "UNAUTHERISED USER", behind.do("GET", path, "", headers...).body,
		"only X-Forwarded-For is read, and only the proxy's")
	require.Equal(t, "UNAUTHERISED USER", behind.do("GET", path, "",
		append(headers, "X-Forwarded-For", "203.0.113.9, 198.51.100.1")...).body)
	require.Equal(t, "OTP Generated Successfully", behind.do("GET", path, "",
		append(headers, "X-Forwarded-For", "203.0.113.9")...).body)
}
