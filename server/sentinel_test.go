package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
)

// Every call is made with values that occur nowhere else, at the most verbose log level. Then the log and the
// database's files are searched for each value, in every spelling that the server could write. The search itself is
// tested with planted values.

// sentinel is one value that must not be found anywhere.
type sentinel struct {
	what     string // for the report; the value itself is not printed
	spelled  []string
	digitRun string // found only as a whole run of digits: a code among timestamps is no leak
}

// textSentinel covers a text as it is, in hex, in base64 at any offset in a longer text, and percent-encoded.
func textSentinel(what, text string) sentinel {
	s := sentinel{what: what, spelled: []string{text, url.QueryEscape(text)}}
	return s.withBytes([]byte(text))
}

// bytesSentinel covers raw bytes and their hex and base64.
func bytesSentinel(what string, raw []byte) sentinel {
	return sentinel{what: what, spelled: []string{string(raw)}}.withBytes(raw)
}

func (s sentinel) withBytes(raw []byte) sentinel {
	s.spelled = append(s.spelled, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)))
	for skip := range 3 {
		// The characters that also depend on a neighbouring byte are left out.
		shifted := append(make([]byte, skip), raw...)
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := alphabet.EncodeToString(shifted)
			s.spelled = append(s.spelled, text[(skip*8+5)/6:len(shifted)*8/6])
		}
	}
	return s
}

// digitsSentinel covers digits as a whole run, and their hex and base64.
func digitsSentinel(what, digits string) sentinel {
	s := sentinel{what: what, digitRun: digits}
	return s.withBytes([]byte(digits))
}

// numberSentinel covers a phone number with and without its country code.
func numberSentinel(number string) []sentinel {
	return []sentinel{textSentinel("number "+number[:4]+"…", number), digitsSentinel("national number", number[2:])}
}

// value returns the sentinel's value.
func (s sentinel) value() string {
	if s.digitRun != "" {
		return s.digitRun
	}
	return s.spelled[0]
}

// leaks returns the sentinels that text contains. It searches by a spelling's first bytes, because there are thousands
// of spellings and a database has megabytes.
func leaks(text []byte, sentinels []sentinel) []string {
	const first = 8
	type spelling struct {
		of    int
		text  string
		whole bool // as a whole run of digits only
	}
	starts := map[string][]spelling{}
	for i, s := range sentinels {
		for _, spelled := range s.spelled {
			if len(spelled) >= first {
				starts[spelled[:first]] = append(starts[spelled[:first]], spelling{i, spelled, false})
			}
		}
		if run := s.digitRun; run != "" {
			starts[run[:first]] = append(starts[run[:first]], spelling{i, run, true})
		}
	}
	in := make([]bool, len(sentinels))
	for at := range max(0, len(text)-first+1) {
		for _, s := range starts[string(text[at:at+first])] {
			end := at + len(s.text)
			if end > len(text) || string(text[at:end]) != s.text {
				continue
			}
			if s.whole && (at > 0 && isDigit(text[at-1]) || end < len(text) && isDigit(text[end])) {
				continue
			}
			in[s.of] = true
		}
	}
	var found []string
	for i, s := range sentinels {
		if in[i] {
			found = append(found, s.what)
		}
	}
	return found
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// digits returns n random digits, the first not 0.
func digits(n int) string {
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n-1)), nil)
	random, err := rand.Int(rand.Reader, new(big.Int).Mul(most, big.NewInt(9)))
	if err != nil {
		panic(err)
	}
	return random.Add(random, most).String()
}

// witness makes sentinels and remembers them.
type witness struct{ sentinels []sentinel }

func (w *witness) add(s ...sentinel) { w.sentinels = append(w.sentinels, s...) }

func (w *witness) number() string {
	number := "919" + digits(9)
	w.add(numberSentinel(number)...)
	return number
}

func (w *witness) mail() string {
	name := "who" + strings.ToLower(rand.Text())
	w.add(textSentinel("mail", name))
	return name + "@mail.example"
}

