package otp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// KeyKind says what a credential is for.
type KeyKind string

// The kinds. Only an access key has no prefix of its own: it looks like those that vendors issue.
const (
	AccessKey   KeyKind = "access_key"
	SecretKey   KeyKind = "secret"
	ReadOnlyKey KeyKind = "read_only"
	ClientKey   KeyKind = "client"
	ServiceKey  KeyKind = "service"

	// TokenKey is the kind of a JSON Web Token, which an issuer of the account's makes and nobody stores.
	TokenKey KeyKind = "token"
)

// KeyKinds lists every kind that can be made.
func KeyKinds() []KeyKind {
	return []KeyKind{AccessKey, SecretKey, ReadOnlyKey, ClientKey, ServiceKey}
}

// The permissions. Everything is all of them, those to come included; only a key that lists it,
// or PermitDebug itself, gets debug headers.
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

	PermitPrivacy = "write:privacy" // export and erase what is kept of a person

	// These read what belongs to the key's account, at the door for people.
	PermitAccounts   = "read:accounts"
	PermitKeys       = "read:keys"
	PermitAudit      = "read:audit"
	PermitStatistics = "read:statistics"
)

// reading are the permissions that are good at the door for people.
var reading = []string{PermitAccounts, PermitKeys, PermitAudit, PermitStatistics}

// ReadingPermissions lists those with which a key reads at the door for people. It changes nothing there.
func ReadingPermissions() []string { return slices.Clone(reading) }

// permissions are in the order of their bits, which are stored: others come at the end.
var permissions = []string{PermitSend, PermitVerify, PermitResend, PermitCancel, PermitRead, PermitDebug, Everything,
	PermitReadWebhooks, PermitWriteWebhooks, PermitAccounts, PermitKeys, PermitAudit, PermitStatistics,
	PermitPrivacy}

// Permissions lists every permission that a key may be given.
func Permissions() []string { return slices.Clone(permissions) }

// PermissionBit is the bit by which a permission is stored; 0 for one that does not exist.
func PermissionBit(permission string) int64 {
	if i := slices.Index(permissions, permission); i >= 0 {
		return 1 << i
	}
	return 0
}

// RotationAge is the age at which a key is due for a successor.
const RotationAge = 90 * Day

// Signing says whether a key's requests are signed.
type Signing string

// The modes. Optional checks a signature where there is one, for integrations that are moving
// to signing one call at a time.
const (
	SigningOff      Signing = "off"
	SigningOptional Signing = "optional"
	SigningRequired Signing = "required"
)

// Key is what may be known of a credential: all but its secrets.
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

// kindTraits are what a kind decides. Whatever a row lists, its key can do no more than within.
type kindTraits struct {
	code      string   // in the text of an API key
	within    []string // nil: no bound
	otherwise []string // of a key that lists no permissions
	perMinute int      // requests, where neither the key nor its account says; 0: no limit
}

// A client key sits in a web page or an app, where anybody can take it out: it sends and
// verifies, a request a second, and cannot resend, cancel or look up what others asked for.
var kinds = map[KeyKind]kindTraits{
	AccessKey:  {otherwise: daily},
	SecretKey:  {code: "sk", otherwise: daily, perMinute: 1000},
	ServiceKey: {code: "svc", otherwise: daily, perMinute: 1000},
	ReadOnlyKey: {code: "ro", within: append(ReadingPermissions(), PermitRead, PermitReadWebhooks, PermitDebug),
		otherwise: []string{PermitRead}, perMinute: 1000},
	TokenKey: {perMinute: 1000}, // it has what its issuer's entry lists
	ClientKey: {code: "pk", within: []string{PermitSend, PermitVerify}, otherwise: []string{PermitSend, PermitVerify},
		perMinute: 60},
}

// daily is what applications need. Webhooks, privacy and debug are given by name.
var daily = []string{PermitSend, PermitVerify, PermitResend, PermitCancel, PermitRead}

// May reports whether a key of this kind, with these permissions listed, may do one thing.
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

// Effective lists what a key of this kind, with these permissions listed, may do.
func (k KeyKind) Effective(listed []string) []string {
	return slices.DeleteFunc(Permissions(), func(p string) bool { return p == Everything || !k.May(listed, p) })
}

// CheckPermissions names the first that does not exist, or that a key of this kind can not have.
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

// Code is what the text of an API key calls its kind; empty for an access key.
func (k KeyKind) Code() string { return kinds[k].code }

// PerMinute is how many requests a key may make in a minute where neither it nor its account says; 0 is no limit.
func (k KeyKind) PerMinute() int { return kinds[k].perMinute }

// MaxCredential is the length of the longest credential that is looked up, in bytes, far beyond any in use.
const MaxCredential = 512

// MaxRate is the highest limit of requests that a key or an account can have, in a minute.
const MaxRate = 1_000_000

// NetworkOf is the part of an address within which one customer of a provider moves: an IPv4 /24 or an IPv6 /64. It is
// not valid for a text that is no address.
func NetworkOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 24
	}
	prefix, _ := a.Prefix(bits) // which fails for no address
	return prefix
}

// HostOf is whom an address is counted as: itself, or for IPv6 its /64, which is the least that anybody is given
// (RFC 6177): one of its 2^64 addresses for every try would be no limit.
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
		prefix = netip.PrefixFrom(address.Unmap(), prefix.Bits()-96) // as peers are written
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network; write one like 203.0.113.0/24", text)
	}
	return prefix.Masked(), nil
}
