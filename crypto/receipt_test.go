package crypto

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

func receiptKey(t testing.TB) *ReceiptKey {
	t.Helper()
	// RFC 8037, appendix A.1.
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	require.NoError(t, err)
	key, err := NewReceiptKey(NewSecret(seed))
	require.NoError(t, err)
	return key
}

var someReceipt = Receipt{
	Issuer: "otpbridge", ID: "evt_1", Challenge: "otp_1", Audience: "1", Account: "1", Environment: "test",
	Type:          "verification",
	RecipientHash: ReceiptHash("otp_1", "+919551492394"), BindingHash: ReceiptHash("otp_1", `{"amount":1}`),
	VerifiedAt: 1_772_000_000, IssuedAt: 1_772_000_001, ExpiresAt: 1_772_000_601,
}

func TestReceiptKey_IsTheOneOfTheRFC(t *testing.T) {
	key := receiptKey(t)
	require.Equal(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", base64.RawURLEncoding.EncodeToString(key.Public()),
		"RFC 8037, A.2")
	require.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", key.ID(), "RFC 8037, A.3")
	_, err := NewReceiptKey(NewSecret([]byte("short")))
	require.Error(t, err)
	require.Equal(t, redaction, fmt.Sprintf("%+v", key))
}

func TestReceipt_OpensWithItsKeyAndNoOther(t *testing.T) {
	key := receiptKey(t)
	text, err := key.Sign(someReceipt)
	require.NoError(t, err)
	keys := map[string][]byte{key.ID(): key.Public()}
	opened, err := OpenReceipt(text, keys)
	require.NoError(t, err)
	require.Equal(t, someReceipt, opened)

	other, err := NewReceiptKey(RandomReceiptKey())
	require.NoError(t, err)
	parts := strings.Split(text, ".")
	forged := func(method jwt.SigningMethod, signer any, kid string, typ string) string {
		token := jwt.NewWithClaims(method, receiptClaims{Receipt: someReceipt})
		token.Header["kid"], token.Header["typ"] = kid, typ
		text, err := token.SignedString(signer)
		require.NoError(t, err)
		return text
	}
	for name, text := range map[string]string{
		"empty": "", "no signature": parts[0] + "." + parts[1] + ".", "cut": text[:len(text)-1],
		"alg none":               forged(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, key.ID(), receiptType),
		"HMAC by the public key": forged(jwt.SigningMethodHS256, []byte(key.Public()), key.ID(), receiptType),
		"another key":            forged(jwt.SigningMethodEdDSA, other.private, key.ID(), receiptType),
		"an unknown key":         forged(jwt.SigningMethodEdDSA, other.private, other.ID(), receiptType),
		"another kind of token":  forged(jwt.SigningMethodEdDSA, key.private, key.ID(), "JWT"),
		"other claims": parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"otp_2"}`)) + "." +
			parts[2],
	} {
		_, err := OpenReceipt(text, keys)
		require.ErrorIs(t, err, ErrReceipt, name)
	}
}

// The page for integrators states this value; it must not change.
func TestReceiptHash_CanBeComputedByABackend(t *testing.T) {
	// printf 'otp_1\n+919551492394' | openssl dgst -sha256 -binary | basenc --base64url | tr -d =
	require.Equal(t, "1a9ccLOoycS3J0uL0FM0OqYWgeF--r8xIlKM6IyYBTo", ReceiptHash("otp_1", "+919551492394"))
	require.NotEqual(t, ReceiptHash("otp_1", "+919551492394"), ReceiptHash("otp_2", "+919551492394"),
		"receipts of one person look different")
}

func FuzzOpenReceipt(f *testing.F) {
	key := receiptKey(f)
	text, err := key.Sign(someReceipt)
	require.NoError(f, err)
	f.Add(text)
	f.Add("a.b.c")
	keys := map[string][]byte{key.ID(): key.Public()}
	f.Fuzz(func(t *testing.T, given string) {
		if _, err := OpenReceipt(given, keys); err == nil {
			require.Equal(t, text, given, "nothing opens that was not signed")
		}
	})
}