func (w *witness) code() string {
	code := digits(10)
	w.add(digitsSentinel("guess", code))
	return code
}

func (w *witness) text(what string) string {
	text := rand.Text()
	w.add(textSentinel(what, text))
	return text
}

func (w *witness) key(what string, size int) string {
	raw := make([]byte, size)
	rand.Read(raw)
	w.add(bytesSentinel(what, raw))
	return base64.StdEncoding.EncodeToString(raw)
}

// secretAccount is a throwaway account whose values are all sentinels.
type secretAccount struct{ accessKey, cipherKey, cipherIV string }

func (w *witness) account(c client, columns string) secretAccount {
	c.t.Helper()
	a := secretAccount{accessKey: w.text("access key"), cipherKey: w.key("cipher key", 32),
		cipherIV: w.key("cipher iv", 16)}
	made := c.do("POST", "/sandbox/accounts", fmt.Sprintf(
		`{"otp_length":10,"access_keys":[{"key":%q}],"cipher_key":%q,"cipher_iv":%q%s}`, a.accessKey, a.cipherKey,
		a.cipherIV, columns))
	require.Equal(c.t, 201, made.status, made.body)
	w.add(textSentinel("API key", decoded(c.t, made)["api_key"].(string)))
	return a
}

// parameter returns an otp parameter, which is also a sentinel: under a fixed key it reveals as much as its code.
func (w *witness) parameter(t *testing.T, a secretAccount, code string) string {
	t.Helper()
	value := encrypted(t, a.cipherKey, a.cipherIV, code)
	raw, err := base64.StdEncoding.DecodeString(value)
	require.NoError(t, err)
	w.add(bytesSentinel("encrypted parameter", raw))
	return value
}

func TestSentinel_NothingSecretIsInLogOrDatabase(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := new(witness)
	ring := crypto.NewKeyringText("k1")
	ringKey, err := base64.StdEncoding.DecodeString(strings.Fields(ring)[1])
	require.NoError(t, err)
	w.add(bytesSentinel("keyring", ringKey))
	c := startChild(t, folder, "OTPBRIDGE_KEYRING="+ring, "OTPBRIDGE_LOG_LEVEL=debug",
		"OTPBRIDGE_TRUSTED_PROXIES=127.0.0.1",
		"OTPBRIDGE_DATABASE_URL=sqlite:data/otp.db", "OTPBRIDGE_DELIVERY_WAIT=300ms")

	w.everyServlet(c)
	w.everyAPICall(c)
	w.everySandboxCall(c)
	w.everyMalformedRequest(c)
	for _, m := range c.messages("limit=500") {
		if len(m.Code) == 10 {
			w.add(digitsSentinel("code", m.Code))
		}
	}
	require.Greater(t, len(w.sentinels), 150)

	searched := w.search(t, folder, c.log)
	require.Greater(t, strings.Count(c.log.String(), "msg=request"), 100, "the log is the one that was searched")
	c.kill() // so that the log of writes stays as it is
	require.Equal(t, searched, w.search(t, folder, c.log))
	require.Contains(t, searched, "otp.db-wal")

	w.findsWhatIsPlanted(t, folder, c.log)
}

