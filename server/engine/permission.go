package engine

import (
	"fmt"
	"slices"
	"strings"

	"otpbridge/server/otp"
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
)

// Permissions lists every permission that a key may be given.
func Permissions() []string {
	return []string{PermitSend, PermitVerify, PermitResend, PermitCancel, PermitRead, PermitDebug, Everything}
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
	AccessKey:   {otherwise: daily},
	SecretKey:   {code: "sk", otherwise: daily, perMinute: 1000},
	ServiceKey:  {code: "svc", otherwise: daily, perMinute: 1000},
	ReadOnlyKey: {code: "ro", within: []string{PermitRead, PermitDebug}, otherwise: []string{PermitRead}, perMinute: 1000},
	TokenKey:    {perMinute: 1000}, // it has what its issuer's entry lists
	ClientKey:   {code: "pk", within: []string{PermitSend, PermitVerify}, otherwise: []string{PermitSend, PermitVerify}, perMinute: 60},
}

// daily is all but debug.
var daily = []string{PermitSend, PermitVerify, PermitResend, PermitCancel, PermitRead}

// may tells whether a key of this kind, with these permissions listed, may do one thing.
func (k KeyKind) may(listed []string, permission string) bool {
	traits, known := kinds[k]
	if !known || traits.within != nil && !slices.Contains(traits.within, permission) {
		return false
	}
	if len(listed) == 0 {
		return slices.Contains(traits.otherwise, permission)
	}
	return slices.Contains(listed, permission) || slices.Contains(listed, Everything)
}

// checkPermissions names the first that does not exist, or that a key of this kind can not have.
func (k KeyKind) checkPermissions(listed []string) error {
	within := kinds[k].within
	for i, permission := range listed {
		switch {
		case !slices.Contains(Permissions(), permission):
			return fmt.Errorf("permissions[%d]: %q does not exist; there are %s", i, permission, strings.Join(Permissions(), ", "))
		case within != nil && !slices.Contains(within, permission):
			return fmt.Errorf("permissions[%d]: a %s key can not have %q, only %s", i, k, permission, strings.Join(within, ", "))
		}
	}
	return nil
}

// May tells whether the caller's key has a permission, one of Permissions. Refusal: Forbidden.
func (c *Caller) May(permission string) error {
	if c.Key.Kind.may(c.Key.Permissions, permission) {
		return nil
	}
	return otp.Refuse(otp.Forbidden, "this "+string(c.Key.Kind)+" key lacks the permission "+permission)
}

// FromOrigin tells whether the caller's key may be used from a web page of origin, the request's
// Origin header, empty if there is none. A client key is good from the origins of its list and
// from nowhere else; any other key with a list only keeps other pages out. What is no browser
// can claim any origin: this keeps a client key out of other people's pages, and is not what
// keeps it from harm. Refusal: ForbiddenOrigin.
func (c *Caller) FromOrigin(origin string) error {
	if origin == "" && c.Key.Kind != ClientKey || slices.Contains(c.Key.AllowedOrigins, origin) {
		return nil
	}
	if len(c.Key.AllowedOrigins) == 0 && c.Key.Kind != ClientKey {
		return nil
	}
	return otp.Refuse(otp.ForbiddenOrigin, "the key may not be used from this origin; add it to the key's allowed_origins, written like https://www.example.com")
}
