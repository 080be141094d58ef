package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// state is a page after an action of a reader.
type state struct {
	name, page string
	do         func(*browser)
}

// posted returns a state after filling in fields (label, text, label, text) and pressing a button.
func posted(name, page, button, sees string, fields ...string) state {
	return state{name, page, func(b *browser) {
		for i := 0; i < len(fields); i += 2 {
			b.fill(fields[i], fields[i+1])
		}
		b.press(button)
		b.sees(sees)
	}}
}

// states returns pages after their forms were sent, in order: without a login, then of the owner, then of a developer.
func (o *ownedSandbox) states() []state {
	shop, demo := "accounts/"+o.account, "accounts/10000000000001"
	return slices.Concat([]state{
		{"guards-stopped", shop + "/guards", func(b *browser) { b.sees("+919551") }},
		posted("webhook-made", "webhooks", "Make the webhook", "whsec_", "Address of your server", "http://127.0.0.1:9/all"),
		posted("webhook-refused", "webhooks", "Make the webhook", "events must be *, or some of",
			"Address of your server", "http://127.0.0.1:9/", "Events", "no.such"),
		posted("webhook-tested", "webhooks/"+o.webhook, "Send a test", "Right signature"),
		posted("try-answered", "try?account=10000000000001", "Make the call", "The answer"),
		posted("recipients-answered", "recipients", "Find out", "taken", "Full number or mailbox", "+919876543210"),
		posted("privacy-counted", "privacy", "See what is kept", "Erase this person", "Person", "+919876543210"),
		posted("keys-made", "keys", "Make the key", "Shown this once", "Name", "web shop"),
		{"delivery", "webhooks?account=10000000000001", func(b *browser) {
			eval[chromedp.Void](b, `document.querySelector("td a[href*=webhooks]").click()`)
			b.sees("Change it")
			eventually(b.t, "a delivery", func() bool {
				b.do(chromedp.Reload())
				return strings.Contains(b.text(), "key.created")
			})
			eval[chromedp.Void](b, `document.querySelector("td a[href*=deliveries]").click()`)
			b.sees("What was sent")
		}},
		posted("messages-shown", demo+"/messages", "Show it", "left in the last"),
		posted("messages-tested", demo+"/messages", "Send", "Channels that were tried", "To", "+919876543210"),
		posted("tests-refused", demo+"/tests", "Add", "code", "Number", "+919551492394", "Code", "1", "What for", "review"),
		posted("new-account-made", "new-account", "Make the account", "Shown this once", "Address", "4713"),
		posted("new-account-refused", "new-account", "Make the account", "must be", "Address", "0"),
		posted("people-invited", "people", "Invite", "#invitation=", "E-mail", "third@shop.example"),
		posted("person-link", "people/"+o.person, "Make a link for a new password", "recovery_token"),
		posted("confirm-dialogue", shop, "Delete the account", "Type “Shop”"),
		{"confirm-page", shop, func(b *browser) {
			eval[chromedp.Void](b, `document.querySelector("form[action$=delete]").submit()`)
			b.sees("Type “Shop”")
		}},
		posted("account-refused", shop, "Save", "must be", "otp_length", "3"),
		posted("account-saved", shop, "Save", "The account was changed", "otp_length", "7"),
		{"request-opened", "requests", func(b *browser) {
			eval[chromedp.Void](b, `document.querySelector("details.call").open = true`)
		}},
		{"audit-verified", "audit", func(b *browser) {
			eval[chromedp.Void](b, `document.querySelector("main details").open = true`)
			b.press("Verify the whole log")
			b.sees("entries fit")
		}},
		{"problem", "keys/nothing", func(b *browser) { b.sees("no such key") }},
		posted("register-refused", "register", "Make my login", "password", "E-mail", "new@shop.example", "Your name", "New",
			"Password", "short"),
		{"key-advice", "keys", func(b *browser) {
			id, isID := otp.ParseID("key", o.keys[0])
			require.True(b.t, isID)
			now := otp.At(time.Now()) // uses are written once a minute
			require.NoError(b.t, o.store.Credentials.AddUses(b.t.Context(), []sql.KeyUse{{
				KeyDay: sql.KeyDay{ID: id, Day: sql.DayOf(now), Calls: 1, Network: "127.0.0.0/24"}, At: now}}))
			b.open(console.Path + "keys/" + o.keys[0])
			b.sees("/api/keys/key_")
		}},
		{"key-paused", "keys", func(b *browser) {
			made, _, _, err := o.manage.Keys.Create(b.t.Context(), manage.Operator(), manage.NewKey{Account: o.account,
				Name: "paused", Kind: otp.SecretKey, Environment: otp.Test})
			require.NoError(b.t, err)
			o.pauses(o.account, made.ID)
			b.open(console.Path + "keys/" + made.ID.Text("key"))
			b.sees("Alert key_country switched it off")
		}},
		{"review-refused", "watch", func(b *browser) {
			eval[chromedp.Void](b, `(() => { const last = [...document.querySelectorAll("td details")].at(-1);
				last.open = true;
				last.querySelector("input[name=note]").value = "looked\u202e at"; })()`)
			eval[chromedp.Void](b, `[...document.querySelectorAll("td details button")].at(-1).click()`)
			b.sees("note")
		}},
	}, o.loginStates())
}