// everyServlet makes right and wrong calls of the servlets, with each kind of account.
func (w *witness) everyServlet(c *child) {
	t := c.t
	for _, columns := range []string{
		``,
		`,"message_profile":"live","otp_encoding":"hex"`,
		`,"otp_cipher":"aes-ecb","strict_http":true`,
		`,"otp_cipher":"none","plain_validation_enabled":true`,
		`,"email_enabled":true`,
		`,"sms_enabled":false,"email_enabled":true`,
		`,"department_mode":"require"`,
		`,"otp_enabled":false`,
		`,"enabled":false`,
		`,"sends_per_minute":1`,
		`,"plain_validation_enabled":true,"otp_ttl_seconds":30`,
	} {
		a := w.account(c.client, columns)
		number, mail, subject := w.number(), w.mail(), w.text("subject")
		who := url.Values{"ipaddress": {subject}, "mobile": {number}, "email": {mail}}
		call := func(servlet string, more ...string) {
			parameters := url.Values{}
			for name, values := range who {
				parameters[name] = values
			}
			for i := 0; i < len(more); i += 2 {
				parameters.Set(more[i], more[i+1])
			}
			headers := []string{"access_key", a.accessKey, "department-id", "sales", "X-Forwarded-For", "203.0.113.9, " + number}
			c.do("GET", "/otpauthapi/"+servlet+"?"+parameters.Encode(), "", headers...)
			c.do("POST", "/otpauthapi/"+servlet+";jsessionid="+number, parameters.Encode(),
				append(headers, "Content-Type", "application/x-www-form-urlencoded")...)
		}
		call("otpgenservlet")
		call("otpregenservlet")
		wrong := w.code()
		call("plainotpvalidationservlet", "otp", wrong)
		call("otpvalidationservlet", "otp", wrong)
		call("otpvalidationservlet", "otp", w.parameter(t, a, wrong))
		call("otpvalidationservlet", "otp", w.text("nonsense for otp"))
		for _, m := range c.messages("limit=1&to=" + number) {
			w.add(digitsSentinel("code", m.Code))
			call("plainotpvalidationservlet", "otp", m.Code)
			call("otpvalidationservlet", "otp", w.parameter(t, a, m.Code))
		}
		call("otpgenservlet", "mobile", w.number()+"99999", "email", w.mail()+"@twice")
		call("otpgenservlet", "mobile", "+"+w.number(), "email", w.mail())
		call("otpgenservlet", w.number(), w.text("value of an unknown parameter"), w.text("name of an unknown parameter"), "")
		call("otpvalidationservlet", "otp", "")
		call(w.text("name of a servlet"))
	}
}

