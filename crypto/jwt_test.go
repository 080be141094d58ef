package crypto

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

var jwtNow = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// The vectors of RFC 7517, appendix A.1, and RFC 8037, appendix A.
const rfcKeys = `{"keys":[
 {"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
  "use":"enc","kid":"1"},
 {"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
  "e":"AQAB","alg":"RS256","kid":"2011-04-29"},
 {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

func TestParseKeySet_TakesWhatCanCheckSignatures(t *testing.T) {
	keys, err := ParseKeySet([]byte(rfcKeys))
	require.NoError(t, err)
	require.Len(t, keys.keys, 2, "the first is for encryption")
	require.True(t, keys.Takes("RS256"))
	require.True(t, keys.Takes("EdDSA"))
	for _, algorithm := range []string{"RS512", "PS256", "ES256", "HS256", "none", ""} {
		require.False(t, keys.Takes(algorithm), algorithm)
	}
	for _, text := range []string{
		``, `[]`, `{}`, `null`, `{"keys":{}}`, `{"keys":null}`, `{"keys":[]}`, `{"keys":[1]}`, `{"keys":["a"]}`,
		`{"keys":[{}]}`,
		`{"keys":[{"kty":"RSA"}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`,
		`{"keys":[{"kty":"oct","k":"AQAB"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"AA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","key_ops":["sign"]}]}`,
	} {
		_, err := ParseKeySet([]byte(text))
		require.Error(t, err, text)
	}
}

func testRules(algorithms ...string) JWTRules {
	return JWTRules{Issuer: "i", Audiences: []string{"a", "b"}, Algorithms: algorithms, Lifetime: time.Hour}
}

func signedJWT(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	require.NoError(t, err)
	return text
}

func TestJWTRules_HoldATokenToEachOfThem(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	keys, err := ParsePublicKey(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	require.NoError(t, err)
	now := jwtNow.Unix()
	for name, tt := range map[string]struct {
		change jwt.MapClaims
		want   error
	}{
		"as it is":              {nil, nil},
		"the other audience":    {jwt.MapClaims{"aud": "b"}, nil},
		"a clock ahead by 5 s":  {jwt.MapClaims{"iat": now + 5}, nil},
		"a clock ahead by 6 s":  {jwt.MapClaims{"iat": now + 6}, ErrJWT},
		"good from 5 s on":      {jwt.MapClaims{"nbf": now + 5}, nil},
		"good from 6 s on":      {jwt.MapClaims{"nbf": now + 6}, ErrJWT},
		"the last second":       {jwt.MapClaims{"exp": now + 1}, nil},
		"over":                  {jwt.MapClaims{"exp": now}, ErrJWTExpired},
		"over, and not for us":  {jwt.MapClaims{"exp": now, "aud": "c"}, ErrJWT},
		"over, by another":      {jwt.MapClaims{"exp": now - 60, "iss": "j"}, ErrJWT},
		"exactly so long":       {jwt.MapClaims{"exp": now + 3600}, nil},
		"longer, since iat":     {jwt.MapClaims{"exp": now + 3600, "iat": now - 1}, ErrJWT},
		"longer, without iat":   {jwt.MapClaims{"exp": now + 3606, "iat": nil}, ErrJWT},
		"an audience of two":    {jwt.MapClaims{"aud": []string{"x", "a"}}, nil},
		"an audience of others": {jwt.MapClaims{"aud": []string{"x", "y"}}, ErrJWT},
	} {
		claims := jwt.MapClaims{"iss": "i", "aud": "a", "iat": now, "exp": now + 60, "sub": "s"}
		for claim, value := range tt.change {
			claims[claim] = value
			if value == nil {
				delete(claims, claim)
			}
		}
		verified, err := testRules("EdDSA").Verify(signedJWT(t, jwt.SigningMethodEdDSA, private, claims), keys, jwtNow)
		require.ErrorIs(t, err, tt.want, name)
		if tt.want == nil {
			require.Equal(t, "s", verified.Text("sub"))
			require.Equal(t, claims["exp"], verified.Expires().Unix())
		}
	}
	good := signedJWT(t, jwt.SigningMethodEdDSA, private, jwt.MapClaims{"iss": "i", "aud": "a", "exp": now + 60})
	for _, rules := range []JWTRules{testRules("ES256"), testRules(),
		{Issuer: "i", Algorithms: []string{"EdDSA"}, Lifetime: time.Hour}, {}} {
		_, err := rules.Verify(good, keys, jwtNow)
		require.ErrorIs(t, err, ErrJWT)
	}
	_, err = testRules("EdDSA").Verify(good, &JWTKeys{}, jwtNow)
	require.ErrorIs(t, err, ErrJWTKey)
	head, ok := ReadJWTHead(good)
	require.True(t, ok)
	require.Equal(t, JWTHead{Issuer: "i"}, head)
}

// Whatever is done to a token, only a text that its issuer signed verifies.
func FuzzJWTRules_Verify(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	keys := &JWTKeys{keys: []jwtKey{{id: "k", public: &key.PublicKey}}}
	good := signedJWT(f, jwt.SigningMethodES256, key, jwt.MapClaims{"iss": "i", "aud": "a", "exp": jwtNow.Unix() + 60,
		"sub": "s"})
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6MTc3MjYwMDgwMH0.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := testRules("ES256").Verify(text, keys, jwtNow)
		if text == good {
			require.NoError(t, err)
			return
		}
		require.Error(t, err)
		require.Nil(t, claims)
		require.True(t, errors.Is(err, ErrJWT) || errors.Is(err, ErrJWTExpired) || errors.Is(err, ErrJWTKey))
	})
}

// An accepted key set has usable keys, and none that is too weak.
func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(rfcKeys))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeySet(text)
		if err != nil {
			return
		}
		require.True(t, json.Valid(text))
		require.NotEmpty(t, keys.keys)
		for _, key := range keys.keys {
			_, err := x509.MarshalPKIXPublicKey(key.public)
			require.NoError(t, err)
		}
		_, err = testRules("RS256", "ES256",
			"EdDSA").Verify("eyJhbGciOiJSUzI1NiJ9.e30."+base64.RawURLEncoding.EncodeToString(text), keys, jwtNow)
		require.Error(t, err)
	})
}
