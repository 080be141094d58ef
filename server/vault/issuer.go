package vault

import (
	"fmt"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
)

// tokenLifetime is how long a customer's token may be valid at most.
const tokenLifetime = 24 * time.Hour

// Issuer is an entry of an account's jwt_issuers with its parsed rules and keys.
type Issuer struct {
	otp.JWTIssuer
	Rules crypto.JWTRules
	Keys  *crypto.JWTKeys // nil: the issuer publishes its keys
}

// ReadIssuers parses an account's issuers. checkURL checks the URL at which an issuer publishes its keys. The error
// names the column and what to change.
func ReadIssuers(entries []otp.JWTIssuer, checkURL func(string) error) ([]Issuer, error) {
	var issuers []Issuer
	for i, entry := range entries {
		made := Issuer{JWTIssuer: entry, Rules: crypto.JWTRules{
			Issuer: entry.Issuer, Audiences: []string{entry.Audience}, Algorithms: entry.Algorithms, Lifetime: tokenLifetime,
		}}
		if err := made.read(checkURL); err != nil {
			return nil, fmt.Errorf("jwt_issuers[%d].%w", i, err)
		}
		issuers = append(issuers, made)
	}
	return issuers, nil
}

func (i *Issuer) read(checkURL func(string) error) (err error) {
	if err := otp.TokenKey.CheckPermissions(i.Permissions); err != nil {
		return err
	}
	if i.PublicKeyPEM == "" {
		if err := checkURL(i.JWKSURL); err != nil {
			return fmt.Errorf("jwks_url: %w", err)
		}
		return nil
	}
	if i.Keys, err = crypto.ParsePublicKey(i.PublicKeyPEM); err != nil {
		return fmt.Errorf("public_key_pem: %w", err)
	}
	for _, algorithm := range i.Algorithms {
		if !i.Keys.Takes(algorithm) {
			return fmt.Errorf("algorithms: %s is not for the kind of key that public_key_pem holds", algorithm)
		}
	}
	return nil
}
