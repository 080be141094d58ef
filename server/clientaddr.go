package main

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// Who a request comes from decides whether a key may be used, and goes into the log. gin can
// tell it too (Context.ClientIP), but reads the first X-Forwarded-For line only. A proxy may add
// a line of its own below the client's, as RFC 9110, section 5.3, allows; then the first line is
// whatever the client wrote, and the client would choose its own address. So all lines count
// here, as the one list that they are.

// resolveClient puts the client's address in place of r's RemoteAddr, so that everything after
// it can go by that field alone. The port is 0 where only a proxy knew it.
//
// It reports whether the request was readable on its way: it came from another machine, not over TLS, and no
// trusted proxy says that the client spoke TLS to it.
func resolveClient(r *http.Request, trusted []netip.Prefix) (plain bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.TLS == nil
	}
	client := clientAddr(peer.Addr(), r.Header["X-Forwarded-For"], trusted)
	if client != peer.Addr() {
		r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
	}
	here := peer.Addr().Unmap().IsLoopback() && client.IsLoopback()
	return r.TLS == nil && !here && !saysHTTPS(r, peer.Addr(), trusted)
}

// saysHTTPS reports whether a trusted proxy says that the client spoke TLS. A list of several values, or two
// lines, may begin with what the client wrote, and count as nothing.
func saysHTTPS(r *http.Request, peer netip.Addr, trusted []netip.Prefix) bool {
	protocol := r.Header["X-Forwarded-Proto"]
	return among(trusted, peer.Unmap().WithZone("")) && len(protocol) == 1 && otp.SameName(protocol[0], "https")
}

// among reports whether one of the networks has the address.
func among(networks []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(address) })
}

// clientAddr is the address of the client: the peer of the connection, unless that is a trusted
// proxy. Then it is the right-most hop of the forwarded list that is no trusted proxy itself,
// because that one was written by the last proxy that we trust, and everything to its left by
// nobody we know. If all hops are trusted the left-most is the client. A hop that is no address
// ends the walk at the proxy that passed it on: nothing to the left of it can be believed.
func clientAddr(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	client := peer.Unmap().WithZone("")
	believed := func() bool { return among(trusted, client) }
	for _, line := range slices.Backward(forwarded) {
		for line != "" && believed() {
			comma := strings.LastIndexByte(line, ',')
			hop := strings.Trim(line[comma+1:], " \t")
			line = line[:max(comma, 0)]
			if hop == "" {
				continue // an empty place in a list means nothing (RFC 9110, section 5.6.1.2)
			}
			address, ok := parseHop(hop)
			if !ok {
				return client
			}
			client = address
		}
	}
	return client
}

// parseHop reads an address, in brackets or not, with a port or not: proxies write all of these.
func parseHop(hop string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(hop); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	if inner, bracketed := strings.CutPrefix(hop, "["); bracketed && strings.HasSuffix(inner, "]") {
		hop = strings.TrimSuffix(inner, "]")
	}
	address, err := netip.ParseAddr(hop)
	return address.Unmap().WithZone(""), err == nil
}
