package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/gin-gonic/gin"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
)

// The pages that a sandbox shows to everybody.
var sandboxPages = []string{"inbox", "try", "requests", "accounts", "accounts/10000000000001", "new-account", "keys",
	"recipients", "accounts/10000000000001/guards", "accounts/10000000000001/tests",
	"accounts/10000000000001/messages", "webhooks", "watch", "audit", "migration", "migration/10000000000001",
	"privacy", "people",
	"system", "components", "login", "register", "recover"}

// screen is a page's width and theme.
type screen struct {
	width int64
	theme string
}

// screens returns a phone and a desktop, each in both themes, if all pictures are made or with FULL=1. Else it returns
// one of them, the next with each number n: the pages share their style sheet and most of their parts.
func screens(n int) []screen {
	all := []screen{{360, "dark"}, {1280, "light"}, {360, "light"}, {1280, "dark"}}
	if os.Getenv("SCREENSHOTS") == "" && times(1, 0) == 0 {
		return all[n%len(all):][:1]
	}
	return all
}

// On every page, light and dark, on a phone and on a desktop, Chromium reports no error, nothing is wider than the
// screen, and axe-core finds nothing serious. Pages are also checked after their forms were sent. SCREENSHOTS names a
// folder for a picture of each page.
func TestConsole_EveryPageIsSoundAndReadable(t *testing.T) {
	s := newOwnedSandbox(t)
	s.do("POST", "/v1/send", `{"to":"a@shop.example","method":"email","type":"verification"}`, "X-API-Key", documentedKey,
		"Content-Type", "application/json")
	s.watched(t)
	b := newBrowser(t, s.URL())
	b.bringAxe()
	folder, looks := os.Getenv("SCREENSHOTS"), 0
	look := func(name string) {
		looks++
		b.look(360, "light")
		fits(b, name)
		for _, screen := range screens(looks) {
			b.look(screen.width, screen.theme)
			checkPage(b, name)
			if folder != "" {
				b.picture(fmt.Sprintf("%s/%s-%d-%s.png", folder, strings.ReplaceAll(name, "/", "-"), screen.width, screen.theme))
			}
		}
	}
	for _, page := range append(sandboxPages, "inbox/message/"+s.messages("limit=1")[0].ID, "people/"+s.person,
		"keys/"+s.keys[0], "webhooks/"+s.webhook) {
		b.open(console.Path + page)
		look(page)
	}
	if folder != "" {
		pictureDocumentation(b, s.booted, folder)
	}
	for _, refused := range []string{"400 (Bad Request)", "status of 401", "status of 403", "status of 404"} {
		b.allow(refused)
	}
	for _, state := range s.states() {
		b.open(console.Path + state.page)
		state.do(b)
		if strings.HasSuffix(state.name, "-refused") && !strings.HasPrefix(state.name, "login") {
			require.Equal(t, 1, eval[int](b, `document.querySelectorAll("main [aria-invalid=true]").length`),
				"%s marks no field", state.name)
		}
		look(state.name)
	}
	t.Logf("%d pages and states, each on %d of 4 screens; FULL=1 checks all", looks, len(screens(0)))
}

// pictureDocumentation makes the documentation's pictures, with four messages and a wrong code.
func pictureDocumentation(b *browser, s *booted, folder string) {
	s.do("DELETE", "/sandbox/messages", "")
	for _, call := range [][]string{{"otpgenservlet", "919876543211"}, {"otpgenservlet", "919876543212"},
		{"otpgenservlet", "919551492394"}, {"otpgenservlet", "971501234567"},
		{"otpvalidationservlet", "919551492394", "otp", "0000"}} {
		s.servlet(call[0], documentedKey, person(call[1], call[2:]...))
	}
	b.look(1280, "light")
	b.do(chromedp.EmulateViewport(1280, 620))
	for _, page := range []string{"inbox", "requests"} {
		b.open(console.Path + page)
		eval[chromedp.Void](b, `document.querySelector("details.call")?.setAttribute("open", "")`)
		image, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		require.NoError(b.t, err)
		require.NoError(b.t, os.WriteFile(folder+"/console-"+page+".png", image, 0o644))
	}
}

