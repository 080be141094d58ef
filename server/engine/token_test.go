package engine_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest/migrated"
)

// tokenIssuer signs tokens, and is listed by accounts with its one key.
type tokenIssuer struct {
	entry   otp.JWTIssuer
	private ed25519.PrivateKey
}

func newTokenIssuer(t testing.TB) tokenIssuer {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return tokenIssuer{otp.JWTIssuer{
		Issuer: "https://id.example", Audience: "otp", Algorithms: []string{"EdDSA"}, Permissions: []string{otp.PermitSend},
		PublicKeyPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), SubjectClaim: "uid",
	}, private}
}

func (i tokenIssuer) token(t testing.TB, audience ...string) string {
	now := time.Now()
	text, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": i.entry.Issuer, "aud": audience, "uid": "u1", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString(i.private)
	require.NoError(t, err)
	return text
}

// accepting imports an account that accepts the issuer's tokens.
func accepting(t testing.TB, h house, address string, entries ...otp.JWTIssuer) error {
	n := manage.Imported{Account: otp.DefaultAccount(address)}
	n.Cipher, n.JWTIssuers = "none", entries
	_, err := h.Accounts.Import(background, otp.Actor{}, []manage.Imported{n}, false)
	return err
}

func TestTokens_AreTakenUntilTheIssuerIsTakenOffTheList(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h, issuer := open(t, at), newTokenIssuer(t)
			require.NoError(t, accepting(t, h, "4711", issuer.entry))
			require.NoError(t, accepting(t, h, "4712"))
			token := issuer.token(t, "otp")
			caller, err := v1(h, token)
			require.NoError(t, err)
			require.Equal(t, "4711", caller.Account.Address)
			require.Equal(t, "u1", caller.Key.Subject)
			require.NoError(t, caller.May(otp.PermitSend))
			require.Equal(t, otp.Forbidden, otp.KindOf(caller.May(otp.PermitVerify)))
			require.Equal(t, otp.Forbidden, otp.KindOf(caller.May(otp.PermitDebug)))
			_, err = h.Authenticate(background, otp.ServletDoor, token, peer)
			require.Equal(t, otp.UnknownCredential, otp.KindOf(err), "the servlets take none")

			time.Sleep(time.Hour)
			_, err = v1(h, token)
			require.Equal(t, otp.ExpiredCredential, otp.KindOf(err))
			token = issuer.token(t, "otp")
			_, err = v1(h, token)
			require.NoError(t, err)
			n := manage.Imported{Account: *caller.Account}
			n.JWTIssuers = nil
			require.NoError(t, changeTo(h, n.Account, "jwt_issuers"))
			time.Sleep(3*time.Second + time.Millisecond)
			_, err = v1(h, token)
			require.Equal(t, otp.UnknownCredential, otp.KindOf(err))
		})
	})
}

func TestTokens_BelongToOneAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h, issuer := open(t, at), newTokenIssuer(t)
		other := issuer.entry
		other.Audience = "other"
		require.NoError(t, accepting(t, h, "4711", issuer.entry))
		require.NoError(t, accepting(t, h, "4712", other))
		for audience, address := range map[string]string{"otp": "4711", "other": "4712"} {
			caller, err := v1(h, issuer.token(t, audience))
			require.NoError(t, err)
			require.Equal(t, address, caller.Account.Address)
		}
		_, err := v1(h, issuer.token(t, "otp", "other"))
		require.Equal(t, otp.UnknownCredential, otp.KindOf(err), "a token for both is for neither")
		err = accepting(t, h, "4713", other)
		require.Equal(t, otp.Invalid, otp.KindOf(err))
		require.ErrorContains(t, err, "jwt_issuers[0].audience: another account")
		require.NotContains(t, err.Error(), "4712", "who may change one account is not told of others")
		require.ErrorContains(t, accepting(t, h, "4714", issuer.entry, issuer.entry), "jwt_issuers[1].audience")
		many := make([]otp.JWTIssuer, 11)
		for i := range many {
			many[i] = issuer.entry
			many[i].Audience = fmt.Sprint(i)
		}
		require.ErrorContains(t, accepting(t, h, "4715", many...), "at most 10")
		require.NoError(t, accepting(t, h, "4716", many[:10]...))
	})
}

// A key that looks like a token still works as a key.
func TestTokens_AKeyMayLookLikeOne(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	text := newTokenIssuer(t).token(t, "elsewhere")
	_, secret := newKey(t, h, manage.NewKey{Name: "imported", Import: text})
	require.Equal(t, text, secret)
	caller := v1Caller(t, h, text)
	require.Equal(t, otp.SecretKey, caller.Key.Kind)
}
