package deliver

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	testCode = "493817"
	testTo   = "+919876543210"
	testText = "493817 is your code & 100% € \"yours\"\nbye"
)

// message returns a message with everything that a gateway may need.
func message() Message {
	return Message{
		ID: "otp_0190", Number: 2, Account: "4711", Medium: "sms", To: testTo, ExpiresAt: time.Now().Add(5*time.Minute +
			500*time.Millisecond),
		Content: func() (Content, error) {
			return Content{Subject: "Your code", Text: testText, Code: testCode, DLTEntityID: "1101", DLTTemplateID: "1107"}, nil
		},
	}
}

// one opens the single channel of a URL, without its breaker.
func one(t *testing.T, text string, o Options) Channel {
	t.Helper()
	if o.Medium == "" {
		o.Medium = "sms"
	}
	o.Files = filesOf(t, text)
	channels, err := Parse(text, o)
	require.NoError(t, err)
	require.Len(t, channels, 1)
	if breaker, ok := channels[0].(*Breaker); ok {
		return breaker.Behind()
	}
	return channels[0]
}

// withProfile returns a server's URL with a profile after the #, for channels that read it from its folder.
func withProfile(t *testing.T, server, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "profile.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return server + "#profile=" + url.QueryEscape(path)
}

// filesOf reads the folder of the file that a URL names with an absolute path; none without one.
func filesOf(t *testing.T, urls string) Files {
	t.Helper()
	found := regexp.MustCompile(`(?:profile|dkim_key)=([^&,]*)`).FindStringSubmatch(urls)
	if found == nil {
		return Files{}
	}
	path, err := url.QueryUnescape(found[1])
	require.NoError(t, err)
	if !filepath.IsAbs(path) || !strings.HasPrefix(path, os.TempDir()) {
		return Files{}
	}
	files, err := OpenFiles(filepath.Dir(path))
	require.NoError(t, err)
	return files
}

// recorded is a request as a provider saw it.
type recorded struct {
	method, path, query, body string
	header                    http.Header
}

