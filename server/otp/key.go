package otp

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// KeyKind says what a credential is for.
type KeyKind string

// The kinds. Only an access key has no prefix: it looks like the keys that vendors issue.
const (
	AccessKey   KeyKind = "access_key"
	SecretKey   KeyKind = "secret"
	ReadOnlyKey KeyKind = "read_only"
	ClientKey   KeyKind = "client"
	ServiceKey  KeyKind = "service"

	// TokenKey is the kind of a JSON Web Token, which one of the account's issuers makes; it is not stored.
	TokenKey KeyKind = "token"
)

// KeyKinds lists every kind that can be created.
func KeyKinds() []KeyKind {
	return []KeyKind{AccessKey, SecretKey, ReadOnlyKey, ClientKey, ServiceKey}
}

// The permissions. Everything means all of them, including future ones. Only a key that lists it, or PermitDebug
// itself, gets debug headers.
const (
	PermitSend   = "send:otp"
	PermitVerify = "verify:otp"
	PermitResend = "resend:otp"
	PermitCancel = "cancel:otp"
	PermitRead   = "read:otp"
	PermitDebug  = "debug"
	Everything   = "*"

	PermitReadWebhooks  = "read:webhooks"
	PermitWriteWebhooks = "write:webhooks"

	PermitPrivacy = "write:privacy" // export and erase the records about a person

	// These read what belongs to the key's account, in the management API.
	PermitAccounts   = "read:accounts"
	PermitKeys       = "read:keys"
	PermitAudit      = "read:audit"
	PermitStatistics = "read:statistics"
)

// reading are the permissions that apply in the management API.
var reading = []string{PermitAccounts, PermitKeys, PermitAudit, PermitStatistics}

// ReadingPermissions lists the permissions with which a key can read in the management API. A key can change nothing
// there.
func ReadingPermissions() []string { return slices.Clone(reading) }

// permissions are in the order of their bits, which are stored: new ones go at the end.
var permissions = []string{PermitSend, PermitVerify, PermitResend, PermitCancel, PermitRead, PermitDebug, Everything,
	PermitReadWebhooks, PermitWriteWebhooks, PermitAccounts, PermitKeys, PermitAudit, PermitStatistics,
	PermitPrivacy}

// Permissions lists every permission that a key may be given.
func Permissions() []string { return slices.Clone(permissions) }

// PermissionBit returns the bit by which a permission is stored; 0 for an unknown one.
func PermissionBit(permission string) int64 {
	if i := slices.Index(permissions, permission); i >= 0 {
		return 1 << i
	}
	return 0
}

// RotationAge is the age at which a key should be rotated.
const RotationAge = 90 * Day

// Signing says whether a key's requests are signed.
type Signing string

// The modes. Optional checks a signature if there is one, for integrations that move to signing one call at a time.
const (
	SigningOff      Signing = "off"
	SigningOptional Signing = "optional"
	SigningRequired Signing = "required"
)

// Key is everything about a credential except its secrets.
type Key struct {
	ID             ID
	Kind           KeyKind
	Name           string
	LastFour       string
	Permissions    []string // empty: those of the kind
	AllowedOrigins []string
	Signing        Signing
	ExpiresAt      Millis // 0: never
}

// kindTraits are the properties of a kind. A key can do no more than within allows, whatever its row lists.
type kindTraits struct {
	code      string   // in the text of an API key
	within    []string // nil: no bound
	otherwise []string // for a key that lists no permissions
	perMinute int      // requests, if neither the key nor its account sets it; 0: no limit
}

// A client key is in a web page or an app, where anybody can extract it. It can send and verify, one request a second,
// and cannot resend, cancel or look up challenges of others.
var kinds = map[KeyKind]kindTraits{
	AccessKey:  {otherwise: daily},
	SecretKey:  {code: "sk", otherwise: daily, perMinute: 1000},
	ServiceKey: {code: "svc", otherwise: daily, perMinute: 1000},
	ReadOnlyKey: {code: "ro", within: append(ReadingPermissions(), PermitRead, PermitReadWebhooks, PermitDebug),
		otherwise: []string{PermitRead}, perMinute: 1000},
	TokenKey: {perMinute: 1000}, // its permissions are those of its issuer's entry
	ClientKey: {code: "pk", within: []string{PermitSend, PermitVerify}, otherwise: []string{PermitSend, PermitVerify},
		perMinute: 60},
}

