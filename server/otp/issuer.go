package otp

import (
	"fmt"
	"slices"
	"strings"
)

// JWTIssuer is somebody whose JSON Web Tokens an account takes on the JSON API in place of an API key, such as
// the account's own identity provider. Each is one entry of the column jwt_issuers.
type JWTIssuer struct {
	Issuer     string   `json:"issuer"`     // of the claim iss
	Audience   string   `json:"audience"`   // that the claim aud must name
	Algorithms []string `json:"algorithms"` // of JWTAlgorithms; no others are taken
	// JWKSURL is where the issuer publishes its keys; PublicKeyPEM is its one key. One of the two is given.
	JWKSURL      string   `json:"jwks_url,omitempty"`
	PublicKeyPEM string   `json:"public_key_pem,omitempty"`
	Permissions  []string `json:"permissions"`             // that its tokens have
	SubjectClaim string   `json:"subject_claim,omitempty"` // names whoever the token is of; empty: sub
}

// Subject is the name of the claim that names whoever a token is of.
func (i *JWTIssuer) Subject() string {
	if i.SubjectClaim == "" {
		return "sub"
	}
	return i.SubjectClaim
}

// JWTAlgorithms lists the algorithms that tokens of issuers may be signed with (RFC 7518, RFC 8037). None has a
// secret that both sides know: whoever reads an account's settings could sign with it.
func JWTAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// maxIssuers bounds the issuers of an account.
const maxIssuers = 10

// validateIssuers refuses a jwt_issuers that leaves open which tokens are taken. Whether a URL may be asked, a
// key can be read and a permission exists is not its question.
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