// provider is an HTTP server that records one request and answers it.
func provider(t *testing.T, status int, body string) (*httptest.Server, *recorded) {
	t.Helper()
	seen := &recorded{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		*seen = recorded{r.Method, r.URL.Path, r.URL.RawQuery, string(text), r.Header}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server, seen
}

func TestGateway_TheURLIsTheRequest(t *testing.T) {
	server, seen := provider(t, 200, "OK")
	g := one(t,
		server.URL+"/send?apikey=a%2Bb&to={to_digits}&text={text}&from={sender}&tpl={dlt_template_id}#sender=ACME&name=first",
		Options{})
	require.Equal(t, "first", g.Name())
	require.Equal(t, Result{Outcome: Sent}, g.Send(t.Context(), message()))
	require.Equal(t, "GET", seen.method)
	require.Equal(t, "/send", seen.path)
	require.Empty(t, seen.body)
	require.Equal(t, "apikey=a%2Bb&to=919876543210&text="+url.QueryEscape(testText)+"&from=ACME&tpl=1107", seen.query)
	require.Empty(t, seen.header.Get("Authorization"))
}

func TestGateway_ProfileShapesTheRequest(t *testing.T) {
	const said = `{"messages":[{"id":"abc-1","status":{"group":"PENDING"}}]}`
	server, seen := provider(t, 200, said)
	text := withProfile(t, strings.Replace(server.URL, "//", "//user:pass%2Fword@", 1)+"/v2?dlr=1", `{
		"name": "json-gateway", "sender": "ACME",
		"headers": {"Authorization": "App {password}", "X-Id": "{id}"},
		"query": {"entity": "{dlt_entity_id}"},
		"json": {"messages": [{"to": "{to}", "text": "{text}", "n": 1.50, "flash": false, "ttl": "{expires_in}", "from": "{sender}"}]},
		"sent": {"field": "messages.0.status.group", "values": ["PENDING"]},
		"id": "messages.0.id",
		"statuses": {"delivered": ["DELIVRD"], "failed": ["UNDELIV", "REJECTD"]}
	}`)
	g := one(t, text, Options{})
	m := message()
	m.From = "SHOP"
	require.Equal(t, Result{Outcome: Sent, MessageID: "abc-1"}, g.Send(t.Context(), m))
	require.Equal(t, "POST", seen.method)
	require.Equal(t, "dlr=1&entity=1101", seen.query)
	require.Equal(t, "App pass/word", seen.header.Get("Authorization"))
	require.Equal(t, "otp_0190", seen.header.Get("X-Id"))
	require.Equal(t, "application/json", seen.header.Get("Content-Type"))
	var sent map[string][]map[string]any
	require.NoError(t, json.Unmarshal([]byte(seen.body), &sent))
	require.Equal(t, map[string]any{"to": testTo, "text": testText, "n": 1.5, "flash": false, "ttl": "300",
		"from": "SHOP"}, sent["messages"][0])

	receipt, known := g.(*Gateway).Receipt(Receipt{MessageID: "abc-1"}, "delivrd")
	require.True(t, known)
	require.Equal(t, Receipt{Provider: "json-gateway", MessageID: "abc-1", Status: Delivered}, receipt)
	_, known = g.(*Gateway).Receipt(Receipt{}, "what")
	require.False(t, known)
}

func TestGateway_PresetSpeaksAsItsDocumentationSays(t *testing.T) {
	server, seen := provider(t, 201, `{"sid":"SM1","status":"queued"}`)
	g := one(t, strings.Replace(server.URL, "//", "//AC1:token@",
		1)+"/2010-04-01/Accounts/AC1/Messages.json#preset=twilio&sender=%2B15005550006", Options{})
	require.Equal(t, Result{Outcome: Sent, MessageID: "SM1"}, g.Send(t.Context(), message()))
	require.Equal(t, "twilio", g.Name())
	require.Equal(t, "/2010-04-01/Accounts/AC1/Messages.json", seen.path)
	form, err := url.ParseQuery(seen.body)
	require.NoError(t, err)
	require.Equal(t, url.Values{"To": {testTo}, "From": {"+15005550006"}, "Body": {testText}, "ValidityPeriod": {"300"}},
		form)
	require.Equal(t, "application/x-www-form-urlencoded", seen.header.Get("Content-Type"))
	user, password, _ := (&http.Request{Header: seen.header}).BasicAuth()
	require.Equal(t, "AC1 token", user+" "+password)
}

// Every class of answer, and the outcome that it proves.
func TestGateway_OutcomeFollowsFromTheAnswer(t *testing.T) {
	const judged = `{
		"json": {"to": "{to}", "text": "{text}"},
		"sent": {"status": "200,202", "field": "code", "values": ["0"]},
		"refused": [
			{"status": "400-404"},
			{"status": "200", "field": "code", "values": ["7", "BAD_NUMBER"]},
			{"status": "500", "field": "code", "values": ["9"], "retry": true},
			{"match": "^QUEUE FULL", "retry": true}
		],
		"id": "id"
	}`
	const none = `{"json": {"to": "{to}", "text": "{text}"}}`
	long := strings.Repeat("x", maxAnswer+1)
	for _, tt := range []struct {
		name, profile string
		status        int
		body          string
		outcome       Outcome
		retryable     bool
		down          bool
		reason        string
	}{
		{"taken", none, 200, "", Sent, false, false, ""},
		{"taken with a long answer that nobody has to understand", none, 202, long, Sent, false, false, ""},
		{"bad request", none, 400, "", NotSent, false, false, "refused with status 400"},
		{"wrong key", none, 401, "", NotSent, false, false, "refused with status 401"},
		{"too many", none, 429, "", NotSent, true, true, "refused with status 429"},
		{"a timeout of some proxy", none, 408, "", Unknown, false, true,
			"answered with status 408, which is neither sent nor refused"},
		{"a conflict", none, 409, "", Unknown, false, true, "answered with status 409, which is neither sent nor refused"},
		{"broken", none, 500, "", Unknown, false, true, "answered with status 500, which is neither sent nor refused"},
		{"overloaded", none, 503, "", Unknown, false, true, "answered with status 503, which is neither sent nor refused"},
		{"a redirect", none, 307, "", Unknown, false, true,
			"answered with status 307, a redirect, and none is followed: name the address that it leads to"},
		{"accepted by its field", judged, 200, `{"code":0,"id":"m-1"}`, Sent, false, false, ""},
		{"refused by its field", judged, 200, `{"code":"BAD_NUMBER"}`, NotSent, false, false,
			`refused with status 200 and code="BAD_NUMBER"`},
		{"an unknown field", judged, 200, `{"code":"493817"}`, Unknown, false, true,
			"answered with status 200, which is neither sent nor refused"},
		{"a number where a code should be", judged, 200, `{"code":{"n":0}}`, Unknown, false, true,
			"answered with status 200, which is neither sent nor refused"},
		{"garbage", judged, 200, "\x00\xff<html>493817", Unknown, false, true,
			"answered with status 200, which is neither sent nor refused"},
		{"nothing", judged, 200, "", Unknown, false, true, "answered with status 200, which is neither sent nor refused"},
		{"too long to judge", judged, 200, `{"code":0,"x":"` + long + `"}`, Unknown, false, true,
			"answered with status 200 and a body that broke off or is too long"},
		{"a documented failure", judged, 500, `{"code":9}`, NotSent, true, true, `refused with status 500 and code="9"`},
		{"a documented text", judged, 503, "QUEUE FULL 493817", NotSent, true, true, "refused with status 503"},
		{"not on the profile's list", judged, 422, "", Unknown, false, true,
			"answered with status 422, which is neither sent nor refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := provider(t, tt.status, tt.body)
			result := one(t, withProfile(t, server.URL, tt.profile), Options{}).Send(t.Context(), message())
			result.MessageID = ""
			require.Equal(t, Result{Outcome: tt.outcome, Retryable: tt.retryable, Down: tt.down, Reason: tt.reason}, result)
			require.NotContains(t, result.Reason, testCode)
		})
	}
}

