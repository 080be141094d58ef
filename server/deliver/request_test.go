package deliver

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pathOf returns the path in a gateway's request.
func pathOf(t *testing.T, g *Gateway, m Message, content Content) (string, error) {
	t.Helper()
	request, err := g.request(t.Context(), m, content)
	if err != nil {
		return "", err
	}
	path, _, _ := strings.Cut(request.URL.RequestURI(), "?")
	return path, nil
}

// A value in the path is one segment, or a part of one, whatever it contains.
func TestGateway_TokensInThePathAreSegments(t *testing.T) {
	channel, _, err := open("https://:key@gw.example/API/V1/{password}/SMS/{to}/{code}/x-{sender}.json?text={text}",
		Options{Medium: "sms"})
	require.NoError(t, err)
	g := channel.(*Breaker).Behind().(*Gateway)
	require.False(t, g.basic, "the password stands in the path")
	for value, escaped := range map[string]string{
		"ACME": "ACME", "a/b": "a%2Fb", "a?b=c": "a%3Fb=c", "a#b": "a%23b", "a\r\nHost: " +
			"evil": "a%0D%0AHost:%20evil", "a%2e%2e": "a%252e%252e",
		"a;b": "a%3Bb", "a " +
			"b": "a%20b", "ü": "%C3%BC", "\x00": "%00", "{to}": "%7Bto%7D", "a\\b": "a%5Cb", "a,b": "a%2Cb", "": "",
	} {
		m := message()
		m.From = value
		path, err := pathOf(t, g, m, Content{Text: "t", Code: testCode})
		require.NoError(t, err, value)
		require.Equal(t, "/API/V1/key/SMS/+919876543210/493817/x-"+escaped+".json", path)
	}
	for _, code := range []string{"", ".", "..", "../x", "x/..", "x/../y", `..\x`, `x\..`, "./x", "a/./b"} {
		_, err := pathOf(t, g, message(), Content{Text: "t", Code: code})
		require.ErrorContains(t, err, "a value in the path would be empty or lead elsewhere", code)
	}
	server, seen := provider(t, 200, `{"Status":"Success","Details":"1"}`)
	real := one(t, strings.Replace(server.URL, "//", "//:k%2Fy@", 1)+"/API/{password}/SMS/{to_digits}/{text}", Options{})
	require.Equal(t, Sent, real.Send(t.Context(), message()).Outcome)
	require.Equal(t, "/API/k/y/SMS/919876543210/"+testText, seen.path, "as the server decodes it")
	require.Empty(t, seen.header.Get("Authorization"))
	require.Empty(t, seen.query)
}

func TestGateway_APathWithoutTokensIsLeftAlone(t *testing.T) {
	for _, path := range []string{"/a%2Fb", "/a;b=c", "/a//b/", "/%C3%BC/..;/x", "/a:b@c", ""} {
		channel, _, err := open("https://gw.example"+path+"?to={to}&text={text}", Options{Medium: "sms"})
		if strings.Contains(path, "@") {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err, path)
		got, err := pathOf(t, channel.(*Breaker).Behind().(*Gateway), message(), Content{Text: "t"})
		require.NoError(t, err)
		require.Equal(t, strings.TrimPrefix(path, " "), strings.TrimSuffix(got, map[bool]string{true: "/"}[path == ""]))
	}
}

// A field whose value would be empty is left out, wherever it is; what the configuration wrote empty, or beside other
// text, stays.
func TestGateway_EmptyFieldsAreLeftOut(t *testing.T) {
	server, seen := provider(t, 200, "")
	bare := message()
	bare.Content = func() (Content, error) { return Content{Text: "t", Code: "1"}, nil }
	send := func(profile string, m Message) {
		require.Equal(t, Sent, one(t, withProfile(t, server.URL, profile), Options{}).Send(t.Context(), m).Outcome, profile)
	}
	send(`{"query": {"to": "{to}", "tpl": "{dlt_template_id}", "x": "", "y": "a{sender}", "z": "{dlt_entity_id}{sender}"},
		"headers": {"X-Entity": "{dlt_entity_id}", "X-Empty": ""}, "form": {"text": "{text}", "from": "{sender}", "svc": "{service}"}}`, bare)
	require.Equal(t, "to=%2B919876543210&x=&y=a", seen.query)
	require.Equal(t, "text=t", seen.body)
	require.NotContains(t, seen.header, "X-Entity")
	require.Contains(t, seen.header, "X-Empty")
	for profile, body := range map[string]string{
		`{"to":"{to}","text":"{text}","tpl":"{dlt_template_id}"}`:                               `{"text":"t","to":"+919876543210"}`,
		`{"to":"{to}","text":"{text}","a":{"b":{"c":"{dlt_entity_id}"}}}`:                       `{"text":"t","to":"+919876543210"}`,
		`{"to":"{to}","text":"{text}","a":{"b":"{sender}","c":1}}`:                              `{"a":{"c":1},"text":"t","to":"+919876543210"}`,
		`{"to":["{to}"],"text":"{text}","ids":["{dlt_template_id}"]}`:                           `{"text":"t","to":["+919876543210"]}`,
		`{"to":"{to}","args":["{code}","{sender}","{text}"]}`:                                   `{"args":["1","","t"],"to":"+919876543210"}`,
		`{"to":"{to}","text":"{text}","list":[{"a":"{sender}"}]}`:                               `{"text":"t","to":"+919876543210"}`,
		`{"to":"{to}","text":"{text}","list":[{"a":"{sender}"},{"b":"{code}"}]}`:                `{"list":[{},{"b":"1"}],"text":"t","to":"+919876543210"}`,
		`{"to":"{to}","text":"{text}","a":"","b":null,"c":{},"d":[],"e":false}`:                 `{"a":"","b":null,"c":{},"d":[],"e":false,"text":"t","to":"+919876543210"}`,
		`{"to":"{to}","text":"{text}","a":" {sender}"}`:                                         `{"a":" ","text":"t","to":"+919876543210"}`,
		`[{"to":"{to}","text":"{text}","dlt":{"e":"{dlt_entity_id}","t":"{dlt_template_id}"}}]`: `[{"text":"t","to":"+919876543210"}]`,
	} {
		send(`{"json": `+profile+`}`, bare)
		require.JSONEq(t, body, seen.body, profile)
	}
	send(`{"form": {"to": "{to}", "text": "{text}", "tpl": "{dlt_template_id}"}}`, message())
	require.Contains(t, seen.body, "tpl=1107")
}