// everyAPICall makes right and wrong calls of the JSON API.
func (w *witness) everyAPICall(c *child) {
	t := c.t
	made := c.do("POST", "/sandbox/accounts",
		`{"otp_length":10,"email_enabled":true,"cors_allowed_origins":["https://shop.example"]}`)
	require.Equal(t, 201, made.status, made.body)
	key := decoded(t, made)["api_key"].(string)
	w.add(textSentinel("API key", key))
	post := func(path, body string, headers ...string) map[string]any {
		return decoded(t, c.do("POST", path, body, append([]string{
			"Authorization", "Bearer " + key, "Content-Type", "application/json", "Origin", "https://shop.example",
		}, headers...)...))
	}
	for range 2 {
		number, mail := w.number(), w.mail()
		once := []string{"Idempotency-Key", w.text("idempotency key")}
		send := fmt.Sprintf(`{"to":"+%s","method":"email","email":%q,"fallback":["sms"],"type":"transaction","ip":%q,"metadata":{"user_id":%q},"binding":{"iban":%q}}`,
			number, mail, w.text("subject"), w.text("metadata"), w.text("binding"))
		id := post("/v1/send", send, once...)["id"].(string)
		require.Equal(t, id, post("/v1/send", send, once...)["id"], "replayed")
		post("/v1/send", send+" ", once...)
		post("/v1/verify", `{"id":"`+id+`","type":"transaction","code":"`+w.code()+`"}`)
		post("/v1/verify",
			`{"to":"+`+number+`","ip":"`+w.text("subject")+`","type":"transaction","code":"`+w.code()+`","binding":`+fmt.Sprintf("%q", w.text("binding"))+`}`)
		post("/v1/resend", `{"id":"`+id+`"}`, once...)
		post("/v1/resend", `{"id":"`+id+`","method":"sms"}`)
		c.do("GET", "/v1/status/"+id, "", "X-API-Key", key)
		c.do("GET", "/v1/status/"+number+"?"+w.text("query"), "", "X-API-Key", key)
		recipient := `{"to":"+` + number + `","ip":"` + w.text("subject") + `","type":"transaction","binding":` +
			fmt.Sprintf("%q", w.text("binding")) + `}`
		post("/v1/resend", recipient)
		post("/v1/cancel", recipient)
		c.do("GET", "/v1/status?to=%2B"+number+"&type=transaction&ip="+w.text("subject"), "", "X-API-Key", key)
		c.do("GET", "/v1/status?to="+mail+"&code="+w.code(), "", "X-API-Key", key)
		post("/v1/cancel", `{"id":"`+id+`"}`)

		sent := post("/v1/send", fmt.Sprintf(`{"to":%q,"method":"email","type":"verification","metadata":{"user_id":%q}}`,
			w.mail(), w.text("metadata")))
		right := c.messages("limit=1")[0].Code
		w.add(digitsSentinel("code", right))
		receipt, _ := post("/v1/verify", `{"id":"`+sent["id"].(string)+`","code":"`+right+`"}`)["receipt"].(string)
		require.NotEmpty(t, receipt)
		w.add(textSentinel("receipt", receipt))
	}
	for _, body := range []string{
		`{"to":%q,"method":"sms","type":"verification"}`, `{"to":"x","method":%q}`, `{%q:1}`,
		`{"metadata":{%[1]q:1,%[1]q:2}}`, `{"template":%q}`, `%q`, `{"to":%q`,
		`{"locale":%q}`, `{"email":%q,"to":"+919876543210","method":"sms","type":"verification"}`,
	} {
		post("/v1/send", fmt.Sprintf(body, w.number()))
		post("/v1/send", fmt.Sprintf(body, w.text("value in the wrong place")))
		post("/v1/verify", fmt.Sprintf(body, w.code()))
	}
	for _, headers := range [][]string{
		{"Authorization", "Basic " + w.text("password")}, {"Authorization", "Bearer " + w.text("wrong key")}, {"X-API-Key",
			w.text("another key")},
		{"Idempotency-Key", strings.Repeat(w.text("long key"), 20)}, {"Origin", "https://" +
			w.text("origin")}, {"X-Debug-Auth", w.text("debug")},
		{"X-Signature", w.text("signature"), "X-Nonce", w.text("nonce"), "X-Timestamp", w.code()},
	} {
		post("/v1/send", `{"to":"+`+w.number()+`","method":"sms","type":"verification"}`, headers...)
	}
	for _, kind := range []string{"error", "panic"} {
		require.Equal(t, 200,
			c.do("PUT", "/sandbox/faults", `{"faults":[{"target":"v1","kind":"`+kind+`","count":1}]}`).status)
		post("/v1/send", `{"to":"+`+w.number()+`","method":"sms","type":"verification"}`)
	}
	for _, number := range []string{w.number(), w.mail()} {
		c.do("OPTIONS", "/v1/send", "", "Origin", "https://"+number)
		c.do("GET", "/docs/"+number, "")
		c.do("DELETE", "/v1/"+number, "")
	}
}