func TestGateway_MessageIDIsTakenOnlyIfItLooksLikeOne(t *testing.T) {
	for body, id := range map[string]string{
		"OK: 4f5e-a": "4f5e-a", "OK: a\nb": "a", "no": "", "OK: " + strings.Repeat("a", 129): "", "OK: \x1b[2J": "",
	} {
		server, _ := provider(t, 200, body)
		g := one(t, withProfile(t, server.URL, `{"form": {"to": "{to}", "text": "{text}"}, "id_match": "OK: ([^\\n]*)"}`),
			Options{})
		require.Equal(t, Result{Outcome: Sent, MessageID: id}, g.Send(t.Context(), message()), body)
	}
}

func TestGateway_FollowsNoRedirect(t *testing.T) {
	var elsewhere atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer target.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(target.URL, status))
		result := one(t, server.URL+"?to={to}&text={text}", Options{}).Send(t.Context(), message())
		require.Equal(t, Unknown, result.Outcome)
		server.Close()
	}
	require.Zero(t, elsewhere.Load())
}

// raw is a server that handles each connection by hand, and counts them.
func raw(t *testing.T, handle func(n int32, conn net.Conn)) (address string, connections *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(connections.Add(1), conn)
			}()
		}
	}()
	return listener.Addr().String(), connections
}

// readRequest reads a whole request, so that closing the connection does not reset it.
func readRequest(conn net.Conn, reader *bufio.Reader) bool {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, request.Body)
	return err == nil
}

