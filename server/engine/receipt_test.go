package engine_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest/migrated"
)

// published returns the keys of receipts that a server publishes, newest first. The erasure certificates' key follows.
func published(t *testing.T, h house) (ids []string, keys map[string]ed25519.PublicKey) {
	t.Helper()
	set, err := h.JWKS(background)
	require.NoError(t, err)
	var shown struct{ Keys []struct{ Kid, X string } }
	require.NoError(t, json.Unmarshal(set, &shown))
	keys = map[string]ed25519.PublicKey{}
	for _, key := range shown.Keys[:len(shown.Keys)-1] {
		public, err := base64.RawURLEncoding.DecodeString(key.X)
		require.NoError(t, err)
		ids, keys[key.Kid] = append(ids, key.Kid), public
	}
	return ids, keys
}

// accept checks a receipt as a backend does, with only the key set and its account.
func accept(receipt, account string, keys map[string]ed25519.PublicKey) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(receipt, claims, func(token *jwt.Token) (any, error) {
		id, _ := token.Header["kid"].(string)
		if key := keys[id]; key != nil && token.Header["typ"] == "otp-receipt+jwt" {
			return key, nil
		}
		return nil, errors.New("no such key")
	}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer("otpbridge"), jwt.WithAudience(account),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithStrictDecoding())
	return claims, err
}

// receiptFrom verifies a code on a server and returns the receipt.
func receiptFrom(t *testing.T, h house, c *engine.Caller) (receipt, kid string) {
	t.Helper()
	target := to(t, h, c, someNumber, "", "", "")
	challenge := sent(t, h, c, engine.Send{Target: target})
	verified, err := h.VerifyNamed(background, c, engine.Proof{ID: challenge.ID, Code: code(t, h, c, someNumber)})
	require.NoError(t, err)
	require.NotEmpty(t, verified.Receipt)
	token, _, err := jwt.NewParser().ParseUnverified(verified.Receipt, jwt.MapClaims{})
	require.NoError(t, err)
	return verified.Receipt, token.Header["kid"].(string)
}

func unthrottled(a *otp.Account) { a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = 0, 0, 0 }

// No server ever signs with a key that another does not publish, and every receipt can be checked on both while it is
// valid.
func TestReceiptKey_IsReplacedBesideRunningServers(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			houses := two(t, at)
			c := application(t, houses[0], unthrottled)
			_, former := receiptFrom(t, houses[0], c)
			_, _ = receiptFrom(t, houses[1], c)
			made, err := houses[0].Keyring.ReplaceReceiptKey(background, otp.Actor{Kind: "operator"}, false)
			require.NoError(t, err)
			require.Empty(t, made.Removed)
			var last string
			signed := map[string]int{}
			for range 15 {
				for i := range houses {
					receipt, kid := receiptFrom(t, houses[i], c)
					signed[kid]++
					for _, other := range houses {
						_, keys := published(t, other)
						_, err := accept(receipt, c.Account.Address, keys)
						require.NoError(t, err)
					}
					if kid == former {
						last = receipt
					}
				}
				time.Sleep(time.Second)
			}
			require.Len(t, signed, 2)
			require.NotZero(t, signed[made.ID])
			time.Sleep(9*time.Minute + 40*time.Second)
			ids, keys := published(t, houses[1])
			require.Equal(t, []string{made.ID, former}, ids)
			_, err = accept(last, c.Account.Address, keys)
			require.NoError(t, err, "good as long as it says")
			time.Sleep(20 * time.Second)
			_, err = accept(last, c.Account.Address, keys)
			require.ErrorIs(t, err, jwt.ErrTokenExpired)
			time.Sleep(6 * time.Minute)
			for _, h := range houses {
				ids, _ = published(t, h)
				require.Equal(t, []string{made.ID}, ids)
			}
			again, err := houses[1].Keyring.ReplaceReceiptKey(background, otp.Actor{Kind: "operator"}, false)
			require.NoError(t, err)
			require.Equal(t, []string{former}, again.Removed)
			require.Equal(t, 2, ask(t, houses[0], `SELECT COUNT(*) FROM signing_keys`))
		})
	})
}

