package crypto

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

const issuer, audience = "https://otp.shop.example", "otpbridge"

var issued = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func tokenRing(t testing.TB, ids ...string) *Keyring {
	t.Helper()
	text := ""
	for _, id := range ids {
		text += NewKeyringText(id)
	}
	ring, err := ParseKeyring(text)
	require.NoError(t, err)
	return ring
}

var claims = AccessClaims{Type: PersonToken, Subject: "per_1", Email: "a@shop.example", Name: "A", Session: "ses_1",
	ID: "jti_1"}

func TestAccessToken_SaysWhatWasSignedForAnHour(t *testing.T) {
	ring := tokenRing(t, "k1")
	text, err := ring.SignAccessToken(issuer, audience, claims, issued)
	require.NoError(t, err)
	want := claims
	want.IssuedAt, want.ExpiresAt = issued, issued.Add(time.Hour)
	for _, at := range []time.Time{issued.Add(-time.Second), issued, issued.Add(time.Hour - time.Millisecond)} {
		read, err := ring.ReadAccessToken(text, issuer, audience, PersonToken, at)
		require.NoError(t, err)
		read.IssuedAt, read.ExpiresAt = read.IssuedAt.UTC(), read.ExpiresAt.UTC()
		require.Equal(t, want, read)
	}
	_, err = ring.ReadAccessToken(text, issuer, audience, PersonToken, issued.Add(time.Hour))
	require.ErrorIs(t, err, ErrAccessTokenExpired)
	_, err = ring.ReadAccessToken(text, issuer, audience, PersonToken, issued.Add(-3*time.Second))
	require.ErrorIs(t, err, ErrAccessToken, "not yet issued")
}

func TestAccessToken_OutlivesARotation(t *testing.T) {
	first, second := NewKeyringText("k1"), NewKeyringText("k2")
	before, err := ParseKeyring(first)
	require.NoError(t, err)
	after, err := ParseKeyring(second + first)
	require.NoError(t, err)
	text, err := before.SignAccessToken(issuer, audience, claims, issued)
	require.NoError(t, err)
	_, err = after.ReadAccessToken(text, issuer, audience, PersonToken, issued)
	require.NoError(t, err)
	text, err = after.SignAccessToken(issuer, audience, claims, issued)
	require.NoError(t, err)
	_, err = before.ReadAccessToken(text, issuer, audience, PersonToken, issued)
	require.ErrorIs(t, err, ErrAccessToken)
}

