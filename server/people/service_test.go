package people_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/sql/sqltest/migrated"
)

const issuerURL = "https://otp.shop.example"

func servicesOf(p *people.People) *people.Services {
	return people.NewServices(p.Store, p.Vault.Keyring, p.Issuer)
}

// privateKey parses the private key that Create returned.
func privateKey(t testing.TB, secret crypto.Secret) any {
	t.Helper()
	block, _ := pem.Decode(secret.Bytes())
	require.NotNil(t, block)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	return key
}

func publicPEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

var jtis int

// assertion returns a service account's assertion with changed claims; nil removes a claim.
func assertion(t testing.TB, key any, id string, change jwt.MapClaims) string {
	t.Helper()
	jtis++
	now := time.Now().Unix()
	claims := jwt.MapClaims{
		"iss": id, "sub": id, "aud": issuerURL + "/oauth/token", "iat": now, "exp": now + 60,
		"jti": fmt.Sprint("j", jtis),
	}
	for name, value := range change {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	method := jwt.SigningMethod(jwt.SigningMethodEdDSA)
	switch key.(type) {
	case *ecdsa.PrivateKey:
		method = jwt.SigningMethodES256
	case *rsa.PrivateKey:
		method = jwt.SigningMethodRS256
	case []byte:
		method = jwt.SigningMethodHS256
	}
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	require.NoError(t, err)
	return text
}

func TestServices_GetTokensByKeyAndBySecret(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		accounts(t, p, "4711")
		services, boss := servicesOf(p), owner(t, p)
		ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		grant := people.Grant{Role: people.Developer, Accounts: []string{"4711"},
			Permissions: []string{people.ReadKeys, people.WriteKeys}}
		made, secret, err := services.Create(ctx, boss, people.NewService{Name: "rotation", Grant: grant})
		require.NoError(t, err)
		brought, none, err := services.Create(ctx, boss, people.NewService{Name: "signing", Grant: grant,
			PublicKey: publicPEM(t, ec.Public())})
		require.NoError(t, err)
		require.True(t, none.IsZero(), "whoever brings a public key keeps the private one")
		plain, text, err := services.Create(ctx, boss, people.NewService{Name: "cron", Grant: grant, Method: people.BySecret})
		require.NoError(t, err)
		for name, proof := range map[string]people.Proof{
			"a key made here":  {Client: made.ID, Assertion: assertion(t, privateKey(t, secret), made.ID, nil)},
			"without the id":   {Assertion: assertion(t, privateKey(t, secret), made.ID, nil)},
			"for the server":   {Assertion: assertion(t, privateKey(t, secret), made.ID, jwt.MapClaims{"aud": issuerURL})},
			"without iat":      {Assertion: assertion(t, privateKey(t, secret), made.ID, jwt.MapClaims{"iat": nil})},
			"a key brought":    {Client: brought.ID, Assertion: assertion(t, ec, brought.ID, nil)},
			"a secret":         {Client: plain.ID, Secret: string(text.Bytes())},
			"the secret again": {Client: plain.ID, Secret: string(text.Bytes())},
		} {
			token, err := services.Token(ctx, proof)
			require.NoError(t, err, name)
			require.Equal(t, time.Hour, token.Lifetime)
			who, err := services.Authenticate(ctx, token.Text, office)
			require.NoError(t, err, name)
			require.Equal(t, people.ServiceKind, who.Kind)
			require.NoError(t, who.May(people.WriteKeys))
			require.Equal(t, otp.Forbidden, otp.KindOf(who.May(people.SendCodes)), "the permissions narrow the role")
			require.True(t, who.MaySee("4711"))
			require.False(t, who.MaySee("4712"))
			_, err = p.Authenticate(ctx, token.Text, office)
			require.Equal(t, otp.MissingCredential, otp.KindOf(err), "it is no token of a person")
			_, _, err = services.Create(ctx, who, people.NewService{Name: "more", Grant: grant})
			require.Equal(t, otp.Forbidden, otp.KindOf(err), "automation makes no automation")
			require.Equal(t, otp.Forbidden, otp.KindOf(services.Revoke(ctx, who, made.ID)))
		}
		list, err := services.List(ctx, boss)
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.NotZero(t, list[0].UsedAt)

		token, err := services.Token(ctx, people.Proof{Client: plain.ID, Secret: string(text.Bytes())})
		require.NoError(t, err)
		require.NoError(t, services.Revoke(ctx, boss, plain.ID))
		_, err = services.Authenticate(ctx, token.Text, office)
		require.Equal(t, otp.UnknownCredential, otp.KindOf(err), "its tokens end with it")
		_, err = services.Token(ctx, people.Proof{Client: plain.ID, Secret: string(text.Bytes())})
		require.Equal(t, otp.UnknownCredential, otp.KindOf(err))
		require.Equal(t, otp.NotFound, otp.KindOf(services.Revoke(ctx, boss, plain.ID)))

		changes, err := p.Store.People.Changes(ctx, otp.ID{}, 4)
		require.NoError(t, err)
		require.Equal(t, otp.ServiceRevoked, changes[0].Kind)
		require.Equal(t, otp.ServiceCreated, changes[1].Kind)
		require.Equal(t, boss.ID, changes[1].Actor.ID)
	})
}

