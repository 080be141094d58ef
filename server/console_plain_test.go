package main

import (
	"crypto/tls"
	"crypto/x509"
	"html"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
)

// post posts a form of the console as a browser without scripts does, and follows redirects.
func (c client) post(page string, fields ...string) string {
	c.t.Helper()
	a := c.do("POST", console.Path+page, formOf(fields...), "Content-Type", formType, "Origin", c.url,
		"Sec-Fetch-Site", "same-origin")
	require.Equal(c.t, 200, a.status, "%s: %s", page, a.body)
	return a.body
}

// formOf encodes a form as a browser sends it: name, value, name, value.
func formOf(fields ...string) string {
	values := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return values.Encode()
}

var (
	references = regexp.MustCompile(`(?:src|action)="([^"]*)"|<link [^>]*href="([^"]*)"`)
	forms      = regexp.MustCompile(`(?s)<form [^>]*>.*?</form>`)
)

// Without scripts every page is readable, every form has a button, and the main forms work. A page loads nothing from
// other hosts, has no inline style, and is small.
func TestConsole_WorksWithoutScripts(t *testing.T) {
	s := boot(t, variables(t)...)
	require.Contains(t, s.post("try", "call", "generate", "account", "10000000000001", "key", documentedKey,
		"mobile", "919876543210", "ipaddress", "203.0.113.7"), "OTP Generated Successfully")
	require.Contains(t, s.do("GET", console.Path+"inbox", "").body, s.messages("limit=1")[0].Code)
	made := s.post("keys", "account", "10000000000001", "name", "web shop", "kind", "secret", "environment", "test")
	require.Contains(t, made, "Shown this once")
	require.Contains(t, s.do("GET", console.Path+"keys", "").body, "web shop")
	require.Contains(t, s.post("new-account", "esme_address", "4711", "name", "Shop"), "Shown this once")
	require.Contains(t, s.post("webhooks", "account", "4711", "url", "http://127.0.0.1:9/hook", "events", "*"), "whsec_")
	require.Contains(t, s.post("accounts/4711/messages/preview", "medium", "sms", "text", "{code} is it"),
		`<p class="bubble">123456 is it</p>`)
	require.Contains(t, s.post("accounts/4711/tests", "number", "+919551492394", "code", "246810", "reason", "review",
		"days",
		"30"), "••••")
	require.Contains(t, s.post("audit/verify"), "entries fit")
	exported := s.do("GET", console.Path+"audit/export?format=csv", "")
	require.True(t, strings.HasPrefix(exported.body, "place,type,at,"), exported.body)
	s.do("POST", "/v1/send", `{"to":"+919876543211","method":"sms","type":"verification","metadata":{"user_id":"u-77"}}`,
		"X-API-Key", documentedKey, "Content-Type", "application/json")
	somebody := []string{"account", "10000000000001", "environment", "test", "id", "u-77"}
	require.Contains(t, s.post("privacy/count", somebody...), "1 code and 1 line ")
	require.Contains(t, s.post("privacy/export", somebody...), `"complete":true`)
	refused := s.do("POST", console.Path+"privacy/erase", formOf(append(somebody, "confirm", "u-7")...), "Content-Type",
		formType)
	require.Equal(t, 400, refused.status)
	erased := s.post("privacy/erase", append(somebody, "confirm", "u-77")...)
	certificate := regexp.MustCompile(`eyJ[\w.-]+`).FindString(erased)
	require.Contains(t, s.post("privacy/verify", "certificate", certificate), "This installation has signed it")
	require.Contains(t, s.post("privacy/count", somebody...), "0 codes and 0 lines")
	require.Contains(t, s.post("inbox/empty", "confirm", "yes"), "The inbox is empty")

	for _, page := range append(sandboxPages, "accounts/4711") {
		a := s.do("GET", console.Path+page, "")
		require.Equal(t, 200, a.status, page)
		require.Less(t, len(a.body), 150_000, page)
		require.NotContains(t, a.body, "style=", page)
		for _, found := range references.FindAllStringSubmatch(a.body, -1) {
			require.Regexp(t, `^(/[^/]|data:image/)`, found[1]+found[2], "%s asks another host", page)
		}
		for _, form := range forms.FindAllString(a.body, -1) {
			require.True(t, page == "components" || strings.Contains(form, "<button"), "%s: %s", page, form)
		}
	}
}

