package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDoors_WhatIsNotNamedIsAbsent(t *testing.T) {
	for open, want := range map[string][2]int{
		"servlet":             {200, 404},
		"v1":                  {404, 401},
		"servlet,v1":          {200, 401},
		"api":                 {404, 404},
		"servlet,api,console": {200, 404},
	} {
		s := boot(t, variables(t, "OTPBRIDGE_DOORS="+open, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s")...)
		require.Equal(t, want[0], s.do("GET", "/otpauthapi/otpgenservlet", "").status, open)
		require.Equal(t, want[1], s.do("POST", "/v1/send", "{}").status, open)
		require.Equal(t, 200, s.do("GET", "/readyz", "").status, "a server without doors is ready")
	}
}

// from returns the handler's answer to a request from a remote address, without a socket.
func (s *booted) from(remote, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = remote
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w
}

func TestHTTPS_ACredentialInClearIsRefusedAtTheJSONAPI(t *testing.T) {
	const abroad, body = "198.51.100.1:4711", `{"to":"+919551492394","method":"sms","type":"verification"}`
	environ := productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s", "OTPBRIDGE_TRUSTED_PROXIES=10.0.0.0/8"))
	servlet := "/otpauthapi/otpgenservlet?" + person("919551492394").Encode()

	for policy, refused := range map[string]bool{"": true, "require": true, "warn": false, "off": false} {
		t.Run("policy "+policy, func(t *testing.T) {
			more := []string{}
			if policy != "" {
				more = append(more, "OTPBRIDGE_HTTPS="+policy)
			}
			s := boot(t, append(environ, more...)...)
			// A right key, a wrong one and an impossible one get the same answer, so that an eavesdropper learns
			// nothing.
			for _, key := range []string{productionKey, "a-key-that-nobody-has", "otpb_live_mistyped"} {
				for _, header := range []string{"X-Api-Key", "Access_key"} {
					got := s.from(abroad, "POST", "/v1/send", body, header, key, "Content-Type", "application/json")
					require.Equal(t, refused, strings.Contains(got.Body.String(), `"HTTPS_REQUIRED"`), "%s: %s", key, got.Body)
					if refused {
						require.Equal(t, 403, got.Code)
					}
				}
			}
			got := s.from(abroad, "POST", "/v1/send", body)
			require.Equal(t, 401, got.Code, "no credential, so none was readable")
			got = s.from("10.0.0.1:1", "POST", "/v1/send", body, "Access_key", productionKey,
				"X-Forwarded-For", "198.51.100.1", "X-Forwarded-Proto", "https", "Content-Type", "application/json")
			require.NotContains(t, got.Body.String(), "HTTPS_REQUIRED", "a trusted proxy ended TLS")
			got = s.from(abroad, "GET", servlet, "", "Access_key", productionKey)
			require.Equal(t, "SMSEMAILFAIL", got.Body.String(), "the servlets answer as they did")

			metrics := scrape(t, s.Server, "/metrics")
			lines := 2 // one for each door
			if policy == "off" {
				lines = 0
			}
			require.Equal(t, lines, strings.Count(s.log.String(), "a credential came over plain HTTP"), s.log)
			require.Contains(t, metrics, `otpbridge_plain_http_total{door="servlet"} 1`)
			require.Contains(t, metrics, `otpbridge_plain_http_total{door="v1"} 6`)
			require.NotContains(t, s.log.String(), productionKey)
		})
	}
}