// loginStates returns the states of the login, and of pages that need one.
func (o *ownedSandbox) loginStates() []state {
	return []state{
		posted("login-refused", "login", "Log in", "password", "E-mail", "owner@shop.example", "Password",
			"not the password"),
		posted("login-code", "login", "Log in", "a code from your authenticator app",
			"E-mail", "owner@shop.example", "Password", ownerPassword),
		{"login-code-refused", "login", func(b *browser) {
			posted("", "", "Log in", "a code from", "E-mail", "owner@shop.example", "Password", ownerPassword).do(b)
			posted("", "", "Log in", "The code is wrong", "Authenticator code or backup code", "000000").do(b)
		}},
		{"security", "login?to=" + console.Path + "security", func(b *browser) {
			posted("", "", "Log in", "a code from", "E-mail", "owner@shop.example", "Password", ownerPassword).do(b)
			posted("", "", "Log in", "Where you are logged in",
				"Authenticator code or backup code", appCodeOf(b.t, o.app, 30*time.Second)).do(b)
		}},
		posted("security-app", "security", "Add an authenticator app", "Scan the picture"),
		{"security-app-refused", "security", func(b *browser) {
			posted("", "", "Add an authenticator app", "Scan the picture").do(b)
			posted("", "", "Confirm", "Type the code that the app shows now", "Code that the app shows", "000000").do(b)
		}},
		posted("security-codes", "security", "Make new backup codes", "Your backup codes"),
		posted("security-refused", "security", "Change it", "password", "Current password", "wrong", "New password", "wrong"),
		{"privacy-erased", "privacy", func(b *browser) {
			posted("", "", "See what is kept", "Erase this person", "Person", "+919876543210").do(b)
			b.press("Erase this person")
			b.confirm()
			b.sees("Keep the certificate")
		}},
		{"forbidden", "security", func(b *browser) {
			b.press("Log out")
			posted("", "", "Log in", "Inbox", "E-mail", "dev@shop.example", "Password", ownerPassword).do(b)
			b.open(console.Path + "people")
			b.sees("read:people")
		}},
		{"other-login", "security", func(b *browser) {
			eval[chromedp.Void](b, `document.querySelector("input[name=csrf]").value = "another"`)
			b.press("Log out")
			b.sees("another login")
		}},
	}
}

// The type checker finds nothing in the scripts, and finds a method that is not there.
func TestConsole_ScriptsHaveSoundTypes(t *testing.T) {
	needsTools(t)
	t.Parallel()
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
