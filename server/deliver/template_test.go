package deliver

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
)

func values() Values {
	return Values{Code: "049381", Lifetime: 5 * time.Minute, Account: "Shop", Department: "retail",
		Type: "password_reset", DLTEntityID: "1101", DLTTemplateID: "1107"}
}

func TestTemplate_Renders(t *testing.T) {
	for _, tt := range []struct {
		name, medium, text string
		want               Content
	}{
		{"a line", "sms", "{code} for {account}, {minutes} min", Content{Text: "049381 for Shop, 5 min"}},
		{"every token", "sms", "App-Hash: FA+9qCX9VSu\n\n{code} {minutes} {validity} {account} {department} " +
			"{type}\n{app_hash}",
			Content{Text: "049381 5 5 minutes Shop retail password reset\nFA+9qCX9VSu"}},
		{"braces", "sms", "{{code}} is {code}", Content{Text: "{code} is 049381"}},
		{"a mail", "email", "Subject: {account}: confirm within {validity}\r\nFooter: on\r\n\r\nYour code:\r\n{code}\r\n",
			Content{Subject: "Shop: confirm within 5 minutes", Text: "Your code:\n049381\nNever share this code with anyone."}},
		{"a mail without a subject", "email", "{code}", Content{Subject: "Your verification code", Text: "049381"}},
		{"a footer", "sms", "Footer: We never call you.\n\n{code}", Content{Text: "049381\nWe never call you."}},
		{"its own registration", "sms", "DLT-Template-ID: 99\n\n{code}", Content{Text: "049381", DLTTemplateID: "99"}},
		{"WebOTP", "sms", "WebOTP: shop.example\n\n{code} is your code",
			Content{Text: "049381 is your code\n\n@shop.example #049381"}},
		{"WebOTP that just fits", "sms", "WebOTP: shop.example\n\n{code}" + strings.Repeat("x", 160-6-23),
			Content{Text: "049381" + strings.Repeat("x", 160-6-23) + "\n\n@shop.example #049381"}},
		{"WebOTP that would cost a segment", "sms", "WebOTP: shop.example\n\n{code}" + strings.Repeat("x", 160-5-23),
			Content{Text: "049381" + strings.Repeat("x", 160-5-23)}},
		{"an app hash is there whatever it costs", "sms", "App-Hash: FA+9qCX9VSu\n\n{code}" + strings.Repeat("x", 160),
			Content{Text: "049381" + strings.Repeat("x", 160) + "\n\nFA+9qCX9VSu"}},
		{"a text that looks like a head", "sms", "Note: {code}", Content{Text: "Note: 049381"}},
		{"for both, as SMS", "", "Subject: Hello\nWebOTP: shop.example\n\n{code}",
			Content{Text: "049381\n\n@shop.example #049381"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			template, err := ParseTemplate(tt.medium, tt.text)
			require.NoError(t, err)
			medium := tt.medium
			if medium == "" {
				medium = "sms"
			}
			want := tt.want
			want.Code = "049381"
			if medium == "sms" {
				want.DLTEntityID = "1101"
				if want.DLTTemplateID == "" {
					want.DLTTemplateID = "1107"
				}
			}
			require.Equal(t, want, template.Render(medium, values()))
		})
	}
}

