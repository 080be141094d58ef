package v1

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// Without an id, a request names the challenge by its recipient, together with everything that a guess must name.
func TestNamed_ResendCancelAndStatusTakeARecipient(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	id, code, _ := c.sent(`{"to":"` + number + `","method":"sms","type":"two_factor","ip":"203.0.113.7"}`)
	query := "/v1/status?" + url.Values{"to": {number}, "ip": {"203.0.113.7"}, "type": {"two_factor"}}.Encode()
	named := `{"to":"` + number + `","ip":"203.0.113.7","type":"two_factor"}`
	for _, unnamed := range []string{
		`{"to":"` + number + `"}`, `{"to":"` + number + `","ip":"203.0.113.7"}`, `{"to":"` + number +
			`","type":"two_factor"}`,
		`{"to":"` + number +
			`","ip":"203.0.113.8","type":"two_factor"}`, `{"to":"+919876543211","ip":"203.0.113.7","type":"two_factor"}`,
		`{"to":"` + number +
			`","ip":"203.0.113.7","type":"two_factor","binding":1}`,
		`{"to":"a@b.example","ip":"203.0.113.7","type":"two_factor"}`,
	} {
		requireProblem(t, c.post("/v1/resend", unnamed), 404, "NOT_FOUND")
		requireProblem(t, c.post("/v1/cancel", unnamed), 404, "NOT_FOUND")
	}
	a := c.post("/v1/resend", named)
	require.Equal(t, 200, a.status, a.text)
	require.Equal(t, id, a.json["id"])
	again, _ := c.codes()
	require.Equal(t, code, again)
	a = c.get(query)
	require.Equal(t, 200, a.status, a.text)
	require.Equal(t, id, a.json["id"])
	require.Len(t, a.json["sends"], 2)
	require.NotContains(t, a.text, strings.TrimPrefix(number, "+"))
	require.Equal(t, 200, c.get("/v1/status?ip=203.0.113.7&type=two_factor&to="+url.QueryEscape(number)).status)
	a = c.post("/v1/cancel", named)
	require.Equal(t, 200, a.status, a.text)
	require.Equal(t, "canceled", a.json["status"])
	require.Equal(t, "canceled", c.get(query).json["status"])

	// With its id nothing else is needed, and what is given must match.
	id, _, _ = c.sent(`{"to":"` + number + `","method":"sms","type":"two_factor","binding":{"a":1}}`)
	requireProblem(t, c.post("/v1/resend", `{"id":"`+id+`","type":"transaction"}`), 404, "NOT_FOUND")
	requireProblem(t, c.post("/v1/resend", `{"id":"`+id+`","binding":{"a":2}}`), 404, "NOT_FOUND")
	require.Equal(t, 200, c.post("/v1/resend", `{"id":"`+id+`","type":"two_factor","binding":{"a":1.0}}`).status)
	require.Equal(t, 200, c.post("/v1/cancel", `{"id":"`+id+`"}`).status)
}