// In Chromium without scripts pages can be read, each form has a button that is seen, a change that does harm is asked
// about on a page, and a reader can register and log in. FULL=1 opens all pages.
func TestConsole_ABrowserWithoutScripts(t *testing.T) {
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919876543210"))
	b := newBrowser(t, s.URL())
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true})
	require.NoError(t, err)
	for _, page := range sandboxPages[:times(len(sandboxPages), 4)] {
		b.open(console.Path + page)
		require.NotEmpty(t, eval[string](b, `document.querySelector("main h1").innerText`), page)
		require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("main form")].filter((form) =>
			!form.closest("details") && ![...form.querySelectorAll("button")].some((button) => button.checkVisibility())).map((form) => form.outerHTML)`+
			map[bool]string{true: ".slice(1)"}[page == "components"]), page)
	}
	for _, c := range []state{
		posted("", "new-account", "Make the account", "Shown this once", "Address", "4711"),
		posted("", "try", "Make the call", "OTP Generated Successfully"),
		posted("", "accounts/4711", "Delete the account", "Type “4711”"),
		posted("", "register", "Make my login", "You have a login", "E-mail", "owner@shop.example", "Your name", "Ada",
			"Password", ownerPassword),
		posted("", "security", "Log out", "You are logged out"),
		posted("", "login?to=/console/security", "Log in", "Where you are logged in", "E-mail", "owner@shop.example",
			"Password", ownerPassword),
	} {
		b.open(console.Path + c.page)
		c.do(b)
	}
}

// filled returns what a browser posts for a page's unchanged fields: name, value, name, value.
func filled(page string) (fields []string) {
	for _, found := range regexp.MustCompile(`<input[^>]* name="(\w+)" value="([^"]*)"( checked)?|`+
		`<select[^>]* name="(\w+)"|<option value="([^"]+)" selected`).FindAllStringSubmatch(page, -1) {
		switch name, box := found[1], found[2] == "yes"; {
		case name != "" && (!box || found[3] != ""):
			fields = append(fields, name, html.UnescapeString(found[2]))
		case found[4] != "":
			fields = append(fields, found[4], "")
		case found[5] != "":
			fields[len(fields)-1] = found[5]
		}
	}
	return fields
}

// A refusal is shown beside its field, the typed value stays, and the field has the focus.
func TestConsole_ARefusalStandsBesideItsField(t *testing.T) {
	s := boot(t, variables(t)...)
	const account = "accounts/10000000000001/"
	settings := filled(s.do("GET", console.Path+"accounts/10000000000001", "").body)
	for _, c := range []struct {
		page, field, value string
		others             []string
	}{
		{"new-account", "esme_address", "x", nil},
		{"new-account", "cipher_key", "abc", []string{"esme_address", "4712"}},
		{account + "change", "otp_length", "3", settings},
		{account + "change", "otp_ttl_seconds", "soon", settings},
		{account + "change", "prices", "cheap", settings},
		{account + "change", "countries", "Atlantis", settings},
		{account + "delete", "confirm", "10000000000002", nil},
		{"webhooks", "url", "ftp://x", []string{"account", "10000000000001", "events", "*"}},
		{"webhooks", "events", "otp.none", []string{"account", "10000000000001", "url", "http://127.0.0.1:9/"}},
		{account + "tests", "reason", "", []string{"number", "+919551492394", "code", "246810", "days", "30"}},
		{"keys", "expires_at", "soon", []string{"account", "10000000000001", "kind", "secret", "environment", "test", "name",
			"x"}},
		{"keys", "allowed_ips", "here", []string{"account", "10000000000001", "kind", "secret", "environment", "test", "name",
			"x"}},
		{"recipients", "to", "somebody", []string{"account", "10000000000001", "environment", "test"}},
		{account + "tests", "number", "12", []string{"code", "246810", "reason", "review", "days", "30"}},
		{account + "tests", "code", "abc", []string{"number", "+919551492394", "reason", "review", "days", "30"}},
		{account + "tests", "days", "99", []string{"number", "+919551492394", "code", "246810", "reason", "review"}},
		{"people/invite", "email", "nobody", []string{"role", "auditor"}},
		{"privacy/erase", "confirm", "u-7", []string{"account", "10000000000001", "environment", "test", "id", "u-77"}},
		{"privacy/verify", "certificate", "abc", nil},
		{"register", "password", "short", []string{"email", "o@shop.example", "name", "Ada"}},
	} {
		t.Run(c.page+" "+c.field, func(t *testing.T) {
			a := s.do("POST", console.Path+c.page, formOf(append(slices.Clone(c.others), c.field, c.value)...),
				"Content-Type", formType)
			require.Contains(t, []int{400, 403, 409}, a.status, a.body)
			require.Regexp(t, `<(input|textarea)[^>]* name="`+c.field+`"[^>]*aria-invalid="true" autofocus`, a.body)
			require.Contains(t, a.body, `id="wrong-`+c.field+`"`)
			require.Equal(t, 1, strings.Count(a.body, "aria-invalid"))
		})
	}
}

