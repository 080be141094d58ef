package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// deceptive are texts that show people something different from their content.
var deceptive = []string{
	"Shop\u202eknaB", "Shop\u2066", "\u200fShop", "Sh\u200bop", "Shop\u0000", "Shop\x1b[2J", "Shop\u0085",
	"Shop\u2028Bank", "Sh\u00adop",
	"\ufeffShop", "Shop\x7f", "Shop\u061c", "Sh\x80op", "Shop\u2060", "Shop\b\b\b\bBank",
}

// deceived puts a text into each column that people read, one at a time.
var deceived = map[string]func(a *otp.Account, text string){
	"name":              func(a *otp.Account, text string) { a.Name = text },
	"sms_sender":        func(a *otp.Account, text string) { a.SMSSender = &text },
	"email_sender":      func(a *otp.Account, text string) { text += " <codes@shop.example>"; a.EmailSender = &text },
	"dlt_entity_id":     func(a *otp.Account, text string) { a.DLTEntityID = &text },
	"dlt_template_id":   func(a *otp.Account, text string) { a.DLTTemplateID = &text },
	"sms_channels":      func(a *otp.Account, text string) { text = "discard:#" + text; a.SMSChannels = &text },
	"email_channels":    func(a *otp.Account, text string) { text = "discard:#" + text; a.EmailChannels = &text },
	"sms_template":      func(a *otp.Account, text string) { text += " {code}"; a.SMSTemplate = &text },
	"email_template":    func(a *otp.Account, text string) { text += " {code}"; a.EmailTemplate = &text },
	"message_overrides": func(a *otp.Account, text string) { a.Overrides = map[string]string{"error": text} },
	"departments":       func(a *otp.Account, text string) { a.Departments = []string{"sales", text} },
	"templates": func(a *otp.Account, text string) {
		a.Templates = map[string]string{"login": text +
			" {code}"}
	},
	"cors_allowed_origins": func(a *otp.Account, text string) { a.CORSOrigins = []string{"https://shop.example" + text} },
	"cors_allowed_methods": func(a *otp.Account, text string) { a.CORSMethods = []string{text} },
	"cors_allowed_headers": func(a *otp.Account, text string) { a.CORSHeaders = []string{text} },
}

func TestAccounts_RefuseTextsThatDeceive(t *testing.T) {
	h := open(t, sqlite(t))
	plain := otp.DefaultAccount("4711")
	plain.Cipher = "none"
	_, err := h.Accounts.Import(background, otp.Actor{}, []manage.Imported{{Account: plain}}, false)
	require.NoError(t, err)
	for column, set := range deceived {
		for _, text := range deceptive {
			changed := plain
			set(&changed, text)
			err := changeTo(h, changed, column)
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%s %q: %v", column, text, err)
			require.ErrorContains(t, err, column+": ")

			asked := otp.DefaultAccount("4712")
			asked.Cipher = "none"
			set(&asked, text)
			_, err = h.Accounts.Import(background, otp.Actor{}, []manage.Imported{{Account: asked}}, false)
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%s %q: %v", column, text, err)
			require.ErrorContains(t, err, column+": ")

			_, _, err = h.Sandbox.CreateAccount(background, manage.NewAccount{Account: asked})
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%s %q: %v", column, text, err)
			require.ErrorContains(t, err, column+": ")
		}
	}
	for _, text := range deceptive {
		_, _, _, err := h.Keys.Create(background, manage.Operator(), manage.NewKey{Account: "4711", Name: text})
		require.ErrorContains(t, err, "name: ", "%q", text)
	}
	kept, err := h.Accounts.Find(background, "4711")
	require.NoError(t, err)
	require.Equal(t, plain.Name, kept.Name)
	require.NotContains(t, kept.Templates, "login")
}

