package v1

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// provider is an identity provider with three keys.
type provider struct {
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	ed      ed25519.PrivateKey
	url     string
	asked   atomic.Int32
	publish atomic.Pointer[func(http.ResponseWriter, *http.Request)]
}

// providerKey takes a while to make, so providers share it.
var providerKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func newProvider(t testing.TB) *provider {
	key, err := providerKey()
	require.NoError(t, err)
	p := &provider{rsa: key}
	p.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, p.ed, err = ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		if other := p.publish.Load(); other != nil {
			(*other)(w, r)
			return
		}
		_, _ = w.Write(p.set(t))
	}))
	t.Cleanup(server.Close)
	p.url = server.URL + "/jwks"
	return p
}

// set returns the provider's key set, with a key for encryption, a secret and one of an unknown kind in it.
func (p *provider) set(t testing.TB) []byte {
	point, err := p.ec.PublicKey.Bytes()
	require.NoError(t, err)
	text, err := json.Marshal(map[string]any{"keys": []map[string]any{
		{"kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(p.rsa.N.Bytes()), "e": b64(big.NewInt(int64(p.rsa.E)).Bytes())},
		{"kty": "EC", "kid": "ec", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		{"kty": "OKP", "kid": "ed", "crv": "Ed25519", "alg": "EdDSA", "x": b64(p.ed.Public().(ed25519.PublicKey))},
		{"kty": "oct", "kid": "secret", "k": b64([]byte("a secret that everybody can read"))},
		{"kty": "RSA", "kid": "enc", "use": "enc", "n": b64(p.rsa.N.Bytes()), "e": "AQAB"},
		{"kty": "XYZ", "kid": "odd"},
	}})
	require.NoError(t, err)
	return text
}

func (p *provider) entry() otp.JWTIssuer {
	return otp.JWTIssuer{
		Issuer: "https://id.example", Audience: "otp", Algorithms: []string{"RS256", "ES256", "EdDSA"}, JWKSURL: p.url,
		Permissions: []string{otp.PermitSend, otp.PermitVerify, otp.PermitRead}, SubjectClaim: "sub",
	}
}

// token is a token before signing. Nil members are left out.
type token struct {
	header, claims map[string]any
	sign           func(head string) []byte
}

func (p *provider) token(change ...func(*token)) string {
	now := time.Now().Unix()
	made := token{
		header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": "rsa"},
		claims: map[string]any{"iss": "https://id.example", "aud": "otp", "sub": "user-17", "iat": now, "exp": now + 3600},
		sign:   p.rs256,
	}
	for _, do := range change {
		do(&made)
	}
	head := b64(mustJSON(made.header)) + "." + b64(mustJSON(made.claims))
	return head + "." + b64(made.sign(head))
}

func mustJSON(value map[string]any) []byte {
	value = maps.Clone(value)
	maps.DeleteFunc(value, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

func (p *provider) rs256(head string) []byte {
	sum := sha256.Sum256([]byte(head))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.rsa, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signature
}

func header(name string, value any) func(*token) { return func(m *token) { m.header[name] = value } }
func claim(name string, value any) func(*token)  { return func(m *token) { m.claims[name] = value } }

// signed sets another method and key.
func signed(method jwt.SigningMethod, kid any, key any) func(*token) {
	return func(m *token) {
		m.header["alg"], m.header["kid"] = method.Alg(), kid
		m.sign = func(head string) []byte {
			signature, err := method.Sign(head, key)
			if err != nil {
				panic(err)
			}
			return signature
		}
	}
}

// bearing sends a code with a token, from an address that no other call uses.
func (c client) bearing(token string) answer {
	c.t.Helper()
	r := httptest.NewRequest("POST", "/v1/send",
		strings.NewReader(fmt.Sprintf(`{"to":"+9198%08d","method":"sms","type":"verification"}`, strangers.Add(1))))
	r.RemoteAddr = fmt.Sprintf("198.51.%d.%d:1", strangers.Load()/250%250, strangers.Load()%250)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	return c.do(r)
}

var strangers atomic.Int64

func TestTokens_OfTheAccountsIssuerAreTaken(t *testing.T) {
	h, p := newHouse(t), newProvider(t)
	c := h.newClient(t, func(a *otp.Account) { a.JWTIssuers = []otp.JWTIssuer{p.entry()} })
	for name, good := range map[string]string{
		"RS256":               p.token(),
		"ES256":               p.token(signed(jwt.SigningMethodES256, "ec", p.ec)),
		"EdDSA":               p.token(signed(jwt.SigningMethodEdDSA, "ed", p.ed)),
		"several audiences":   p.token(claim("aud", []string{"web", "otp"})),
		"no typ":              p.token(header("typ", nil)),
		"an access token":     p.token(header("typ", "at+jwt")),
		"typ in full":         p.token(header("typ", "application/at+jwt")),
		"Keycloak's":          p.token(claim("typ", "Bearer")),
		"Cognito's":           p.token(claim("token_use", "access")),
		"no iat":              p.token(claim("iat", nil)),
		"a subject as number": p.token(claim("sub", 17)),
		"a whole day":         p.token(claim("exp", time.Now().Unix()+24*3600-5), claim("iat", nil)),
	} {
		a := c.bearing(good)
		require.Equal(t, 201, a.status, "%s: %s", name, a.text)
		require.Equal(t, "1000", a.header.Get("X-RateLimit-Limit"))
	}
	require.Equal(t, int32(1), p.asked.Load(), "the keys are asked for once")

	a := c.post("/v1/resend", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc"}`, "Authorization", "Bearer "+p.token())
	requireProblem(t, a, 403, "PERMISSION_DENIED")
	first := c.post("/v1/send", sendBody, "Authorization", "Bearer "+p.token(), "Idempotency-Key", "a")
	again := c.post("/v1/send", sendBody, "Authorization", "Bearer "+p.token(claim("jti", "another")), "Idempotency-Key",
		"a")
	require.Equal(t, first.text, again.text, "one subject's requests count once, whichever token they bring")
	other := c.post("/v1/send", sendBody, "Authorization", "Bearer "+p.token(claim("sub", "user-18")), "Idempotency-Key",
		"a")
	require.NotEqual(t, first.json["id"], other.json["id"], "another subject's are its own")
	require.Equal(t, 400, c.post("/v1/send", sendBody, "Authorization", "Bearer "+p.token(), "X-API-Key",
		c.APIKey).status, "two credentials")
}

func TestTokens_NoAttackPasses(t *testing.T) {
	h, p, stranger := newHouse(t), newProvider(t), newProvider(t)
	var err error
	stranger.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	entry := p.entry()
	c := h.newClient(t, func(a *otp.Account) { a.JWTIssuers = []otp.JWTIssuer{entry} })
	pinned := p.entry()
	pinned.Issuer, pinned.JWKSURL = "https://pem.example", ""
	pinned.PublicKeyPEM = publicPEM(t, p.rsa.Public())
	pinned.Algorithms = []string{"RS256"}
	h.newClient(t, func(a *otp.Account) { a.JWTIssuers = []otp.JWTIssuer{pinned} })
	require.Equal(t, 201, c.bearing(p.token(claim("iss", "https://pem.example"), header("kid", nil))).status,
		"the other account's works")

	now := time.Now().Unix()
	public, err := x509.MarshalPKIXPublicKey(p.rsa.Public())
	require.NoError(t, err)
	hs := func(kid any, key []byte) func(*token) { return signed(jwt.SigningMethodHS256, kid, key) }
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	jwk := map[string]any{"kty": "RSA", "n": b64(stranger.rsa.N.Bytes()), "e": "AQAB", "kid": "rsa"}
	theirs := signed(jwt.SigningMethodRS256, "rsa", stranger.rsa)
	good := p.token()
	parts := strings.Split(good, ".")
	unsigned := func(alg string) string {
		return p.token(header("alg", alg), func(m *token) { m.sign = func(string) []byte { return nil } })
	}
	const malformed, unknown, expired = "AUTH_003", "AUTH_004", "AUTH_002"
	attacks := []struct{ name, token, code string }{
		{"none", unsigned("none"), unknown}, {"None", unsigned("None"), malformed},
		{"NONE", unsigned("NONE"), malformed}, {"nOnE", unsigned("nOnE"), malformed},
		{"no algorithm", unsigned(""), malformed}, {"an unknown algorithm", unsigned("RS1"), malformed},
		{"a right algorithm, no signature", unsigned("RS256"), unknown},
		{"HS256 with the public key in PEM", p.token(claim("iss", "https://pem.example"),
			hs(nil, []byte(pinned.PublicKeyPEM))), unknown},
		{"HS256 with the public key in DER", p.token(claim("iss", "https://pem.example"), hs(nil, public)), unknown},
		{"HS256 with the modulus", p.token(hs("rsa", p.rsa.N.Bytes())), unknown},
		{"HS256 with the secret of the set", p.token(hs("secret", []byte("a secret that everybody can read"))), unknown},
		{"HS256 with the key set", p.token(hs("rsa", p.set(t))), unknown},
		{"HS256 with nothing", p.token(hs("rsa", []byte{})), unknown},
		{"HS256 under the name of RS256", p.token(func(m *token) {
			m.sign = func(head string) []byte {
				mac := hmac.New(sha256.New, public)
				mac.Write([]byte(head))
				return mac.Sum(nil)
			}
		}), unknown},
		{"an algorithm that is not listed", p.token(signed(jwt.SigningMethodRS512, "rsa", p.rsa)), unknown},
		{"PSS that is not listed", p.token(signed(jwt.SigningMethodPS256, "rsa", p.rsa)), unknown},
		{"another algorithm than the key's", p.token(signed(jwt.SigningMethodES256, "rsa", p.ec)), unknown},
		{"a larger curve", p.token(header("alg", "ES256"), signed(jwt.SigningMethodES384, "ec", wide)), unknown},
		{"a stranger's key", p.token(theirs), unknown},
		{"a stranger's key, no kid", p.token(theirs, header("kid", nil)), unknown},
		{"the right key, no kid, several keys", p.token(header("kid", nil)), unknown},
		{"an unknown kid", p.token(theirs, header("kid", "new")), unknown},
		{"the key for encryption", p.token(header("kid", "enc")), unknown},
		{"kid of another key", p.token(header("kid", "ed")), unknown},
		{"kid with a path", p.token(hs("../../../../dev/null", []byte{})), unknown},
		{"kid with a path to a file", p.token(hs("/proc/sys/kernel/randomize_va_space", []byte("2\n"))), unknown},
		{"kid with SQL", p.token(hs("x' UNION SELECT 'key' -- ", []byte("key"))), unknown},
		{"kid with a command", p.token(hs("rsa|/usr/bin/id", []byte("key"))), unknown},
		{"kid with a URL", p.token(theirs, header("kid", stranger.url)), unknown},
		{"kid that is empty", p.token(theirs, header("kid", "")), unknown},
		{"kid that is a number", p.token(header("kid", 1)), unknown},
		{"kid that is a list", p.token(header("kid", []string{"rsa"})), unknown},
		{"jku", p.token(theirs, header("jku", stranger.url)), unknown},
		{"x5u", p.token(theirs, header("x5u", stranger.url)), unknown},
		{"jku, rightly signed", p.token(header("jku", stranger.url)), unknown},
		{"jwk", p.token(theirs, header("jwk", jwk)), unknown},
		{"x5c", p.token(theirs, header("x5c", []string{b64(public)})), unknown},
		{"jwk, no kid", p.token(theirs, header("jwk", jwk), header("kid", nil)), unknown},
		{"crit", p.token(header("crit", []string{"exp"})), unknown},
		{"b64", p.token(header("b64", false), header("crit", []string{"b64"})), unknown},
		{"expired", p.token(claim("exp", now-1)), expired},
		{"expired for a day", p.token(claim("exp", now-86400), claim("iat", now-90000)), expired},
		{"expires now", p.token(claim("exp", now)), expired},
		{"no exp", p.token(claim("exp", nil)), unknown},
		{"exp is a text", p.token(claim("exp", fmt.Sprint(now+60))), unknown},
		{"exp is 0", p.token(claim("exp", 0)), expired}, {"exp is huge", p.token(claim("exp", 1e300)), expired},
		{"exp is negative", p.token(claim("exp", -1)), expired},
		{"good for over a day", p.token(claim("exp", now+24*3600+60)), unknown},
		{"good for over a day, no iat", p.token(claim("exp", now+24*3600+60), claim("iat", nil)), unknown},
		{"was good for over a day", p.token(claim("iat", now-24*3600), claim("exp", now+60)), unknown},
		{"not yet valid", p.token(claim("nbf", now+60)), unknown},
		{"nbf is a text", p.token(claim("nbf", "now")), unknown},
		{"from the future", p.token(claim("iat", now+60)), unknown},
		{"iat is a text", p.token(claim("iat", "now")), unknown},
		{"no aud", p.token(claim("aud", nil)), unknown}, {"another aud", p.token(claim("aud", "web")), unknown},
		{"aud is a part", p.token(claim("aud", "ot")), unknown},
		{"aud is longer", p.token(claim("aud", "otp2")), unknown},
		{"aud is empty", p.token(claim("aud", []string{})), unknown},
		{"aud is an object", p.token(claim("aud", map[string]any{"otp": 1})), unknown},
		{"no iss", p.token(claim("iss", nil)), unknown},
		{"another iss", p.token(claim("iss", "https://id.example/")), unknown},
		{"iss in another case", p.token(claim("iss", "https://ID.example")), unknown},
		{"iss is a list", p.token(claim("iss", []string{"https://id.example"})), unknown},
		{"iss of another account's issuer", p.token(claim("iss", "https://pem.example"), theirs, header("kid", nil)),
			unknown},
		{"a refresh token by its header", p.token(header("typ", "refresh+jwt")), unknown},
		{"an identity token", p.token(claim("token_use", "id")), unknown},
		{"a refresh token", p.token(claim("typ", "Refresh")), unknown},
		{"a refresh token by another name", p.token(claim("token_type", "refresh")), unknown},
		{"a receipt", p.token(header("typ", "otp-receipt+jwt")), unknown},
		{"typ is a number", p.token(header("typ", 1)), unknown},
		{"no sub", p.token(claim("sub", nil)), unknown}, {"sub is empty", p.token(claim("sub", "")), unknown},
		{"sub is a list", p.token(claim("sub", []string{"a"})), unknown},
		{"sub forges a line", p.token(claim("sub", "a\nb")), unknown},
		{"sub is long", p.token(claim("sub", strings.Repeat("a", 300))), unknown},
		{"another " +
			"payload", parts[0] + "." +
			b64([]byte(`{"iss":"https://id.example","aud":"otp","sub":"root","exp":99999999999}`)) + "." + parts[2], unknown},
		{"another header", b64([]byte(`{"alg":"RS256","kid":"rsa"}`)) + "." + parts[1] + "." + parts[2], unknown},
		{"a signature that lacks a byte", good[:len(good)-2], unknown}, // 342 characters for 256 bytes, 340 for 255
		{"a signature that is no base64", good[:len(good)-5], malformed},
		{"an empty signature", parts[0] + "." + parts[1] + ".", unknown},
		{"two parts", parts[0] + "." + parts[1], unknown}, {"four parts", good + ".x", malformed},
		{"five parts", good + ".a.b", malformed},
		{"no payload", parts[0] + ".." + parts[2], malformed},
		{"padded", parts[0] + "=." + parts[1] + "." + parts[2], malformed},
		{"a payload that is no JSON", parts[0] + "." + b64([]byte("no")) + "." + parts[2], malformed},
		{"a header that is no JSON", "ey" + b64([]byte("no")) + "." + parts[1] + "." + parts[2], malformed},
		{"too long", p.token(claim("fill", strings.Repeat("a", 9000))), malformed},
	}
	require.GreaterOrEqual(t, len(attacks), 40)
	for _, attack := range attacks {
		a := c.bearing(attack.token)
		require.Equal(t, 401, a.status, "%s: %s", attack.name, a.text)
		require.Equal(t, attack.code, a.json["code"], "%s: %s", attack.name, a.text)
		require.NotContains(t, a.text, parts[2], attack.name)
	}
	require.Zero(t, stranger.asked.Load(), "nothing in a token makes the server ask anybody")
	require.LessOrEqual(t, p.asked.Load(), int32(2), "unknown keys have the set asked for again once a minute at most")
	require.Equal(t, 201, c.bearing(good).status, "and a right one is still taken")
	for name, attack := range map[string]string{"at a servlet": "/otpauthapi/otpgenservlet"} {
		r := httptest.NewRequest("GET", attack+"?mobile=919551492394", nil)
		r.Header.Set("access_key", good)
		require.Contains(t, c.do(r).text, "UNAUTHERISED USER", name)
	}
	require.NotContains(t, h.log.String(), parts[1], "no token is in the log")
}

func publicPEM(t testing.TB, key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestTokens_KeySetsThatAttack(t *testing.T) {
	for name, publish := range map[string]func(http.ResponseWriter, *http.Request){
		"hangs":         func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"is over 1 MiB": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 1<<20+1)) },
		"never ends":    func(w http.ResponseWriter, r *http.Request) { endless(w, r) },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/",
				http.StatusFound)
		},
		"is no JSON":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"has no keys": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"has a secret": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w,
				`{"keys":[{"kty":"oct","k":"AAAA"}]}`)
		},
		"has a short key": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[{"kty":"RSA","n":"xw","e":"AQAB"}]}`)
		},
		"is an error page": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, p := newHouse(t), newProvider(t)
			p.publish.Store(&publish)
			c := h.newClient(t, func(a *otp.Account) { a.JWTIssuers = []otp.JWTIssuer{p.entry()} })
			c.t = t
			for range 3 {
				a := c.bearing(p.token())
				requireProblem(t, a, 503, "OVERLOADED")
				require.Equal(t, "60", a.header.Get("Retry-After"))
			}
			require.Equal(t, int32(1), p.asked.Load())
			require.Equal(t, 201, c.post("/v1/send", sendBody).status, "keys go on working")
		})
	}
}

// endless writes until its reader stops.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(bytes.Repeat([]byte("a"), 64<<10)); err != nil {
			return
		}
	}
}

func TestTokens_EntriesThatOpenTooMuchAreRefused(t *testing.T) {
	h, p := newHouse(t), newProvider(t)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	privatePEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	inline := func(pem string, algorithms ...string) func(*otp.JWTIssuer) {
		return func(i *otp.JWTIssuer) { i.JWKSURL, i.PublicKeyPEM, i.Algorithms = "", pem, algorithms }
	}
	for name, tt := range map[string]struct {
		change func(*otp.JWTIssuer)
		want   string
	}{
		"no issuer":        {func(i *otp.JWTIssuer) { i.Issuer = "" }, "[0].issuer"},
		"no audience":      {func(i *otp.JWTIssuer) { i.Audience = "" }, "[0].audience"},
		"no algorithm":     {func(i *otp.JWTIssuer) { i.Algorithms = nil }, "[0].algorithms"},
		"none":             {func(i *otp.JWTIssuer) { i.Algorithms = []string{"none"} }, "[0].algorithms"},
		"HS256":            {func(i *otp.JWTIssuer) { i.Algorithms = []string{"RS256", "HS256"} }, "[0].algorithms"},
		"lower case":       {func(i *otp.JWTIssuer) { i.Algorithms = []string{"rs256"} }, "[0].algorithms"},
		"no permission":    {func(i *otp.JWTIssuer) { i.Permissions = nil }, "[0].permissions"},
		"odd permission":   {func(i *otp.JWTIssuer) { i.Permissions = []string{"send:money"} }, "[0].permissions[0]"},
		"no key":           {func(i *otp.JWTIssuer) { i.JWKSURL = "" }, "[0].jwks_url"},
		"both keys":        {func(i *otp.JWTIssuer) { i.PublicKeyPEM = "x" }, "[0].jwks_url"},
		"private address":  {func(i *otp.JWTIssuer) { i.JWKSURL = "https://10.0.0.1/jwks" }, "not public"},
		"metadata":         {func(i *otp.JWTIssuer) { i.JWKSURL = "https://169.254.169.254/" }, "metadata"},
		"clear text":       {func(i *otp.JWTIssuer) { i.JWKSURL = "http://id.example/jwks" }, "https://"},
		"a file":           {func(i *otp.JWTIssuer) { i.JWKSURL = "file:///etc/passwd" }, "jwks_url"},
		"a password":       {func(i *otp.JWTIssuer) { i.JWKSURL = "https://a:b@id.example/" }, "password"},
		"a control":        {func(i *otp.JWTIssuer) { i.SubjectClaim = "a\x01" }, "[0].subject_claim"},
		"no PEM":           {inline("MFkw", "ES256"), "not PEM"},
		"a private key":    {inline(privatePEM, "EdDSA"), "private key"},
		"a short key":      {inline(publicPEM(t, small.Public()), "RS256"), "2048"},
		"another kind":     {inline(publicPEM(t, p.rsa.Public()), "ES256"), "algorithms"},
		"two public keys":  {inline(publicPEM(t, p.rsa.Public())+publicPEM(t, p.ec.Public()), "RS256"), "one block"},
		"a key cut short":  {inline(strings.Replace(publicPEM(t, p.ec.Public()), "M", "A", 1), "ES256"), "cannot be read"},
		"long subject":     {func(i *otp.JWTIssuer) { i.SubjectClaim = strings.Repeat("a", 256) }, "[0].subject_claim"},
		"issuer of blanks": {func(i *otp.JWTIssuer) { i.Issuer = "a\nb" }, "[0].issuer"},
	} {
		entry := p.entry()
		tt.change(&entry)
		account := otp.DefaultAccount("")
		account.JWTIssuers = []otp.JWTIssuer{entry}
		_, _, err := h.manage.Sandbox.CreateAccount(t.Context(), manage.NewAccount{Account: account})
		require.Equal(t, otp.Invalid, otp.KindOf(err), "%s: %v", name, err)
		require.ErrorContains(t, err, "jwt_issuers", name)
		require.ErrorContains(t, err, tt.want, name)
		require.NotContains(t, err.Error(), "MC4CAQAw", name)
	}
	require.Zero(t, p.asked.Load())
}