// The encoding of a text is stated in the gateway's own words.
func TestGateway_TellsTheEncodingInTheGatewaysWords(t *testing.T) {
	server, seen := provider(t, 200, "")
	for _, tt := range []struct{ profile, text, query string }{
		{``, "plain", "e=gsm&n=1&to=%2B919876543210&t=plain"},
		{``, "नमस्ते", "e=unicode&n=1&to=%2B919876543210&t=" + url.QueryEscape("नमस्ते")},
		{`"encodings": {"gsm": "text", "unicode": "unicode"},`, "plain €", "e=text&n=1&to=%2B919876543210&t=plain+%E2%82%AC"},
		{`"encodings": {"gsm": "", "unicode": "1"},`, "plain", "n=1&to=%2B919876543210&t=plain"},
		{`"encodings": {"gsm": "", "unicode": "1"},`, "“x”", "e=1&n=1&to=%2B919876543210&t=%E2%80%9Cx%E2%80%9D"},
		{`"encodings": {"unicode": "Unicode_text"},`, "ı", "e=Unicode_text&n=1&to=%2B919876543210&t=%C4%B1"},
		{``, strings.Repeat("a", 161), "e=gsm&n=2&to=%2B919876543210&t=" + strings.Repeat("a", 161)},
		{``, strings.Repeat("€", 81), "e=gsm&n=2&to=%2B919876543210&t=" + strings.Repeat("%E2%82%AC", 81)},
		{``, strings.Repeat("ж", 70), "e=unicode&n=1&to=%2B919876543210&t=" + strings.Repeat("%D0%B6", 70)},
		{``, strings.Repeat("ж", 71), "e=unicode&n=2&to=%2B919876543210&t=" + strings.Repeat("%D0%B6", 71)},
	} {
		m := message()
		m.Content = func() (Content, error) { return Content{Text: tt.text}, nil }
		g := one(t,
			withProfile(t, server.URL,
				`{`+tt.profile+`"query": {"e": "{encoding}", "n": "{segments}", "to": "{to}", "z": "{text}"}}`), Options{})
		require.Equal(t, Sent, g.Send(t.Context(), m).Outcome)
		require.Equal(t, strings.Replace(tt.query, "&t=", "&z=", 1), seen.query)
	}
}

