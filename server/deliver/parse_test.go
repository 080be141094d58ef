package deliver

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse_KeepsTheOrderOfPreference(t *testing.T) {
	inbox := NewInbox()
	channels, err := Parse("https://one.example/?to={to}&text={text} , smtp://two.example?from=a@b.example,inbox:",
		Options{Medium: "email", Sandbox: true, Inbox: inbox})
	require.NoError(t, err)
	require.Len(t, channels, 3)
	require.Equal(t, "one.example", channels[0].Name())
	require.Equal(t, "two.example", channels[1].Name())
	require.Same(t, inbox, channels[2])
	require.IsType(t, &Breaker{}, channels[0])
	require.IsType(t, &Breaker{}, channels[1])
}

// Whatever a channel's URL holds, it is shown where it leads and nothing else, and of what is no list nothing at all.
func TestShownChannels_TellWhereAndNoSecret(t *testing.T) {
	for urls, want := range map[string]string{
		"":                                  "",
		"inbox:":                            "inbox:",
		"inbox:, discard:":                  "inbox:, discard:",
		"https://hunter2@gw.example/":       "https://gw.example [redacted]",
		"https://u:hunter2@gw.example:8443": "https://gw.example:8443 [redacted]",
		"https://gw.example/hunter2/{to}?key=hunter2#sender=hunter2": "https://gw.example [redacted]",
		"smtps://u:hunter2@mail.example?from=a@b.example":            "smtps://mail.example [redacted]",
		"inbox:,smtp://u:hunter2@[2001:db8::1]:25?from=a@b.example":  "inbox:, smtp://[2001:db8::1]:25 [redacted]",
		"inbox:hunter2":                      Hidden,
		"https://u:12,inbox:ter2@gw.example": Hidden,
		"HTTPS://u:hunter2@GW.example/":      "https://GW.example [redacted]",
		"https://u:hun,ter2@gw.example/":     Hidden,
		"https://u:12,ter2@gw.example/":      Hidden,
		"https://u:12,smtp:ter2@gw.example/": Hidden,
		"https://u:hun/ter2@gw.example/":     Hidden,
		"https://u:hun?ter2@gw.example/":     Hidden,
		"https://u:hun#ter2@gw.example/":     Hidden,
		"hunter2":                            Hidden,
		"hunter2:x":                          Hidden,
		"ftp://hunter2":                      Hidden,
		"https://%zz":                        Hidden,
	} {
		require.Equal(t, want, ShownChannels(urls), urls)
	}
}

func TestParse_DefaultsOfMailServers(t *testing.T) {
	for text, want := range map[string]struct {
		port   int
		policy tlsPolicy
	}{
		"smtp://mail.example":                   {587, tlsMandatory},
		"smtp://mail.example:2525":              {2525, tlsMandatory},
		"smtps://user:pass@mail.example":        {465, tlsImplicit},
		"smtp://mail.example?tls=off":           {25, tlsOff},
		"smtp://mail.example?tls=opportunistic": {25, tlsOpportunistic},
		"smtp://[::1]:25?tls=mandatory":         {25, tlsMandatory},
	} {
		separator := "?"
		if strings.Contains(text, "?") {
			separator = "&"
		}
		mailer := one(t, text+separator+"from=a@b.example", Options{Medium: "email"}).(*Mailer)
		require.Equal(t, want.port, mailer.port, text)
		require.Equal(t, want.policy, mailer.policy, text)
	}
}

