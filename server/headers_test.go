package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// A header that identifies the caller or the request may be given only once, because a proxy may have checked the
// other one. The refusal names the header, also if both values are the same.
func TestHeaders_GivenTwiceAreRefusedByName(t *testing.T) {
	s := boot(t, variables(t)...)
	a := s.account(`{"cors_allowed_origins":["https://shop.example"]}`)
	const body = `{"to":"+919876543210","ip":"203.0.113.7","method":"sms","type":"verification"}`
	for _, tt := range []struct{ name, first, second string }{
		{"Origin", "https://shop.example", "https://evil.example"},
		{"Origin", "https://evil.example", "https://shop.example"},
		{"Origin", "https://shop.example", "https://shop.example"},
		{"Authorization", "Bearer " + a.APIKey, "Bearer " + a.APIKey},
		{"X-API-Key", a.APIKey, a.APIKey},
		{"X-API-Key", a.APIKey, ""},
		{"access_key", a.APIKey, a.APIKey},
		{"Content-Type", "application/json", "application/json"},
		{"Content-Type", "text/plain", "application/json"},
		{"X-Timestamp", "1", "1"},
		{"X-Nonce", "a", "a"},
		{"X-Signature", "a", "b"},
		{"Idempotency-Key", "k", "k"},
		{"X-Debug-Auth", "0", "1"},
	} {
		headers := []string{tt.name, tt.first, tt.name, tt.second}
		if tt.name != "Authorization" && tt.name != "X-API-Key" && tt.name != "access_key" {
			headers = append(headers, "Authorization", "Bearer "+a.APIKey)
		}
		if tt.name != "Content-Type" {
			headers = append(headers, "Content-Type", "application/json")
		}
		got := s.do("POST", "/v1/send", body, headers...)
		require.Equal(t, 400, got.status, "%v: %s", tt, got.body)
		require.Contains(t, got.body, `"header":"`+tt.name+`"`, "%v", tt)
		if tt.name == "Origin" && tt.first != tt.second {
			require.Empty(t, got.header.Get("Access-Control-Allow-Origin"), "%v", tt)
		}
	}
	twice := s.do("GET", "/livez", "", "X-Request-Id", "first-of-two", "X-Request-Id", "second-of-two")
	require.Regexp(t, `^req_[A-Z2-7]{26}$`, twice.header.Get("X-Request-Id"))
	preflight := s.do("OPTIONS", "/v1/send", "", "Origin", "https://shop.example", "Origin", "https://evil.example")
	require.Empty(t, preflight.header.Get("Access-Control-Allow-Origin"))
	forwarded := s.do("GET", "/livez", "", "X-Forwarded-For", "198.51.100.1", "X-Forwarded-For", "198.51.100.2")
	require.Equal(t, 200, forwarded.status)
	for _, query := range []string{"?secret=a&secret=b", "?secret=a&secret=a", "?secret=&secret=a"} {
		require.Equal(t, 400, s.do("POST", "/callbacks/nobody"+query, "").status, query)
	}
	form := "application/x-www-form-urlencoded"
	require.Equal(t, 400, s.do("POST", "/callbacks/nobody?secret=a", "a=b", "Content-Type", form, "Content-Type",
		"text/plain").status)
	refused := s.do("POST", "/otpauthapi/otpgenservlet?mobile=919551492394&ipaddress=1.1.1.1", "a=b",
		"access_key", documentedKey, "Content-Type", form, "Content-Type", "text/plain")
	require.Contains(t, refused.body, "Invalid Parameters")
}

// A page whose name resolves to the metrics' address (DNS rebinding) sends its own Host, and is refused.
func TestMetrics_AnswerOnlyTheirOwnHosts(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0")...)
	for host, status := range map[string]int{
		"localhost": 200, "LOCALHOST:9464": 200, "a.localhost": 200, "localhost.": 200, "127.0.0.1": 200, "127.8.9.1:1": 200,
		"[::1]": 200, "[::1]:9464": 200, "[::ffff:127.0.0.1]": 200, s.MetricsAddr(): 200,
		"evil.example": 403, "evil.example:9464": 403, "localhost.evil.example": 403, "127.0.0.1.nip.io": 403,
		"notlocalhost": 403,
		"10.0.0.1":     403, "203.0.113.7:80": 403, "[2001:db8::1]": 403, "0.0.0.0": 403, "2130706433": 403,
		"0x7f000001": 403,
		"127.1":      403,
	} {
		for _, path := range []string{"/metrics", "/debug/pprof/"} {
			request := httptest.NewRequest(http.MethodGet, "http://"+s.MetricsAddr()+path, nil)
			request.Host, request.RequestURI = host, ""
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			response.Body.Close()
			require.Equal(t, status, response.StatusCode, "%s %s", host, path)
		}
	}
}
