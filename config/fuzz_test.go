package config

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzLoad states what other packages rely on. The environment comes as one text with a NUL between entries, as in
// /proc.
func FuzzLoad(f *testing.F) {
	for _, c := range acceptedValues {
		f.Add(Prefix + c.key + "=" + c.text)
	}
	for _, c := range refusedValues {
		f.Add(Prefix + c.key + "=" + c.text)
	}
	f.Add("OTPBRIDGE_MODE=production\x00OTPBRIDGE_KEYRING=k1 " +
		"AAAA\x00OTPBRIDGE_TRUSTED_PROXIES=10.0.0.0/8,::1\x00OTPBRIDGE_CONTEXT_PATH=/a")
	f.Add("OTPBRIDGE_DELIVERY_WAIT=59s\x00OTPBRIDGE_WRITE_TIMEOUT=1m\x00OTPBRIDGE_SERVICE_HOST=x\x00OTPBRIDGE_PORT=")
	f.Fuzz(func(t *testing.T, text string) {
		environ := strings.Split(text, "\x00")
		s, err := Load(environ)
		if err != nil {
			require.Zero(t, s)
			var faults Faults
			require.ErrorAs(t, err, &faults)
			require.NotEmpty(t, faults)
			require.Equal(t, len(faults), strings.Count(err.Error(), "\n"), "a line a fault")
			for _, fault := range faults {
				require.Contains(t, fault.Name, Prefix)
				require.NotEmpty(t, fault.Problem)
				require.NotEmpty(t, fault.Remedy)
			}
			return
		}
		requireValid(t, s)
	})
}

// requireValid checks what Load promises, without Load's own code.
func requireValid(t *testing.T, s Settings) {
	t.Helper()
	require.Contains(t, []Mode{"sandbox", "production"}, s.Mode)
	require.Contains(t, []Profile{"documented", "live"}, s.MessageProfile)
	require.Contains(t, []LogLevel{"debug", "info", "warn", "error"}, s.LogLevel)
	require.Contains(t, []LogFormat{"text", "json"}, s.LogFormat)

	require.Regexp(t, `^[^\s/]*:[0-9]+$`, s.Addr)
	require.Contains(t, []string{"sqlite", "mysql"}, s.DatabaseURL.Scheme())
	if s.DatabaseURL.Scheme() == "mysql" {
		require.Regexp(t, `^mysql://[^@:]+(:\[redacted\])?@[^/@]+/[A-Za-z0-9_$-]+(\?\[redacted\])?$`, s.DatabaseURL.String())
	}

	require.NotEqual(t, s.Keyring.Empty(), s.KeyringFile == "", "exactly one keyring")
	require.False(t, s.MayMakeKeyringFile() && s.Mode != "sandbox")
	require.True(t, s.SandboxFixedCode.Empty() || s.Mode == "sandbox")
	require.Regexp(t, `^([0-9]{4,10})?$`, s.SandboxFixedCode.Reveal())

	require.Regexp(t, `^(/[A-Za-z0-9._~-]+)*$`, s.ContextPath)
	require.NotContains(t, s.ContextPath, "..")
	require.Regexp(t, `^[ -~]*/[ -~]*$`, s.ServletContentType)
	for _, prefix := range s.TrustedProxies {
		require.True(t, prefix.IsValid())
		require.Equal(t, prefix.Masked(), prefix)
		require.Positive(t, prefix.Bits())
		require.False(t, prefix.Addr().Is4In6() || prefix.Addr().Zone() != "")
	}

	within := func(least, d, most time.Duration) {
		t.Helper()
		require.GreaterOrEqual(t, d, least)
		require.LessOrEqual(t, d, most)
	}
	within(0, s.DeliveryWait, time.Minute)
	within(time.Second, s.ReadTimeout, time.Minute)
	within(time.Second, s.WriteTimeout, 2*time.Minute)
	within(time.Second, s.IdleTimeout, 10*time.Minute)
	within(time.Second, s.ShutdownTimeout, 15*time.Second)
	require.Greater(t, s.WriteTimeout, s.DeliveryWait)
}