func TestServices_NoFalseProofPasses(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		services, boss := servicesOf(p), owner(t, p)
		grant := people.Grant{Role: people.Developer}
		made, secret, err := services.Create(ctx, boss, people.NewService{Name: "a", Grant: grant})
		require.NoError(t, err)
		other, otherSecret, err := services.Create(ctx, boss, people.NewService{Name: "b", Grant: grant})
		require.NoError(t, err)
		plain, text, err := services.Create(ctx, boss, people.NewService{Name: "c", Grant: grant, Method: people.BySecret})
		require.NoError(t, err)
		key, otherKey := privateKey(t, secret), privateKey(t, otherSecret)
		small, err := rsa.GenerateKey(rand.Reader, 1024)
		require.NoError(t, err)
		used := assertion(t, key, made.ID, nil)
		_, err = services.Token(ctx, people.Proof{Assertion: used})
		require.NoError(t, err)
		token, err := services.Token(ctx, people.Proof{Client: plain.ID, Secret: string(text.Bytes())})
		require.NoError(t, err)
		public, err := x509.MarshalPKIXPublicKey(key.(ed25519.PrivateKey).Public())
		require.NoError(t, err)
		now := time.Now().Unix()
		by := func(key any, id string, change jwt.MapClaims) people.Proof {
			return people.Proof{Client: id, Assertion: assertion(t, key, id, change)}
		}
		none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{
			"iss": made.ID, "sub": made.ID, "aud": issuerURL, "exp": now + 30, "jti": "n",
		}).SignedString(jwt.UnsafeAllowNoneSignatureType)
		require.NoError(t, err)
		for name, proof := range map[string]people.Proof{
			"used before":           {Assertion: used},
			"used, with another id": {Client: made.ID, Assertion: used},
			"no signature":          {Assertion: none},
			"another's key":         by(otherKey, made.ID, nil),
			"RS256":                 by(small, made.ID, nil),
			"HS256, public key":     by(public, made.ID, nil),
			"HS256, PEM":            by([]byte(publicPEM(t, key.(ed25519.PrivateKey).Public())), made.ID, nil),
			"no jti":                by(key, made.ID, jwt.MapClaims{"jti": nil}),
			"jti is a number":       by(key, made.ID, jwt.MapClaims{"jti": 7}),
			"jti is long":           by(key, made.ID, jwt.MapClaims{"jti": strings.Repeat("a", 256)}),
			"no sub":                by(key, made.ID, jwt.MapClaims{"sub": nil}),
			"another sub":           by(key, made.ID, jwt.MapClaims{"sub": other.ID}),
			"another iss":           {Assertion: assertion(t, key, made.ID, jwt.MapClaims{"iss": other.ID})},
			"iss is not client_id":  {Client: other.ID, Assertion: assertion(t, key, made.ID, nil)},
			"no aud":                by(key, made.ID, jwt.MapClaims{"aud": nil}),
			"another aud":           by(key, made.ID, jwt.MapClaims{"aud": "https://elsewhere.example/oauth/token"}),
			"aud is a prefix":       by(key, made.ID, jwt.MapClaims{"aud": issuerURL + "/"}),
			"no exp":                by(key, made.ID, jwt.MapClaims{"exp": nil}),
			"good too long":         by(key, made.ID, jwt.MapClaims{"exp": now + 70, "iat": nil}),
			"good too long by iat":  by(key, made.ID, jwt.MapClaims{"exp": now + 30, "iat": now - 40}),
			"over":                  by(key, made.ID, jwt.MapClaims{"exp": now - 1, "iat": now - 30}),
			"not yet":               by(key, made.ID, jwt.MapClaims{"nbf": now + 30}),
			"from the future":       by(key, made.ID, jwt.MapClaims{"iat": now + 30}),
			"an unknown account":    by(key, "svc_00000000000000000000000000", nil),
			"an id in capitals":     by(key, strings.ToUpper(made.ID), nil),
			"a key of another kind": by(key, "key_"+made.ID[4:], nil),
			"its access token":      {Client: plain.ID, Assertion: token.Text},
			"nothing":               {Client: made.ID},
			"an empty secret":       {Client: plain.ID},
			"a wrong secret":        {Client: plain.ID, Secret: "otps_wrong"},
			"another's secret":      {Client: made.ID, Secret: string(text.Bytes())},
			"the private key":       {Client: made.ID, Secret: string(secret.Bytes())},
			"no account":            {Secret: string(text.Bytes())},
			"SQL":                   {Client: "' OR 1=1 --", Secret: "x"},
			"a key of a secret's":   by(key, plain.ID, nil),
			"no token at all":       {Client: made.ID, Assertion: "a.b.c"},
		} {
			_, err := services.Token(ctx, proof)
			require.Equal(t, otp.UnknownCredential, otp.KindOf(err), "%s: %v", name, err)
			require.NotContains(t, err.Error(), "otps_")
		}
		tokens := login2(t, p)
		for name, wrong := range map[string]string{
			"a person's token": tokens.AccessToken, "a refresh token": tokens.RefreshToken,
			"an assertion": assertion(t, key, made.ID, nil),
			"nothing":      "", "a cut token": token.Text[:len(token.Text)-4],
		} {
			_, err := services.Authenticate(ctx, wrong, office)
			require.Equal(t, otp.MissingCredential, otp.KindOf(err), name)
		}
	})
}

