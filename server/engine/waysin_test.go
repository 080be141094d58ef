package engine_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	store "otpbridge/sql"
)

// Every way to add a key refuses the same keys with the same text.
func TestImport_EveryWayInRefusesTheSameKeys(t *testing.T) {
	opened, err := store.Open(background, string(sqlite(t)), store.Options{})
	require.NoError(t, err)
	defer opened.Close()
	ring, err := crypto.ParseKeyring(keyringText)
	require.NoError(t, err)
	e, err := manage.Open(background, manage.Options{Store: opened, Keyring: ring})
	require.NoError(t, err)
	account := func(address string) manage.Imported {
		n := manage.Imported{Account: otp.DefaultAccount(address)}
		n.Account.Name, n.Account.Cipher = "Corner Shop", "none"
		return n
	}
	_, err = e.Accounts.Import(background, otp.Actor{}, []manage.Imported{account("4711")}, false)
	require.NoError(t, err)
	for _, key := range []string{
		"1", "1234", "fifteen-letters", strings.Repeat("Ab3$",
			200), "sixteen letters!", " sixteen-letters", "sixteen-lettersé", "six\tteen-letters",
		"cGFzc3dvcmRwYXNzd29yZDE=", "cGFzc3dvcmRwYXNzd29yZDE", "NDcxMjQ3MTI0NzEyNDcxMg==", "MTIzNDU2Nzg5MDEyMzQ1Ng==",
		"31323334353637383930313233343536", "70617373776F726470617373776F726431", "51776572747955696f704173646647",
		"QUFBQUFBQUFBQUFBQUFBQQ==", "Y2hhbmdlbWUtY2hhbmdlbWU=", "b3RwYnJpZGdlLWFkbWluLTEyMw==",
		"aaaaaaaaaaaaaaaa", "1234567890123456", "abcdefghijklmnop", "zyxwvutsrqponmlk", "qwertyuiopasdfgh",
		"abcd1234abcd1234", "47124712471247124712",
		"Corner ShopCorner Shop", "passwordpassword1", "changeme12345678", "ababababababcdcd",
		"ZGVtby1hY2Nlc3Mta2V5MQ==", "ZGVtby1hY2Nlc3Mta2V5Mg==", "otpb_test_sk_3S59TEkdOgZ8jjhSxuHwbQrpyXxII3v72aEZ2o",
		"kc_live_4eC39HqLyjWDarjtT1zdp7dc",
		"otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijG", crypto.NewAPIKey("live", "sk"), crypto.NewAPIKey("test", "ro"),
	} {
		_, _, _, err := e.Keys.Create(background, manage.Operator(), manage.NewKey{Account: "4711", Kind: otp.AccessKey,
			Import: key})
		require.Equal(t, otp.Invalid, otp.KindOf(err), "%q: %v", key, err)
		_, why, found := strings.Cut(err.Error(), "import: ")
		require.True(t, found, err)
		if len(key) > 4 {
			require.NotContains(t, why, key)
		}

		short, long := account("4712"), account("4712")
		short.AccessKey = key
		long.AccessKeys = []manage.NewAccessKey{{Key: key}}
		for field, n := range map[string]manage.Imported{"access_key: ": short, "access_keys[0].key: ": long} {
			_, err := e.Accounts.Import(background, otp.Actor{}, []manage.Imported{account("4713"), n}, false)
			require.ErrorContains(t, err, "account 4712: "+field+why, key)
			require.ErrorContains(t, err, "account 2 of 2")
		}
	}
	accounts, err := e.Accounts.List(background)
	require.NoError(t, err)
	require.Len(t, accounts, 1, "all or none")
}

func TestImport_RefusesCipherKeysThatOthersKnow(t *testing.T) {
	for _, key := range []string{
		strings.Repeat("00", 16), strings.Repeat("00", 32), strings.Repeat("ff", 16), strings.Repeat("a5", 24),
		"000102030405060708090a0b0c0d0e0f", "0102030405060708090a0b0c0d0e0f10", "0f0e0d0c0b0a09080706050403020100",
		"00112233445566778899aabbccddeeff",
		strings.Repeat("0123456789abcdef",
			2), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "Y2lwaGVyIGtleSBvZiB5b3VyIGludGVncmF0aW9uISE=",
		"31323334353637383930313233343536", "70617373776f726470617373776f7264",
	} {
		secret, err := crypto.ParseKeyText(key)
		require.NoError(t, err)
		require.NotEmpty(t, crypto.WeakCipherKey(secret.Bytes()), key)
	}
	for range 1000 {
		require.Empty(t, crypto.Guessable(crypto.NewAccessKey()))
		require.Empty(t, crypto.Guessable(crypto.NewAPIKey("live", "sk")[13:]))
	}
}
