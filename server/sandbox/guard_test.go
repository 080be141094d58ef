package sandbox

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

func TestGuard_KeepsPagesOut(t *testing.T) {
	d := bare(new(strings.Builder))
	for _, tt := range []struct {
		name, method, local, host string
		header                    map[string]string
		code                      string // of the refusal, or empty
	}{
		{name: "a command line", method: "POST", local: "127.0.0.1", host: "127.0.0.1:8080"},
		{name: "localhost", method: "GET", local: "127.0.0.1", host: "localhost:8080"},
		{name: "localhost in capitals with a dot", method: "GET", local: "127.0.0.1", host: "LOCALHOST."},
		{name: "below localhost", method: "GET", local: "127.0.0.1", host: "otp.localhost:8080"},
		{name: "IPv6", method: "GET", local: "::1", host: "[::1]:8080"},
		{name: "another address", method: "GET", local: "127.0.0.1", host: "192.0.2.7"},
		{name: "no host, as in HTTP/1.0", method: "GET", local: "127.0.0.1", host: ""},
		{name: "rebound name", method: "GET", local: "127.0.0.1", host: "evil.example:8080", code: "FORBIDDEN_HOST"},
		{name: "rebound name on IPv6", method: "GET", local: "::1", host: "evil.example", code: "FORBIDDEN_HOST"},
		{name: "name that only looks local", method: "GET", local: "127.0.0.1", host: "localhost.evil.example",
			code: "FORBIDDEN_HOST"},
		{name: "name that only looks like an address", method: "GET", local: "127.0.0.1", host: "127.0.0.1.nip.example",
			code: "FORBIDDEN_HOST"},
		{name: "not on loopback a name is right", method: "GET", local: "192.0.2.7", host: "otp.example"},
		{name: "a connection that tells nothing", method: "GET", local: "", host: "otp.example", code: "FORBIDDEN_HOST"},

		{name: "foreign page changes", method: "POST", local: "127.0.0.1", host: "127.0.0.1:8080",
			header: map[string]string{"Origin": "https://evil.example"}, code: "FORBIDDEN_ORIGIN"},
		{name: "foreign page deletes", method: "DELETE", local: "127.0.0.1", host: "127.0.0.1:8080",
			header: map[string]string{"Sec-Fetch-Site": "cross-site"}, code: "FORBIDDEN_ORIGIN"},
		{name: "another port is another origin", method: "PUT", local: "127.0.0.1", host: "127.0.0.1:8080",
			header: map[string]string{"Origin": "http://127.0.0.1:3000"}, code: "FORBIDDEN_ORIGIN"},
		{name: "sandboxed page", method: "POST", local: "127.0.0.1", host: "127.0.0.1:8080",
			header: map[string]string{"Origin": "null"}, code: "FORBIDDEN_ORIGIN"},
		{name: "own page changes", method: "POST", local: "127.0.0.1", host: "127.0.0.1:8080",
			header: map[string]string{"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}},
		{name: "foreign page reads, and cannot see the answer", method: "GET", local: "127.0.0.1", host: "127.0.0.1:8080",
			header: map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", nil)
			r.Host = tt.host
			for name, value := range tt.header {
				r.Header.Set(name, value)
			}
			if tt.local != "" {
				local := &net.TCPAddr{IP: net.ParseIP(tt.local), Port: 8080}
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
			}
			called := false
			answer, body := serve(t, r, d.guard, func(*gin.Context) { called = true })
			require.Equal(t, tt.code == "", called)
			if tt.code != "" {
				require.Equal(t, 403, answer.Code)
				require.Equal(t, tt.code, body["code"])
			}
			require.Empty(t, answer.Header().Get("Access-Control-Allow-Origin"))
		})
	}
}