func TestTemplate_SaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ medium, text, says string }{
		{"sms", "", "the text has no {code}"},
		{"sms", "Your code", "the text has no {code}"},
		{"sms", "{{code}}", "the text has no {code}"},
		{"sms", "{code} {name}", "the text has {name}, which is none of {code} {minutes}"},
		{"sms", "{code} {", "a brace that belongs to no token"},
		{"sms", "{code} }", "a brace that belongs to no token"},
		{"sms", "{code} {Name}", "a brace that belongs to no token"},
		{"sms", "{code} {app_hash}", "nothing says what it is: put a line such as App-Hash: FA+9qCX9VSu"},
		{"sms", "{code}\x00", "control characters"},
		{"sms", "{code}\x1b[2J", "control characters"},
		{"sms", "{code}\xff", "no UTF-8"},
		{"sms", "{code}" + strings.Repeat("x", maxTemplate), "the text has 1606 bytes, and may have 1600"},
		{"sms", "Subject: x\n\n{code}", "Subject means nothing for sms"},
		{"email", "WebOTP: shop.example\n\n{code}", "WebOTP means nothing for email"},
		{"email", "Subject: {code}\n\n{code}", "the Subject has the code in it, which may stand in the text alone"},
		{"email", "Subject: {name}\n\n{code}", "the Subject has {name}"},
		{"email", "Subject:\n\n{code}", "Subject has nothing behind it"},
		{"email", "Subject: a\nsubject: b\n\n{code}", "subject is there twice"},
		{"email", "Subject: a\nBcc: b@c.example\n\n{code}", "a line above the empty line is none of"},
		{"email", "Subject: a\n{code}", "a line above the empty line is none of"},
		{"email", "Subject: " + strings.Repeat("x", 201) + "\n\n{code}", "more than 200 bytes"},
		{"sms", "Footer: {code}\n\n{code}", "the Footer has the code in it"},
		{"sms", "DLT-Template-ID: 12a\n\n{code}", "DLT-Template-ID is no number"},
		{"sms", "App-Hash: short\n\n{code}", "App-Hash is not the 11 characters"},
		{"sms", "WebOTP: https://shop.example\n\n{code}", "WebOTP is no domain"},
		{"sms", "WebOTP: shop.example\nApp-Hash: FA+9qCX9VSu\n\n{code}", "exclude each other"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			template, err := ParseTemplate(tt.medium, tt.text)
			require.ErrorContains(t, err, tt.says)
			require.NotPanics(t, func() { template.Render(tt.medium, values()) })
		})
	}
}

func TestTemplate_PreviewSaysWhatItCosts(t *testing.T) {
	preview := func(text string) Preview {
		template, err := ParseTemplate("sms", text)
		require.NoError(t, err)
		return template.Preview("sms", values())
	}
	plain := preview("{code} is your code")
	require.Equal(t, Segments{"GSM-7", 19, 1, 141}, plain.Segments)
	require.Empty(t, plain.Warnings)
	require.Equal(t, []string{
		"it takes 2 segments, each charged as a message",
		"it has characters outside GSM-7, so that a segment holds 70 instead of 160",
		"the WebOTP line is left out: with it there would be more than one segment",
	}, preview("WebOTP: shop.example\n\n{code} "+strings.Repeat("कोड ", 20)).Warnings)
	require.Equal(t, []string{"it has 149 bytes, and Android's SMS Retriever takes 140"},
		preview("App-Hash: FA+9qCX9VSu\n\n{code}"+strings.Repeat("x", 130)).Warnings)
	template, err := ParseTemplate("email", "{code}")
	require.NoError(t, err)
	require.Zero(t, template.Preview("email", values()).Segments)
}

func TestRender_IsThePlainText(t *testing.T) {
	require.Equal(t, Content{Text: "493817 is your verification code. It is valid for 90 seconds. Do not share it with " +
		"anyone.", Code: "493817"},
		Render(false, "493817", 90*time.Second))
	mail := Render(true, "493817", time.Minute)
	require.Equal(t, "Your verification code", mail.Subject)
	require.Contains(t, mail.Text, "1 minute.")
	require.Equal(t, 1, CountSegments(mail.Text).Count)
}

func TestCatalog_ChoosesInTheOrderOfThePage(t *testing.T) {
	texts := make(map[string]string)
	// From the last resort to the first choice; each one takes precedence over all before it.
	order := []string{
		"default", "default/sms", "default/hi", "default/sms/hi", "default/hi-IN", "default/sms/hi-IN",
		"retail:default", "retail:default/sms/hi-IN",
		"password_reset", "password_reset/sms", "password_reset/hi", "retail:password_reset/sms",
		"login", "login/sms", "login/hi", "login/sms/hi", "login/hi-IN", "login/sms/hi-in",
		"retail:login", "retail:login/sms", "retail:login/hi", "retail:login/sms/hi", "retail:login/hi-IN",
		"retail:login/sms/hi-IN",
	}
	want := Choice{Medium: "sms", Name: "login", Type: "password_reset", Department: "retail", Locale: "hi-IN"}
	var catalog *Catalog
	require.Equal(t, plain, catalog.Choose(want), "an account without templates")
	for _, key := range order {
		texts[key] = "{code} " + key
		catalog, err := NewCatalog(texts, nil, nil)
		require.NoError(t, err)
		require.Equal(t, "1 "+key, catalog.Choose(want).Render("sms", Values{Code: "1"}).Text)
	}
	catalog, err := NewCatalog(texts, nil, nil)
	require.NoError(t, err)
	for _, tt := range []struct {
		want Choice
		key  string
	}{
		{Choice{Medium: "email"}, "default"},
		{Choice{Medium: "sms"}, "default/sms"},
		{Choice{Medium: "sms", Locale: "de"}, "default/sms"},
		{Choice{Medium: "sms", Locale: "HI-in"}, "default/sms/hi-IN"},
		{Choice{Medium: "sms", Locale: "hi-Latn-IN"}, "default/sms/hi"},
		{Choice{Medium: "email", Department: "retail", Locale: "hi-IN"}, "retail:default"},
		{Choice{Medium: "sms", Department: "unknown"}, "default/sms"},
		{Choice{Medium: "sms", Name: "unknown", Type: "password_reset"}, "password_reset/sms"},
		{Choice{Medium: "sms", Name: "login/sms/hi"}, "default/sms"},
		{Choice{Medium: "sms", Name: "retail:login"}, "default/sms"},
	} {
		require.Equal(t, "1 "+tt.key, catalog.Choose(tt.want).Render("sms", Values{Code: "1"}).Text, "%+v", tt.want)
	}
	require.True(t, catalog.Has("login"))
	require.False(t, catalog.Has("retail"))
}