// daily are the permissions of a usual application. Webhooks, privacy and debug must be listed.
var daily = []string{PermitSend, PermitVerify, PermitResend, PermitCancel, PermitRead}

// May reports whether a key of this kind that lists these permissions has one permission.
func (k KeyKind) May(listed []string, permission string) bool {
	traits, known := kinds[k]
	if !known || traits.within != nil && !slices.Contains(traits.within, permission) {
		return false
	}
	if len(listed) == 0 {
		return slices.Contains(traits.otherwise, permission)
	}
	return slices.Contains(listed, permission) || slices.Contains(listed, Everything)
}

// Effective lists the permissions of a key of this kind that lists these.
func (k KeyKind) Effective(listed []string) []string {
	return slices.DeleteFunc(Permissions(), func(p string) bool { return p == Everything || !k.May(listed, p) })
}

// CheckPermissions returns an error for the first permission that does not exist or that this kind cannot have.
func (k KeyKind) CheckPermissions(listed []string) error {
	within := kinds[k].within
	for i, permission := range listed {
		switch {
		case !slices.Contains(Permissions(), permission):
			return fmt.Errorf("permissions[%d]: %q does not exist; there are %s", i, permission,
				strings.Join(Permissions(), ", "))
		case within != nil && !slices.Contains(within, permission):
			return fmt.Errorf("permissions[%d]: a %s key can not have %q, only %s", i, k, permission, strings.Join(within, ", "))
		}
	}
	return nil
}

// Code returns the kind's part of an API key's text; empty for an access key.
func (k KeyKind) Code() string { return kinds[k].code }

// PerMinute returns how many requests a minute a key may make if neither it nor its account sets it; 0 is no limit.
func (k KeyKind) PerMinute() int { return kinds[k].perMinute }

// MaxCredential is the length of the longest credential that is looked up, in bytes; real ones are far shorter.
const MaxCredential = 512

// MaxRate is the highest request limit of a key or an account, per minute.
const MaxRate = 1_000_000

// NetworkOf returns the network around an address that one customer of a provider can move in: an IPv4 /24 or an IPv6
// /64. It is invalid if a is.
func NetworkOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 24
	}
	prefix, _ := a.Prefix(bits) // fails for an invalid address
	return prefix
}

// HostOf returns the network that counts as one host: an IPv4 address, or an IPv6 /64, the smallest network that a
// customer is given (RFC 6177). A limit per IPv6 address would be useless, because a host can use a new one of 2^64
// addresses for each try.
func HostOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked()
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// ParseNetwork reads a network in CIDR form or a single address.
func ParseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no address; write one like 203.0.113.7 or a network like 203.0.113.0/24",
				text)
		}
		return address.Unmap().Prefix(address.Unmap().BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	if address := prefix.Addr(); address.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(address.Unmap(), prefix.Bits()-96) // in the form in which peers are written
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network; write one like 203.0.113.0/24", text)
	}
	return prefix.Masked(), nil
}

// maxOrigin is the length of a scheme, the longest host name and a port, in bytes.
const maxOrigin = len("https://") + 253 + len(":65535")

// ParseOrigin reads the origin of a web page and returns it as browsers write it (RFC 6454, section 6.1): scheme and
// host in lower case, no slash at the end, no port if it is the scheme's default.
func ParseOrigin(text string) (string, error) {
	wrong := fmt.Errorf("%q is no origin; write one like https://www.example.com, without a path", Cut(text, 80))
	if len(text) > maxOrigin || strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`*"<>\,;`, r)
	}) {
		return "", wrong
	}
	u, err := url.Parse(Lower(text))
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Path != "" && u.Path != "/" || u.Scheme != "https" && u.Scheme != "http" || strings.HasSuffix(u.Host, ":") {
		return "", wrong
	}
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Scheme + "://" + u.Host, nil
}
