package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/otp"
)

// In the console, an operator moves an account from servlets only to both doors, and away from its upstream.
func TestConsole_Migration(t *testing.T) {
	w := &way{T: t, vendor: boot(t, variables(t)...), here: boot(t, variables(t)...)}
	w.login(w.here)
	w.here.tally.Write()
	b := newBrowser(t, w.here.URL())
	b.allow("400 (Bad Request)")
	page := console.Path + "migration/" + wayAccount
	b.open(page)
	b.sees("0 % of the calls")
	b.sees("POST /v1/send")
	key := demoAPIKey
	require.Equal(t, 201, w.here.v1("POST", "/v1/send", key, map[string]any{"to": "+919876543211", "ip": "203.0.113.7",
		"method": "sms", "type": "verification"}).status)
	w.here.tally.Write()
	b.open(page)
	b.sees("33 % of the calls")
	b.sees("/v1/send")

	b.fill("Upstream address", w.vendor.URL()+"/otpauthapi")
	b.press("Set the upstream")
	b.sees("The account was changed")
	change := func() {
		b.fill("Who answers from then on", "forward")
		b.press("Change it")
		b.confirm()
	}
	change()
	b.sees("It is set")
	b.sees("the upstream from")
	w.here.engine.Forget()
	found, err := w.here.manage.Accounts.Find(t.Context(), wayAccount)
	require.NoError(t, err)
	require.Equal(t, otp.BridgeForward, found.Bridge)
	b.open(console.Path + "migration")
	b.sees(wayAccount)
	b.sees("33 %")
}
