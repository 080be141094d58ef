package web

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"otpbridge/server/otp"
)

// ArrivedOnLoopback reports whether r came over a loopback address. It checks the connection's address, because a
// server that listens on all addresses is open to DNS rebinding on loopback too. An unknown address counts as
// loopback.
func ArrivedOnLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return !ok || local.IP.IsLoopback()
}

// HostIsAddress reports whether host, a Host header, does not depend on DNS: it is an IP address, or a name that RFC
// 6761, section 6.3, reserves for loopback. An empty host passes: HTTP/1.0 sends none, and no browser uses HTTP/1.0.
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

// hostName returns a Host header without port and brackets.
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

// BaseOf returns the base URL with which the reader's shell reaches this server: scheme and host of r, if r's Host is
// a plain host.
func BaseOf(r *http.Request) string {
	host := r.Host
	if !plainHost.MatchString(host) {
		host = "127.0.0.1:8080"
	}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" { // a client that sends it changes only its own page
		return "https://" + host
	}
	return "http://" + host
}

// ShellWord quotes any text as one word of a POSIX shell.
func ShellWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
