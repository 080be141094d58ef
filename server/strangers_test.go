package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client that tries keys always gets the same bytes. A forged forwarded address does not make it another client. It
// does not lock out others behind its address, and causes at most ten log lines a minute.
func TestStrangers_FailedKeysAreCountedAtEveryDoor(t *testing.T) {
	const perMinute = 20
	s := boot(t, variables(t, "OTPBRIDGE_AUTH_FAILURES_PER_MINUTE=20")...)
	for i, servlet := range []string{"otpgenservlet", "otpregenservlet", "otpvalidationservlet",
		"plainotpvalidationservlet"} {
		for n := range 3 * perMinute {
			key := fmt.Sprintf("a-key-that-nobody-has-%d-%d", i, n)
			a := s.do("GET", "/otpauthapi/"+servlet+"?"+person("919551492394", "otp", "1234").Encode(), "", "access_key", key,
				"X-Forwarded-For", fmt.Sprintf("203.0.113.%d", n))
			require.Equal(t, answer{status: 200, body: "UNAUTHERISED USER"}, answer{status: a.status, body: a.body}, "%s %d",
				servlet, n)
		}
	}
	v1 := func(key, peer string) answer {
		return s.do("POST", "/v1/send", `{"to":"+919551492394","method":"sms","type":"verification"}`,
			"Authorization", "Bearer "+key, "Content-Type", "application/json", "X-Forwarded-For", peer)
	}
	for n := range perMinute {
		a := v1(fmt.Sprintf("a-key-that-nobody-has-%d", n), fmt.Sprintf("198.51.100.%d", n))
		require.Equal(t, 429, a.status, "the servlets' failures count: %s", a.body)
		require.NotEmpty(t, a.header.Get("Retry-After"))
	}
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919551492394")))
	account := s.account(`{}`)
	require.Equal(t, 201, v1(account.APIKey, "203.0.113.1").status, "a key that is right is let in")
	require.LessOrEqual(t, strings.Count(s.log.String(), "kind=unknown_credential")+strings.Count(s.log.String(),
		"kind=rate_limited"), 2*strangersLines)
	require.Equal(t, 1, strings.Count(s.log.String(), "over the limit of refused credentials"))
}

func TestStrangers_TellTenAMinuteAndHowManyMore(t *testing.T) {
	var s strangers
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 1000 {
		told, silent := s.tell(began.Add(time.Duration(i) * time.Millisecond))
		require.Equal(t, i < strangersLines, told)
		require.Zero(t, silent)
	}
	told, silent := s.tell(began.Add(time.Minute))
	require.True(t, told)
	require.Equal(t, 1000-strangersLines, silent)
	_, silent = s.tell(began.Add(time.Minute))
	require.Zero(t, silent)
}
