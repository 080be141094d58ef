package crypto

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// An access token is a JWT (RFC 7519) that this server signs and reads itself: HS256 with a separate key derived from
// the keyring, whose id is the header's kid. The payload's typ separates tokens of people from those of service
// accounts and of later kinds.

// TokenLifetime is how long an access token is valid.
const TokenLifetime = time.Hour

// tokenSkew is how far ahead the clock of the signing server may be. Servers whose clock differs from the database's
// by more than a second are not ready.
const tokenSkew = 2 * time.Second

// maxAccessToken bounds the tokens that are read, in bytes. Our own have about 600.
const maxAccessToken = 4 << 10

// The values of AccessClaims.Type.
const (
	PersonToken  = "access"
	ServiceToken = "service"
)

// The reasons why an access token is refused.
var (
	ErrAccessToken        = errors.New("not an access token of this server")
	ErrAccessTokenExpired = errors.New("the access token has expired")
)

// AccessClaims are the claims of an access token.
type AccessClaims struct {
	Type      string // PersonToken or ServiceToken
	Subject   string
	Email     string // of a person
	Name      string
	Session   string // of a person; empty for a service account
	ID        string
	IssuedAt  time.Time // whole seconds
	ExpiresAt time.Time // exclusive
}

type accessClaims struct {
	jwt.RegisteredClaims
	Type    string `json:"typ"`
	Email   string `json:"email,omitempty"`
	Name    string `json:"name,omitempty"`
	Session string `json:"sid,omitempty"`
}

// SignAccessToken signs claims for TokenLifetime from now. issuer and audience name this server.
func (k *Keyring) SignAccessToken(issuer, audience string, c AccessClaims, now time.Time) (string, error) {
	key, err := k.key(k.Primary())
	if err != nil {
		return "", err
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: c.Subject, ID: c.ID,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(TokenLifetime)),
		},
		Type: c.Type, Email: c.Email, Name: c.Name, Session: c.Session,
	})
	token.Header["kid"] = k.Primary()
	return token.SignedString(key.token)
}

// ReadAccessToken returns the claims of a token made by SignAccessToken with this issuer and audience and the type
// wanted. The error is ErrAccessTokenExpired for a token that has expired, else ErrAccessToken.
func (k *Keyring) ReadAccessToken(text, issuer, audience, wanted string, now time.Time) (AccessClaims, error) {
	if len(text) > maxAccessToken || !plainHeader(text) {
		return AccessClaims{}, ErrAccessToken
	}
	var c accessClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }))
	_, err := parser.ParseWithClaims(text, &c, func(token *jwt.Token) (any, error) {
		id, _ := token.Header["kid"].(string)
		key, err := k.key(id)
		if err != nil {
			return nil, err
		}
		return key.token, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidIssuer) &&
		!errors.Is(err, jwt.ErrTokenInvalidAudience):
		return AccessClaims{}, ErrAccessTokenExpired
	case err != nil:
		return AccessClaims{}, fmt.Errorf("%w: %w", ErrAccessToken, err)
	case c.Type != wanted, c.Subject == "", c.IssuedAt == nil, c.IssuedAt.After(now.Add(tokenSkew)):
		return AccessClaims{}, ErrAccessToken
	}
	return AccessClaims{
		Type: c.Type, Subject: c.Subject, Email: c.Email, Name: c.Name, Session: c.Session, ID: c.ID,
		IssuedAt: c.IssuedAt.Time, ExpiresAt: c.ExpiresAt.Time,
	}, nil
}

// plainHeader reports whether a token's header has exactly the members of ours. A token that brings a key or its
// address (jwk, jku, x5c, x5u) is refused before anything else is read.
func plainHeader(text string) bool {
	encoded, _, _ := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return false
	}
	var header map[string]string
	if json.Unmarshal(raw, &header) != nil || len(header) != 3 {
		return false
	}
	return header["alg"] == "HS256" && header["typ"] == "JWT" && header["kid"] != ""
}
