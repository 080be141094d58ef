package v1

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/web"
)

func TestDocs_ThePageNeedsNothingFromElsewhere(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	page := c.get(docsPath, "Authorization", "")
	require.Equal(t, 200, page.status)
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	require.NotContains(t, page.text, "://")
	require.NotRegexp(t, `<script[^>]*>[^<]`, page.text, "an inline script, which the policy forbids")
	loaded := regexp.MustCompile(`(?:src|href)="(/docs/[^"]+)"`).FindAllStringSubmatch(page.text, -1)
	require.Len(t, loaded, len(docsFiles)+1, "those of Swagger UI, and docs.js")
	for _, file := range loaded {
		for _, encoding := range []string{"gzip", "identity"} {
			a := c.get(file[1], "Authorization", "", "Accept-Encoding", encoding)
			require.Equal(t, 200, a.status, file[1])
			require.NotEmpty(t, a.text, file[1])
			require.Equal(t, docsPolicy, a.header.Get("Content-Security-Policy"))
			require.NotContains(t, a.header.Get("Content-Type"), "html", "%s is shown as what it is", file[1])
			if strings.HasSuffix(file[1], ".js") {
				require.Contains(t, a.header.Get("Content-Type"), "javascript")
			}
		}
	}
	require.Contains(t, docsPolicy, "default-src 'none'")
	require.NotContains(t, docsPolicy, "unsafe-eval")
	for _, path := range []string{"/docs/nothing", "/docs/oauth2-redirect.html", "/docs/embed.go", "/docs/..%2Fv1.go"} {
		require.Equal(t, 404, c.get(path).status, path)
	}
}

func TestDocs_TheDocumentIsServedInBothForms(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	for path, kind := range map[string]string{jsonPath: "application/json", yamlPath: "application/yaml"} {
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		require.Equal(t, 200, w.Code)
		require.Equal(t, kind, w.Header().Get("Content-Type"))
		require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
	}
}

// A check that accepts everything proves nothing.
func TestJudge_NoticesWhatTheDocumentDoesNotHave(t *testing.T) {
	v := validated{t: t, routes: documented(t)}
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		answer             string
		fine               bool
	}{
		"as it is": {"POST", "/v1/cancel", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc"}`, 404,
			`{"type":"about:blank","title":"Not Found","status":404,"detail":"d","message":"d","code":"NOT_FOUND","request_id":"r"}`, true},
		"a member too many": {"POST", "/v1/cancel", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc"}`, 404,
			`{"type":"about:blank","title":"Not Found","status":404,"detail":"d","message":"d","code":"NOT_FOUND","request_id":"r","stack":"main.go"}`, false},
		"a member missing": {"POST", "/v1/cancel", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc"}`, 404,
			`{"type":"about:blank","title":"Not Found","status":404,"detail":"d","message":"d","request_id":"r"}`, false},
		"a status it lacks": {"POST", "/v1/cancel", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc"}`, 418, `{}`, false},
		"a call it lacks":   {"POST", "/v1/other", `{}`, 200, `{}`, false},
		"served what is wrong": {"POST", "/v1/verify",
			`{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc","to":"+919876543210","code":"123456"}`, 200,
			`{"valid":false,"reason":"EXPIRED"}`, false},
		"an unknown reason": {"POST", "/v1/verify", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc","code":"123456"}`, 200,
			`{"valid":false,"reason":"WRONG"}`, false},
		"told what it hides": {"POST", "/v1/verify", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc","code":"123456"}`, 200,
			`{"valid":false,"reason":"EXPIRED","attempts_remaining":3}`, false},
		"without X-Request-Id": {"POST", "/v1/verify", `{"id":"otp_06bq3c7k5sqn2e8v4g1t9hp0mc","code":"123456"}`, 200,
			`{"valid":false,"reason":"EXPIRED"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			answer.Header().Set("Content-Type", "application/json")
			if tt.status >= 400 {
				answer.Header().Set("Content-Type", "application/problem+json")
			}
			if name != "without X-Request-Id" {
				answer.Header().Set("X-Request-Id", "req-12345678")
			}
			answer.Code = tt.status
			answer.Body.WriteString(tt.answer)
			r := httptest.NewRequest(tt.method, tt.path, nil)
			r.Header.Set("Content-Type", "application/json")
			err := v.judge(r, []byte(tt.body), answer)
			if tt.fine {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
		})
	}
}

// A malicious host header cannot put anything else into the reader's shell or browser.
func TestDocs_TheExampleTakesNothingButAHost(t *testing.T) {
	for host, base := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", "localhost": "localhost", "otp.shop.example:443": "otp.shop.example:443",
		"<script>": "", "a b": "", "evil.example/x": "", `x"onload="y`: "", "$(id)": "", "x;id": "", "127.0.0.1:80:80": "",
		"'": "", "`id`": "", "x&y": "", "": "", "x:": "", "x\n-o/tmp/x": "", strings.Repeat("x", 300): "",
	} {
		if base == "" {
			base = "127.0.0.1:8080"
		}
		r := httptest.NewRequest("GET", docsPath, nil)
		r.Host = host
		require.Equal(t, "http://"+base, web.BaseOf(r), host)
	}
}
