package main

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/server/audit"
	"otpbridge/server/console"
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

// Calls count in the environment of their key, at each door, and the error rate is the share that was not granted.
func TestStatistics_TellEnvironmentsApart(t *testing.T) {
	s := boot(t, variables(t)...)
	made := s.post("keys", "account", "10000000000001", "name", "shop", "kind", "secret", "environment", "live")
	live := regexp.MustCompile(`<dt>Key</dt><dd><code>([^<]+)`).FindStringSubmatch(made)[1]
	send := func(key, body string) {
		s.do("POST", "/v1/send", body, "X-API-Key", key, "Content-Type", "application/json")
	}
	for range 2 {
		send(live, `{"to":"+919551492394","method":"sms","type":"verification"}`)
	}
	send(live, `{}`)
	s.do("GET", "/api/statistics", "", "X-API-Key", live)
	s.servlet("otpgenservlet", documentedKey, person("919551492395"))
	s.servlet("otpgenservlet", "nobody-has-this-key", person("919551492395"))
	now := otp.At(time.Now())
	require.NoError(t, s.insight.Write(t.Context(), now))
	total := func(environment string) insight.Line {
		found, err := s.insight.Statistics(t.Context(), insight.Query{From: now - otp.Hour, To: now + otp.Hour,
			By: insight.ByHour, Environment: environment})
		require.NoError(t, err)
		return insight.Total(found)
	}
	for environment, want := range map[string]insight.Line{
		"":     {Calls: 5, Refused: 2, ErrorRate: new(40.0), Sent: 3, Failed: 1},
		"live": {Calls: 4, Refused: 2, ErrorRate: new(50.0), Sent: 2, Failed: 1},
		"test": {Calls: 1, ErrorRate: new(0.0), Sent: 1, Failed: 1},
		"dev":  {Failed: 1},
	} {
		found := total(environment)
		require.Equal(t, want, insight.Line{Calls: found.Calls, Refused: found.Refused, ErrorRate: found.ErrorRate,
			Sent: found.Sent, Failed: found.Failed}, environment)
		shown := s.do("GET", console.Path+"watch?environment="+environment, "").body
		if want.ErrorRate != nil {
			require.Contains(t, shown, fmt.Sprintf("<dt>Error rate</dt><dd>%.1f %%: %d refused, 0 failed", *want.ErrorRate,
				want.Refused))
			require.Contains(t, shown, fmt.Sprintf(`data-label="Error rate">%.1f %%`, *want.ErrorRate))
		}
	}
	refusal := s.do("GET", console.Path+"watch?environment=prod", "")
	require.Equal(t, 400, refusal.status)
	require.Contains(t, refusal.body, "must be live, test or dev")
}

// The audit log and the statistics agree about a caller's country. The log names none for an address without one.
func TestCalls_HaveOneCountry(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_TRUSTED_PROXIES=127.0.0.1")...)
	path := "/otpauthapi/otpgenservlet?" + person("919551492394").Encode()
	s.do("GET", path, "", "access_key", documentedKey, "X-Forwarded-For", "8.8.8.8")
	s.do("GET", path, "", "access_key", documentedKey)
	now := otp.At(time.Now())
	require.NoError(t, s.insight.Write(t.Context(), now))
	found, err := s.insight.Statistics(t.Context(),
		insight.Query{From: now - otp.Hour, To: now + otp.Hour, By: insight.ByClientCountry})
	require.NoError(t, err)
	calls := map[string]int64{}
	for _, line := range found {
		calls[line.Of] = line.Calls
	}
	require.Equal(t, map[string]int64{"US": 1, "ZZ": 1}, calls)
	_, err = s.audit.Seal(t.Context())
	require.NoError(t, err)
	log, err := s.audit.Read(t.Context(), otp.Actor{Kind: "operator"},
		audit.Query{Action: "otpgenservlet", Limit: 10}, now)
	require.NoError(t, err)
	require.Len(t, log.Entries, 2)
	require.Equal(t, []string{"", "US"}, []string{log.Entries[0].Country, log.Entries[1].Country}, "the newest first")
}

// The settings list the alerts that can act, and the document every rule.
func TestAlerts_AreInTheSettingsAndInTheDocument(t *testing.T) {
	text, acting := page(t, "doc/insight.md"), []string{}
	for _, rule := range insight.Rules() {
		if rule.Action != "" {
			acting = append(acting, rule.Name)
		}
		require.Contains(t, text, "`"+rule.Name+"`")
	}
	require.ElementsMatch(t, acting, config.AlertActions())
}
