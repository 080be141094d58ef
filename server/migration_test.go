package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/bridge"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// way is an account on its way from one server, which stands for the vendor's, to another.
type way struct {
	*testing.T
	vendor, here *booted
	codes        []string // that were sent
}

const wayAccount = "10000000000001" // of the demo accounts, with the same keys on both

// report is what the account's servers say of it.
func (w *way) report() bridge.AccountReport {
	w.here.tally.Write()
	found, err := w.here.manage.Accounts.Find(w.Context(), wayAccount)
	require.NoError(w, err)
	now := time.Now()
	_, ahead, err := w.here.store.Sandbox.Clock(w.Context(), wayAccount)
	require.NoError(w, err)
	report, err := bridge.NewReports(w.here.store).On(w.Context(), []otp.Account{found.Account}, now.Add(-time.Hour),
		now.Add(ahead))
	require.NoError(w, err)
	return report.Accounts[0]
}

func (w *way) call(name string) bridge.CallReport {
	for _, call := range w.report().Calls {
		if call.Name == name {
			return call
		}
	}
	return bridge.CallReport{}
}

func (w *way) to(mode otp.BridgeMode) {
	_, err := w.here.manage.Accounts.CutOver(w.Context(), otp.Actor{Kind: "operator"}, wayAccount, mode, time.Time{}, nil)
	require.NoError(w, err)
	require.NoError(w, w.here.manage.Sandbox.AdvanceClock(w.Context(), wayAccount, 11*time.Second))
}

// login generates and validates at the servlets; the message comes from maker.
func (w *way) login(maker *booted) {
	w.Helper()
	require.Equal(w, "OTP Generated Successfully", w.here.servlet("otpgenservlet", documentedKey, person("919876543210")))
	code := maker.messages("to=919876543210")[0].Code
	w.codes = append(w.codes, code)
	require.Equal(w, "Verified successfully", w.here.servlet("otpvalidationservlet", documentedKey,
		person("919876543210", "otp", encrypted(w.T, sampleKey, sampleIV, code))))
}

func (w *way) set(column string, change func(*otp.Account)) {
	_, err := w.here.manage.Accounts.Change(w.Context(), manage.Edit{Account: wayAccount, Columns: []string{column},
		Set: func(n *manage.Imported) error { change(&n.Account); return nil }})
	require.NoError(w, err)
}

// One account goes all the way, and the report is right at each step.
func TestMigration_TheReportIsRightAtEachStep(t *testing.T) {
	w := &way{T: t, vendor: boot(t, variables(t)...), here: boot(t, variables(t)...)}
	require.Empty(t, w.report().Calls)

	upstream := w.vendor.URL() + "/otpauthapi"
	w.set("upstream_url", func(a *otp.Account) { a.UpstreamURL = &upstream })
	w.to(otp.BridgeForward)
	w.login(w.vendor)
	require.Equal(t, otp.BridgeForward, w.report().Mode)
	validation := w.call("otpvalidationservlet")
	require.EqualValues(t, 1, validation.PassedOn)
	require.Equal(t, map[string]int64{"verified": 1}, validation.Answers)
	require.Len(t, validation.Keys, 1)
	require.Equal(t, "127.0.0.1", validation.Addresses[0].ID)
	require.Equal(t, `POST /v1/verify {"to": "+919876543210", "ip": "203.0.113.7", "code": "123456"}`, validation.Successor)
	require.Equal(t, `POST /v1/send {"to": "+919876543210", "ip": "203.0.113.7", "method": "sms", `+
		`"fallback": ["email"], "email": "a@example.com", "type": "verification"}`,
		w.call("otpgenservlet").Successor)

	w.to(otp.BridgeShadow)
	w.login(w.vendor)
	require.Empty(t, w.report().Differences)
	w.set("otp_length", func(a *otp.Account) { a.Length = 4 })
	w.login(w.vendor)
	require.Equal(t, map[string]int64{"otpvalidationservlet: verified there, wrong_length here": 1}, w.report().Differences)
	require.Empty(t, w.here.messages(""), "nothing was sent here")
	w.set("otp_length", func(a *otp.Account) { a.Length = 6 })

	w.to(otp.BridgeLocal)
	w.login(w.here)
	require.Equal(t, otp.BridgeLocal, w.report().Mode)
	validation = w.call("otpvalidationservlet")
	require.Equal(t, []int64{4, 3}, []int64{validation.Calls, validation.PassedOn})
	require.Equal(t, map[string]int64{"verified": 3, "ok": 1}, validation.Answers)

	// Sent by the JSON API, validated by the servlet.
	key := demoAPIKey
	to := map[string]any{"to": "+919876543211", "ip": "203.0.113.7"}
	send := func() string {
		sent := map[string]any{"to": to["to"], "ip": to["ip"], "method": "sms", "type": "verification"}
		reply := w.here.v1("POST", "/v1/send", key, sent)
		require.Equal(t, 201, reply.status, "%+v", reply)
		return w.here.messages("to=919876543211")[0].Code
	}
	require.Equal(t, "Verified successfully", w.here.servlet("otpvalidationservlet", documentedKey,
		person("919876543211", "otp", encrypted(t, sampleKey, sampleIV, send()))))
	require.Equal(t, []int64{9, 1}, []int64{w.report().Servlets, w.report().V1})

	to["code"] = send()
	require.Equal(t, 200, w.here.v1("POST", "/v1/verify", key, to).status)
	require.Equal(t, []int64{9, 3}, []int64{w.report().Servlets, w.report().V1})
	require.Empty(t, w.call("/v1/verify").Successor)

	over := otp.At(time.Now())
	w.set("servlets_sunset_at", func(a *otp.Account) { a.ServletsSunsetAt = &over })
	require.Equal(t, "The feature is not enabled", w.here.servlet("otpgenservlet", documentedKey, person("919876543210")))
	require.EqualValues(t, 1, w.call("otpgenservlet").Answers["feature_off"])

	// What is kept and logged names nobody.
	kept, err := json.Marshal(w.report())
	require.NoError(t, err)
	for _, secret := range append(w.codes, "919876543211", documentedKey, sampleKey, key) {
		require.NotContains(t, string(kept)+w.here.log.String(), secret)
	}
}