// fits checks that the open page is not wider than the screen.
func fits(b *browser, page string) {
	b.t.Helper()
	require.LessOrEqual(b.t, eval[float64](b, `document.documentElement.scrollWidth - innerWidth`), 0.0,
		"%s is wider than the screen", page)
}

// checkPage checks the open page.
func checkPage(b *browser, page string) {
	b.t.Helper()
	fits(b, page)
	require.Zero(b.t, eval[int](b, `document.querySelectorAll("[style], style, script:not([src])").length`), page)
	eval[chromedp.Void](b, `window.axe ? undefined : loadAxe()`)
	found := eval[json.RawMessage](b, `axe.run(document, {reporter: "no-passes", preload: false}).then((r) => r.violations
		.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => [v.id, v.help, v.nodes.map((n) => n.html)]))`)
	require.JSONEq(b.t, `[]`, string(found), "axe-core at %s", page)
}

// A developer gets from the first start to a verified code in under a minute, with a mouse and no shell. The times of
// the person are those of the keystroke-level model (Card, Moran and Newell, 1980): 1.35 s to decide, 1.1 s to point
// and 0.2 s to press; each new page is looked at for 4 s. They are added up and not waited for.
func TestConsole_FirstCode(t *testing.T) {
	server := program(t)
	began := time.Now()
	c := startProgram(t, server, t.TempDir(), variables(t)...)
	b := newBrowser(t, c.url)
	const choose, look = 2650 * time.Millisecond, 4 * time.Second
	person := look
	next := func(element, shows string) {
		t.Helper()
		b.do(chromedp.Click(element), chromedp.Sleep(50*time.Millisecond), chromedp.WaitReady("main"))
		b.sees(shows)
		person += choose + look
	}
	button := func(label string) string { return `//button[normalize-space()="` + label + `"]` }
	link := func(label string) string { return `//nav//a[normalize-space()="` + label + `"]` }
	b.open("/")
	b.sees("SANDBOX")
	b.sees("No message yet")
	next(link("Try it"), "Make the call")
	next(button("Make the call"), "OTP Generated Successfully")
	code := c.messages("limit=1")[0].Code
	next(link("Inbox"), code)
	next(`//td/a[contains(@href, "message")]`, "Segments")
	next(`//a[@class="button"]`, "Code")
	next(button("Make the call"), "Verified successfully")
	machine := time.Since(began)
	t.Logf("from the start to a verified code: %.0f s of a person, %.1f s of this machine", person.Seconds(),
		machine.Seconds())
	require.Less(t, person, 50*time.Second)

	next(link("Requests"), "otpvalidationservlet")
	eval[chromedp.Void](b, `document.querySelector("details.call").open = true`)
	b.sees(code)
}

// An account is made with a vendor's iv~key, its settings are changed, and a fault is shown beside the form.
func TestConsole_AnAccountIsMadeAndChanged(t *testing.T) {
	s := boot(t, variables(t)...)
	b := newBrowser(t, s.URL())
	b.open(console.Path + "new-account")
	b.fill("Address", "4711")
	b.fill("Name", "Shop")
	b.fill("Cipher key", sampleIV+"~"+sampleKey)
	b.fill("Access key", "c2hvcC1hY2Nlc3Mta2V5LTQ3MTE=")
	b.press("Make the account")
	b.sees("The account was made")
	b.open(console.Path + "accounts/4711")
	b.allow("400 (Bad Request)") // what follows is refused
	b.fill("otp_length", "3")
	b.press("Save")
	b.sees("otp_length")
	b.sees("must be 4–10")
	b.fill("otp_length", "8")
	b.press("Save")
	b.sees("The account was changed")
	b.open(console.Path + "inbox?account=4711")
	b.sees("No message yet")
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", "c2hvcC1hY2Nlc3Mta2V5LTQ3MTE=",
		person("919876543210")))
	code := s.messages("account=4711&limit=1")[0].Code
	require.Len(t, code, 8)
	b.sees(code) // without a reload
	t.Run("called by the Java client", func(t *testing.T) {
		needs(t, "java")
		mobile := newInteropMobiles().next()
		runInteropClient(t, "java", "Java/ServletClient.java", "TARGET="+s.URL(), "CONTEXT_PATH=/otpauthapi",
			"ACCESS_KEY=c2hvcC1hY2Nlc3Mta2V5LTQ3MTE=", "CIPHER_KEY="+sampleKey, "CIPHER_IV="+sampleIV, "MOBILE="+mobile,
			"PROFILE=documented", "PARAM_ENCODING=base64", "NO_PROXY=*", "no_proxy=*")
		b.sees("+" + mobile) // without a reload
	})

	b.open(console.Path + "accounts/4711")
	b.allow("412 (Precondition Failed)")
	eval[chromedp.Void](b, `document.querySelector("input[name=version]").value = "1"`) // somebody else saved meanwhile
	b.fill("otp_length", "6")
	for range 2 { // pressing again overwrites nothing either
		b.press("Save")
		b.sees("load the page again")
	}
	found, err := s.manage.Accounts.Find(t.Context(), "4711")
	require.NoError(t, err)
	require.Equal(t, 8, found.Length)
}

