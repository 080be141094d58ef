package crypto

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxJWT is the length of the longest token that is read, in bytes.
const MaxJWT = 8 << 10

// jwtLeeway is how far ahead of ours an issuer's clock may be.
const jwtLeeway = 5 * time.Second

// JWTHead is what an unchecked token states about itself. Use it only to find out who must have signed the token.
type JWTHead struct {
	Issuer string
	KeyID  string // empty: the token names no key
}

// ReadJWTHead reads a compact JWS with JSON claims. It reports false for any other text.
func ReadJWTHead(text string) (JWTHead, bool) {
	if len(text) > MaxJWT || !strings.HasPrefix(text, "ey") { // the base64 of {"
		return JWTHead{}, false
	}
	claims := jwt.MapClaims{}
	token, parts, err := strictParser().ParseUnverified(text, claims)
	if err != nil || len(parts) != 3 {
		return JWTHead{}, false
	}
	issuer, _ := claims["iss"].(string)
	id, _ := token.Header["kid"].(string)
	return JWTHead{Issuer: issuer, KeyID: id}, true
}

func strictParser(more ...jwt.ParserOption) *jwt.Parser {
	return jwt.NewParser(append(more, jwt.WithStrictDecoding(), jwt.WithJSONNumber())...)
}

// JWTRules are the requirements for a signed token, by RFC 7519 and RFC 8725. Nothing in a token can widen them: the
// algorithms are fixed, and the keys come from elsewhere.
type JWTRules struct {
	Issuer     string
	Audiences  []string      // the token has to name one
	Algorithms []string      // JWA names; if empty, no token is accepted
	Lifetime   time.Duration // the longest time from now, or from iat, to exp
}

// Errors of Verify. Each is wrapped by an error that says what is wrong and quotes nothing from the token.
var (
	ErrJWT        = errors.New("the token is refused")
	ErrJWTExpired = errors.New("the token has expired")
	ErrJWTKey     = errors.New("the token is signed with a key that its issuer does not have")
)

// Claims are a verified token's claims.
type Claims map[string]any

// Text returns a claim that is a text, empty for any other.
func (c Claims) Text(name string) string {
	text, _ := c[name].(string)
	return text
}

// Expires returns the moment from which the token is invalid.
func (c Claims) Expires() time.Time {
	at, err := jwt.MapClaims(c).GetExpirationTime()
	if err != nil || at == nil {
		return time.Time{}
	}
	return at.Time
}

// Verify checks a token's signature with keys, and all of the rules at now.
func (r JWTRules) Verify(text string, keys *JWTKeys, now time.Time) (Claims, error) {
	if len(text) > MaxJWT || len(r.Algorithms) == 0 || len(r.Audiences) == 0 {
		return nil, ErrJWT
	}
	claims := jwt.MapClaims{}
	parser := strictParser(jwt.WithValidMethods(r.Algorithms),
		jwt.WithIssuer(r.Issuer), jwt.WithAudience(r.Audiences...), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(jwtLeeway),
		jwt.WithTimeFunc(func() time.Time { return now }))
	_, err := parser.ParseWithClaims(text, claims, func(token *jwt.Token) (any, error) {
		if err := checkHeader(token.Header); err != nil {
			return nil, err
		}
		id, _ := token.Header["kid"].(string)
		return keys.find(id, token.Method.Alg())
	})
	switch {
	case errors.Is(err, ErrJWTKey):
		return nil, ErrJWTKey
	case errors.Is(err, jwt.ErrTokenExpired) &&
		!errors.Is(err, jwt.ErrTokenInvalidIssuer) && !errors.Is(err, jwt.ErrTokenInvalidAudience):
		return nil, ErrJWTExpired
	case err != nil:
		return nil, fmt.Errorf("%w: %s", ErrJWT, tokenFault(err))
	}
	if err := r.checkClaims(Claims(claims), now); err != nil {
		return nil, err
	}
	return Claims(claims), nil
}

// tokenFault describes an error of the library, whose own text may quote the token.
func tokenFault(err error) string {
	for _, known := range []error{
		jwt.ErrTokenMalformed, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenRequiredClaimMissing,
		jwt.ErrTokenInvalidAudience, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenNotValidYet,
		errTokenType, errTokenHeader,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "a claim has the wrong type, or the header is unusable"
}

var (
	errTokenType   = errors.New("it is another kind of token than an access token")
	errTokenHeader = errors.New("its header brings a key of its own, or demands an extension")
)

// checkHeader refuses headers with which a token would choose its own key or change how it is read.
func checkHeader(header map[string]any) error {
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"} {
		if _, found := header[name]; found {
			return errTokenHeader
		}
	}
	if kid, found := header["kid"]; found {
		if _, ok := kid.(string); !ok {
			return errTokenHeader
		}
	}
	// A token made for another purpose is refused, whoever signed it (RFC 8725, section 3.11).
	kind, found := header["typ"]
	if text, ok := kind.(string); found && !(ok && accessType(text)) {
		return errTokenType
	}
	return nil
}

// accessType reports whether a header's typ can be that of an access token; RFC 9068 uses at+jwt.
func accessType(text string) bool {
	text = strings.TrimPrefix(strings.ToLower(text), "application/")
	return text == "jwt" || text == "at+jwt"
}

// checkClaims checks what the library does not.
func (r JWTRules) checkClaims(claims Claims, now time.Time) error {
	expires := claims.Expires()
	if !now.Before(expires) {
		return ErrJWTExpired // the leeway is only for clocks that are ahead
	}
	issued, err := jwt.MapClaims(claims).GetIssuedAt()
	if err != nil {
		return fmt.Errorf("%w: iat is not a number", ErrJWT)
	}
	if expires.Sub(now) > r.Lifetime+jwtLeeway || issued != nil && expires.Sub(issued.Time) > r.Lifetime {
		return fmt.Errorf("%w: it is good for longer than %v", ErrJWT, r.Lifetime)
	}
	// Keycloak and Cognito sign refresh and identity tokens with the same keys and mark them here.
	for _, name := range []string{"typ", "token_use", "token_type"} {
		value, found := claims[name]
		text, _ := value.(string)
		if found && !accessType(text) && !slices.Contains([]string{"access", "access_token", "bearer"},
			strings.ToLower(text)) {
			return fmt.Errorf("%w: %w", ErrJWT, errTokenType)
		}
	}
	return nil
}

// SubjectOf returns the claim with this name, which must be a text of 1 to 255 printable characters.
func (c Claims) SubjectOf(name string) (string, error) {
	subject := c.Text(name)
	number, isNumber := c[name].(json.Number)
	if isNumber {
		subject = number.String() // some issuers identify people by number
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if subject == "" || len(subject) > 255 || strings.ContainsFunc(subject, control) {
		return "", fmt.Errorf("%w: the claim that names its subject is missing, too long or no text", ErrJWT)
	}
	return subject, nil
}