// Every error names the entry and what to write, and none shows a secret.
func TestParse_SaysWhatIsWrong(t *testing.T) {
	profile := func(text string) string {
		path := filepath.Join(t.TempDir(), "profile.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return "https://gw.example/s3cret#profile=" + url.QueryEscape(path)
	}
	const fields = `"form": {"to": "{to}", "text": "{text}"}`
	for _, tt := range []struct{ medium, urls, says string }{
		{"sms", "", "entry 1: is empty"},
		{"sms", "https://a.example/?to={to}&text={text},", "entry 2: is empty"},
		{"sms", "ftp://user:hunter2@gw.example", "starts with none of the channels for sms; write one of inbox:, https://"},
		{"sms", "smtp://mail.example?from=a@b.example", "starts with none of the channels for sms"},
		{"sms", "gw.example", "starts with none of the channels"},
		{"sms", "https://user:hunter2/@gw.example?to={to}&text={text}",
			"is not a URL, or has an @ behind its host; a / # ? @ : , or % in a user or password is percent-encoded"},
		{"sms", "https://user:hunter2%zz@gw.example", "is not a URL"},
		{"sms", "https://user:77319/x@gw.example?to={to}&text={text}", "entry 1: is not a URL, or has an @ behind its host"},
		{"sms", "https://user:a@77319/x@gw.example?to={to}&text={text}",
			"entry 1: is not a URL, or has an @ behind its host"},
		{"sms", "https://user:a@77319,x@gw.example?to={to}&text={text}", "entry 1: says nowhere whom to send to"},
		{"email", "smtp://user:77319?x@mail.example?from=a@b.example", "entry 1: is not a URL, or has an @ behind its host"},
		{"sms", "https://?to={to}&text={text}", "names no host"},
		{"sms", "https://gw.example:/?to={to}&text={text}", "colon and no port"},
		{"sms", "inbox:", "the inbox shows every code and belongs to the sandbox"},
		{"sms", "discard:", "discard drops every message and belongs to the sandbox"},
		{"sms", "http://gw.example/?to={to}&text={text}",
			"entry 1 (http://gw.example): would send codes in clear over a network"},
		{"sms", "https://gw.example/s3cret?key=s3cret&text={text}", "says nowhere whom to send to"},
		{"sms", "https://gw.example/s3cret?key=s3cret&to={to}", "says nowhere what to send"},
		{"sms", "https://gw.example/?to={to}&text={text}&x={password_hunter2}",
			"has the token {password_hunter2} in the query or form"},
		{"sms", "https://gw.example/{hunter}?to={to}&text={text}", "has the token {hunter} in the path"},
		{"sms", "https://gw.example/?to={to}&text={text}&x=%zz", "has a query that cannot be read"},
		{"sms", "https://gw.example/?to={to}&text={text}#colour=hunter2", "none of profile, preset, name, sender"},
		{"sms", "https://gw.example/?to={to}&text={text}#name=a&name=b", "says name in its part behind the # twice"},
		{"sms", "https://gw.example/?to={to}&text={text}#timeout=2h", "has a timeout that is no duration from 100ms to 60s"},
		{"sms", "https://gw.example/?to={to}&text={text}#name=a%20b", "has a name with other characters"},
		{"sms", "https://gw.example/?to={to}&text={text}#preset=carrier-pigeon",
			"names a preset that does not exist; there are 2factor, infobip, msg91, textlocal, twilio, vonage"},
		{"sms", "https://gw.example/#preset=twilio&profile=/x", "names a preset and a profile"},
		{"sms", "https://gw.example/#profile=/does/not/exist",
			"names a file, and OTPBRIDGE_FILES_DIR names no folder of files"},
		{"sms", "https://a.example/?to={to}&text={text},https://a.example/?to={to}&text={text}",
			"entry 2 (https://a.example): has the name a.example as another entry has"},
		{"sms", profile(`{"hunter": 2}`), "the profile's hunter is not known here"},
		{"sms", profile(`{"form": {"hunter2": 1}}`), "the profile's form must be a string"},
		{"sms", profile(`{"form" {"hunter2"`), "the profile is not one JSON value: byte"},
		{"sms", profile(`[]`), "the profile must be an object"},
		{"sms", profile(`{"SENT": {"status": "200"}, ` + fields + `}`), "the profile's SENT is not known here"},
		{"sms", profile(`{"sent": {"Status": "200"}, ` + fields + `}`), "the profile's sent/Status is not known here"},
		{"sms", profile(`{"sent": {"status": "200"}, "sent": {"status": "200-599"}, ` + fields + `}`),
			"the profile's sent is given twice"},
		{"sms", profile(`{"sent": {"status": "200", "status": "200-599"}, ` + fields + `}`),
			"the profile's sent/status is given twice"},
		{"sms", profile(`{"refused": [{"status": "400", "retry": true, "retry": false}], ` + fields + `}`),
			"the profile's refused/0/retry is given twice"},
		{"sms", profile(`{"form": {"hunter2": "a", "hunter2": "b"}}`), "the profile's form is given twice"},
		{"sms", profile(`{"headers": {"hunter2": null}, ` + fields + `}`), "the profile's headers must not be null"},
		{"sms", profile(`{"json": {"a": {"hunter2": 1, "hunter2": 2}}}`), "the profile's json is given twice"},
		{"sms", profile(`{"statuses": {"failed": ["x", null]}, ` + fields + `}`),
			"the profile's statuses/failed/1 must not be null"},
		{"sms", profile(`{"method": null, ` + fields + `}`), "the profile's method must not be null"},
		{"sms", profile(`{"sender": "\ud800", ` + fields + `}`), "the profile has half a character"},
		{"sms", profile(`{} {}`), "the profile is not one JSON value: byte 4"},
		{"sms", profile(`{"method": "DELETE", ` + fields + `}`), "has a method that is none of GET, POST, PUT"},
		{"sms", profile(`{"method": "GET", ` + fields + `}`), "has a body, which a GET has not"},
		{"sms", profile(`{"json": {}, ` + fields + `}`), "has a form and json"},
		{"sms", profile(`{"json": {"a": ["{to}", "{text}", "{hunter}"]}}`), "has the token {hunter} in json"},
		{"sms", profile(`{"headers": {"X-A": "{text}"}, ` + fields + `}`), "has the token {text} in header X-A"},
		{"sms", profile(`{"headers": {"X-A": "hunter2\r\nX-B: c"}, ` + fields + `}`), "header X-A has a control character"},
		{"sms", profile(`{"headers": {"X A": "b"}, ` + fields + `}`), "a header whose name is none"},
		{"sms", profile(`{"headers": {"content-length": "3"}, ` + fields + `}`),
			"sets the header content-length, which is made here"},
		{"sms", profile(`{"sent": {"status": "OK"}, ` + fields + `}`), "sent.status is no list of statuses"},
		{"sms", profile(`{"sent": {"field": "a"}, ` + fields + `}`), "sent has one of field and values without the other"},
		{"sms", profile(`{"sent": {"match": "("}, ` + fields + `}`), "sent.match is no regular expression"},
		{"sms", profile(`{"refused": [{"status": "500"}], ` + fields + `}`),
			"refused[0] takes a status outside 400-499 for a refusal, which it does not prove"},
		{"sms", profile(`{"refused": [{}], ` + fields + `}`), "refused[0] holds of every answer"},
		{"sms", profile(`{"id_match": "x", ` + fields + `}`), "id_match is no regular expression (RE2) with a group"},
		{"sms", profile(`{"statuses": {"lost": ["x"]}, ` + fields + `}`),
			"maps words to a status that is none of [pending delivered failed expired unknown]"},
		{"sms", profile(`{"statuses": {"failed": ["x"], "expired": ["X"]}, ` + fields + `}`), "to two statuses"},
		{"sms", strings.Replace(profile(`{"headers": {"Authorization": "x"}, `+fields+`}`), "//", "//user:hunter2@", 1),
			"a user before its host and an Authorization header"},
		{"email", "smtp://user:hunter2@mail.example", "has no from that is an address"},
		{"email", "smtp://mail.example?from=a@b.example,c@d.example", "entry 2: starts with none"},
		{"email", "smtp://mail.example?from=a@b.example%2C%20c@d.example", "has no from that is an address"},
		{"email", "smtp://mail.example?from=%22a%0Ab%22%20%3Ca@b.example%3E", "has no from that is an address"},
		{"email", "smtp://user:hunter2@mail.example?from=a@b.example&tls=off",
			"would risk its password in clear with tls=off"},
		{"email", "smtp://user:hunter2@mail.example?from=a@b.example&tls=opportunistic", "would risk its password in clear"},
		{"email", "smtp://user@mail.example?from=a@b.example", "has one of user and password without the other"},
		{"email", "smtp://mail.example?from=a@b.example&tls=sometimes", "none of mandatory, opportunistic, off"},
		{"email", "smtps://mail.example?from=a@b.example&tls=off", "has tls= although smtps"},
		{"email", "smtp://mail.example/x?from=a@b.example", "has a path or a #"},
		{"email", "smtp://mail.example:0?from=a@b.example", "has a port that is not one"},
		{"email", "smtp://mail.example?from=a@b.example&dkim_selector=k1", "needs dkim_selector and dkim_key"},
		{"email", "smtp://mail.example?from=a@b.example&dkim_selector=k1&dkim_key=/does/not/exist",
			"dkim_key= names a file, and OTPBRIDGE_FILES_DIR names no folder"},
		{"email", "smtp://mail.example?from=a@b.example&connect_timeout=2m", "has a connect_timeout that is no duration"},
		{"email", "smtp://mail.example?from=a@b.example&hello=a%0D%0Ab", "has a hello that is no host name"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			channels, err := Parse(tt.urls, Options{Medium: tt.medium, Files: filesOf(t, tt.urls)})
			require.Nil(t, channels)
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, strings.ReplaceAll(err.Error(), "password_hunter2", ""), "hunter2")
			require.NotContains(t, err.Error(), "s3cret")
			require.NotContains(t, err.Error(), "77319")
		})
	}
}

