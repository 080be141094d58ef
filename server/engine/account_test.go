package engine_test

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	store "otpbridge/sql"
)

// bySQL changes the database directly.
func bySQL(t testing.TB, h house, query string, args ...any) {
	t.Helper()
	_, err := byHand(t, h.at).Exec(query, args...)
	require.NoError(t, err)
}

func kindFrom(h house, key string, peer netip.Addr) otp.Kind {
	_, err := h.Authenticate(background, otp.ServletDoor, key, peer)
	return otp.KindOf(err)
}

func TestAuthenticate_RefusesEveryKeyThatIsNotGoodHereAndNow(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		past, off := time.Now().Add(-time.Second), false
		account, _, err := h.Sandbox.CreateAccount(background,
			manage.NewAccount{Account: otp.DefaultAccount(""), AccessKeys: []manage.NewAccessKey{
				{Key: "a-key-that-is-good"}, {Key: "a-key-that-expired", ExpiresAt: &past},
				{Key: "a-key-that-is-disabled", Enabled: &off},
				{Key: "a-key-for-use-at-home", AllowedIPs: []string{"192.0.2.0/24", "2001:db8::7"}},
			}})
		require.NoError(t, err)
		require.Zero(t, kindFrom(h, "a-key-that-is-good", peer))
		require.Equal(t, otp.MissingCredential, kindFrom(h, "", peer))
		require.Equal(t, otp.UnknownCredential, kindFrom(h, "a-key-that-is-bad", peer))
		require.Equal(t, otp.UnknownCredential, kindFrom(h, "A-key-that-is-good", peer))
		require.Equal(t, otp.ExpiredCredential, kindFrom(h, "a-key-that-expired", peer))
		require.Equal(t, otp.UnknownCredential, kindFrom(h, "a-key-that-is-disabled", peer))
		require.Equal(t, otp.ForbiddenNetwork, kindFrom(h, "a-key-for-use-at-home", peer))
		require.Zero(t, kindFrom(h, "a-key-for-use-at-home", netip.MustParseAddr("192.0.2.200")))
		require.Zero(t, kindFrom(h, "a-key-for-use-at-home", netip.MustParseAddr("2001:db8::7")))
		bySQL(t, h, `UPDATE credentials SET denied_ips = '["192.0.2.128/25"]' WHERE allowed_ips IS NOT NULL`)
		require.Eventually(t, func() bool {
			return kindFrom(h, "a-key-for-use-at-home", netip.MustParseAddr("192.0.2.200")) == otp.ForbiddenNetwork
		}, time.Second, 20*time.Millisecond, "denied wins over allowed")
		require.Equal(t, otp.UnknownCredential, func() otp.Kind {
			bySQL(t, h, `UPDATE otp_auth_config SET enabled = 0 WHERE esme_address = ?`, account.Address)
			h2 := open(t, at)
			return kindFrom(h2, "a-key-that-is-good", peer)
		}(), "a disabled account's keys are unknown")
	})
}

func TestAuthenticate_ADeletedKeyStopsWithinASecondAndASettingWithinFive(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			account, credentials, err := h.Sandbox.CreateAccount(background, manage.NewAccount{Account: otp.DefaultAccount("")})
			require.NoError(t, err)
			require.Zero(t, kindFrom(h, credentials.AccessKey, peer))
			bySQL(t, h, `UPDATE otp_auth_config SET otp_enabled = 0 WHERE esme_address = `+account.Address)
			time.Sleep(5 * time.Second)
			require.Equal(t, otp.FeatureOff, kindFrom(h, credentials.AccessKey, peer))
			bySQL(t, h, `DELETE FROM credentials WHERE esme_address = `+account.Address)
			time.Sleep(time.Second)
			require.Equal(t, otp.UnknownCredential, kindFrom(h, credentials.AccessKey, peer))
		})
	})
}

func TestAuthenticate_ABrokenRowDisablesItsAccountAloneAndIsLoggedByColumn(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		var log bytes.Buffer
		h := openWith(t, at, func(o *engine.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		neighbour := throwaway(t, h, nil)
		for column, change := range map[string]string{
			"otp_length": `otp_length = 0`, "otp_ttl_seconds": `otp_ttl_seconds = -300`,
			"cipher_key": `cipher_key = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='`, "cipher_iv": `cipher_iv = NULL`,
		} {
			account, credentials, err := h.Sandbox.CreateAccount(background, manage.NewAccount{Account: otp.DefaultAccount("")})
			require.NoError(t, err)
			bySQL(t, h, `UPDATE otp_auth_config SET `+change+` WHERE esme_address = ?`, account.Address)
			caller, err := h.Authenticate(background, otp.ServletDoor, credentials.AccessKey, peer)
			require.Equal(t, otp.BrokenAccount, otp.KindOf(err), column)
			require.NotNil(t, caller)
			require.Contains(t, log.String(), account.Address)
			require.Contains(t, log.String(), column)
		}
		require.NotContains(t, log.String(), "AAECAwQF")
		generated(t, h, neighbour, "919551492394")

		none := throwaway(t, h, func(a *otp.Account) { a.Cipher = "none" })
		bySQL(t, h, `UPDATE otp_auth_config SET cipher_key = NULL, cipher_iv = NULL WHERE esme_address = ?`,
			none.Account.Address)
		h2 := open(t, at)
		generated(t, h2, none, "919551492394")
	})
}

