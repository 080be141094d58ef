package main

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lastReason returns the inspector's reason for the latest call.
func lastReason(t *testing.T, c client) string {
	t.Helper()
	var got struct{ Data []struct{ Reason string } }
	require.NoError(t, json.Unmarshal([]byte(c.do("GET", "/sandbox/requests?limit=1", "").body), &got))
	require.Len(t, got.Data, 1)
	return got.Data[0].Reason
}

// The servlets have one text for every malformed parameter. The inspector and the log name the fault, without the
// value.
func TestReasons_EveryInvalidParametersHasOne(t *testing.T) {
	s := boot(t, variables(t)...)
	const who = "ipaddress=203.0.113.7&mobile=919551492394"
	for _, tt := range []struct{ name, servlet, query, reason string }{
		{"nothing", "otpgenservlet", "", "mobile: missing"},
		{"no mobile", "otpgenservlet", "ipaddress=203.0.113.7", "mobile: missing"},
		{"an empty mobile", "otpgenservlet", "ipaddress=203.0.113.7&mobile=", "mobile: empty"},
		{"blanks", "otpgenservlet", "ipaddress=203.0.113.7&mobile=+++", "mobile: empty"},
		{"another case", "otpgenservlet", "ipaddress=203.0.113.7&Mobile=919551492394",
			"mobile: missing; it is given in another case"},
		{"no country code", "otpgenservlet", "ipaddress=203.0.113.7&mobile=9551492394", "mobile: no country code"},
		{"a trunk prefix", "otpgenservlet", "ipaddress=203.0.113.7&mobile=09551492394", "mobile: no country code"},
		{"no country code of the Emirates", "otpgenservlet", "ipaddress=203.0.113.7&mobile=0501234567",
			"mobile: no country code"},
		{"a country that is not on the list", "otpgenservlet", "ipaddress=203.0.113.7&mobile=4915112345678",
			"mobile: its country is not in"},
		{"twice", "otpgenservlet", who + "&mobile=919551492394", "mobile: given twice"},
		{"ipaddress twice", "otpgenservlet", who + "&ipaddress=1.1.1.1", "ipaddress: given twice"},
		{"letters", "otpgenservlet", "ipaddress=203.0.113.7&mobile=91955149239x", "mobile: other characters"},
		{"brackets", "otpgenservlet", "ipaddress=203.0.113.7&mobile=(91)9551492394", "mobile: brackets"},
		{"two numbers", "otpgenservlet", "ipaddress=203.0.113.7&mobile=919551492394,919551492395", "mobile: several numbers"},
		{"full-width digits", "otpgenservlet", "ipaddress=203.0.113.7&mobile=" + url.QueryEscape("９１９５５１４９２３９４"),
			"mobile: digits or characters that are not ASCII"},
		{"encoded twice", "otpgenservlet", "ipaddress=203.0.113.7&mobile=%252B919551492394", "mobile: url-encoded twice"},
		{"a control character", "otpgenservlet", "ipaddress=203.0.113.7&mobile=919551492394%0A",
			"mobile: holds a control character"},
		{"no UTF-8", "otpgenservlet", "ipaddress=203.0.113.7&mobile=%ff",
			"mobile: holds a control character or is not UTF-8"},
		{"too short", "otpgenservlet", "ipaddress=203.0.113.7&mobile=91955", "mobile: too short"},
		{"too long", "otpgenservlet", "ipaddress=203.0.113.7&mobile=9195514923941234564567", "mobile: too long"},
		{"too long for India", "otpgenservlet", "ipaddress=203.0.113.7&mobile=919551492394123456", "mobile: too long"},
		{"a satellite", "otpgenservlet", "ipaddress=203.0.113.7&mobile=881612345678", "mobile: "},
		{"a free call", "otpgenservlet", "ipaddress=203.0.113.7&mobile=911800123456", "mobile: "},
		{"no country has this code", "otpgenservlet", "ipaddress=203.0.113.7&mobile=2101234567890",
			"mobile: begins with no known country code"},
		{"no ipaddress", "otpgenservlet", "mobile=919551492394", "ipaddress: missing"},
		{"a long ipaddress", "otpgenservlet", "mobile=919551492394&ipaddress=" + strings.Repeat("1", 65),
			"ipaddress: longer than 64"},
		{"an ipaddress of other letters", "otpgenservlet", "mobile=919551492394&ipaddress=%C3%A9",
			"ipaddress: other characters"},
		{"an email without an at", "otpgenservlet", who + "&email=me.mail.example", "email: no @"},
		{"an email with a name", "otpgenservlet", who + "&email=Me+%3Cme@mail.example%3E", "email: a name around"},
		{"two emails", "otpgenservlet", who + "&email=a@mail.example,b@mail.example", "email: several"},
		{"an email encoded twice", "otpgenservlet", who + "&email=me%2540mail.example", "email: url-encoded twice"},
		{"an email without a domain", "otpregenservlet", who + "&email=me@", "email: nothing in front of or behind"},
		{"a semicolon", "otpgenservlet", "ipaddress=203.0.113.7;mobile=919551492394", "a semicolon"},
		{"a percent sign", "otpgenservlet", "ipaddress=203.0.113.7&mobile=%zz", "a percent sign"},
		{"no otp", "otpvalidationservlet", who, "otp: missing"},
		{"an empty otp", "otpvalidationservlet", who + "&otp=", "otp: empty"},
		{"OTP in capitals", "otpvalidationservlet", who + "&OTP=1", "otp: missing; it is given in another case"},
		{"otp twice", "otpvalidationservlet", who + "&otp=1&otp=1", "otp: given twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do("GET", "/otpauthapi/"+tt.servlet+"?"+tt.query, "", "access_key", documentedKey)
			if tt.servlet != "otpregenservlet" { // which answers four texts only
				require.Equal(t, "Invalid Parameters", a.body)
			}
			reason := lastReason(t, s.client)
			require.Contains(t, reason, tt.reason)
			require.NotEqual(t, "mobile: ", reason)
			require.NotRegexp(t, `[0-9]{4}`, reason)
			require.Contains(t, s.log.String(), reason, "the log has it too")
		})
	}
	s.do("POST", "/otpauthapi/otpgenservlet", `{"mobile":"919551492394"}`, "access_key", documentedKey, "Content-Type",
		"application/json")
	require.Contains(t, lastReason(t, s.client), "mobile: missing; the body is not read")
	account := s.account(`{"sms_enabled":false,"email_enabled":true}`)
	require.Equal(t, "Invalid Parameters", s.servlet("otpgenservlet", account.AccessKey, person("919551492394")))
	require.Contains(t, lastReason(t, s.client), "email: missing; the account sends by e-mail only")
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919551492394")))
	require.Empty(t, lastReason(t, s.client))
}

