package otp

import (
	"fmt"
	"slices"
	"strings"
)

// JWTIssuer is an issuer whose JSON Web Tokens the account accepts at the JSON API in place of an API key, such as the
// account's identity provider. Each is one entry of the column jwt_issuers.
type JWTIssuer struct {
	Issuer     string   `json:"issuer"`     // the claim iss
	Audience   string   `json:"audience"`   // which the claim aud must contain
	Algorithms []string `json:"algorithms"` // from JWTAlgorithms; others are refused
	// JWKSURL is where the issuer publishes its keys; PublicKeyPEM is its only key. Exactly one of the two is set.
	JWKSURL      string   `json:"jwks_url,omitempty"`
	PublicKeyPEM string   `json:"public_key_pem,omitempty"`
	Permissions  []string `json:"permissions"`             // of its tokens
	SubjectClaim string   `json:"subject_claim,omitempty"` // names the token's subject; empty: sub
}

// Subject returns the name of the claim that holds a token's subject.
func (i *JWTIssuer) Subject() string {
	if i.SubjectClaim == "" {
		return "sub"
	}
	return i.SubjectClaim
}

// JWTAlgorithms lists the algorithms that an issuer may sign tokens with (RFC 7518, RFC 8037). None uses a shared
// secret: anyone who can read an account's settings could then sign tokens.
func JWTAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// maxIssuers bounds the issuers of an account.
const maxIssuers = 10

// validateIssuers refuses a jwt_issuers that does not determine which tokens are accepted. It does not check whether a
// URL may be called, a key can be parsed or a permission exists.
func (a *Account) validateIssuers() error {
	if len(a.JWTIssuers) > maxIssuers {
		return fmt.Errorf("jwt_issuers: must be at most %d entries", maxIssuers)
	}
	for i := range a.JWTIssuers {
		entry := &a.JWTIssuers[i]
		if err := entry.validate(); err != nil {
			return fmt.Errorf("jwt_issuers[%d].%w", i, err)
		}
		for _, earlier := range a.JWTIssuers[:i] {
			if earlier.Issuer == entry.Issuer && earlier.Audience == entry.Audience {
				return fmt.Errorf("jwt_issuers[%d].audience: an earlier entry has this issuer and audience", i)
			}
		}
	}
	return nil
}

func (i *JWTIssuer) validate() error {
	for _, text := range []struct{ member, value string }{
		{"issuer", i.Issuer}, {"audience", i.Audience}, {"subject_claim", i.Subject()},
	} {
		if text.value == "" {
			return fmt.Errorf("%s: must not be empty", text.member)
		}
		if err := checkName(text.value, 255); err != nil {
			return fmt.Errorf("%s: %w", text.member, err)
		}
	}
	if len(i.Algorithms) == 0 {
		return fmt.Errorf("algorithms: must name those that the issuer signs with, such as RS256")
	}
	for _, algorithm := range i.Algorithms {
		if !slices.Contains(JWTAlgorithms(), algorithm) {
			return fmt.Errorf("algorithms: must hold none but %s", strings.Join(JWTAlgorithms(), ", "))
		}
	}
	if len(i.Permissions) == 0 {
		return fmt.Errorf("permissions: must say what the issuer's tokens may do, such as send:otp")
	}
	if (i.JWKSURL == "") == (i.PublicKeyPEM == "") {
		return fmt.Errorf("jwks_url: give either this or public_key_pem")
	}
	return nil
}
