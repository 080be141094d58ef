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

// An access token is a JWT (RFC 7519) that this server signs for itself and reads again: HS256 under a key
// of its own that is derived from the keyring, and whose id is the header's kid. The payload's typ keeps
// tokens for people apart from those for service accounts and from whatever comes later.

// TokenLifetime is how long an access token is good.
const TokenLifetime = time.Hour

// tokenSkew is how far ahead the clock of the server that signed a token may be. Servers whose clocks are
// more than a second apart are not ready.
const tokenSkew = 2 * time.Second

// maxAccessToken bounds what is looked at. Our own tokens have about 600 bytes.
const maxAccessToken = 4 << 10

// The values of AccessClaims.Type.
const (
	PersonToken  = "access"
	ServiceToken = "service"
)

// Why an access token is refused.
var (
	ErrAccessToken        = errors.New("not an access token of this server")
	ErrAccessTokenExpired = errors.New("the access token has expired")
)

// AccessClaims are what an access token says.
type AccessClaims struct {
	Type      string // PersonToken or ServiceToken
	Subject   string
	Email     string // of a person
	Name      string
	Session   string // of a person; a service account has none
	ID        string
	IssuedAt  time.Time // whole seconds
	ExpiresAt time.Time // not included
}

type accessClaims struct {
	jwt.RegisteredClaims
	Type    string `json:"typ"`
	Email   string `json:"email,omitempty"`
	Name    string `json:"name,omitempty"`
	Session string `json:"sid,omitempty"`
}

// SignAccessToken signs claims for TokenLifetime from now. The issuer and the audience are the server's own.
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

// ReadAccessToken returns what a token says that SignAccessToken made with this issuer, this audience and
// the type of wanted. Everything else is ErrAccessToken, or ErrAccessTokenExpired for a token that was good.
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

// plainHeader reports whether a token's header has the members that ours have, and no other: a token that
// brings a key or the address of one (jwk, jku, x5c, x5u) is refused before anything else is looked at.
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
