package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const demoAPIKey = "otpb_test_sk_3S59TEkdOgZ8jjhSxuHwbQrpyXxII3v72aEZ2o"

// asAPI are the headers of a call as the first demo account.
var asAPI = []string{"Authorization", "Bearer " + demoAPIKey, "Content-Type", "application/json"}

func TestAPI_IsServedBesideTheServlets(t *testing.T) {
	s := boot(t, variables(t)...)
	sent := s.do("POST", "/v1/send", `{"to":"+919876543210","ip":"203.0.113.7","method":"sms","type":"verification"}`,
		append(asAPI, "X-Request-Id", "order-4711")...)
	require.Equal(t, 201, sent.status, sent.body)
	require.Equal(t, "order-4711", sent.header.Get("X-Request-Id"))
	id := decoded(t, sent)["id"].(string)
	require.Equal(t, 200, s.do("GET", sent.header.Get("Location"), "", asAPI...).status)

	otp := encrypted(t, sampleKey, sampleIV, s.messages("limit=1")[0].Code)
	require.Equal(t, "Verified successfully", s.servlet("otpvalidationservlet", documentedKey,
		person("919876543210", "otp", otp)), "one state")
	require.Contains(t, s.do("POST", "/v1/verify", `{"id":"`+id+`","code":"123456"}`, asAPI...).body, "ALREADY_VERIFIED")

	for _, path := range []string{"/openapi.json", "/openapi.yaml", "/docs", "/.well-known/jwks.json"} {
		require.Equal(t, 200, s.do("GET", path, "").status, path)
	}
	lost := s.do("GET", "/v1/nothing", "")
	require.Equal(t, 404, lost.status)
	require.Equal(t, "application/problem+json", lost.header.Get("Content-Type"))
	wrong := s.do("PUT", "/v1/send", "")
	require.Equal(t, http.StatusMethodNotAllowed, wrong.status)
	require.Contains(t, wrong.header.Get("Allow"), "POST")

	wrong = s.do("POST", "/.well-known/jwks.json", "")
	require.Equal(t, http.StatusMethodNotAllowed, wrong.status)
	require.Equal(t, "GET", wrong.header.Get("Allow"))
	require.Contains(t, wrong.header.Get("Content-Type"), "text/plain")
}

func TestAPI_TheSandboxShowsItsCallsRedacted(t *testing.T) {
	s := boot(t, variables(t)...)
	s.do("POST", "/v1/send", `{"to":"+919876543210","method":"fax","type":"verification","metadata":{"who":"somebody"}}`,
		asAPI...)
	s.do("GET", "/v1/status/otp_06bq3c7k5sqn2e8v4g1t9hp0mc", "", asAPI...)
	shown := s.do("GET", "/sandbox/requests?account=10000000000001", "").body
	for _, part := range []string{`/v1/send`, `INVALID_REQUEST`, `/v1/status/[redacted]`, `NOT_FOUND`, `$API_KEY`} {
		require.Contains(t, shown, part)
	}
	for _, secret := range []string{demoAPIKey, "9876543210", "somebody", "06bq3c7k5sqn2e8v4g1t9hp0mc"} {
		require.NotContains(t, shown, secret)
	}
	require.NotContains(t, s.log.String(), "06bq3c7k5sqn2e8v4g1t9hp0mc", "the log names routes")
	require.True(t, strings.Contains(s.log.String(), "route=/v1/status/:id"))
}
