package main

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
)

// controls are what a reader of a page can use.
const controls = `[...document.querySelectorAll(
	"a[href], button, input:not([type=hidden]), select, textarea, summary")].filter((e) => !e.disabled &&
	!e.closest(":disabled") && e.checkVisibility() && !e.hidden)`

// tabTo presses Tab until a control with a label has the focus, as its text, name or label.
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

// Every control is reached by Tab and shows it. Arrows choose among the buttons of a group.
func TestConsole_EveryControlIsReachedByKeyboard(t *testing.T) {
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919876543210"))
	b := newBrowser(t, s.URL())
	for _, page := range []string{"inbox", "try", "accounts/10000000000001/messages", "recipients", "keys", "audit", "login"} {
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

// A first code, and a key from its making to its end, with the keyboard alone.
func TestConsole_ByKeyboardAlone(t *testing.T) {
	s := boot(t, variables(t)...)
	b := newBrowser(t, s.URL())
	enter := func(label, text string) {
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
	enter("Revoke it", kb.Enter)
	b.confirm()
	b.sees("The key was revoked")
	s.watched(t)
	for _, flow := range keyboardFlows {
		b.open(console.Path + flow.page)
		for _, step := range flow.steps {
			enter(step.label, step.keys)
			b.sees(step.sees)
		}
	}
}

// keyStep is a control that Tab comes to, the keys that are then pressed, and what the page shows in the end.
type keyStep struct{ label, keys, sees string }

// keyboardFlows are what people do on pages, from the page to its end. The demo account has had a first code.
var keyboardFlows = []struct {
	page  string
	steps []keyStep
}{
	{"new-account", []keyStep{{"Address", "4711", ""}, {"Make the account", kb.Enter, "Shown this once"}}},
	{"accounts/10000000000001", []keyStep{{"otp_length", "8", ""}, {"Save", kb.Enter, "The account was changed"}}},
	{"accounts/10000000000001/messages", []keyStep{{"Text to try", "{code} it is", ""}, {"Show it", kb.Enter, "12345678 it is"}}},
	{"accounts/10000000000001/tests", []keyStep{{"Number", "+919551492394", ""}, {"Code", "24681012", ""},
		{"What for", "review", ""}, {"Add", kb.Enter, "It was changed"}}},
	{"recipients", []keyStep{{"Number or mailbox, whole", "+919876543210", ""}, {"Find out", kb.Enter, "taken"}}},
	{"webhooks", []keyStep{{"Address of your server", "http://127.0.0.1:9/", ""}, {"Make the webhook", kb.Enter, "whsec_"},
		{"http://127.0.0.1:9/", kb.Enter, "Nothing was delivered yet"}, {"Send a test", kb.Enter, "Right signature"}}},
	{"people", []keyStep{{"E-mail", "dev@shop.example", ""}, {"Invite", kb.Enter, "#invitation="}}},
	{"watch", []keyStep{{"Acknowledge prefix_stopped +919876", kb.Enter, "It is noted that you know"}}},
	{"audit", []keyStep{{"Verify it, or take it away", kb.Enter, "Verify the whole log"},
		{"Verify the whole log", kb.Enter, "entries fit"}}},
	{"inbox", []keyStep{{"Empty the inbox", kb.Enter, ""}, {"Empty it", kb.Enter, "The inbox is empty"}}},
	{"privacy", []keyStep{{"Person", "+919876543210", ""}, {"See what is kept", kb.Enter, "1 codes"},
		{"Erase this person", kb.Enter, ""}, {"Type the person's id once more", "+919876543210", ""},
		{"Erase", kb.Enter, "Keep the certificate"}}},
	{"migration/10000000000001", []keyStep{{"What stands before the servlets' names there", "http://127.0.0.1:9/otpauthapi", ""},
		{"Set the upstream", kb.Enter, "The account was changed"}}},
	{"register", []keyStep{{"E-mail", "owner@shop.example", ""}, {"Your name", "Ada", ""},
		{"Password", "correct-horse-97-battery", ""}, {"Make my login", kb.Enter, "You have a login"}}},
}