// discard: is treated like a channel that leaves the process: with a breaker, waited for, and not taken for the inbox.
func TestParse_DiscardStandsInForAChannelThatLeadsOut(t *testing.T) {
	for _, medium := range []string{"sms", "email"} {
		channels, err := Parse("discard:", Options{Medium: medium, Sandbox: true})
		require.NoError(t, err)
		require.IsType(t, &Breaker{}, channels[0])
		require.True(t, channels[0].Waits())
		require.False(t, Simulated(channels[0]))
		require.Equal(t, Result{Outcome: Sent}, channels[0].Send(t.Context(), Message{}))
		for _, text := range []string{"discard:x", "discard://host", "discard:#name=a", "discard:?a=b"} {
			_, err := Parse(text, Options{Medium: medium, Sandbox: true})
			require.ErrorContains(t, err, "discard has nothing to be told", text)
		}
	}
	require.True(t, Local("discard:,inbox:"))
}

func TestParse_ReportsEveryEntry(t *testing.T) {
	_, err := Parse("inbox:,https://gw.example:8443/,http://gw.example", Options{Medium: "sms"})
	require.ErrorContains(t, err, "entry 1: ")
	require.ErrorContains(t, err, "entry 2 (https://gw.example): ")
	require.ErrorContains(t, err, "entry 3 (http://gw.example): ")
}