func login2(t testing.TB, p *people.People) people.Tokens {
	t.Helper()
	tokens, err := login(p, "owner@shop.example", password, "")
	require.NoError(t, err)
	return tokens
}

func TestServices_AnAssertionIsGoodOnceRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		one, two := open(t, url), open(t, url)
		made, secret, err := servicesOf(one).Create(ctx, people.Operator(), people.NewService{
			Name: "racer", Grant: people.Grant{Role: people.Auditor},
		})
		require.NoError(t, err)
		key := privateKey(t, secret)
		for range 3 {
			text := assertion(t, key, made.ID, nil)
			counts := atOnce(64, func(i int) error {
				_, err := servicesOf([]*people.People{one, two}[i%2]).Token(ctx, people.Proof{Assertion: text})
				return err
			})
			require.Equal(t, map[string]int{"": 1, otp.UnknownCredential.String(): 63}, counts)
		}
	})
}

func TestServices_NobodyGivesMoreThanTheyHold(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		accounts(t, p, "4711", "4712")
		services, boss := servicesOf(p), owner(t, p)
		narrow := member(t, p, boss, "admin@shop.example", people.Grant{Role: people.Admin, Accounts: []string{"4711"}})
		developer := member(t, p, boss, "dev@shop.example", people.Grant{Role: people.Developer})
		ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		require.NoError(t, err)
		wide, _, err := services.Create(ctx, boss, people.NewService{Name: "all", Grant: people.Grant{Role: people.Admin}})
		require.NoError(t, err)
		require.Equal(t, otp.NotFound, otp.KindOf(services.Revoke(ctx, narrow, wide.ID)))
		list, err := services.List(ctx, narrow)
		require.NoError(t, err)
		require.Empty(t, list, "an admin of one account does not see who manages all")
		for name, tt := range map[string]struct {
			who  people.Principal
			new  people.NewService
			kind otp.Kind
		}{
			"other accounts": {narrow, people.NewService{Name: "x",
				Grant: people.Grant{Role: people.Admin, Accounts: []string{"4712"}}}, otp.Forbidden},
			"all accounts": {narrow, people.NewService{Name: "x", Grant: people.Grant{Role: people.Developer}},
				otp.Forbidden},
			"their own": {narrow, people.NewService{Name: "x",
				Grant: people.Grant{Role: people.Developer, Accounts: []string{"4711"}}}, 0},
			"a developer": {developer, people.NewService{Name: "x", Grant: people.Grant{Role: people.Auditor}},
				otp.Forbidden},
			"an owner": {boss, people.NewService{Name: "x", Grant: people.Grant{Role: people.Owner}}, otp.Invalid},
			"no role":  {boss, people.NewService{Name: "x"}, otp.Invalid},
			"no name":  {boss, people.NewService{Grant: people.Grant{Role: people.Admin}}, otp.Invalid},
			"a name of two lines": {boss, people.NewService{Name: "a\nb", Grant: people.Grant{Role: people.Admin}},
				otp.Invalid},
			"a long description": {boss, people.NewService{Name: "x", Description: strings.Repeat("a", 1001),
				Grant: people.Grant{Role: people.Admin}}, otp.Invalid},
			"a wider permission": {boss, people.NewService{Name: "x",
				Grant: people.Grant{Role: people.Auditor, Permissions: []string{people.WriteKeys}}}, otp.Invalid},
			"an odd method": {boss, people.NewService{Name: "x", Method: "none",
				Grant: people.Grant{Role: people.Admin}}, otp.Invalid},
			"a key and a secret": {boss, people.NewService{Name: "x", Method: people.BySecret, PublicKey: "x",
				Grant: people.Grant{Role: people.Admin}}, otp.Invalid},
			"a key on another curve": {boss, people.NewService{Name: "x", PublicKey: publicPEM(t, ec.Public()),
				Grant: people.Grant{Role: people.Admin}}, otp.Invalid},
			"no key": {boss, people.NewService{Name: "x", PublicKey: "hello",
				Grant: people.Grant{Role: people.Admin}}, otp.Invalid},
		} {
			_, _, err := services.Create(ctx, tt.who, tt.new)
			require.Equal(t, tt.kind, otp.KindOf(err), "%s: %v", name, err)
			if tt.kind == 0 {
				require.NoError(t, err, name)
			}
		}
		_, err = services.List(ctx, people.Principal{Grant: people.Grant{Role: people.Support},
			From: people.Client{Address: netip.Addr{}}})
		require.Equal(t, otp.Forbidden, otp.KindOf(err))
	})
}