// everySandboxCall passes sentinels to the sandbox's calls, and injects faults.
func (w *witness) everySandboxCall(c *child) {
	a := w.account(c.client, `,"email_enabled":true`)
	generate := func() {
		c.servlet("otpgenservlet", a.accessKey, person(w.number(), "email", w.mail()))
	}
	for _, fault := range []string{
		`{"target":"inbox","kind":"not_sent"}`, `{"target":"inbox","kind":"unknown"}`,
		`{"target":"inbox","kind":"delay","delay":"1s"}`,
		`{"target":"servlet","kind":"error"}`, `{"target":"servlet","kind":"panic"}`,
	} {
		require.Equal(c.t, 200, c.do("PUT", "/sandbox/faults", `{"faults":[`+fault+`]}`).status)
		generate()
	}
	c.do("DELETE", "/sandbox/faults", "")
	generate()
	for _, path := range []string{"/sandbox/credentials", "/sandbox/messages?wait=10ms", "/sandbox/requests",
		"/sandbox/clock", "/sandbox/faults", "/", "/readyz?verbose"} {
		c.do("GET", path, "")
	}
	for _, to := range []string{w.number(), w.mail()} {
		c.do("GET", "/sandbox/messages?to="+url.QueryEscape(to), "")
		c.do("GET", "/sandbox/messages?after="+url.QueryEscape(to), "")
		c.do("GET", "/sandbox/messages?"+url.QueryEscape(to)+"=1", "")
		c.do("GET", "/sandbox/clock?account="+url.QueryEscape(to), "")
		c.do("GET", "/sandbox/messages/stream?after="+url.QueryEscape(to), "")
	}
	for _, body := range []string{
		`{"esme_address":%q}`, `{"name":%q,"otp_length":3}`, `{"cipher_key":%q}`, `{"cipher_iv":%q}`, `{%q:1}`,
		`{"otp_cipher":%q}`,
		`{"access_keys":[{"key":%q,"allowed_ips":["x"]}]}`, `{"access_keys":[{"key":%[1]q},{"key":%[1]q}]}`,
		`{"otp_length":%q}`,
		`{"message_overrides":{%q:"x"}}`, `{"countries":[%q]}`, `{"name":"a"} %q`, `%q`,
	} {
		c.do("POST", "/sandbox/accounts", fmt.Sprintf(body, w.key("key in the wrong place", 32)))
		c.do("POST", "/sandbox/accounts", fmt.Sprintf(body, "+"+w.number())) // without the plus it could name an account
	}
	for _, call := range [][3]string{
		{"PUT", "/sandbox/clock", `{"account":%q,"offset":"1m"}`}, {"PUT", "/sandbox/clock", `{"offset":%q}`},
		{"PUT", "/sandbox/faults", `{"faults":[{"target":%q,"kind":"error"}]}`}, {"PUT", "/sandbox/faults",
			`{"faults":[{"target":"inbox","kind":"delay","delay":%q}]}`},
		{"POST", "/sandbox/reset", `{"account":%q}`}, {"POST", "/sandbox/reset", `{%q:1}`},
	} {
		c.do(call[0], call[1], fmt.Sprintf(call[2], w.number()))
	}
}

