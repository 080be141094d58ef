package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

// The command line and the sandbox call manage as this test does. They and the API refuse a bad key with the same
// words.
func TestKeys_EveryWayInRefusesWithTheSameWords(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.shop(t, "4711", who)
	keyring, err := crypto.ParseKeyring(crypto.NewKeyringText("k1"))
	require.NoError(t, err)
	store, err := sql.Open(t.Context(), migrated.SQLite(t), sql.Options{Sandbox: true})
	require.NoError(t, err)
	defer store.Close()
	sandbox, err := manage.Open(t.Context(), manage.Options{Store: store, Keyring: keyring, Sandbox: true})
	require.NoError(t, err)

	before := d.stored(t)
	many := `"` + strings.Repeat(`::1","`, 100) + `::1"`
	inputs := []string{
		`{"name":"a\nb"}`, `{"name":"\u202egnp.exe"}`, `{"name":"a\u200bb"}`, `{"name":"\u0007"}`,
		`{"name":"` + strings.Repeat("é", 201) + `"}`, `{"permissions":["send:money"]}`, `{"permissions":["send:otp",""]}`,
		`{"permissions":["SEND:OTP"]}`, `{"permissions":["read:compression"]}`, `{"permissions":[]}`,
		`{"allowed_ips":["52.44.123.456"]}`, `{"allowed_ips":["10.0.0.0/8","10.0.0.0/33"]}`, `{"allowed_ips":["localhost"]}`,
		`{"allowed_ips":[""]}`, `{"allowed_ips":["fe80::1%eth0"]}`, `{"allowed_ips":["10.0.0.1 "]}`, `{"allowed_ips":[]}`,
		`{"allowed_ips":[` + many + `]}`, `{"denied_ips":["10.0.0.0/-1"]}`, `{"denied_ips":["::1/129"]}`,
		`{"denied_ips":["1.2.3"]}`, `{"denied_ips":[]}`, `{"allowed_origins":["*"]}`, `{"allowed_origins":["null"]}`,
		`{"allowed_origins":["https://a.example/path"]}`, `{"allowed_origins":["https://*.example"]}`,
		`{"allowed_origins":["ftp://a.example"]}`, `{"allowed_origins":[]}`, `{"requests_per_minute":0}`,
		`{"requests_per_minute":1000001}`, `{"burst":-1}`, `{"burst":1000001}`,
	}
	require.GreaterOrEqual(t, len(inputs), 30)
	for _, input := range inputs {
		var asked manage.NewAccessKey
		require.NoError(t, json.Unmarshal([]byte(input), &asked))
		_, _, err := sandbox.Sandbox.CreateAccount(t.Context(), manage.NewAccount{Account: otp.DefaultAccount("4712"),
			AccessKeys: []manage.NewAccessKey{asked}})
		require.Equal(t, otp.Invalid, otp.KindOf(err), input)
		words := strings.TrimPrefix(err.Error(), "invalid: access_keys[0].")

		_, _, _, err = d.manage.Keys.Create(t.Context(), manage.Operator(), manage.NewKey{Account: "4711",
			Kind: otp.AccessKey, Name: asked.Name, Permissions: asked.Permissions, AllowedIPs: asked.AllowedIPs,
			DeniedIPs: asked.DeniedIPs, AllowedOrigins: asked.AllowedOrigins, RequestsPerMinute: asked.RequestsPerMinute,
			Burst: asked.Burst, ExpiresAt: asked.ExpiresAt})
		require.EqualError(t, err, "invalid: "+words)

		body := `{"account":"4711","kind":"access_key",` + input[1:]
		got := d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/keys", body, who...)
		require.Equal(t, words, got.member("detail"), input)
	}
	past := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	got := d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/keys",
		`{"account":"4711","expires_at":"`+past.Format(time.RFC3339)+`"}`, who...)
	_, _, _, err = d.manage.Keys.Create(t.Context(), manage.Operator(), manage.NewKey{Account: "4711", ExpiresAt: &past})
	require.EqualError(t, err, "invalid: "+got.member("detail"), "a sandbox takes it, for tests of what has ended")
	require.Equal(t, before, d.stored(t))
}