func TestNamed_AQueryIsReadAsStrictlyAsABody(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	c.sent(sendBody)
	for query, parameter := range map[string]string{
		"":                                  "to",
		"?to=":                              "to",
		"?ip=203.0.113.7":                   "to",
		"?to=" + number:                     "to", // a + that was not escaped
		"?to=919876543210":                  "to",
		"?to=%2B919876543210&to=x":          "to",
		"?to=%2B919876543210%0d%0a":         "to",
		"?to=%2B4915112345678":              "to", // a country that the account does not send to
		"?to=nobody@":                       "to",
		"?to=%2B919876543210&ip=":           "ip",
		"?to=%2B919876543210&ip=%C3%A9":     "ip",
		"?to=%2B919876543210&type=":         "type",
		"?to=%2B919876543210&type=login":    "type",
		"?to=%2B919876543210&binding=1":     "binding",
		"?to=%2B919876543210&id=otp_0":      "id",
		"?to=%2B919876543210&To=1":          "To",
		"?to=%zz":                           "?",
		"?to=%2B919876543210&code=123456":   "code",
		"?to=" + strings.Repeat("9", 300):   "to",
		"?to=%2B919876543210&%00=1":         "\x00",
		"?mobile=919876543210&ipaddress=10": "ipaddress",
	} {
		a := c.get("/v1/status" + query)
		requireProblem(t, a, 400, "INVALID_REQUEST")
		fault := a.json["errors"].([]any)[0].(map[string]any)
		require.Equal(t, parameter, fault["parameter"], "%s: %s", query, a.text)
		require.NotContains(t, fault, "pointer")
		require.True(t, strings.HasPrefix(a.json["detail"].(string), "parameter "), a.text)
		require.NotContains(t, a.text, "9876543210")
	}
	require.Contains(t, c.get("/v1/status?to="+number).text, "%2B")
	require.Equal(t, 200, c.get("/v1/status?to=%2B919876543210").status)
	r := httptest.NewRequest("GET", "/v1/status?to=%2B919876543210", strings.NewReader("{}"))
	r.Header.Set("Authorization", "Bearer "+c.APIKey)
	requireProblem(t, c.do(r), 400, "INVALID_REQUEST")
	for _, path := range []string{"/v1/resend", "/v1/cancel"} {
		for body, pointer := range map[string]string{
			`{}`: "/id",
			`{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc","to":"` + number + `"}`:       "/to",
			`{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc","ip":"203.0.113.7"}`:          "/ip",
			`{"id":null,"to":"` + number + `"}`:                                   "/id",
			`{"to":null}`:                                                         "/to",
			`{"to":""}`:                                                           "/to",
			`{"to":"919876543210"}`:                                               "/to",
			`{"to":"` + number + `","type":"login"}`:                              "/type",
			`{"to":"` + number + `","ip":""}`:                                     "/ip",
			`{"to":"` + number + `","binding":{"a":1,"a":2}}`:                     "/binding/a",
			`{"to":"` + number + `","email":"user@example.com"}`:                  "/email",
			`{"ip":"203.0.113.7"}`:                                                "/id",
			`{"to":"` + number + `","id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc","a":1}`: "/a",
		} {
			a := c.post(path, body)
			requireProblem(t, a, 400, "INVALID_REQUEST")
			require.Equal(t, pointer, a.json["errors"].([]any)[0].(map[string]any)["pointer"], "%s %s", path, a.text)
		}
	}
}

// A servlet returns no id: each of its calls can still be moved to /v1 separately.
func TestNamed_EachServletCallMovesByItself(t *testing.T) {
	c := newHouse(t).newClient(t, func(a *otp.Account) {
		a.PlainValidation, a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = true, 0, 0, 0
	})
	servlet := func(name, more string) string {
		r := httptest.NewRequest("GET", "/otpauthapi/"+name+"?ipaddress=203.0.113.7&mobile=919876543210"+more, nil)
		r.Header.Set("access_key", c.AccessKey)
		return c.do(r).text
	}
	const named = `"to":"` + number + `","ip":"203.0.113.7"`
	for mixture := range 16 {
		if mixture&1 == 0 {
			require.Equal(t, "OTP Generated Successfully", servlet("otpgenservlet", ""))
		} else {
			c.sent(`{` + named + `,"method":"sms","type":"verification"}`)
		}
		code, _ := c.codes()
		if mixture&2 == 0 {
			require.Equal(t, "OTP Generated Successfully", servlet("otpregenservlet", ""))
		} else {
			require.Equal(t, 200, c.post("/v1/resend", `{`+named+`}`).status)
		}
		a := c.get("/v1/status?ip=203.0.113.7&to=" + url.QueryEscape(number))
		require.Equal(t, 200, a.status, a.text)
		require.Len(t, a.json["sends"], 2)
		if mixture&8 != 0 {
			require.Equal(t, 200, c.post("/v1/cancel", `{`+named+`}`).status)
			require.Equal(t, "ERROR", servlet("plainotpvalidationservlet", "&otp="+code))
			continue
		}
		if mixture&4 == 0 {
			require.Equal(t, "Verified successfully", servlet("plainotpvalidationservlet", "&otp="+code))
		} else {
			require.Equal(t, true, c.post("/v1/verify", `{`+named+`,"code":"`+code+`"}`).json["valid"])
		}
		require.Equal(t, "verified", c.get("/v1/status?ip=203.0.113.7&to=" + url.QueryEscape(number)).json["status"])
	}
}