// A page's stream tells of what happened between the page and the stream, and of nothing that the page shows.
func TestConsole_TheLiveInboxMissesNothing(t *testing.T) {
	s := boot(t, variables(t)...)
	first := func() string {
		t.Helper()
		live := regexp.MustCompile(`data-live="([^"]+)"`).FindStringSubmatch(s.do("GET", console.Path+"inbox", "").body)
		require.NotNil(t, live)
		return html.UnescapeString(live[1])
	}
	says := func(live string) string {
		t.Helper()
		answer, err := http.Get(s.URL() + live)
		require.NoError(t, err)
		defer answer.Body.Close()
		line, err := bufio.NewReader(answer.Body).ReadString('\n')
		require.NoError(t, err)
		return line
	}
	before := first()
	require.Equal(t, ": still here\n", says(before))
	s.servlet("otpgenservlet", documentedKey, person("919876543210"))
	require.Equal(t, "event: changed\n", says(before))
	before = first()
	require.Equal(t, ": still here\n", says(before))
	s.servlet("otpgenservlet", "bm8tc3VjaC1hY2Nlc3Mta2V5", person("919876543210"))
	require.Equal(t, "event: changed\n", says(before), "a refused call")
}

// The key that a new account gets makes its first call, in a new tab.
func TestConsole_ANewAccountMakesItsFirstCall(t *testing.T) {
	s := boot(t, variables(t)...)
	b := newBrowser(t, s.URL())
	b.open(console.Path + "new-account")
	b.fill("Address", "4711")
	b.press("Make the account")
	b.sees("Shown this once")
	opened := chromedp.WaitNewTarget(b.ctx, func(*target.Info) bool { return true })
	b.do(chromedp.Click(`//button[normalize-space()="Make a first call, in a new tab"]`))
	tab, closeTab := chromedp.NewContext(b.ctx, chromedp.WithTargetID(<-opened))
	defer closeTab()
	call := &browser{t: t, ctx: tab, url: b.url}
	call.do(chromedp.WaitReady("main"))
	call.sees("OTP Generated Successfully")
	require.Len(t, s.messages("account=4711"), 1)
	b.sees("Shown this once")
}

