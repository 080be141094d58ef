package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
)

// state is a page after an action of a reader.
type state struct {
	name, page string
	do         func(*browser)
}

// pressed returns a state after pressing a button.
func pressed(name, page, button, sees string) state {
	return state{name, page, func(b *browser) {
		b.press(button)
		b.sees(sees)
	}}
}

// states returns pages after their forms were sent, in order; the last ones need the owner's login.
func (o *ownedSandbox) states() []state {
	shop := "accounts/" + o.account
	return []state{
		pressed("try-answered", "try?account=10000000000001", "Make the call", "The answer"),
		{"recipients-answered", "recipients", func(b *browser) {
			b.fill("Full number or mailbox", "+919876543210")
			b.press("Find out")
			b.sees("taken")
		}},
		{"privacy-counted", "privacy", func(b *browser) {
			b.fill("Person", "+919876543210")
			b.press("See what is kept")
			b.sees("Erase this person")
		}},
		{"keys-made", "keys", func(b *browser) {
			b.fill("Name", "web shop")
			b.press("Make the key")
			b.sees("Shown this once")
		}},
		pressed("messages-shown", "accounts/10000000000001/messages", "Show it", "left in the last"),
		pressed("webhook-tested", "webhooks/"+o.webhook, "Send a test", "Right signature"),
		pressed("person-link", "people/"+o.person, "Make a link for a new password", "recovery_token"),
		pressed("confirm-dialogue", shop, "Delete the account", "Type “Shop”"),
		{"confirm-page", shop, func(b *browser) {
			eval[chromedp.Void](b, `document.querySelector("form[action$=delete]").submit()`)
			b.sees("Type “Shop”")
		}},
		{"account-refused", shop, func(b *browser) {
			b.fill("otp_length", "3")
			b.press("Save")
			b.sees("must be")
		}},
		{"request-opened", "requests", func(b *browser) {
			eval[chromedp.Void](b, `document.querySelector("details.call").open = true`)
		}},
		{"audit-verified", "audit", func(b *browser) {
			eval[chromedp.Void](b, `document.querySelector("main details").open = true`)
			b.press("Verify the whole log")
			b.sees("entries fit")
		}},
		{"problem", "keys/nothing", func(b *browser) { b.sees("no such key") }},
		{"login-code", "login", func(b *browser) {
			b.fill("E-mail", "owner@shop.example")
			b.fill("Password", ownerPassword)
			b.press("Log in")
			b.sees("Code from your authenticator app")
		}},
		{"security", "login?to=" + console.Path + "security", func(b *browser) {
			b.fill("E-mail", "owner@shop.example")
			b.fill("Password", ownerPassword)
			b.press("Log in")
			b.fill("Password", ownerPassword)
			b.fill("Code from your authenticator app or a backup code", appCodeOf(b.t, o.app, 30*time.Second))
			b.press("Log in")
			b.sees("Where you are logged in")
		}},
		pressed("security-app", "security", "Add an authenticator app", "Scan the picture"),
	}
}

// The type checker finds nothing in the scripts, and finds a method that is not there.
func TestConsole_ScriptsHaveSoundTypes(t *testing.T) {
	needsTools(t)
	console, passkeys := absolute(t, "console/assets/console.js"), absolute(t, "console/assets/passkeys.js")
	text, err := os.ReadFile(console)
	require.NoError(t, err)
	broken := filepath.Join(t.TempDir(), "broken.js")
	text = bytes.Replace(text, []byte(".showModal()"), []byte(".showModel()"), 1)
	require.NoError(t, os.WriteFile(broken, text, 0o644))
	found, err := tool(t, "typescript/bin/tsc", "--noEmit", "--skipLibCheck", "--allowJs", "--checkJs", "--strict",
		"--moduleDetection", "force", "--typeRoots", t.TempDir(), "--target", "es2022", "--lib", "es2022,dom,dom.iterable",
		console, passkeys, broken)
	require.Error(t, err)
	require.Regexp(t, `^\S*broken\.js\S+ error TS\d+: Property 'showModel' does not exist.*\n$`, found)
}