func TestCatalog_ColumnsAreDefaults(t *testing.T) {
	sms, email := "{code} sms column", "Subject: S\n\n{code} email column"
	catalog, err := NewCatalog(map[string]string{"default/email": "{code} map"}, &sms, &email)
	require.NoError(t, err)
	require.Equal(t, "1 sms column", catalog.Choose(Choice{Medium: "sms", Type: "verification",
		Locale: "hi"}).Render("sms", Values{Code: "1"}).Text)
	require.Equal(t, "1 map", catalog.Choose(Choice{Medium: "email"}).Render("email", Values{Code: "1"}).Text)
}

func TestCatalog_NamesEveryKeyThatIsWrong(t *testing.T) {
	bad := "no code"
	_, err := NewCatalog(map[string]string{
		"a b": "{code}", "login/sms": "{name}", ":x": "{code}", "x/email/sms": "{code}", "x/de": "{code}", "x/DE": "{code}",
		"ok/sms/de": "{code}",
	}, &bad, nil)
	for _, says := range []string{
		`templates: "a b": is no key`, `templates: "login/sms": the text has {name}`,
		`templates: ":x": the department before the colon is empty`,
		`templates: "x/email/sms": is no key`, `templates: "x/de": another key means the same`,
		`sms_template: the text has no {code}`,
	} {
		require.ErrorContains(t, err, says)
	}
	require.NotContains(t, err.Error(), "ok/sms")
}

// Whatever a template and its values contain: an accepted template renders, its subject is one line without the code's
// token, and no value can add a token, a line to the subject, or a second code.
func FuzzTemplate(f *testing.F) {
	f.Add("{code} for {account}", "Shop\r\nBcc: a@b.example", "{code}", "493817")
	f.Add("Subject: {account} {type}\nFooter: on\n\n{code}{{}}", "\u202e\u2028\x00", "\xff\xfe", "1")
	f.Add("WebOTP: shop.example\n\n{code}", "@evil.example #1", "", "")
	f.Add("App-Hash: FA+9qCX9VSu\n\n{code} {app_hash}", "{app_hash}", "{{", "}}")
	f.Fuzz(func(t *testing.T, text, account, kind, code string) {
		for _, medium := range []string{"sms", "email", ""} {
			template, err := ParseTemplate(medium, text)
			if err != nil {
				require.NotEmpty(t, err.Error())
				continue
			}
			content := template.Render(medium, Values{Code: code, Account: account, Type: kind, Lifetime: time.Minute})
			require.Contains(t, content.Text, code)
			require.True(t, visible(content.Subject), "%q", content.Subject)
			require.False(t, strings.ContainsFunc(content.Subject, unicode.IsControl))
			marked := template.Render(medium, Values{Code: "\x00CODE\x00", Account: account, Type: kind, Lifetime: time.Minute})
			require.NotContains(t, marked.Subject, "CODE")
			lines := strings.Count(content.Text, "\n") - strings.Count(code, "\n")*strings.Count(marked.Text, "\x00CODE\x00")
			require.LessOrEqual(t, lines, strings.Count(text, "\n")+3, "a value added a line")
		}
	})
}