// A key is made, used, seen to be used, rotated and revoked; people are invited; and the first login adds an app.
func TestConsole_KeysAndPeople(t *testing.T) {
	s := boot(t, variables(t)...)
	b := newBrowser(t, s.URL())
	b.open(console.Path + "keys?account=10000000000001")
	b.fill("Name", "web shop")
	b.press("Make the key")
	b.sees("Shown this once")
	key := eval[string](b, `document.querySelector(".once code").innerText`)
	send := func() int {
		return s.do("POST", "/v1/send", `{"to":"+919876543210","method":"sms","type":"verification"}`, "X-API-Key", key,
			"Content-Type", "application/json").status
	}
	require.Equal(t, 201, send())
	eval[chromedp.Void](b, `[...document.querySelectorAll("td a")].find((a) => a.innerText === "web shop").click()`)
	b.sees("Calls in 30 days")
	b.press("Rotate: make a successor, keep this one for a day")
	b.sees("rotated")
	require.Equal(t, 201, send())
	b.press("Revoke it")
	b.confirm()
	b.sees("The key was revoked")
	require.Equal(t, 401, send())

	b.open(console.Path + "register")
	b.fill("E-mail", "owner@shop.example")
	b.fill("Your name", "Ada Owner")
	b.fill("Password", "correct-horse-97-battery")
	b.press("Make my login")
	b.sees("You have a login")
	b.press("Add an authenticator app")
	b.sees("Scan the picture")
	secret := eval[string](b, `document.querySelector(".once code").innerText`)
	code, err := totp.GenerateCode(secret, time.Now())
	require.NoError(t, err)
	b.fill("Code that the app shows", code)
	b.press("Confirm")
	b.sees("Your backup codes")
	eventually(t, "the revocation in the audit log", func() bool {
		b.open(console.Path + "audit?action=key.revoked")
		return strings.Contains(b.text(), "10000000000001")
	})
	b.open(console.Path + "people")
	b.fill("E-mail", "dev@shop.example")
	b.press("Invite")
	b.sees("#invitation=")
	b.press("Log out")
	b.sees("You are logged out")
}

// byAPI has the call of the JSON API for each form of the console, also for those of a sandbox and of a browser's
// session.
var byAPI = map[string]string{
	"login": "POST /api/auth/login", "login/code": "POST /api/auth/login", "register": "POST /api/auth/register",
	"recover": "POST /api/auth/recover", "logout": "POST /api/auth/logout", "inbox/empty": "DELETE /sandbox/messages",
	"try":         "POST /v1/send",
	"new-account": "POST /api/accounts", "accounts/:account/change": "PATCH /api/accounts/:account",
	"accounts/:account/messages/preview": "POST /api/accounts/:account/templates/preview",
	"accounts/:account/messages/test":    "POST /api/accounts/:account/send-test",
	"watch/acknowledge":                  "POST /api/alerts/:id/acknowledge",
	"watch/review":                       "POST /api/checklist/:id/review",
	"privacy/count":                      "POST /api/privacy/count", "privacy/export": "POST /api/privacy/export",
	"privacy/erase": "POST /api/privacy/erase", "privacy/verify": "POST /api/privacy/verify",
	"audit/verify":                "POST /api/audit/verify",
	"migration/:account/upstream": "PATCH /api/accounts/:account",
	"migration/:account/cut-over": "POST /api/accounts/:account/cut-over",
	"recipients":                  "POST /api/recipients/why", "recipients/unlock": "POST /api/recipients/unlock",
	"accounts/:account/guards/lift":  "DELETE /api/accounts/:account/stopped-prefixes/:prefix",
	"accounts/:account/tests":        "POST /api/accounts/:account/test-recipients",
	"accounts/:account/tests/remove": "DELETE /api/accounts/:account/test-recipients/:id",
	"accounts/:account/delete":       "DELETE /api/accounts/:account",
	"keys":                           "POST /api/keys", "keys/:id/rotate": "POST /api/keys/:id/rotate",
	"keys/:id/enable": "PATCH /api/keys/:id",
	"keys/:id/revoke": "DELETE /api/keys/:id", "keys/:id/compromised": "POST /api/keys/:id/compromised",
	"people/invite": "POST /api/people", "people/withdraw": "DELETE /api/people/invitations/:id",
	"people/:id/change": "PATCH /api/people/:id", "people/:id/remove": "DELETE /api/people/:id",
	"people/:id/recover": "POST /api/people/:id/recovery", "people/:id/reset-factors": "DELETE /api/people/:id/mfa",
	"people/:id/end-sessions": "DELETE /api/people/:id/sessions",
	"webhooks":                "POST /api/webhooks", "webhooks/:id/change": "PATCH /api/webhooks/:webhook",
	"webhooks/:id/rotate": "POST /api/webhooks/:webhook/rotate", "webhooks/:id/test": "POST /api/webhooks/:webhook/test",
	"webhooks/:id/replay": "POST /api/webhooks/:webhook/replay", "webhooks/:id/delete": "DELETE /api/webhooks/:webhook",
	"security/password": "POST /api/auth/password", "security/app": "POST /api/auth/mfa/enable",
	"security/app/confirm": "POST /api/auth/mfa/confirm", "security/remove": "DELETE /api/auth/mfa/:id",
	"security/backup-codes": "POST /api/auth/mfa/backup-codes", "security/end": "DELETE /api/auth/sessions/:id",
	"security/end-others": "DELETE /api/auth/sessions", "security/prove": "POST /api/auth/reauthenticate",
	"security/passkey": "POST /api/auth/passkeys", "security/passkey/confirm": "POST /api/auth/passkeys/confirm",
	"security/prove/passkey/begin": "POST /api/auth/passkeys/begin",
	"security/prove/passkey":       "POST /api/auth/reauthenticate",
	"login/passkey/begin":          "POST /api/auth/passkeys/begin", "login/passkey": "POST /api/auth/passkeys/login",
}