// For its caller a parameter that cannot be decrypted is a wrong code. In a sandbox the inspector and the log say why.
// Production does not: readers of its log could use that to decrypt captured parameters.
func TestReasons_EveryParameterThatDoesNotDecryptHasOne(t *testing.T) {
	s := boot(t, variables(t)...)
	answers := map[string]bool{}
	right := "Xrgn4bpX/4iYytICyC1wNg=="
	for param, want := range map[string]string{
		"*rgn4bpX/4iYytICyC1wNg==":                     "otp: not base64",
		"5eb827e1ba57ff8898cad202c82d70361":            "otp: 33 hex characters",
		"c3a9daed429d26f237bced0a20367b20":             "otp: decrypts under ECB",
		"319536d4e619af01f14a4dd3854cebd0":             "otp: zero padded",
		"AAAAAAAAAAAAAAAAAAAAAA==":                     "otp: wrong key or IV: bad padding",
		"U2FsdGVkX19zYWx0c2FsdF64J+G6V/+ImMrSAsgtcDY=": "otp: Salted__",
		"Xrgn4bpX\n/4iYytICyC1wNg==":                   "otp: has a newline",
		"Xrgn4bpX%2F4iYytICyC1wNg%3D%3D":               "otp: url-encoded twice",
		"123456":                                       "otp: the digits themselves, not encrypted",
		"10c6c549da081831d96ac6dc90a08227":             "otp: decrypts but is not 4 to 10 digits",
	} {
		s.do("POST", "/sandbox/reset", "")
		s.servlet("otpgenservlet", documentedKey, person("919551492394"))
		answers[s.servlet("otpvalidationservlet", documentedKey, person("919551492394", "otp", param))] = true
		require.Contains(t, lastReason(t, s.client), want, param)
		require.Contains(t, s.log.String(), want)

		p, out := ofCommand()
		require.Equal(t, exitFailed, run([]string{"param", "decrypt", "--key", sampleKey, "--iv", sampleIV, "--", param}, p))
		require.Contains(t, out.String(), strings.TrimPrefix(want, "otp: "))
	}
	require.Len(t, answers, 1, "on the wire all are one wrong code: %v", answers)
	s.servlet("otpvalidationservlet", documentedKey, person("919551492394", "otp", right))
	require.Empty(t, lastReason(t, s.client), "one that decrypts has none, right or wrong")

	plain := s.account(`{"plain_validation_enabled":true}`)
	s.servlet("otpgenservlet", plain.AccessKey, person("919551492394"))
	s.servlet("plainotpvalidationservlet", plain.AccessKey, person("919551492394", "otp", right))
	require.Contains(t, lastReason(t, s.client), "otp: not digits")
}

// ofCommand is a process for a command, and what it prints.
func ofCommand() (process, *output) {
	out := new(output)
	return process{stdout: out, stderr: out}, out
}
