package web

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"otpbridge/server/otp"
)

// ArrivedOnLoopback reports whether r came over a loopback address. It looks at the connection, not at
// the address listened on: of a server that listens everywhere, the loopback side is open to DNS
// rebinding all the same. What cannot be told counts as loopback.
func ArrivedOnLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return !ok || local.IP.IsLoopback()
}

// HostIsAddress reports whether host, a Host header, is one that DNS has no say in: an IP address, or a
// name that RFC 6761, section 6.3, reserves for loopback. HTTP/1.0 sends none; no browser speaks it.
func HostIsAddress(host string) bool {
	if host == "" {
		return true
	}
	if _, err := netip.ParseAddr(hostName(host)); err == nil {
		return true
	}
	return isLoopbackName(hostName(host))
}

// HostIsLocal reports whether host, a Host header, names this machine's loopback, or the address that
// the request r arrived at.
func HostIsLocal(r *http.Request, host string) bool {
	if host == "" {
		return true
	}
	address, err := netip.ParseAddr(hostName(host))
	if err != nil {
		return isLoopbackName(hostName(host))
	}
	if address = address.Unmap(); address.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap() == address
}

// hostName is a Host header without port and brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1]
	}
	return host
}

func isLoopbackName(name string) bool {
	name = strings.TrimSuffix(otp.Lower(name), ".")
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$`)

// BaseOf is where the reader's shell reaches this server: what a page itself was asked for by, if that can be
// nothing but a host.
func BaseOf(r *http.Request) string {
	host := r.Host
	if !plainHost.MatchString(host) {
		host = "127.0.0.1:8080"
	}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" { // a client that says so changes its own page
		return "https://" + host
	}
	return "http://" + host
}

// ShellWord is a text as one word of a POSIX shell, whoever wrote it.
func ShellWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