// Another name that resolves to this server (DNS rebinding) opens no page.
func TestConsole_AnswersToItsOwnNameOnly(t *testing.T) {
	public := []string{"otp.shop.example", "OTP.shop.example:443"}
	addresses := []string{"127.0.0.1:8080", "[::1]", "localhost", "10.0.0.1", "otp.localhost:8080"}
	others := []string{"evil.example", "otp.shop.example.evil.example", "shop.example", "otp.shop.example.",
		"127.0.0.1.evil.example", "localhost.evil.example", "otp"}
	look := func(t *testing.T, s *booted, status int, hosts ...string) {
		t.Helper()
		for _, host := range hosts {
			for _, page := range []string{"login", "register", ""} {
				a := s.do("GET", console.Path+page, "", "Host", host)
				require.Equal(t, status, a.status, "%s: %s", host, page)
				require.True(t, status == 200 || !strings.Contains(a.body, "<form"), a.body)
			}
			if status == 200 {
				continue
			}
			require.Equal(t, status, s.do("POST", console.Path+"login", "email=x&password=y", "Content-Type", formType, "Host",
				host).status, host)
		}
	}
	t.Run("in production with a public URL", func(t *testing.T) {
		s := boot(t, productionFrom(t, variables(t, "OTPBRIDGE_DOORS=api,console",
			"OTPBRIDGE_PUBLIC_URL=https://otp.shop.example"))...)
		look(t, s, 200, append(public, addresses...)...)
		look(t, s, 421, others...)
	})
	t.Run("in production without one", func(t *testing.T) {
		s := boot(t, productionFrom(t, variables(t, "OTPBRIDGE_DOORS=api,console"))...)
		look(t, s, 200, addresses...)
		look(t, s, 421, append(public, others...)...)
	})
	t.Run("in production without one, over TLS", func(t *testing.T) {
		environ := productionFrom(t, variables(t, "OTPBRIDGE_DOORS=api,console"))
		cert, key := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(writeCertificate(t, cert, key, "otp.shop.example")))
		s := boot(t, append(environ, "OTPBRIDGE_TLS_CERT_FILE="+cert, "OTPBRIDGE_TLS_KEY_FILE="+key)...)
		s.agent = &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: roots}}}
		look(t, s, 200, append(public, addresses...)...)
	})
	t.Run("in a sandbox on loopback", func(t *testing.T) {
		s := boot(t, variables(t)...)
		look(t, s, 200, addresses...)
		look(t, s, 403, append(public, others...)...)
	})
}

func TestConsole_SystemShowsAProviderThatIsPaused(t *testing.T) {
	gateway := newGateway(t, http.StatusOK)
	s := boot(t, variables(t, "OTPBRIDGE_SMS_CHANNELS="+gateway.url("first"), "OTPBRIDGE_DOORS=servlet,api,console")...)
	gateway.Close()
	system := func() string { return s.do("GET", console.Path+"system", "").body }
	for _, shown := range []string{"servlet, api, console", "sqlite", "off the database", "operations waiting",
		`<td data-label="Channel">first</td><td data-label="State"><span class="tag good">ok</span>`} {
		require.Contains(t, system(), shown)
	}
	for i := range 5 {
		s.servlet("otpgenservlet", documentedKey, person("91955149239"+strconv.Itoa(i)))
	}
	require.Contains(t, system(), `first</td><td data-label="State"><span class="tag bad">paused</span>`)
}
