package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
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

// For every state of a code the page has each send with its channel and outcome, and each count beside what it can
// reach at most. The API has the same.
func TestWhyNoMessage_TheTimelineHasChannelsOutcomesAndLimits(t *testing.T) {
	gateway := newGateway(t, http.StatusOK)
	dead := newGateway(t, http.StatusBadRequest)
	s := boot(t, variables(t)...)
	shop := s.account(`{"sms_channels":"` + dead.url("first") + "," + gateway.url("second") + `","email_enabled":true,` +
		`"max_attempts":3,"max_regenerations":2,"sends_per_minute":9,"sends_per_hour":0,"plain_validation_enabled":true}`)
	mute := s.account(`{"sms_channels":"` + dead.url("first") + `"}`)
	servlet := func(name, to string, more ...string) string {
		return s.servlet(name, shop.AccessKey, person(to, more...))
	}
	const row = `data-label="State"><span class="tag">%s</span></td>(.|\n)*?data-label="Wrong guesses">%s</td>` +
		`<td class="num" data-label="Sends">%s</td>`
	for i, c := range []struct {
		state, wrong, sends string
		do                  func(to string)
	}{
		{"live", "0 of 3", "2 of 3", func(to string) { servlet("otpregenservlet", to) }},
		{"live", "1 of 3", "1 of 3", func(to string) { servlet("plainotpvalidationservlet", to, "otp", "000000") }},
		{"verified", "0 of 3", "1 of 3", func(to string) {
			require.Equal(t, "Verified successfully", servlet("plainotpvalidationservlet", to,
				"otp", s.messages("limit=1")[0].Code))
		}},
		{"max attempts", "3 of 3", "1 of 3", func(to string) {
			for range 3 {
				servlet("plainotpvalidationservlet", to, "otp", "000000")
			}
		}},
		{"replaced", "0 of 3", "1 of 3", func(to string) { servlet("otpgenservlet", to) }},
		{"canceled", "0 of 3", "1 of 3", func(to string) {
			a := s.do("POST", "/v1/cancel", `{"to":"+`+to+`","ip":"203.0.113.7"}`, "X-API-Key", shop.APIKey, "Content-Type",
				"application/json")
			require.Equal(t, 200, a.status, a.body)
		}},
		{"expired", "0 of 3", "1 of 3", func(string) {
			a := s.do("PUT", "/sandbox/clock", `{"account":"`+shop.Address+`","advance":"10m"}`, "Content-Type",
				"application/json")
			require.Equal(t, 200, a.status, a.body)
		}},
	} {
		to := fmt.Sprintf("91955149239%d", i)
		require.Equal(t, "OTP Generated Successfully", servlet("otpgenservlet", to, "email", "a@shop.example"))
		c.do(to)
		var page string
		eventually(t, "the outcomes", func() bool { // a servlet answers before they are recorded
			page = s.post("recipients", "account", shop.Address, "environment", "test", "to", to)
			return !strings.Contains(page, ">waiting<")
		})
		require.Regexp(t, fmt.Sprintf(row, c.state, c.wrong, c.sends), page, c.state)
		require.Regexp(t, `sms by <code>second</code></span> <span class="tag good">sent</span>`, page, c.state)
		require.Regexp(t, `email by <code>inbox</code></span> <span class="tag good">sent</span>`, page, c.state)
		require.Regexp(t, `of 20 in the last hour, [0-9] of 100 in a row`, page, c.state)
		require.Regexp(t, `[0-2] of 9 in the last minute, [12] in the hour, [12] of 40 in the day`, page, c.state)
		if c.wrong == "1 of 3" {
			require.Contains(t, page, `attempts left: 2`)
		}
	}
	const lost = "919551492391"
	require.Equal(t, "SMSEMAILFAIL", s.servlet("otpgenservlet", mute.AccessKey, person(lost)))
	eventually(t, "that it was not sent", func() bool {
		return strings.Contains(s.post("recipients", "account", mute.Address, "environment", "test", "to", lost),
			`sms by <code>first</code></span> <span class="tag bad">unsent</span>`)
	})
	found, err := s.manage.Recipients.Find(t.Context(), shop.Address, otp.Test, "919551492391")
	require.NoError(t, err)
	require.Equal(t, manage.Limits{Failures: 20, Run: 100, Minute: 9, Day: 40}, found.Limits)
	sent := found.History[len(found.History)-1]
	require.Equal(t, []manage.Passage{{Medium: "sms", Channel: "second", Outcome: "sent"},
		{Medium: "email", Channel: "inbox", Outcome: "sent"}}, sent.Passages)
}

// A send that no channel has taken yet is shown as waiting, and then with its outcome.
func TestWhyNoMessage_ASendOnItsWayIsWaiting(t *testing.T) {
	hold := make(chan struct{})
	gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	defer gateway.Close()
	s := boot(t, variables(t)...)
	made := s.account(`{"sms_channels":"` + gateway.URL + `/?to={to}&text={text}#name=slow"}`)
	a := s.do("POST", "/v1/send", `{"to":"+919551492391","method":"sms","type":"verification"}`, "X-API-Key", made.APIKey,
		"Content-Type", "application/json")
	require.Equal(t, 201, a.status, a.body)
	page := func() string {
		return s.post("recipients", "account", made.Address, "environment", "test", "to", "919551492391")
	}
	eventually(t, "the channel is tried", func() bool {
		return strings.Contains(page(), `sms by <code>slow</code></span> <span class="tag ">waiting</span>`)
	})
	close(hold)
	eventually(t, "it is sent", func() bool {
		return strings.Contains(page(), `sms by <code>slow</code></span> <span class="tag good">sent</span>`)
	})
}