// Every token here is wrong in one way. The first ones are signed with the right key, so that only the named claim or
// header makes them invalid.
func TestAccessToken_AttacksFail(t *testing.T) {
	ring := tokenRing(t, "k1", "k2")
	right := ring.keys["k1"].token
	good := func() (header, payload map[string]any) {
		return map[string]any{"alg": "HS256", "typ": "JWT", "kid": "k1"}, map[string]any{
			"iss": issuer, "aud": audience, "sub": "per_1", "typ": "access", "sid": "ses_1", "jti": "j",
			"iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix(),
		}
	}
	attacks := map[string]string{}
	change := func(name string, key []byte, edit func(header, payload map[string]any)) {
		header, payload := good()
		edit(header, payload)
		attacks[name] = signHS(t, header, payload, key)
	}
	change("control", right, func(_, _ map[string]any) {})
	control := attacks["control"]
	delete(attacks, "control")
	_, err := ring.ReadAccessToken(control, issuer, audience, PersonToken, issued)
	require.NoError(t, err, "what is changed below is good")

	for _, alg := range []string{"none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"} {
		change("alg "+alg, right, func(h, _ map[string]any) { h["alg"] = alg })
	}
	for _, kid := range []any{"k2", "k3", "", "../k1", "/dev/null", "k1' OR '1'='1", "k1\x00", 1, nil, []string{"k1"}} {
		name, _ := json.Marshal(kid)
		change("kid "+string(name), right, func(h, _ map[string]any) { h["kid"] = kid })
	}
	for name, value := range map[string]any{
		"jku": "https://evil.example/keys", "x5u": "https://evil.example/c", "jwk": map[string]any{"kty": "oct", "k": "AA"},
		"x5c": []string{"AA"}, "crit": []string{"exp"}, "b64": false, "zip": "DEF", "cty": "JWT",
	} {
		change("header "+name, right, func(h, _ map[string]any) { h[name] = value })
	}
	for name, change := range map[string]struct {
		claim string
		value any
	}{
		"expired": {"exp", issued.Unix()}, "expired long ago": {"exp", 1}, "exp as list": {"exp", []int{4102444800}},
		"future iat": {"iat", issued.Add(time.Minute).Unix()}, "iat as object": {"iat", map[string]int{}}, "nbf": {"nbf",
			issued.Add(time.Minute).Unix()},
		"another issuer": {"iss", "https://evil.example"}, "no issuer": {"iss", ""}, "issuer with a slash": {"iss", issuer +
			"/"},
		"another audience": {"aud", "shop"}, "audiences without ours": {"aud", []string{"a", "b"}}, "no audience": {"aud",
			nil},
		"a refresh token's type": {"typ", "refresh"}, "a service's type": {"typ", "service"}, "no type": {"typ",
			""}, "upper type": {"typ", "ACCESS"},
		"no subject": {"sub", ""}, "a number for a subject": {"sub", 7},
	} {
		header, payload := good()
		payload[change.claim] = change.value
		attacks[name] = signHS(t, header, payload, right)
	}
	for _, claim := range []string{"exp", "iat", "iss", "aud", "sub", "typ"} {
		change("without "+claim, right, func(_, p map[string]any) { delete(p, claim) })
	}
	for name, key := range map[string][]byte{
		"no key": nil, "the code key's name": []byte("k1"), "another key": ring.keys["k2"].token, "the check " +
			"value": ring.keys["k1"].check,
	} {
		change("signed with "+name, key, func(_, _ map[string]any) {})
	}
	parts := strings.Split(control, ".")
	attacks["unsigned"] = parts[0] + "." + parts[1] + "."
	attacks["two parts"] = parts[0] + "." + parts[1]
	attacks["four parts"] = control + "." + parts[2]
	attacks["padded"] = control + "="
	attacks["with a blank"] = control + " "
	attacks["another payload"] = parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"per_2"}`)) + "." +
		parts[2]
	attacks["empty"] = ""
	attacks["too long"] = control + strings.Repeat("A", maxAccessToken)
	attacks["public keys"] = signPublic(t, jwt.SigningMethodES256) + signPublic(t, jwt.SigningMethodRS256)
	attacks["ES256"] = signPublic(t, jwt.SigningMethodES256)
	attacks["RS256"] = signPublic(t, jwt.SigningMethodRS256)

	require.GreaterOrEqual(t, len(attacks), 60)
	for name, text := range attacks {
		_, err := ring.ReadAccessToken(text, issuer, audience, PersonToken, issued)
		require.Error(t, err, name)
		if name != "expired" && name != "expired long ago" {
			require.ErrorIs(t, err, ErrAccessToken, name)
		}
	}
}

func signHS(t *testing.T, header, payload map[string]any, key []byte) string {
	t.Helper()
	encode := func(v any) string {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	text := encode(header) + "." + encode(payload)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func signPublic(t *testing.T, method jwt.SigningMethod) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "per_1", "typ": "access",
		"iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix()})
	token.Header["kid"] = "k1"
	var key any
	var err error
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); method == jwt.SigningMethodRS256 {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	require.NoError(t, err)
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

// Only tokens signed here are accepted: any change makes a token invalid.
func FuzzReadAccessToken(f *testing.F) {
	ring := tokenRing(f, "k1")
	text, err := ring.SignAccessToken(issuer, audience, claims, issued)
	require.NoError(f, err)
	f.Add(text)
	f.Add(strings.Replace(text, ".", "..", 1))
	f.Add("")
	f.Fuzz(func(t *testing.T, other string) {
		if _, err := ring.ReadAccessToken(other, issuer, audience, PersonToken, issued); err == nil && other != text {
			t.Fatalf("took %q", other)
		}
	})
}

func TestNextToken_IsOneForATokenAndANonce(t *testing.T) {
	token, other := NewToken("rt_"), NewToken("rt_")
	require.Len(t, token, len("rt_")+43)
	require.NotEqual(t, token, other)
	nonce, another := [16]byte{1}, [16]byte{2}
	next := NextToken("rt_", token, nonce)
	require.Len(t, next, len(token))
	require.Equal(t, next, NextToken("rt_", token, nonce))
	require.NotContains(t, []string{NextToken("rt_", other, nonce), NextToken("rt_", token, another), token}, next)
	require.NotEqual(t, HashToken(token), HashToken(next))
}
