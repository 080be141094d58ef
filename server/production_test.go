package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"otpbridge/crypto"
	"otpbridge/sql/sqltest"
)

const productionKey = "a-key-of-production"

// productionFrom turns a sandbox's database into a production database, which only tests may do: it has an account
// with its own keys and none of the sandbox's traces.
func productionFrom(t *testing.T, environ []string) []string {
	t.Helper()
	s := boot(t, environ...)
	account := s.account(`{"access_keys":[{"key":"` + productionKey + `"}]}`)
	require.NoError(t, s.Shutdown(t.Context()))
	return promoted(t, environ, account.Address)
}

// promoted is productionFrom with the account of that address.
func promoted(t *testing.T, environ []string, address string) []string {
	t.Helper()
	edit(t, environ,
		`DELETE FROM credentials WHERE esme_address <> '`+address+`'`,
		`DELETE FROM otp_auth_config WHERE esme_address <> '`+address+`'`,
		`DELETE FROM sandbox_accounts`,
		`UPDATE credentials SET environment = 'live'`) // those of a sandbox reach simulated channels only
	return append(environ, "OTPBRIDGE_MODE=production", "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0")
}

// edit runs SQL on the database that environ names.
func edit(t *testing.T, environ []string, statements ...string) {
	t.Helper()
	db := sqltest.Connect(t, databaseOf(t, environ))
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
}

func TestProduction_HasNothingOfTheSandbox(t *testing.T) {
	s := boot(t, productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s"))...)
	for _, path := range []string{"/", "/sandbox/credentials", "/sandbox/messages", "/sandbox/clock", "/sandbox/faults",
		"/sandbox/requests"} {
		require.Equal(t, 404, s.do("GET", path, "").status, path)
	}
	require.Equal(t, 404, s.do("POST", "/sandbox/accounts", "{}").status)
	require.Equal(t, 404, s.do("POST", "/sandbox/reset", "{}").status)
	require.Equal(t, "SMSEMAILFAIL", s.servlet("otpgenservlet", productionKey, person("919551492394")),
		"there is no channel yet")
	require.Equal(t, "UNAUTHERISED USER", s.servlet("otpgenservlet", documentedKey, person("919551492394")))
}

func TestProduction_RefusesWhatBelongsToASandbox(t *testing.T) {
	sandboxDatabase := func(t *testing.T, prepare func(s *booted)) []string {
		environ := variables(t)
		s := boot(t, environ...)
		prepare(s)
		require.NoError(t, s.Shutdown(t.Context()))
		return append(environ, "OTPBRIDGE_MODE=production", "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0")
	}
	const sample = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for _, tt := range []struct {
		name    string
		environ func(t *testing.T) []string
		says    string
	}{
		{"no keyring", func(t *testing.T) []string {
			return []string{"OTPBRIDGE_MODE=production"}
		}, "OTPBRIDGE_KEYRING_FILE"},
		{"a keyring file that is not there", func(t *testing.T) []string {
			return []string{"OTPBRIDGE_MODE=production", "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0",
				"OTPBRIDGE_KEYRING_FILE=" + filepath.Join(t.TempDir(), "keyring")}
		}, "no such file"},
		{"the published key", func(t *testing.T) []string {
			return variables(t, "OTPBRIDGE_MODE=production", "OTPBRIDGE_KEYRING=k1 "+sample)
		}, "published sample key"},
		{"the published key as a second one", func(t *testing.T) []string {
			return variables(t, "OTPBRIDGE_MODE=production", "OTPBRIDGE_KEYRING="+crypto.NewKeyringText("k2")+"k1 "+sample)
		}, "k1"},
		{"a fixed code", func(t *testing.T) []string {
			return variables(t, "OTPBRIDGE_MODE=production", "OTPBRIDGE_SANDBOX_FIXED_CODE=123456")
		}, "OTPBRIDGE_SANDBOX_FIXED_CODE"},
		{"demo accounts", func(t *testing.T) []string {
			return sandboxDatabase(t, func(*booted) {})
		}, "sandbox"},
		{"a throwaway account", func(t *testing.T) []string {
			environ := sandboxDatabase(t, func(s *booted) { s.account(`{"esme_address":"4711"}`) })
			edit(t, environ, `DELETE FROM otp_auth_config WHERE esme_address <> '4711'`,
				`DELETE FROM sandbox_accounts WHERE esme_address <> '4711'`)
			return environ
		}, "sandbox"},
		{"a clock set forward", func(t *testing.T) []string {
			environ := sandboxDatabase(t, func(s *booted) { s.do("PUT", "/sandbox/clock", `{"offset":"1h"}`) })
			edit(t, environ, `DELETE FROM otp_auth_config`, `DELETE FROM sandbox_accounts WHERE clock_offset = 0`)
			return environ
		}, "sandbox"},
		{"an account with the published key", func(t *testing.T) []string {
			environ := sandboxDatabase(t, func(s *booted) {
				s.account(`{"esme_address":"4711","cipher_key":"` + sample + `","cipher_iv":"` + sampleIV + `"}`)
			})
			edit(t, environ, `DELETE FROM otp_auth_config WHERE esme_address <> '4711'`, `DELETE FROM sandbox_accounts`)
			return environ
		}, "account 4711 uses the published sample cipher key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr output
			require.Equal(t, exitUnusable, run(nil, process{environ: tt.environ(t), stdout: &stdout, stderr: &stderr}),
				stderr.String())
			require.Contains(t, stderr.String(), tt.says)
			require.Empty(t, stdout.String())
			require.NotContains(t, stderr.String(), "123456")
		})
	}
}
