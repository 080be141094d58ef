package deliver

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hostLabel is one label of a host name. Underscores are not allowed in host names, but some have them.
var hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// judgeHost refuses hosts that programs read differently, and forbidden addresses.
func (g *Guard) judgeHost(u *url.URL) error {
	name := u.Hostname()
	if address, err := netip.ParseAddr(name); err == nil {
		if address.Is6() != strings.HasPrefix(u.Host, "[") {
			return refusal("has brackets that only IPv6 has, as in https://[2001:db8::1]/, or lacks them")
		}
		return g.judge(address)
	}
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	switch {
	case strings.HasSuffix(name, "."):
		return refusal("has a host that ends with a dot; leave the dot out")
	case strings.Contains(u.Host, "["), numeric(last):
		return refusal("has a host that is an address in an odd form; write 192.0.2.7 or [2001:db8::7]")
	case len(name) > 253, slices.ContainsFunc(labels, func(l string) bool { return !hostLabel.MatchString(l) }):
		return refusal("has a host with more than letters, digits, hyphens and dots; write one like hooks.example.com")
	}
	return nil
}

// numeric reports whether the last label of a host makes it an IP address by the browsers' URL standard: digits, or 0x
// and hexadecimal digits.
func numeric(label string) bool {
	rest, hex := strings.CutPrefix(strings.ToLower(label), "0x")
	digits := "0123456789"
	if hex {
		digits += "abcdef"
	}
	return label != "" && strings.Trim(rest, digits) == ""
}

// otherServices are ports from 1024 on that belong to other protocols and that browsers block
// (https://fetch.spec.whatwg.org/#port-blocking).
var otherServices = []int{
	1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
}

// judgeScheme refuses everything except https, and http to this machine in a sandbox; and ports of other protocols.
func (g *Guard) judgeScheme(u *url.URL) error {
	port, err := strconv.Atoi(u.Port())
	written := strings.HasSuffix(u.Host, ":") || u.Port() != ""
	if written && (err != nil || strconv.Itoa(port) != u.Port() || port < 1 || port > 65535) {
		return refusal("has a port that is not a number from 1 to 65535")
	}
	local := g.Sandbox && loopback(u)
	switch {
	case u.Scheme == "http" && local, u.Scheme == "https" && local:
		return nil
	case u.Scheme != "https":
		return refusal("must begin with https://, or in a sandbox with http:// and a loopback address")
	case written && port != 443 && port < 1024, slices.Contains(otherServices, port):
		return refusal("has a port of another protocol; use 443 or one from 1024 that browsers do not block")
	}
	return nil
}

// IPv4 networks that cannot be reached from the internet, by IANA's registries of special-purpose addresses (RFC
// 6890), and the former 6to4 relay network.
var special4 = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4")

// special6 are the special-purpose networks within 2000::/3, the only part of IPv6 assigned for public use. 2001::/23
// contains Teredo.
var special6 = prefixes("2001::/23", "2001:db8::/32", "3fff::/20")

// metadata are the addresses of cloud services that give a machine its secrets. One of them is a public address.
var metadata = prefixes("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::254/128",
	"fd00:42::42/128")

var (
	public6   = netip.MustParsePrefix("2000::/3")
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// judge refuses an address that requests must not be sent to. An IPv6 address that stands for an IPv4 address must be
// allowed as both.
func (g *Guard) judge(address netip.Addr) error {
	plain := address.Unmap()
	if !address.IsValid() || address.Zone() != "" {
		return refusal("leads to an address with a zone, which only this machine understands")
	}
	if inner, found := embedded(plain); found {
		if err := g.judge(inner); err != nil || nat64.Contains(plain) {
			return err
		}
	}
	switch {
	case plain.IsUnspecified(), plain.IsMulticast(), plain.IsLinkLocalUnicast(), within(metadata, plain):
		return refusal("leads to a link-local, multicast or unspecified address or a cloud's metadata, which stays closed")
	case plain.IsLoopback() && (g.Sandbox || slices.Contains(g.Networks, netip.PrefixFrom(plain, plain.BitLen()))):
		return nil
	case plain.IsLoopback():
		return refusal("leads to this machine")
	case within(g.Networks, plain), plain.Is4() && !within(special4, plain),
		public6.Contains(plain) && !within(special6, plain):
		return nil
	}
	return refusal("leads to an address that is not public; OTPBRIDGE_OUTBOUND_NETWORKS opens private networks")
}

// embedded returns the IPv4 address that an IPv6 address stands for by one of the translations in use: NAT64 (RFC
// 6052), 6to4 (RFC 3056) and ISATAP (RFC 5214).
func embedded(address netip.Addr) (netip.Addr, bool) {
	raw := address.As16()
	at := 12
	switch {
	case address.Is4():
		return netip.Addr{}, false
	case sixToFour.Contains(address):
		at = 2
	case nat64.Contains(address), raw[8]&^2 == 0 && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe:
	default:
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(raw[at : at+4])), true
}

func within(networks []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(address) })
}
