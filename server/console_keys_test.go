package main

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/otp"
	"otpbridge/server/webhook"
)

// controls selects the controls of a page.
const controls = `[...document.querySelectorAll(
	"a[href], button, input:not([type=hidden]), select, textarea, summary")].filter((e) => !e.disabled &&
	!e.closest(":disabled") && e.checkVisibility() && !e.hidden)`

// tabTo presses Tab until the control with this text, name or label has the focus.
func (b *browser) tabTo(label string) {
	b.t.Helper()
	for range 200 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if eval[bool](b, `(() => { const e = document.activeElement;
			return [e.innerText?.replace(/\s+/g, " ").trim(), e.labels?.[0]?.innerText.trim()].includes(`+quotedJS(label)+`); })()`) {
			return
		}
	}
	require.Failf(b.t, "Tab never comes to it", "%q", label)
}

// Tab reaches every control, which shows the focus. Arrows choose among the radio buttons of a group.
func TestConsole_EveryControlIsReachedByKeyboard(t *testing.T) {
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919876543210"))
	b := newBrowser(t, s.URL())
	for _, page := range []string{"inbox", "try", "accounts/10000000000001/messages", "recipients", "keys", "audit",
		"login"} {
		b.open(console.Path + page)
		eval[chromedp.Void](b, `window.reached = new Set()`)
		for range eval[int](b, controls+`.length + 4 * document.querySelectorAll("[type=date]").length`) + 2 {
			b.do(chromedp.KeyEvent(kb.Tab))
			require.Empty(t, eval[string](b, `(() => { const e = document.activeElement, s = getComputedStyle(e);
				window.reached.add(e);
				return e === document.body || s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1 ? "" : e.outerHTML;
			})()`), "%s: has the focus and does not show it", page)
		}
		require.Empty(t, eval[[]string](b, controls+`.filter((e) => !window.reached.has(e) && e.type !== "radio")
			.map((e) => e.outerHTML)`), "%s: Tab does not come to it", page)
	}
}

// A reader can get a first code, and make, use and end a key, with the keyboard alone.
func TestConsole_ByKeyboardAlone(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=6")...)
	s.stopped(t, `"esme_address":"4712"`)
	b := newBrowser(t, strings.Replace(s.URL(), "127.0.0.1", "localhost", 1)) // passkeys need a name
	b.authenticator()
	b.allow("status of 401") // a login without the second factor
	enter := func(label, text string) {
		if eval[bool](b, `document.activeElement === document.body`) {
			b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter)) // skip to the content
		}
		b.tabTo(label)
		b.do(chromedp.KeyEvent(text), chromedp.Sleep(0), chromedp.WaitReady("main"))
	}
	b.open("/")
	enter("Try it", kb.Enter)
	b.sees("Make the call")
	enter("Make the call", kb.Enter)
	b.sees("OTP Generated Successfully")
	b.open(console.Path + "keys?account=10000000000001")
	enter("Name", "web shop")
	enter("Make the key", kb.Enter)
	b.sees("Shown this once")
	enter("web shop", kb.Enter)
	b.sees("Calls in 30 days")
	enter("Rotate: make a successor, keep this one for a day", kb.Enter)
	b.sees("Successor")
	enter("Revoke it", kb.Enter)
	b.confirm()
	b.sees("The key was revoked")
	s.watched(t)
	app := ""
	for _, flow := range append(keyboardFlows, replayFlow) {
		if flow.page == replayFlow.page {
			eventually(t, "a delivery", func() bool { return delivered(s) })
		}
		b.open(console.Path + flow.page)
		for _, step := range flow.steps {
			switch step.keys {
			case appCode:
				app = eval[string](b, `document.querySelector(".once p code").innerText`)
				enter(step.label, appCodeOf(t, app, 0))
			case theCertificate:
				enter(step.label, eval[string](b, `document.querySelector(".once pre code").innerText`))
			case laterCode:
				enter(step.label, appCodeOf(t, app, 30*time.Second))
			default:
				enter(step.label, step.keys)
			}
			b.sees(step.sees)
		}
	}
}

// appCodeOf returns the code that an app with a secret shows at a later time.
func appCodeOf(t *testing.T, secret string, later time.Duration) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, time.Now().Add(later))
	require.NoError(t, err)
	return code
}

// keyStep is a control, the keys that are pressed on it, and the text that the page then shows.
type keyStep struct{ label, keys, sees string }

type keyFlow struct {
	page  string
	steps []keyStep
}

// Placeholders for the current and the next code of an app with the secret on the page, and for the certificate there.
const appCode, laterCode, theCertificate = "{code}", "{later code}", "{certificate}"

