package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// keyOf makes a key for the first demo account of a server in this process.
func keyOf(t *testing.T, s *booted, n manage.NewKey) (secret, signing string) {
	t.Helper()
	n.Account = "10000000000001"
	_, key, signingSecret, err := s.manage.Keys.Create(t.Context(), manage.Operator(), n)
	require.NoError(t, err)
	text := func(s crypto.Secret) string { return string(s.Bytes()) }
	return text(key), text(signingSecret)
}

// The clients in the documents on signing, fallback keys and limits work as programs.
func TestAPI_ExistingIntegrationsWork(t *testing.T) {
	t.Parallel()
	s := boot(t, variables(t)...)
	mobiles := newInteropMobiles()
	settings := func(more ...string) []string {
		return append(more, "TARGET="+s.URL(), "MOBILE="+mobiles.next(), "NO_PROXY=*", "no_proxy=*", "PYTHONIOENCODING=utf-8")
	}

	t.Run("python signs", func(t *testing.T) {
		needs(t, "python3")
		key, signing := keyOf(t, s, manage.NewKey{Name: "signed", Signing: otp.SigningRequired})
		runAPIClient(t, "python3", "python/signed_client.py",
			[]string{"send", "wrong code", "right code", "status", "once", "a repeated nonce", "another body",
				"an empty object"},
			settings("API_KEY="+key, "API_SECRET="+signing)...)
	})
	t.Run("node falls back and waits", func(t *testing.T) {
		needs(t, "node")
		perMinute, burst := 60, 2
		limited, _ := keyOf(t, s, manage.NewKey{Name: "limited", RequestsPerMinute: &perMinute, Burst: &burst})
		good, _ := keyOf(t, s, manage.NewKey{Name: "good"})
		revoked := crypto.NewAPIKey("test", "sk") // nobody has it, as one that was revoked
		runAPIClient(t, "node", "node/api_client.js",
			[]string{"send with the fallback key", "verify", "no fallback but on 401", "status 1", "status 2", "status 3",
				"status 4", "waited for the limit"},
			settings("PRIMARY_KEY="+revoked, "FALLBACK_KEY="+good, "LIMITED_KEY="+limited)...)
	})
}

// runAPIClient runs a program, which must finish all its steps.
func runAPIClient(t *testing.T, runtime, program string, steps []string, settings ...string) {
	t.Helper()
	runInteropProgram(t, runtime, program, "ok "+strings.Join(steps, "\nok ")+"\n", settings...)
}
