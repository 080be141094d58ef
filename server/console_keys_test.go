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
			return [e.innerText?.trim(), e.labels?.[0]?.innerText.trim()].includes(`+quotedJS(label)+`); })()`) {
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
	name := eval[string](b, `/“(.*)”/.exec(document.querySelector("dialog label").innerText)[1]`)
	b.do(chromedp.KeyEvent(name), chromedp.KeyEvent(kb.Enter))
	b.sees("The key was revoked")
}
