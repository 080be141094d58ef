package main

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
)

// newestCall is the first entry of the page Requests.
var newestCall = regexp.MustCompile(`(?s)<details class="call".*?</details>`)

// Servlets answer 200 to a refused call. The console shows it as refused nevertheless, with what the refusal means, in
// the list of requests and, for the latest call, in the inbox.
func TestConsole_ARefusedCallIsNeverShownAsAnswered(t *testing.T) {
	s := boot(t, variables(t)...)
	shop := s.account(`{"esme_address":"4711","max_attempts":2,"max_regenerations":0,"sends_per_minute":3}`)
	strict := s.account(`{"esme_address":"4712","department_mode":"require","departments":["sales"]}`)
	off := s.account(`{"esme_address":"4713","otp_enabled":false}`)
	const mobile, other = "919551492394", "919551492395"
	guess := func(code string) string { return encrypted(t, shop.CipherKey, shop.CipherIV, code) }
	v1 := func(path, key, body string) func() {
		return func() { s.do("POST", path, body, "X-API-Key", key, "Content-Type", "application/json") }
	}
	call := func(name, key string, parameters url.Values) func() {
		return func() { s.servlet(name, key, parameters) }
	}
	right := func() {
		s.servlet("otpvalidationservlet", shop.AccessKey, person(other, "otp", guess(s.messages("limit=1")[0].Code)))
	}
	for _, c := range []struct {
		call  func()
		means string // empty if the call is granted
	}{
		{func() { s.do("GET", "/otpauthapi/otpgenservlet?"+person(mobile).Encode(), "") }, "No key was sent"},
		{call("otpgenservlet", "nobody-has-this-key", person(mobile)), "The key does not exist"},
		{call("otpgenservlet", off.AccessKey, person(mobile)), "switched off"},
		{call("otpgenservlet", strict.AccessKey, person(mobile)), "header Department-Id"},
		{call("otpgenservlet", shop.AccessKey, person("12")), "A parameter is missing or malformed"},
		{call("otpvalidationservlet", shop.AccessKey, person(mobile, "otp", guess("1234"))), "Generate one first"},
		{call("otpgenservlet", shop.AccessKey, person(mobile)), ""},
		{call("otpregenservlet", shop.AccessKey, person(mobile)), "sent again as often"},
		{call("plainotpvalidationservlet", shop.AccessKey, person(mobile, "otp", "1234")), "this servlet, switched off"},
		{call("otpvalidationservlet", shop.AccessKey, person(mobile, "otp", guess("0000"))), "The code is wrong"},
		{call("otpvalidationservlet", shop.AccessKey, person(mobile, "otp", "not encrypted")), "The code is wrong"},
		{call("otpvalidationservlet", shop.AccessKey, person(mobile, "otp", guess("1234"))), "All attempts"},
		{call("otpgenservlet", shop.AccessKey, person(other)), ""},
		{right, ""},
		{right, "A code is valid once"},
		{func() {
			for range 4 {
				s.servlet("otpgenservlet", shop.AccessKey, person(other))
			}
		}, "as many messages as the account allows"},
		{v1("/v1/send", "otpb_nothing", `{"to":"+919551492396"}`), "cannot be a key"},
		{v1("/v1/send", shop.APIKey, `{"to":`), "The answer told the client why"},
		{v1("/v1/send", shop.APIKey, `{"to":"+919551492396","method":"sms","type":"verification"}`), ""},
		{v1("/v1/verify", shop.APIKey, `{"to":"+919551492396","code":"123456"}`), "The code is wrong"}, // with status 200
	} {
		c.call()
		requests := html.UnescapeString(newestCall.FindString(s.do("GET", console.Path+"requests", "").body))
		inbox, _, _ := strings.Cut(s.do("GET", console.Path+"inbox", "").body, "<table")
		if c.means == "" {
			require.Regexp(t, `<summary><span class="tag good">ok</span>`, requests)
			require.NotContains(t, inbox, "The latest call")
			continue
		}
		require.Regexp(t, `<summary><span class="tag warn">refused</span>`, requests, c.means)
		require.NotContains(t, requests, "tag good", c.means)
		require.Regexp(t, `<dt>Outcome</dt><dd>refused.*`+c.means, requests)
		require.Contains(t, inbox, `<span class="tag warn">refused</span> The latest call: `, c.means)
		require.Contains(t, inbox, c.means)
	}
}

// The page "Try it" says the same of the call it has just made.
func TestConsole_TryItSaysThatACallWasRefused(t *testing.T) {
	s := boot(t, variables(t)...)
	fields := []string{"account", "10000000000001", "mobile", "919551492394", "ipaddress", "203.0.113.7", "code", "1234"}
	for _, c := range []struct{ call, key, outcome string }{
		{"generate", documentedKey, `<span class="tag good">ok</span>  HTTP status 200.`},
		{"generate", "nobody-has-this-key", `<span class="tag warn">refused</span> The key does not exist`},
		{"validate", documentedKey, `<span class="tag warn">refused</span> The code is wrong, and one attempt was used up`},
		{"verify", documentedKey, `<span class="tag warn">refused</span> The code is wrong, and one attempt was used up`},
		{"send", "otpb_nothing", `<span class="tag warn">refused</span> No key was sent, or one that cannot be a key`},
	} {
		require.Contains(t, s.post("try", append([]string{"call", c.call, "key", c.key}, fields...)...), c.outcome, c.call)
	}
}
