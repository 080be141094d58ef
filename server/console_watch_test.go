package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/insight"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// watched stops a range of numbers, and writes all counts, so that the page Security shows them.
func (b *booted) watched(t *testing.T) {
	t.Helper()
	now := otp.At(time.Now())
	b.counts.Events([]otp.Event{{Kind: otp.EventPrefixStop, Account: "10000000000001", Environment: otp.Live,
		Sending: otp.Sending{Channels: otp.SMS, Prefix: "919876"}}}, now)
	require.NoError(t, b.insight.Write(t.Context(), now))
	require.NoError(t, b.insight.Evaluate(t.Context(), now))
}

// stopped makes an account and sends six unverified codes to numbers with +919551, which stops the range if columns
// allow so few. It returns the account's address.
func (b *booted) stopped(t *testing.T, columns string) string {
	t.Helper()
	gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(gateway.Close)
	made := b.account(`{"sms_channels":"` + gateway.URL + `/?to={to}&text={text}",` + columns + `}`)
	for n := range 12 {
		b.servlet("otpgenservlet", made.AccessKey, person(fmt.Sprintf("9195514923%02d", n)))
	}
	return made.Address
}

// An operator sees statistics and alerts, acknowledges an alert, and reviews the checklist.
func TestConsole_SecurityIsWatched(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=6")...)
	s.servlet("otpgenservlet", documentedKey, person("919876543210"))
	shop := s.stopped(t, `"esme_address":"4712"`)
	s.servlet("otpgenservlet", "nobody-has-this-key", person("919876543210"))
	s.watched(t)
	b := newBrowser(t, s.URL())
	b.open(console.Path + "watch")
	for _, text := range []string{"prefix_stopped", "+919876", "Why, and lift", "servlet unknown_credential",
		"IP2Location",
		"Keys are rotated every 90 days"} {
		b.sees(text)
	}
	b.press("Acknowledge prefix_stopped +919876")
	b.sees("Acknowledged.")
	b.sees("acknowledged")
	eval[chromedp.Void](b, `document.querySelector("a[href$='`+shop+`/guards']").click()`)
	b.sees("919551")
	b.press("Lift")
	b.confirm()
	b.sees("Codes go to these numbers again")
	b.sees("No prefix is stopped")
	b.open(console.Path + "watch?span=week&account=10000000000001")
	b.sees("By day")
	response := s.do("POST", console.Path+"watch/review", "item=csrf&note=looked", "Content-Type",
		"application/x-www-form-urlencoded", "Origin", s.URL())
	require.Contains(t, []int{200, 303}, response.status, response.body)
	b.open(console.Path + "watch")
	b.sees("looked")

	t.Run("the audit log is filtered, verified and exported", func(t *testing.T) {
		b.open(console.Path + "audit")
		b.fill("Action", "guard.prefix_lifted")
		b.press("Search")
		b.sees("919551")
		require.NotContains(t, b.text(), "audit.read", "the filter lets others through")
		eval[chromedp.Void](b, `document.querySelector("main details").open = true`)
		b.press("Verify the whole log")
		b.sees("entries fit")
		b.fill("Checkpoints from before", eval[string](b, `document.querySelector(".shell code").innerText`))
		b.press("Verify")
		b.sees("and so do 1 checkpoints")
		folder := t.TempDir()
		_, err := chromedp.Call(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
			Behavior: "allow", DownloadPath: folder,
			BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID})
		require.NoError(t, err)
		b.open(console.Path + "audit")
		eval[chromedp.Void](b, `document.querySelector("main details").open = true`)
		for ending, file := range map[string]string{"JSON": "audit.jsonl", "CSV": "audit.csv"} {
			b.do(chromedp.Click(`//button[normalize-space()="Export all as ` + ending + `"]`))
			eventually(t, file, func() bool {
				content, err := os.ReadFile(filepath.Join(folder, file))
				return err == nil && strings.Contains(string(content), "guard.prefix_lifted")
			})
		}
	})

	t.Run("a person is erased and the certificate holds", func(t *testing.T) {
		b.open(console.Path + "privacy")
		b.fill("Person", "+919876543210")
		b.press("See what is kept")
		b.sees("1 code and 1 line ")
		b.press("Erase this person")
		b.confirm()
		b.sees("Keep the certificate")
		certificate := eval[string](b, `document.querySelector(".once .shell code").innerText`)
		b.fill("Certificate", certificate)
		b.press("Check")
		b.sees("This installation has signed it")
		b.allow("400 (Bad Request)")
		b.fill("Certificate", strings.Replace(certificate, ".", ".A", 1))
		b.press("Check")
		b.sees("certificate")
		require.NotContains(t, b.text(), "has signed it")
	})
}

// pauses has the alert key_country switch a key off, if it acts: a call comes from a new country.
func (b *booted) pauses(account string, key otp.ID) {
	b.t.Helper()
	now := otp.At(time.Now())
	for country, at := range map[string]otp.Millis{"AU": now - otp.Day, "US": now} {
		b.counts.Call(insight.Call{Door: "v1", Kind: "ok", Account: account, Key: key, Country: country}, at)
	}
	require.NoError(b.t, b.insight.Write(b.t.Context(), now))
	require.NoError(b.t, b.insight.Evaluate(b.t.Context(), now))
	b.engine.Forget()
}

// A key that an alert switched off is switched on again on its page, which says why it is off.
func TestConsole_AKeyThatAnAlertSwitchedOffIsSwitchedOn(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_ALERT_ACTIONS=key_country")...)
	const account = "10000000000001"
	made, secret, _, err := s.manage.Keys.Create(t.Context(), manage.Operator(), manage.NewKey{Account: account,
		Name: "web shop", Kind: otp.SecretKey, Environment: otp.Test})
	require.NoError(t, err)
	send := func() int {
		return s.do("POST", "/v1/send", `{"to":"+919876543210","method":"sms","type":"verification"}`, "X-API-Key",
			string(secret.Bytes()), "Content-Type", "application/json").status
	}
	page := console.Path + "keys/" + made.ID.Text("key")
	require.NotContains(t, s.do("GET", page, "").body, "Switch it on", "it is on")

	s.pauses(account, made.ID)
	require.Equal(t, 401, send(), "the alert switched it off")

	b := newBrowser(t, s.URL())
	b.open(page)
	b.sees("disabled")
	b.sees("Alert key_country switched it off")
	b.sees("and never in the 30 days before")
	b.press("Switch it on again")
	b.sees("The key is on again")
	require.NotContains(t, b.text(), "switched it off")
	require.NotContains(t, b.text(), "Switch it on again")
	eventually(t, "the key is accepted", func() bool { return send() == 201 })

	seen, err := s.manage.Keys.Find(t.Context(), manage.Operator(), made.ID)
	require.NoError(t, err)
	settings := seen.Settings()
	settings.Disabled = true
	_, _, err = s.manage.Keys.Change(t.Context(), manage.Operator(), seen, settings)
	require.NoError(t, err)
	b.open(page)
	b.sees("Switch it on again")
	require.NotContains(t, b.text(), "switched it off", "this time a person did")

	require.NoError(t, s.manage.Keys.Revoke(t.Context(), manage.Operator(), made.ID))
	b.open(page)
	require.NotContains(t, b.text(), "Switch it on again", "what is revoked stays so")
}