// Real texts are accepted, and come back unchanged.
func TestAccounts_TakeTextsInEveryScript(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		for i, text := range []string{
			"Zürich Büro", "दुकान", "دكان", "商店 🛒", "O'Brien & Söhne", "a\u0301e\u0301", "\U0001f511", "Ж",
		} {
			account := otp.DefaultAccount(fmt.Sprintf("48%d", i+1))
			account.Cipher, account.EmailEnabled = "none", true
			account.Name, account.SMSSender, account.Departments = text, &text, []string{text}
			account.Overrides = map[string]string{"error": text}
			words := "Subject: " + text + "\r\n\r\n" + text + "\n\u0915\u094d\u200d \U0001f468\u200d\U0001f469 {code}\n"
			account.EmailTemplate, account.Templates = &words, map[string]string{text + ":login/email": words}
			account.CORSOrigins, account.CORSMethods = []string{"https://shop.example:8443"}, []string{"POST"}
			account.CORSHeaders = []string{"X-Request-Id"}
			_, err := h.Accounts.Import(background, otp.Actor{}, []manage.Imported{{Account: account}}, false)
			require.NoError(t, err, text)
			stored, err := h.Accounts.Find(background, account.Address)
			require.NoError(t, err)
			require.NoError(t, stored.Broken)
			stored.CreatedAt, stored.UpdatedAt = 0, 0
			require.Equal(t, account, stored.Account)
		}
	})
}

// A row that was written with SQL keeps working, and its other columns can be changed.
func TestChange_LooksAtWhatIsWritten(t *testing.T) {
	h := open(t, sqlite(t))
	account := otp.DefaultAccount("4711")
	account.Cipher = "none"
	_, err := h.Accounts.Import(background, otp.Actor{}, []manage.Imported{{Account: account}}, false)
	require.NoError(t, err)
	stored, err := h.Accounts.Find(background, "4711")
	require.NoError(t, err)
	stored.Name = "Shop\u202e" // as SQL may have written it
	stored.Enabled = false
	require.NoError(t, changeTo(h, stored.Account, "enabled"))
	require.ErrorContains(t, changeTo(h, stored.Account, "enabled", "name"), "name: ")
}

// A key's lists are checked against the size of their columns, on both databases.
func TestCreateKey_RefusesListsThatNoColumnHolds(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		account := otp.DefaultAccount("4711")
		account.Cipher = "none"
		_, err := h.Accounts.Import(background, otp.Actor{}, []manage.Imported{{Account: account}}, false)
		require.NoError(t, err)
		label := strings.Repeat("a", 63)
		widest := "https://" + label + "." + label + "." + label + "." + strings.Repeat("a", 61) + ":65535"
		for field, n := range map[string]manage.NewKey{
			"allowed_origins: ":    {AllowedOrigins: slices.Repeat([]string{"https://" + strings.Repeat("a", 10_000)}, 100)},
			"allowed_origins[0]: ": {AllowedOrigins: []string{widest + "0"}},
			"allowed_origins[1]: ": {AllowedOrigins: []string{"https://a.example", "https://shop\u202e.example"}},
			"allowed_ips: ":        {AllowedIPs: slices.Repeat([]string{"10.0.0.0/" + strings.Repeat("0", 1000) + "8"}, 100)},
			"allowed_ips[0]: ":     {AllowedIPs: []string{"fe80::1%" + strings.Repeat("a", 10_000)}},
			"denied_ips: ":         {DeniedIPs: slices.Repeat([]string{strings.Repeat("\U0001f511", 1000)}, 100)},
			"denied_ips[0]: ":      {DeniedIPs: []string{"10.0.0.1\x00"}},
			"permissions: ":        {Permissions: slices.Repeat([]string{strings.Repeat("x", 1000)}, 100)},
			"permissions: a":       {Permissions: slices.Repeat([]string{"read:otp"}, 101)},
			"name: ":               {Name: strings.Repeat("é", otp.MaxName+1)},
		} {
			n.Account = "4711"
			_, _, _, err := h.Keys.Create(background, manage.Operator(), n)
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%s: %v", field, err)
			require.ErrorContains(t, err, strings.TrimSuffix(field, "a"))
		}
		origins := slices.Repeat([]string{widest}, 100)
		key, _, _, err := h.Keys.Create(background, manage.Operator(), manage.NewKey{Account: "4711", AllowedOrigins: origins,
			Name: strings.Repeat("é", otp.MaxName)})
		require.NoError(t, err)
		stored, err := h.Keys.Find(background, manage.Operator(), key.ID)
		require.NoError(t, err)
		require.Equal(t, origins, stored.AllowedOrigins)
	})
}