// Whatever the text, the result is channels or an error, and the error does not contain the password.
func FuzzParse(f *testing.F) {
	f.Add("https://", "@gw.example/?to={to}&text={text}#name=a")
	f.Add("smtp://", "@mail.example:587?from=a@b.example&tls=mandatory")
	f.Add("https://", "/@gw.example/?to={to}&text={text}")
	f.Add("https://", ",1@gw.example/?to={to}&text={text}")
	f.Add("inbox:", ",,http://127.0.0.1")
	f.Add("https://", "@[::1%25x]:99999/{to}?%zz;#%zz")
	f.Add("SMTPS://", "@a b?from=&from=")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "0773197731"
		for _, medium := range []string{"sms", "email"} {
			channels, err := Parse(before+"user:"+secret+after, Options{Medium: medium, Sandbox: true, Inbox: NewInbox()})
			if err == nil {
				require.NotEmpty(t, channels)
				for _, c := range channels {
					require.True(t, visible(c.Name()))
				}
				continue
			}
			require.Nil(t, channels)
			if strings.Contains(after, "@") && !strings.Contains(after, "from=") &&
				slices.Contains([]string{"https://", "smtp://", "smtps://"}, before) {
				require.NotContains(t, err.Error(), secret)
			}
		}
	})
}

// FuzzProfile: an accepted profile can be used, and every answer has an outcome.
func FuzzProfile(f *testing.F) {
	f.Add(`{"form": {"to": "{to}", "text": "{text}"}, "sent": {"field": "a.0", "values": ["1"]}}`, `{"a":[1]}`, 200)
	f.Add(`{"json": {"a": ["{to}", {"b": "{text}"}, null, 1e9]}, "refused": [{"match": "x+"}], "id": "a.b"}`, `xx`, 500)
	f.Add(`{"query": {"to": "{to}", "text": "{code}"}, "id_match": "(.*)", "headers": {"A": "{user}"}}`, "\x00\xff", 302)
	f.Fuzz(func(t *testing.T, text, body string, status int) {
		p, err := parseProfile([]byte(text))
		if err != nil {
			require.False(t, strings.ContainsAny(err.Error(), "\r\n\x00"))
			return
		}
		g := &Gateway{target: url.URL{Scheme: "https", Host: "gw.example", Path: "/"}}
		if g.shape(&g.target, p) != nil || g.learn(p) != nil {
			return
		}
		m := message()
		content, _ := m.Content()
		_, _ = g.request(t.Context(), m, content)
		result := g.judge(&answer{status: status, body: []byte(body), whole: true})
		require.Contains(t, []Outcome{Sent, NotSent, Unknown}, result.Outcome)
		require.Equal(t, result.Outcome == Sent, result.Reason == "")
		require.LessOrEqual(t, len(result.MessageID), maxMessageID)
	})
}