// keyboardFlows are tasks on the pages. The demo account has already sent a first code.
var keyboardFlows = []keyFlow{
	{"new-account", []keyStep{{"Address", "4711", ""}, {"Make the account", kb.Enter, "Shown this once"}}},
	{"accounts/10000000000001", []keyStep{{"otp_length", "8", ""}, {"Save", kb.Enter, "The account was changed"}}},
	{"accounts/10000000000001/messages", []keyStep{{"Text to try", "{code} it is", ""},
		{"Show it", kb.Enter, "12345678 it is"}}},
	{"accounts/10000000000001/tests", []keyStep{{"Number", "+919551492394", ""}, {"Code", "24681012", ""},
		{"What for", "review", ""}, {"Add", kb.Enter, "was added"}}},
	{"recipients", []keyStep{{"Full number or mailbox", "+919876543210", ""}, {"Find out", kb.Enter, "taken"}}},
	{"webhooks", []keyStep{{"Address of your server", "http://127.0.0.1:9/", ""}, {"Make the webhook", kb.Enter, "whsec_"},
		{"http://127.0.0.1:9/", kb.Enter, "Nothing was delivered yet"}, {"Send a test", kb.Enter, "Right signature"}}},
	{"keys?account=10000000000001", []keyStep{{"Name", "told", ""}, {"Make the key", kb.Enter, "Shown this once"}}},
	{"people", []keyStep{{"E-mail", "dev@shop.example", ""}, {"Invite", kb.Enter, "#invitation="}}},
	{"watch", []keyStep{{"Acknowledge prefix_stopped +919876", kb.Enter, "Acknowledged."}}},
	{"audit", []keyStep{{"Verify or export", kb.Enter, "Verify the whole log"},
		{"Verify the whole log", kb.Enter, "entries fit"}}},
	{"audit", []keyStep{{"Action", "key.lost", ""}, {"Search", kb.Enter, "No entry matches"}}},
	{"accounts/4712/guards", []keyStep{{"Lift", kb.Enter, "each costs money"},
		{"Type “+919551” to go on", "+919551", ""}, {"Lift it", kb.Enter, "No prefix is stopped"}}},
	{"inbox", []keyStep{{"Empty the inbox", kb.Enter, "Codes that were sent stay valid"},
		{"Empty it", kb.Enter, "The inbox is empty"}}},
	{"privacy", []keyStep{{"Person", "+919876543210", ""}, {"See what is kept", kb.Enter, "1 code "},
		{"Erase this person", kb.Enter, "Type"}, {"Type “+919876543210” to go on", "+919876543210", ""},
		{"Erase", kb.Enter, "Keep the certificate"}, {"Certificate", theCertificate, ""},
		{"Check", kb.Enter, "This installation has signed it"}}},
	{"migration/10000000000001", []keyStep{{"Upstream address", "http://127.0.0.1:9/otpauthapi", ""},
		{"Set the upstream", kb.Enter, "The account was changed"}, {"Who answers from then on", "f", ""},
		{"Change it", kb.Enter, "Type"}, {"Type “10000000000001” to go on", "10000000000001", ""},
		{"Change it", kb.Enter, "It is set"}}},
	{"register", []keyStep{{"E-mail", "owner@shop.example", ""}, {"Your name", "Ada", ""},
		{"Password", "correct-horse-97-battery", ""}, {"Make my login", kb.Enter, "You have a login"},
		{"Add a passkey", kb.Enter, "Your backup codes"}, {"Add an authenticator app", kb.Enter, "Scan the picture"},
		{"Code that the app shows", appCode, ""}, {"Confirm", kb.Enter, "My phone"},
		{"Log out", kb.Enter, "You are logged out"}}},
	{"login", []keyStep{{"Log in with a passkey", kb.Enter, "owner@shop.example"},
		{"Log out", kb.Enter, "You are logged out"}}},
	{"login?to=/console/security", []keyStep{{"E-mail", "owner@shop.example", ""},
		{"Password", "correct-horse-97-battery", ""}, {"Log in", kb.Enter, "a code from your authenticator app"},
		{"Authenticator code or backup code", laterCode, ""}, {"Log in", kb.Enter, "Where you are logged in"},
		{"Remove", kb.Enter, "Type “This device”"}, {"Type “This device” to go on", "This device", ""},
		{"Remove it", kb.Enter, "The factor was removed"}}},
}

// replayFlow needs a delivery of the webhook that keyboardFlows make.
var replayFlow = keyFlow{"webhooks?account=10000000000001", []keyStep{{"http://127.0.0.1:9/", kb.Enter, "Newest first"},
	{"key.created", kb.Enter, "What was sent"}, {"Send it again", kb.Enter, "It is being sent again"}}}

// delivered reports whether a webhook of the demo account was tried.
func delivered(s *booted) bool {
	by := webhook.Asker{Account: "10000000000001", Actor: otp.Actor{Kind: "operator"}}
	all, err := s.webhooks.List(s.t.Context(), "", by.Account)
	require.NoError(s.t, err)
	found, err := s.webhooks.Deliveries(s.t.Context(), by, all[0].ID, webhook.DeliveryQuery{Limit: 1})
	require.NoError(s.t, err)
	return len(found) > 0
}
