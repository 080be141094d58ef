package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
)

// The API, as a list of codes, and the page, without a script, say why somebody got no message.
func TestWhyNoMessage_NamesTheReason(t *testing.T) {
	var dead atomic.Bool
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if dead.Load() {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer gateway.Close()
	s := boot(t, variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=6")...)
	type holder struct{ address, key string }
	account := func(columns string) holder {
		made := s.account(`{"sms_channels":"` + gateway.URL + `/?to={to}&text={text}"` + columns + `}`)
		return holder{made.Address, made.AccessKey}
	}
	limited, shop, mails := account(`,"sends_per_minute":2`), account(`,"max_attempts":10`),
		account(`,"sms_enabled":false,"email_enabled":true`)
	indian := account(`,"countries":["IN"]`)
	page := func(a holder, to string) string {
		found := s.do("POST", console.Path+"recipients", url.Values{"account": {a.address}, "environment": {"test"},
			"to": {to}}.Encode(), "Content-Type", formType)
		require.Equal(t, 200, found.status, found.body)
		return found.body
	}
	why := func(a holder, to, code string) {
		t.Helper()
		require.Contains(t, page(a, to), fmt.Sprintf(`">%s</span>`, code))
	}
	generate := func(a holder, to string, times int) {
		for range times {
			s.servlet("otpgenservlet", a.key, person(to))
		}
	}

	why(shop, "919551492394", "never_asked")
	why(mails, "919551492394", "medium")
	abroad := s.do("POST", console.Path+"recipients", url.Values{"account": {indian.address}, "environment": {"test"},
		"to": {"+4915112345678"}}.Encode(), "Content-Type", formType)
	require.Contains(t, abroad.body, "belongs to a country that the account does not send to")
	generate(limited, "919551492394", 3)
	why(limited, "+91 95514 92394", "limit")
	why(limited, "919551492394", "taken")
	dead.Store(true)
	generate(shop, "919551492391", 1)
	why(shop, "919551492391", "unsent")
	dead.Store(false)
	for range 20 {
		if s.servlet("otpvalidationservlet", shop.key, person("919551492392", "otp", "0000")) == "LOCKED" {
			break
		}
		generate(shop, "919551492392", 1)
		for range 9 {
			s.servlet("otpvalidationservlet", shop.key, person("919551492392", "otp", "0000"))
		}
	}
	why(shop, "919551492392", "locked")
	require.Contains(t, page(shop, "919551492392"), "Why you unlock it")
	unlocked := s.do("POST", console.Path+"recipients/unlock",
		url.Values{"account": {shop.address}, "environment": {"test"},
			"to": {"919551492392"}, "reason": {"called us"}}.Encode(), "Content-Type", formType)
	require.Contains(t, unlocked.body, "The recipient is unlocked")
	require.NotContains(t, page(shop, "919551492392"), `">locked</span>`)
	for n := range 12 {
		generate(shop, fmt.Sprintf("9198%08d", n), 1)
	}
	why(shop, "919800000099", "prefix")
	require.Contains(t, s.do("GET", console.Path+"accounts/"+shop.address+"/guards", "").body, "919800</code>")
}

// Where no provider was asked, nothing leads to a provider's log: a sandbox names its inbox, or the fault that was set.
func TestWhyNoMessage_InASandboxNoProviderIsBlamed(t *testing.T) {
	s := boot(t, variables(t)...)
	gateway := newGateway(t, http.StatusOK)
	made := s.account(`{"sms_channels":"` + gateway.url("first") + `","email_enabled":true}`)
	why := func(account, to string) string {
		return s.post("recipients", "account", account, "environment", "test", "to", to)
	}
	const demo, inbox, provider = "10000000000001", "is in the sandbox&#39;s inbox", "provider&#39;s own log"
	const mail = `{"to":"a@shop.example","method":"email","type":"verification"}`
	for _, key := range []string{documentedKey, made.AccessKey} {
		s.servlet("otpgenservlet", key, person("919551492391"))
		s.do("POST", "/v1/send", mail, "X-API-Key", key, "Content-Type", "application/json")
	}
	for _, to := range []string{"919551492391", "+91 95514 92391", "a@shop.example"} {
		page := why(demo, to)
		require.Contains(t, page, inbox, to)
		require.NotContains(t, page, provider, to)
	}
	require.Contains(t, why(made.Address, "919551492391"), provider, "its channel leads out")
	require.Contains(t, why(made.Address, "a@shop.example"), inbox, "mail has no such channel")

	s.do("PUT", "/sandbox/faults", `{"faults":[{"target":"inbox","kind":"not_sent","count":1}]}`,
		"Content-Type", "application/json")
	s.servlet("otpgenservlet", documentedKey, person("919551492393"))
	require.Contains(t, why(demo, "919551492393"), "GET /sandbox/faults")
}