func TestGateway_OutcomeFollowsFromWhatLeftTheProcess(t *testing.T) {
	const post = `{"timeout": "500ms", "form": {"to": "{to}", "text": "{text}"}}`
	const get = `{"timeout": "500ms", "query": {"to": "{to}", "text": "{text}"}}`
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	answering := func(answer string) func(int32, net.Conn) {
		return func(_ int32, conn net.Conn) {
			if readRequest(conn, bufio.NewReader(conn)) {
				_, _ = io.WriteString(conn, answer)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		handle func(int32, net.Conn)
		result Result
	}{
		{"closes without an answer", answering(""), doubtful("no answer: the connection was closed")},
		{"answers something else than HTTP, with the code in it", answering("493817 hello\r\n\r\n"),
			doubtful("no answer: the connection failed or the answer is not understood")},
		{"answers half a header", answering("HTTP/1.1 200 OK\r\nX-Half: "), doubtful("no answer: the connection was closed")},
		{"answers half a body", answering("HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nhalf"),
			doubtful("answered with status 503 and a body that broke off or is too long")},
		{"is taken, and the body breaks off", answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
			Result{Outcome: Sent}},
		{"never answers", func(_ int32, conn net.Conn) { <-over }, doubtful("no answer: the time is over")},
		{"never ends its answer", func(_ int32, conn net.Conn) {
			readRequest(conn, bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nhalf")
			<-over
		}, doubtful("answered with status 503 and a body that broke off or is too long")},
		{"closes its side and never answers", func(_ int32, conn net.Conn) {
			readRequest(conn, bufio.NewReader(conn))
			_ = conn.(*net.TCPConn).CloseWrite()
			<-over
		}, doubtful("no answer: the connection was closed")},
		{"sends an endless header", func(_ int32, conn net.Conn) {
			readRequest(conn, bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(conn, "X-A: "+strings.Repeat("a", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, doubtful("no answer: the connection failed or the answer is not understood")},
	} {
		for method, profile := range map[string]string{"POST": post, "GET": get} {
			t.Run(tt.name+" to a "+method, func(t *testing.T) {
				t.Parallel()
				address, connections := raw(t, tt.handle)
				require.Equal(t, tt.result, one(t, withProfile(t, "http://"+address, profile), Options{}).Send(t.Context(),
					message()))
				require.Equal(t, int32(1), connections.Load())
			})
		}
	}
}

func TestGateway_WhatWasNotReachedIsSurelyNotSent(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := free.Addr().String()
	require.NoError(t, free.Close())
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	silent, _ := raw(t, func(int32, net.Conn) { <-over })
	noTLS, _ := raw(t, func(_ int32, conn net.Conn) { _, _ = io.WriteString(conn, "hello, no TLS here\r\n") })
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	for name, tt := range map[string]struct{ url, reason string }{
		"nobody listens":      {"http://" + closed, "the connection was refused"},
		"no such host":        {"http://nowhere.invalid", "its host is not found by DNS"},
		"the handshake hangs": {"https://" + silent, "the time is over"},
		"there is no TLS":     {"https://" + noTLS, "no TLS could be agreed on"},
		"a wrong certificate": {stranger.URL, "its certificate is not for this host, has expired, or is from no known " +
			"authority"},
	} {
		t.Run(name, func(t *testing.T) {
			result := one(t, tt.url+"?to={to}&text={text}#connect_timeout=1s", Options{Sandbox: true}).Send(t.Context(),
				message())
			require.Equal(t, unreachable(tt.reason), result)
		})
	}
	t.Run("given up before there is a connection", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, unreachable("given up"), one(t, "https://"+silent+"?to={to}&text={text}", Options{}).Send(ctx,
			message()))
	})
}

func TestGateway_AGoodCertificateIsAccepted(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	require.Equal(t, Result{Outcome: Sent}, one(t, server.URL+"?to={to}&text={text}",
		Options{Roots: roots}).Send(t.Context(), message()))

	old := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	roots.AddCert(old.Certificate())
	result := one(t, old.URL+"?to={to}&text={text}", Options{Roots: roots}).Send(t.Context(), message())
	require.Equal(t, unreachable("no TLS could be agreed on"), result)
}

// If a connection is closed as soon as it is open, the client may see that before or after it wrote the request. In
// either case it reports not sent only if nothing arrived.
func TestGateway_NotSentIsSaidOnlyIfNothingArrived(t *testing.T) {
	var withData atomic.Int32
	address, _ := raw(t, func(n int32, conn net.Conn) {
		if n%2 == 0 {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if read, _ := io.Copy(io.Discard, conn); read > 0 {
			withData.Add(1)
		}
	})
	g := one(t, "http://"+address+"?to={to}&text={text}", Options{})
	seen := make(map[Outcome]int)
	for range 40 {
		seen[g.Send(t.Context(), message()).Outcome]++
	}
	require.Zero(t, seen[Sent])
	require.NotZero(t, seen[Unknown])
	require.LessOrEqual(t, int(withData.Load()), seen[Unknown])
}

// If a kept connection breaks after the request was written, net/http would repeat a GET by itself, and a person would
// get two messages.
func TestGateway_ARequestIsNeverRepeated(t *testing.T) {
	for _, method := range []string{"GET", "POST", "PUT"} {
		var requests atomic.Int32
		address, _ := raw(t, func(n int32, conn net.Conn) {
			reader := bufio.NewReader(conn)
			for i := 0; readRequest(conn, reader); i++ {
				requests.Add(1)
				if i > 0 {
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
			}
		})
		g := one(t,
			withProfile(t, "http://"+address, `{"method": "`+method+`", "query": {"to": "{to}", "text": "{text}"}}`), Options{})
		require.Equal(t, Result{Outcome: Sent}, g.Send(t.Context(), message()))
		require.Equal(t, doubtful("no answer: the connection was closed"), g.Send(t.Context(), message()), method)
		require.Equal(t, int32(2), requests.Load(), method)
	}
}

func TestGateway_ConnectionsAreKept(t *testing.T) {
	connections := new(atomic.Int32)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	g := one(t, server.URL+"?to={to}&text={text}", Options{})
	for range 5 {
		require.Equal(t, Sent, g.Send(t.Context(), message()).Outcome)
	}
	require.Equal(t, int32(1), connections.Load())
}

func TestGateway_AMessageThatCannotBeRenderedIsNotSent(t *testing.T) {
	server, seen := provider(t, 200, "")
	m := message()
	m.Content = func() (Content, error) { return Content{}, errors.New("the key of 493817 is gone") }
	require.Equal(t, refused("the message could not be rendered"),
		one(t, server.URL+"?to={to}&text={text}", Options{}).Send(t.Context(), m))
	require.Empty(t, seen.method)
}

func TestGateway_RefusesToPrintItsSecrets(t *testing.T) {
	g := one(t, "https://user:hunter2@gateway.example/s3cret?key=s3cret&to={to}&text={text}", Options{})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		require.Equal(t, "gateway gateway.example", fmt.Sprintf(verb, g))
	}
	text, err := json.Marshal(g)
	require.NoError(t, err)
	require.Equal(t, "{}", string(text))
}

// Whatever the fields contain, the request has exactly the configured form.
func FuzzGateway_ValuesStayValues(f *testing.F) {
	f.Add(testTo, testText, testCode, "ACME", "1107")
	f.Add("+1&to=2", "{to}{code}\r\nX-Evil: 1\x00", "\"}],\"to\":\"1", "A\r\nB", "{dlt_entity_id}")
	f.Add("a@b.example,c@d.example", "\u2028\xff\xfe", "", "\x7f", "&#?/../")
	channel, _,
		err := open("https://gateway.example/send?to={to}&text={text}&code={code}&from={sender}&t={dlt_template_id}",
		Options{Medium: "sms"})
	require.NoError(f, err)
	query := channel.(*Breaker).Behind().(*Gateway)
	form, jsonBody := *query, *query
	form.query, form.form, form.method = nil, query.query, "POST"
	jsonBody.query, jsonBody.method = nil, "POST"
	jsonBody.json = map[string]any{"to": "{to}", "in": []any{map[string]any{"text": "{text}", "code": "{code}"}},
		"from": "{sender}", "t": "{dlt_template_id}"}
	header := *query
	header.headers = []pair{{"X-From", "{sender}"}, {"X-To", "{to}"}}
	f.Fuzz(func(t *testing.T, to, text, code, sender, template string) {
		m := Message{ID: "otp_1", To: to, From: sender, ExpiresAt: time.Now()}
		content := Content{Text: text, Code: code, DLTTemplateID: template}
		want := url.Values{}
		for name, value := range map[string]string{"to": to, "text": text, "code": code, "from": sender, "t": template} {
			if value != "" { // otherwise the field is left out
				want.Set(name, value)
			}
		}

		request, err := query.request(t.Context(), m, content)
		require.NoError(t, err)
		require.Equal(t, "https://gateway.example/send", request.URL.Scheme+"://"+request.URL.Host+request.URL.Path)
		got, err := url.ParseQuery(request.URL.RawQuery)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Len(t, request.Header, 1)

		request, err = form.request(t.Context(), m, content)
		require.NoError(t, err)
		body, _ := io.ReadAll(request.Body)
		got, err = url.ParseQuery(string(body))
		require.NoError(t, err)
		require.Equal(t, want, got)

		request, err = jsonBody.request(t.Context(), m, content)
		require.NoError(t, err)
		body, _ = io.ReadAll(request.Body)
		var object map[string]any
		require.NoError(t, json.Unmarshal(body, &object))
		valid := func(text string) string { return string([]rune(text)) } // as JSON has it
		inner, outer := map[string]any{}, map[string]any{}
		for _, field := range []struct {
			in          map[string]any
			name, value string
		}{{outer, "to", to}, {inner, "text", text}, {inner, "code", code}, {outer, "from",
			cmp.Or(sender, query.sender)}, {outer, "t", template}} {
			if field.value != "" {
				field.in[field.name] = valid(field.value)
			}
		}
		if len(inner) > 0 {
			outer["in"] = []any{inner}
		}
		require.Equal(t, outer, object)

		request, err = header.request(t.Context(), m, content)
		if err != nil {
			require.False(t, headerValue(sender) && headerValue(to))
			require.NotContains(t, err.Error(), "\n")
			return
		}
		own := 1
		for _, value := range []string{sender, to} {
			if value != "" {
				own++
			}
		}
		require.Len(t, request.Header, own)
		for _, values := range request.Header {
			require.Len(t, values, 1)
			require.True(t, headerValue(values[0]))
		}
	})
}