// everyMalformedRequest sends malformed requests with sentinels in every place.
func (w *witness) everyMalformedRequest(c *child) {
	key, number, mail := w.text("access key"), w.number(), w.mail()
	for _, raw := range []string{
		"GET /otpauthapi/otpgenservlet?mobile=%[2]s HTTP/1.1\r\nHost: x\r\naccess_key: %[1]s\r\naccess_key: %[1]sx\r\n\r\n",
		"GET /otpauthapi/otpgenservlet?mobile=%[2]s&mobile=%[2]s;email=%[3]s HTTP/1.1\r\nHost: x\r\naccess_key: " +
			"%[1]s\r\n\r\n",
		"GET /otpauthapi/otpgenservlet?mobile=%[2]s&email=%%zz%[3]s HTTP/1.1\r\nHost: x\r\naccess_key: %[1]s\r\n\r\n",
		"GET /otpauthapi/%[2]s/%[3]s HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /%[2]s HTTP/1.1\r\nHost: x\r\naccess_key: %[1]s\r\n\r\n",
		"%[2]s /otpauthapi/otpgenservlet HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /otpauthapi/otpgenservlet HTTP/1.1\r\nHost: %[3]s\r\nCookie: %[1]s\r\nUser-Agent: %[2]s\r\nReferer: " +
			"http://x/%[2]s\r\n\r\n",
		"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: %[2]s %[3]s\r\n\r\n",
		"GET /livez HTTP/1.1\r\nHost: x\r\n%[1]s: %[2]s\r\n\r\n",
		"GET /livez HTTP/1.1\r\nHost: x\r\nbad header %[1]s\r\n\r\n",
		"GET /livez HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %[2]s, %[3]s\r\n\r\n",
		"GET /livez HTTP/9.%[2]s\r\nHost: x\r\n\r\n",
		"GET http://%[3]s/otpauthapi/otpgenservlet?mobile=%[2]s HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /otpauthapi/otpgenservlet HTTP/1.1\r\nHost: x\r\nContent-Length: %[2]s\r\n\r\nmobile=%[2]s",
		"POST /otpauthapi/otpgenservlet HTTP/1.1\r\nHost: x\r\nContent-Length: abc%[2]s\r\n\r\n",
		"POST /otpauthapi/otpgenservlet HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %[1]s\r\n\r\n",
		"POST /otpauthapi/otpgenservlet HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\naccess_key: " +
			"%[1]s\r\n\r\nzz%[2]s\r\n",
		"POST /otpauthapi/otpgenservlet HTTP/1.1\r\nHost: x\r\nContent-Type: %[3]s\r\nContent-Length: 5\r\naccess_key: " +
			"%[1]s\r\n\r\n%[2]s",
		"CONNECT %[3]s:443 HTTP/1.1\r\nHost: x\r\n\r\n",
		"%[1]s%[2]s%[3]s\r\n\r\n",
	} {
		connection, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
		require.NoError(c.t, err)
		_, err = fmt.Fprintf(connection, raw, key, number, mail)
		require.NoError(c.t, err)
		require.NoError(c.t, connection.(*net.TCPConn).CloseWrite())
		_, _ = io.Copy(io.Discard, connection) // the answer, or the end of a connection that earned none
		require.NoError(c.t, connection.Close())
	}
	c.do("GET", "/livez", "", "X-Large", strings.Repeat(number, 4000))
	c.do("POST", "/sandbox/accounts", `{"name":"`+strings.Repeat(number, 6000)+`"}`)
}

// search searches the log and every file of the database, and returns the names of what it read.
func (w *witness) search(t *testing.T, folder string, log *output) []string {
	t.Helper()
	require.Empty(t, leaks([]byte(log.String()), w.sentinels), "in the log")
	files, err := filepath.Glob(filepath.Join(folder, "data", "*"))
	require.NoError(t, err)
	var read []string
	for _, name := range files {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Empty(t, leaks(content, w.sentinels), "in %s", filepath.Base(name))
		read = append(read, filepath.Base(name))
	}
	return read
}

// findsWhatIsPlanted proves that the search finds each sentinel in a copy of the log and in a row of a copy of the
// database.
func (w *witness) findsWhatIsPlanted(t *testing.T, folder string, log *output) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "otp.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(filepath.Join(folder, "data", "otp.db"+suffix))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(copied+suffix, content, 0o600))
	}
	var planted strings.Builder
	for _, s := range w.sentinels {
		value := s.value()
		require.Equal(t, []string{s.what}, leaks([]byte(log.String()+"time=1 value="+value+" x=1\n"), []sentinel{s}),
			"in the log")
		require.Equal(t, []string{s.what}, leaks([]byte("hex:"+hex.EncodeToString([]byte(value))), []sentinel{s}), "in hex")
		require.Equal(t, []string{s.what}, leaks([]byte(base64.StdEncoding.EncodeToString([]byte("x"+value+"y"))),
			[]sentinel{s}), "in base64")
		planted.WriteString(" " + value + " ")
	}
	edit(t, []string{"OTPBRIDGE_DATABASE_URL=sqlite:" + copied},
		`UPDATE otp_auth_config SET name = CAST(x'`+hex.EncodeToString([]byte(planted.String()))+`' AS TEXT) WHERE esme_address = '10000000000001'`)
	var all []byte
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(copied + suffix)
		if err == nil {
			all = append(all, content...)
		}
	}
	require.Greater(t, len(leaks(all, w.sentinels)), len(w.sentinels)*9/10,
		"in a row; a value across two pages is found in none")
}