func TestCreateAccount_RefusesASealedKeyMovedFromAnotherRow(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		first, second := throwaway(t, h, nil), throwaway(t, h, nil)
		bySQL(t, h,
			`UPDATE otp_auth_config SET cipher_key = (SELECT cipher_key FROM otp_auth_config WHERE esme_address = ?) WHERE esme_address = ?`,
			first.Account.Address, second.Account.Address)
		_, _, err := h.Sandbox.CreateAccount(background, manage.NewAccount{Account: otp.DefaultAccount(""),
			AccessKeys: []manage.NewAccessKey{{Key: "a-key-to-be-moved"}}})
		require.NoError(t, err)
		bySQL(t, h, `UPDATE credentials SET esme_address = ? WHERE last_four = 'oved' AND kind = 'access_key'`,
			second.Account.Address)
		require.Equal(t, otp.BrokenAccount, kindFrom(open(t, at), "a-key-to-be-moved", peer))
	})
}

func TestCreateAccount_NamesWhatIsWrong(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		short := base64.StdEncoding.EncodeToString(make([]byte, 15))
		for field, spoil := range map[string]func(*manage.NewAccount){
			"otp_length": func(n *manage.NewAccount) { n.Account.Length = 3 },
			"cipher_iv":  func(n *manage.NewAccount) { n.CipherIV = short },
			"cipher_key": func(n *manage.NewAccount) { n.CipherKey = "???" },
			"access_keys[1].allowed_ips": func(n *manage.NewAccount) {
				n.AccessKeys = []manage.NewAccessKey{{}, {AllowedIPs: []string{"52.44.123.456"}}}
			},
		} {
			asked := manage.NewAccount{Account: otp.DefaultAccount("")}
			spoil(&asked)
			_, _, err := h.Sandbox.CreateAccount(background, asked)
			require.Equal(t, otp.Invalid, otp.KindOf(err), field)
			require.ErrorContains(t, err, field)
		}
		_, _, err := h.Sandbox.CreateAccount(background, manage.NewAccount{Account: otp.DefaultAccount("10000000000001")})
		require.Equal(t, otp.AccountExists, otp.KindOf(err))
	})
}

func TestNew_RefusesAKeyringThatLacksOrFailsAKeyAndNamesIt(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		open(t, at)
		start := func(keyring string) error {
			opened, err := store.Open(background, string(at), store.Options{Sandbox: true})
			require.NoError(t, err)
			defer opened.Close()
			ring, err := crypto.ParseKeyring(keyring)
			require.NoError(t, err)
			_, err = engine.New(background, engine.Options{Store: opened, Keyring: ring, Sandbox: true,
				Log: slog.New(slog.DiscardHandler)})
			return err
		}
		require.ErrorContains(t, start(crypto.NewKeyringText("other")), `lacks key "test"`)
		require.ErrorContains(t, start(crypto.NewKeyringText("test")), `key "test" is not the one`)
		second := crypto.NewKeyringText("second")
		require.NoError(t, start(second+keyringText), "a new primary beside the old key")
		require.ErrorContains(t, start(keyringText), `lacks key "second"`)
	})
}

func TestNew_ProductionHasNothingOfTheSandbox(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		opened, err := store.Open(background, string(at), store.Options{})
		require.NoError(t, err)
		defer opened.Close()
		ring, err := crypto.ParseKeyring(keyringText)
		require.NoError(t, err)
		options := engine.Options{Store: opened, Keyring: ring, Log: slog.New(slog.DiscardHandler)}
		production, err := engine.New(background, options)
		require.NoError(t, err)
		require.NoError(t, managerOf(t, options, production).RefuseSandboxRemains(background))
		require.NoError(t, production.Faults.Inject(string(otp.ServletDoor), "1"))
		_, err = production.Authenticate(background, otp.ServletDoor, "ZGVtby1hY2Nlc3Mta2V5MQ==", peer)
		require.Equal(t, otp.UnknownCredential, otp.KindOf(err), "no demo accounts")

		options.FixedCode = "123456"
		_, err = engine.New(background, options)
		require.Error(t, err)

		sample, err := crypto.ParseKeyring("sample AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n" + keyringText)
		require.NoError(t, err)
		withSample, err := manage.Open(background, manage.Options{Store: opened, Keyring: sample})
		require.NoError(t, err)
		require.ErrorContains(t, withSample.RefuseSandboxRemains(background), `"sample"`)
	})
}

func TestRefuseSandboxRemains_FindsASandboxsDatabaseAndTheSampleCipherKey(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		err := h.RefuseSandboxRemains(background)
		require.ErrorContains(t, err, "sandbox was run on this database")
		require.ErrorContains(t, err, "account 10000000000001 uses the published sample cipher key")
	})
}

func TestDecryptCode_ReadsTheVectorsKeyWithTheDemoAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := authenticate(t, h, "ZGVtby1hY2Nlc3Mta2V5MQ==")
		require.Equal(t, "123456", caller.DecryptCode("Xrgn4bpX/4iYytICyC1wNg=="))
		require.Equal(t, "", caller.DecryptCode("Xrgn4bpX/4iYytICyC1wNw=="))
	})
}