func TestReceiptKey_ThatLeakedLeavesAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			houses := two(t, at)
			c := application(t, houses[0], unthrottled)
			receipt, leaked := receiptFrom(t, houses[0], c)
			_, _ = receiptFrom(t, houses[1], c)
			made, err := houses[0].Keyring.ReplaceReceiptKey(background, otp.Actor{Kind: "operator"}, true)
			require.NoError(t, err)
			require.Equal(t, []string{leaked}, made.Removed)
			require.Equal(t, 1, ask(t, houses[0], `SELECT COUNT(*) FROM changes
				WHERE kind = 'keyring.receipt_key_replaced' AND actor_kind = 'operator' AND details LIKE '%"compromised":"true"%'`))
			time.Sleep(3*time.Second + time.Millisecond)
			for _, h := range houses {
				ids, keys := published(t, h)
				require.Equal(t, []string{made.ID}, ids)
				_, err := accept(receipt, c.Account.Address, keys)
				require.ErrorIs(t, err, jwt.ErrTokenUnverifiable)
				fresh, kid := receiptFrom(t, h, c)
				require.Equal(t, made.ID, kid)
				_, err = accept(fresh, c.Account.Address, keys)
				require.NoError(t, err)
			}
			require.Equal(t, 1, ask(t, houses[0], `SELECT COUNT(*) FROM signing_keys`),
				"nothing of it is left to be stolen again")
		})
	})
}

// A backend that uses only the key set accepts what was signed for its account, while it is valid, and none of the
// possible forgeries.
func TestReceipt_IsCheckedByTheKeySetAlone(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	c, stranger := application(t, h, nil), application(t, h, nil)
	receipt, kid := receiptFrom(t, h, c)
	_, keys := published(t, h)
	claims, err := accept(receipt, c.Account.Address, keys)
	require.NoError(t, err)
	var names []string
	for name := range claims {
		names = append(names, name)
	}
	slices.Sort(names)
	require.Equal(t, []string{"account", "aud", "environment", "exp", "iat", "iss", "jti", "recipient_hash", "sub",
		"type", "verified_at"}, names)
	require.Equal(t, claims["iat"].(float64)+600, claims["exp"])
	_, err = accept(receipt, stranger.Account.Address, keys)
	require.ErrorIs(t, err, jwt.ErrTokenInvalidAudience)

	part := strings.Split(receipt, ".")
	own, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	changed := func(name string, value any) string {
		payload, err := base64.RawURLEncoding.DecodeString(part[1])
		require.NoError(t, err)
		var all map[string]any
		require.NoError(t, json.Unmarshal(payload, &all))
		all[name] = value
		text, err := json.Marshal(all)
		require.NoError(t, err)
		return part[0] + "." + base64.RawURLEncoding.EncodeToString(text) + "." + part[2]
	}
	forged := func(method jwt.SigningMethod, key any, header map[string]any) string {
		token := jwt.NewWithClaims(method, claims)
		for name, value := range header {
			token.Header[name] = value
		}
		text, err := token.SignedString(key)
		require.NoError(t, err)
		return text
	}
	for name, text := range map[string]string{
		"audience":  changed("aud", stranger.Account.Address),
		"expiry":    changed("exp", 9_999_999_999),
		"no expiry": changed("exp", nil),
		"challenge": changed("sub", "otp_00000000000000000000000000"),
		"recipient": changed("recipient_hash", "x"),
		"type":      changed("type", "transaction"),
		"issuer":    changed("iss", "somebody"),
		"alg none": forged(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType,
			map[string]any{"kid": kid, "typ": "otp-receipt+jwt"}),
		"HMAC": forged(jwt.SigningMethodHS256, []byte(keys[kid]),
			map[string]any{"kid": kid, "typ": "otp-receipt+jwt"}),
		"another key": forged(jwt.SigningMethodEdDSA, private, map[string]any{"kid": kid, "typ": "otp-receipt+jwt"}),
		"its own key": forged(jwt.SigningMethodEdDSA, private,
			map[string]any{"kid": "own", "typ": "otp-receipt+jwt", "jwk": own}),
		"no kid":          forged(jwt.SigningMethodEdDSA, private, map[string]any{"typ": "otp-receipt+jwt"}),
		"cut signature":   receipt[:len(receipt)-2],
		"no signature":    part[0] + "." + part[1] + ".",
		"doubled payload": part[0] + "." + part[1] + part[1] + "." + part[2],
	} {
		_, err := accept(text, c.Account.Address, keys)
		require.Error(t, err, name)
	}
}
