package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/server/insight"
	"otpbridge/server/otp"
)

// The statistics count committed events and answered calls.
func TestStatistics_CountWhatIsServed(t *testing.T) {
	s := boot(t, variables(t)...)
	const number = "919551492394"
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person(number)))
	require.Equal(t, "Invalid Parameters", s.servlet("otpgenservlet", documentedKey, person("12")))
	require.Equal(t, "UNAUTHERISED USER", s.servlet("otpgenservlet", "nobody-has-this-key", person(number)))
	now := otp.At(time.Now())
	require.NoError(t, s.insight.Write(t.Context(), now))
	by := func(by string) map[string]insight.Line {
		found, err := s.insight.Statistics(t.Context(), insight.Query{From: now - otp.Hour, To: now + otp.Hour, By: by})
		require.NoError(t, err)
		all := map[string]insight.Line{}
		for _, line := range found {
			all[line.Of] = line
		}
		return all
	}
	require.EqualValues(t, 1, by(insight.ByPrefix)["919551"].Sent)
	require.EqualValues(t, 1, by(insight.ByCountry)["IN"].Sent)
	reasons := by(insight.ByReason)
	require.EqualValues(t, 1, reasons["servlet ok"].Calls)
	require.EqualValues(t, 1, reasons["servlet invalid"].Refused)
	require.EqualValues(t, 1, reasons["servlet unknown_credential"].Failed)
	require.EqualValues(t, 2, by(insight.ByClientCountry)["ZZ"].Calls, "of loopback")
	require.Len(t, by(insight.ByKey), 1)
}

// The settings list the alerts that can act, and the document every rule.
func TestAlerts_AreInTheSettingsAndInTheDocument(t *testing.T) {
	require.ElementsMatch(t, insight.Actions(), config.AlertActions())
	text := page(t, "doc/insight.md")
	for _, rule := range insight.Rules() {
		require.Contains(t, text, "`"+rule.Name+"`")
	}
}