// A page can do nothing that the JSON API cannot.
func TestConsole_EveryFormHasItsCall(t *testing.T) {
	s := boot(t, variables(t)...)
	require.Empty(t, formsWithoutCall(s.router()))

	extra := s.router()
	extra.POST(console.Path+"accounts/:account/reveal", func(*gin.Context) {})
	require.Equal(t, []string{"accounts/:account/reveal"}, formsWithoutCall(extra),
		"a build with one form too many passes")
}

func formsWithoutCall(router *gin.Engine) (missing []string) {
	served := map[string]bool{}
	for _, route := range router.Routes() {
		served[route.Method+" "+route.Path] = true
	}
	for _, route := range router.Routes() {
		form, ours := strings.CutPrefix(route.Path, console.Path)
		if ours && route.Method == "POST" && !served[byAPI[form]] {
			missing = append(missing, form)
		}
	}
	return missing
}

// storedTexts are texts that change a page if it shows them without escaping.
var storedTexts = []string{
	`<script>hit=1</script>`, `"><script>hit=1</script>`, `'><img src=x onerror=hit=1>`, `<svg onload=hit=1>`,
	`</title><script>hit=1</script>`, `{{.CSRF}}`, `{{template "csrf" .}}`, `<style>*{display:none}</style>`,
	`javascript:hit=1`, `" onfocus=hit=1 autofocus="`, `</textarea><script>hit=1</script>`, `<iframe srcdoc="<script>`,
	`<!--`, `-->`, `]]>`, `&lt;script&gt;`, `<base href=//evil.example>`, `<form action=//evil.example><button>x`,
	`<meta http-equiv=refresh content="0;url=//evil.example">`, `</script><script>hit=1</script>`,
	`<a href=javascript:hit=1>x`,
	"`${hit=1}`", `\u003cscript\u003ehit=1`, `<math><mtext></form><form><mglyph><style></math><img src onerror=hit=1>`,
	strings.Repeat("W", 200), strings.Repeat("ab ", 60), `<details open ontoggle=hit=1>`, `<object data=//evil.example>`,
	`<img src=x onerror="hit=1">`, `<IMG SRC=x ONERROR=hit=1>`, `<img/src=x/onerror=hit=1>`, `<svg/onload=hit=1>`,
	`<svg><animate onbegin=hit=1 attributeName=x dur=1s>`, `<video src=x onerror=hit=1>`, `<audio src=x onerror=hit=1>`,
	`<body onload=hit=1>`, `<input autofocus onfocus=hit=1>`, `<select autofocus onfocus=hit=1>`,
	`<marquee onstart=hit=1>`, `<a href="data:text/html,<script>hit=1</script>">x</a>`, `<embed src=//evil.example>`,
	`<link rel=stylesheet href=//evil.example>`, `<p style="position:fixed;inset:0">x`, `</main></body></html>`,
	`</td></tr></table><script>hit=1</script>`, `</option></select><script>hit=1</script>`, `</code></pre><b>x`,
	`"><input name=csrf value=x>`, `x" data-confirm="y`, `x" formaction="//evil.example`, `{{printf "%s" .Body}}`,
	`{{define "main"}}{{end}}`, `${7*7}`, `#{7*7}`, `%3Cscript%3Ehit=1%3C/script%3E`, `&#60;script&#62;hit=1`,
	`<scr<script>ipt>hit=1</scr</script>ipt>`, `<noscript><p title="</noscript><img src=x onerror=hit=1>">`,
	`<template><script>hit=1</script></template>`, `<dialog open>x`,
}