// The request tells the gateway where receipts go, if the channel says so.
func TestGateway_TellsWhereReceiptsGo(t *testing.T) {
	const secret = "0123456789abcdef&x"
	const fields = "?to={to}&text={text}&cb={callback_url}#name=acme"
	escaped := url.QueryEscape(secret)
	for given, told := range map[string]string{
		"https://otp.example":                     "https://otp.example/callbacks/acme?secret=" + escaped,
		"https://otp.example/":                    "https://otp.example/callbacks/acme?secret=" + escaped,
		"https://otp.example:8443/callbacks/acme": "https://otp.example:8443/callbacks/acme?secret=" + escaped,
		"https://otp.example/callbacks/acme/10000000000001": "https://otp.example/callbacks/acme/10000000000001?secret=" +
			escaped,
		"https://otp.example/below/callbacks/acme": "https://otp.example/below/callbacks/acme?secret=" + escaped,
		"http://127.0.0.1:8080":                    "http://127.0.0.1:8080/callbacks/acme?secret=" + escaped,
	} {
		server, seen := provider(t, 200, "")
		g := one(t, server.URL+fields+"&callback="+escaped+"&callback_url="+url.QueryEscape(given), Options{})
		require.Equal(t, Sent, g.Send(t.Context(), message()).Outcome)
		query, err := url.ParseQuery(seen.query)
		require.NoError(t, err)
		require.Equal(t, told, query.Get("cb"))
	}
	server, seen := provider(t, 200, "")
	require.Equal(t, Sent, one(t, server.URL+fields, Options{}).Send(t.Context(), message()).Outcome)
	require.NotContains(t, seen.query, "cb=", "receipts are not asked for without an address")
	for given, says := range map[string]string{
		"otp.example":                       "has a callback_url that is no address",
		"ftp://otp.example":                 "has a callback_url that is no address",
		"https://user@otp.example":          "has a callback_url that is no address",
		"https://otp.example/?x=1":          "has a callback_url that is no address",
		"https://otp.example/#x":            "has a callback_url that is no address",
		"https://otp example":               "has a callback_url that is no address",
		"http://otp.example":                "would show the secret on a network",
		"https://otp.example/callbacks/abc": "whose path is not /callbacks/acme",
		"https://otp.example/acme":          "whose path is not /callbacks/acme",
	} {
		_, err := Parse("https://gw.example/"+fields+"&callback="+escaped+"&callback_url="+url.QueryEscape(given),
			Options{Medium: "sms"})
		require.ErrorContains(t, err, says, given)
		require.NotContains(t, err.Error(), "0123456789abcdef")
	}
	_, err := Parse("https://gw.example/"+fields+"&callback_url=https://otp.example", Options{Medium: "sms"})
	require.ErrorContains(t, err, "no callback=, the secret")
	_, err = Parse("https://gw.example/?to={to}&text={text}#name=acme&callback="+escaped+
		"&callback_url=https://otp.example", Options{Medium: "sms"})
	require.ErrorContains(t, err, "{callback_url} must stand in the query")
	_, err = Parse("https://gw.example/?to={to}&text={text}#name=acme&callback="+escaped+"&callback_reference=ref",
		Options{Medium: "sms"})
	require.ErrorContains(t, err, "{send_id} must stand in the query")
}

// FuzzGateway_ThePathStaysAPath: whatever the value, the request goes to the configured host and folders, and the
// value arrives unchanged.
func FuzzGateway_ThePathStaysAPath(f *testing.F) {
	f.Add("ACME", testCode)
	f.Add("../../x", "..")
	f.Add("a\r\nX: y", "%2e%2e/%5c")
	f.Add("//evil.example", "?a#b;c")
	f.Add("\x00\xff", "{to}")
	channel, _, err := open("https://gw.example/a/{sender}/b/{code}/c?to={to}", Options{Medium: "sms"})
	require.NoError(f, err)
	g := channel.(*Breaker).Behind().(*Gateway)
	f.Fuzz(func(t *testing.T, sender, code string) {
		request, err := g.request(t.Context(), Message{To: testTo, From: sender}, Content{Code: code})
		if err != nil {
			require.EqualError(t, err, "a value in the path would be empty or lead elsewhere")
			return
		}
		var wire strings.Builder
		require.NoError(t, request.Write(&wire))
		line, rest, _ := strings.Cut(wire.String(), "\r\n")
		require.True(t, strings.HasPrefix(rest, "Host: gw.example\r\n"))
		words := strings.Split(line, " ")
		require.Len(t, words, 3)
		path, _, _ := strings.Cut(words[1], "?")
		parts := strings.Split(path, "/")
		require.Len(t, parts, 6)
		require.Equal(t, []string{"", "a", "b", "c"}, []string{parts[0], parts[1], parts[3], parts[5]})
		for i, want := range map[int]string{2: sender, 4: code} {
			got, err := url.PathUnescape(parts[i])
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.NotContains(t, []string{"", ".", ".."}, got)
		}
	})
}

// FuzzFilledJSON: what is left out was empty, and nothing else changes.
func FuzzFilledJSON(f *testing.F) {
	f.Add(`{"a":"{x}","b":["{x}","{y}"],"c":{"d":"{x}"}}`, "")
	f.Add(`[1,null,{"a":"{y}"}]`, "v")
	f.Fuzz(func(t *testing.T, text, value string) {
		var template any
		if json.Unmarshal([]byte(text), &template) != nil {
			return
		}
		fill := func(text string) string {
			return token.ReplaceAllStringFunc(text, func(found string) string {
				if found == "{x}" {
					return value
				}
				return "1"
			})
		}
		filled := filledJSON(template, fill)
		if value != "" {
			require.Equal(t, each(template, fill), filled, "nothing came out empty")
		}
		require.LessOrEqual(t, len(fmt.Sprint(filled)), len(fmt.Sprint(each(template, fill))))
		require.Equal(t, filled, filledJSON(filled, func(text string) string { return text }), "what is filled stays")
	})
}
