package engine_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// Guesses at a callback's secret are limited by address, and a right secret is still accepted.
func TestReported_GuessesAtSecretsAreLimitedAndRightOnesTaken(t *testing.T) {
	const secret = "0123456789abcdef"
	gateways, err := deliver.Parse("http://127.0.0.1:9/?to={to}&text={text}#name=gw&callback_id=id&callback_status=status"+
		"&callback="+secret, deliver.Options{Medium: "sms", Sandbox: true})
	require.NoError(t, err)
	h := openWith(t, sqlite(t), func(o *engine.Options) { o.SMS, o.AuthFailuresPerMinute = gateways, 5 })
	report := func(peer, guess string) otp.Kind {
		return otp.KindOf(h.RecordReport(background, engine.Callback{Channel: "gw", Secret: guess,
			Peer:  netip.MustParseAddr(peer),
			Query: map[string][]string{"id": {"nothing-that-was-sent"}, "status": {"delivered"}}}))
	}
	const stranger, gateway, other = "198.51.100.7", "198.51.100.7", "203.0.113.9"
	right := report(gateway, secret)
	require.NotEqual(t, otp.UnknownCredential, right, "the secret is right, whatever the report says")
	for range 5 {
		require.Equal(t, otp.UnknownCredential, report(stranger, "0123456789abcdeX"))
	}
	for _, guess := range []string{"", "x", secret + "x", secret[:15], "0123456789ABCDEF", " " + secret} {
		require.Equal(t, otp.RateLimited, report(stranger, guess), "%q", guess)
	}
	require.Equal(t, right, report(gateway, secret), "a right one from the same address")
	require.Equal(t, otp.UnknownCredential, report(other, "x"), "another address has tries of its own")
	for i := range 6 {
		kind := report("2001:db8::"+string(rune('1'+i)), "x")
		require.Equal(t, i == 5, kind == otp.RateLimited, "an IPv6 network counts as one")
	}
}