// A stored text is shown as text on every page, and does not break the layout.
func TestConsole_WhatIsStoredStaysText(t *testing.T) {
	s := boot(t, variables(t)...)
	b := newBrowser(t, s.URL())
	for i, payload := range storedTexts {
		account := strconv.Itoa(4000 + i)
		body, err := json.Marshal(map[string]any{"esme_address": account, "name": payload,
			"sms_template": payload + " {code}", "message_overrides": map[string]string{"generated": payload}})
		require.NoError(t, err)
		a := s.do("POST", "/sandbox/accounts", string(body), "Content-Type", "application/json")
		if a.status == 400 {
			continue // refused by name, so it is nowhere
		}
		require.Equal(t, 201, a.status, a.body)
		s.servlet("otpgenservlet", decoded(t, a)["access_key"].(string), person("919876543210"))
		for _, form := range [][]string{
			{"keys", "account", account, "name", payload, "kind", "secret", "environment", "test"},
			{"webhooks", "account", account, "url", "http://127.0.0.1:9/", "events", "*", "description", payload},
			{"accounts/" + account + "/messages/preview", "medium", "sms", "text", payload + " {code}"},
			{"recipients", "account", account, "environment", "test", "to", payload},
			{"accounts/" + account + "/delete"}, // which asks by name
		} {
			answer := s.do("POST", console.Path+form[0], formOf(form[1:]...), "Content-Type", formType)
			require.Less(t, answer.status, 500, payload)
			require.NotRegexp(t, `<(script|svg|iframe|object|embed|img|base|marquee|video)[^>]*(hit|evil)`, answer.body, payload)
		}
		if i%12 == 0 {
			b.open(console.Path + "accounts/" + account)
			require.Zero(t, eval[int](b, `window.hit || 0`), payload)
		}
	}
	b.look(360, "light")
	for _, page := range []string{"accounts", "inbox", "requests", "keys", "webhooks", "audit"} {
		b.open(console.Path + page)
		require.Zero(t, eval[int](b, `window.hit || 0`), page)
		require.LessOrEqual(t, eval[float64](b, `document.documentElement.scrollWidth - innerWidth`), 0.0, page)
		require.Zero(t, eval[int](b,
			`document.querySelectorAll("main :is(iframe, object, base, meta, script, style)").length`), page)
	}
}

// A webhook is made and tested; its delivery fails, and is sent again.
func TestConsole_AWebhookIsMadeTestedAndReplayed(t *testing.T) {
	var broken atomic.Bool
	var got atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		got.Add(1)
	}))
	defer receiver.Close()
	s := boot(t, variables(t)...)
	b := newBrowser(t, s.URL())
	b.open(console.Path + "webhooks?account=10000000000001")
	b.fill("Address of your server", receiver.URL)
	b.press("Make the webhook")
	b.sees("whsec_")
	eval[chromedp.Void](b, `document.querySelector("td a[href*=webhooks]").click()`)
	b.sees("Nothing was delivered yet")
	broken.Store(true)
	s.servlet("otpgenservlet", documentedKey, person("919876543210"))
	eventually(t, "a try that failed", func() bool {
		b.do(chromedp.Reload())
		return strings.Contains(b.text(), "500")
	})
	broken.Store(false)
	b.press("Send a test")
	b.sees("Right signature")
	eval[chromedp.Void](b, `document.querySelector("td a[href*=deliveries]").click()`)
	b.sees("What was sent")
	before := got.Load()
	b.press("Send it again")
	b.sees("It is being sent again")
	eventually(t, "the delivery", func() bool { return got.Load() > before })
}

// In production the address alone leads a browser to the console, and tells other clients nothing.
func TestConsole_InProductionBrowsersAreLedToIt(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_MODE=production")...)
	require.Contains(t, s.do("GET", "/", "", "Accept", "text/html").body, "Log in")
	require.Equal(t, http.StatusNotFound, s.do("GET", "/", "").status)
	require.Equal(t, http.StatusNotFound, s.do("GET", "/", "", "Accept", "application/json").status)
}
