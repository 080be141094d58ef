package main

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

var readingRows = regexp.MustCompile(`(?s)<tr><td data-label="Part"><code>(.*?)</code></td>` +
	`<td data-label="State"><span class="tag [a-z]*">(.*?)</span></td>` +
	`<td data-label="Read as">(?:<code>(.*?)</code>)?</td><td data-label="How, or why">(.*?)</td></tr>`)

// newestReadings returns what the page Requests says that the newest call was read as: by the part, "state|value|note".
func (b *booted) newestReadings() map[string]string {
	b.t.Helper()
	call := newestCall.FindString(b.do("GET", console.Path+"requests", "").body)
	require.NotEmpty(b.t, call)
	all := map[string]string{}
	for _, row := range readingRows.FindAllStringSubmatch(call, -1) {
		all[html.UnescapeString(row[1])] = html.UnescapeString(strings.Join(row[2:], "|"))
	}
	return all
}

// The page Requests says of each part of a call what the server read it as: of servlets' calls and those of /v1, right
// and wrong ones.
func TestConsole_RequestsSayWhatWasRead(t *testing.T) {
	s := boot(t, variables(t)...)
	shop := s.account(`{"esme_address":"4711","email_enabled":true,"departments":["sales"],` +
		`"plain_validation_enabled":true,"max_attempts":9,"sends_per_minute":40}`)
	bare := s.account(`{"esme_address":"4712","key_on_ip":false}`)
	off := s.account(`{"esme_address":"4713","otp_enabled":false}`)
	guess := encrypted(t, shop.CipherKey, shop.CipherIV, "654321")
	_, able, _, err := s.manage.Keys.Create(t.Context(), manage.Operator(), manage.NewKey{Account: "4711", Name: "all",
		Kind: otp.SecretKey, Environment: otp.Test, Permissions: []string{otp.Everything}})
	require.NoError(t, err)
	webhooks := func(method, path, body string) func() {
		return func() {
			s.do(method, path, body, "X-API-Key", string(able.Bytes()), "Content-Type", "application/json")
		}
	}
	get := func(servlet, key, query string, headers ...string) func() {
		return func() {
			s.do("GET", "/otpauthapi/"+servlet+"?"+query, "", append([]string{"access_key", key}, headers...)...)
		}
	}
	v1 := func(method, path, body string) func() {
		return func() { s.do(method, path, body, "X-API-Key", shop.APIKey, "Content-Type", "application/json") }
	}
	const who = "ipaddress=203.0.113.7&mobile=919551492394"
	for name, c := range map[string]struct {
		call func()
		read map[string]string // part of what the row shows, by the part of the call
		lack string            // a part that is not there
	}{
		"a servlet's call": {get("otpgenservlet", shop.AccessKey, who+"&email=A@Shop.example&otp=1&colour=red&Mobile=1",
			"Department-Id", "sales"), map[string]string{"access_key": "read|4711|the account", "environment": "read|test|",
			"mobile": "read|+919551492394|the number in E.164", "ipaddress": "read|203.0.113.7|has to be the same",
			"email": "read|a@shop.example|", "department-id": "read|sales|", "otp": "not used||only a validation",
			"colour": "not used||the call knows no such parameter", "Mobile": "not used||names are in lower case: mobile"}, ""},
		"no e-mail": {get("otpgenservlet", shop.AccessKey, who, "Department-Id", "other"), map[string]string{
			"email": "default||not given: no e-mail is sent", "department-id": "not used||"}, "otp"},
		"an account without": {get("otpgenservlet", bare.AccessKey, who+"&email=a@shop.example"), map[string]string{
			"ipaddress": "not used||the account's key_on_ip is off",
			"email":     "not used||the account's email_enabled is off"}, ""},
		"an encrypted code": {get("otpvalidationservlet", shop.AccessKey, who+"&email=a@shop.example&otp="+
			url.QueryEscape(guess)), map[string]string{"otp": "read|654321|decrypted", "email": "not used||a validation"}, ""},
		"a code in the clear": {get("plainotpvalidationservlet", shop.AccessKey, who+"&otp=654321"), map[string]string{
			"otp": "read|654321|in the clear"}, ""},
		"a code that cannot be read": {get("otpvalidationservlet", shop.AccessKey, who+"&otp=nonsense"), map[string]string{
			"otp": "refused||it counts as a wrong code: ", "mobile": "read|+919551492394|"}, ""},
		"digits missing": {get("plainotpvalidationservlet", shop.AccessKey, who+"&otp=abc"), map[string]string{
			"otp": "refused||it counts as a wrong code: not digits"}, ""},
		"a wrong number": {get("otpgenservlet", shop.AccessKey, "ipaddress=203.0.113.7&mobile=12"), map[string]string{
			"mobile": "refused||", "ipaddress": "not read||the call was refused before", "access_key": "read|4711|"}, ""},
		"a code with a wrong number": {get("otpvalidationservlet", shop.AccessKey, "ipaddress=203.0.113.7&mobile=12&otp="+
			url.QueryEscape(guess)), map[string]string{"mobile": "refused||",
			"otp": "not read|654321|the call was answered"}, ""},
		"a number missing": {get("otpgenservlet", shop.AccessKey, "ipaddress=203.0.113.7&Mobile=9551492394"),
			map[string]string{"mobile": "refused||missing; it is given in another case"}, ""},
		"given twice": {get("otpgenservlet", shop.AccessKey, who+"&mobile=1"), map[string]string{
			"mobile": "refused||given twice"}, ""},
		"a body that is not read": {func() {
			s.do("POST", "/otpauthapi/otpgenservlet?"+who, "{}", "access_key", shop.AccessKey, "Content-Type", "text/plain")
		}, map[string]string{"body": "not used||its Content-Type", "mobile": "read|+919551492394|"}, ""},
		"a form": {func() {
			s.do("POST", "/otpauthapi/otpgenservlet", who+"&x=1", "access_key", shop.AccessKey, "Content-Type", formType)
		}, map[string]string{"mobile": "read|+919551492394|", "x": "not used||the call knows"}, ""},
		"a send": {v1("POST", "/v1/send", `{"to":"+919551492394","method":"sms","type":"two_factor","ttl":900,"length":8,`+
			`"ip":"203.0.113.7","metadata":{"user_id":"u-7"},"binding":{"b":1,"a":2},`+
			`"email":"A@Shop.example","fallback":["email"]}`),
			map[string]string{"key": "read|4711|", "kind": "read|secret|", "environment": "read|test|",
				"to": "read|+919551492394|", "method": "read|sms|", "type": "read|two_factor|", "ttl": "read|600 s|the most",
				"length": "read|8|", "ip": "read|203.0.113.7|", "metadata": `read|{"user_id":"u-7"}|`,
				"binding": `read|{"a":2,"b":1}|`, "email": "read|a@shop.example|", "fallback": "read|email|",
				"template": "default||not given", "locale": "default||not given"}, ""},
		"a send with defaults": {v1("POST", "/v1/send", `{"to":"a@Shop.example","method":"email","type":"verification"}`),
			map[string]string{"to": "read|a@shop.example|a mailbox", "ttl": "default||not given: the account's otp_ttl_seconds",
				"length": "default||not given", "ip": "default||not given"}, "binding"},
		"a wrong send": {v1("POST", "/v1/send", `{"to":"12","method":"pigeon","colour":"red"}`), map[string]string{
			"colour": "refused||is not known here"}, "to"},
		"wrong values": {v1("POST", "/v1/send", `{"to":"919551492394","method":"pigeon","type":"verification","ttl":1}`),
			map[string]string{"method": "refused||must be one of", "ttl": "refused||must be 30 seconds or more"}, "to"},
		"a wrong number for v1": {v1("POST", "/v1/send", `{"to":"919551492394","method":"sms","type":"verification"}`),
			map[string]string{"to": "refused||must be a number in E.164 form"}, ""},
		"a guess": {v1("POST", "/v1/verify", `{"to":"+919551492394","code":"000000"}`), map[string]string{
			"code": "read|000000|", "to": "read|+919551492394|", "type": "default||not given: verification"}, "id"},
		"a wrong guess": {v1("POST", "/v1/verify", `{"to":"+919551492394","code":"abc"}`), map[string]string{
			"code": "refused||must be 4 to 10 digits"}, ""},
		"by id": {v1("POST", "/v1/cancel", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc"}`), map[string]string{
			"id": "read|otp_06bq3c7k5sqn2e8v4g1t9hp0mc|", "type": "default||not given: the id is enough"}, "to"},
		"a resend": {v1("POST", "/v1/resend", `{"to":"+919551492394","method":"sms"}`), map[string]string{
			"method": "read|sms|", "to": "read|+919551492394|"}, ""},
		"a status": {v1("GET", "/v1/status?to=%2B919551492394&type=two_factor", ""), map[string]string{
			"to": "read|+919551492394|", "type": "read|two_factor|"}, ""},
		"a webhook": {webhooks("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/","events":["*"]}`), map[string]string{
			"url": `read|"http://127.0.0.1:9/"|as it was sent`, "events": `read|["*"]|`, "kind": "read|secret|"}, ""},
		"a wrong webhook": {webhooks("POST", "/v1/webhooks", `{"url":7}`), map[string]string{
			"url": "refused||must be a string"}, ""},
		"a list": {webhooks("GET", "/v1/audit-logs?limit=7", ""), map[string]string{"limit": "read|7|as it was sent"}, ""},
		"a wrong list": {webhooks("GET", "/v1/audit-logs?limit=7&colour=red", ""), map[string]string{
			"colour": "refused||is not known"}, ""},
		"a wrong status": {v1("GET", "/v1/status?to=12", ""), map[string]string{"to": "refused||must be a number"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.call()
			read := s.newestReadings()
			for part, says := range c.read {
				require.Contains(t, read[part], says, "%s: %v", part, read)
			}
			require.NotContains(t, read, c.lack)
		})
	}
	for _, unread := range []func(){get("otpgenservlet", off.AccessKey, who), get("otpgenservlet", "nobody", who)} {
		unread()
		require.Contains(t, newestCall.FindString(s.do("GET", console.Path+"requests", "").body),
			"The call was answered before its parameters were read")
	}
	get("otpgenservlet", shop.AccessKey, who)()
	list := s.do("GET", "/sandbox/requests?limit=30", "").body
	require.Regexp(t, `{"name":"environment","state":"read","value":"(live|test)","note":"that of the key"}`, list)
	require.Contains(t, list, `{"name":"mobile","state":"read","value":"•••••••••••94","note":"the number in E.164 form"}`)
	require.NotContains(t, list, "9551492394", "the API's list stays masked")
}

// What calls were read as is kept only by a sandbox.
func TestConsole_ProductionKeepsNoReadings(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer gateway.Close()
	environ := productionFrom(t, variables(t, "OTPBRIDGE_LOG_LEVEL=debug"))
	s := boot(t, append(environ, "OTPBRIDGE_SMS_CHANNELS="+gateway.URL+"/?to={to}&text={text}")...)
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", productionKey, person("919551492394")))
	require.Equal(t, http.StatusNotFound, s.do("GET", console.Path+"requests", "").status)
	require.NotContains(t, s.log.String(), "9551492394")
}
