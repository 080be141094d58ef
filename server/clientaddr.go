package main

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// The client's address decides whether a key may be used, and goes into the log. gin's Context.ClientIP
// is not safe here: it reads only the first X-Forwarded-For line. A proxy may add its own line below the
// client's (RFC 9110, section 5.3); then the first line is the client's, and the client could choose its
// address. So this file reads all lines as one list.

// resolveClient sets r.RemoteAddr to the client's address, so that later code reads only that field.
// The port is 0 if only a proxy knew it.
//
// It returns true if others could read the request on its way: it came from another machine, not over TLS,
// and no trusted proxy says that the client spoke TLS to it.
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

// saysHTTPS reports whether a trusted proxy says that the client spoke TLS. It ignores a header of several values
// or lines, because the client may have written the first.
func saysHTTPS(r *http.Request, peer netip.Addr, trusted []netip.Prefix) bool {
	protocol := r.Header["X-Forwarded-Proto"]
	return among(trusted, peer.Unmap().WithZone("")) && len(protocol) == 1 && otp.SameName(protocol[0], "https")
}

// among reports whether the address is in one of the networks.
func among(networks []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(address) })
}

// clientAddr returns the address of the client. That is the peer of the connection, unless the peer is a
// trusted proxy. Then it is the right-most hop of the forwarded list that is not a trusted proxy: a trusted
// proxy wrote that hop, and anybody can have written those to its left. If all hops are trusted, it is the
// left-most. At a hop that is not an address it stops and returns the proxy that passed that hop on.
func clientAddr(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	client := peer.Unmap().WithZone("")
	believed := func() bool { return among(trusted, client) }
	for _, line := range slices.Backward(forwarded) {
		for line != "" && believed() {
			comma := strings.LastIndexByte(line, ',')
			hop := strings.Trim(line[comma+1:], " \t")
			line = line[:max(comma, 0)]
			if hop == "" {
				continue // empty list elements are ignored (RFC 9110, section 5.6.1.2)
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

// parseHop reads an address, with or without brackets and port: proxies write all of these.
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
