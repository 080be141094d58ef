package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// hostileTexts are texts that have broken databases, decoders and terminals.
var hostileTexts = map[string]string{
	"four bytes": "\U0001f511\U0001f511", "NUL": "a\x00b", "NUL alone": "\x00", "controls": "a\x01\x1b[2J\x7fb",
	"line breaks": "a\r\nX-Evil: b\n\n",
	"Latin-1":     "caf\xe9", "cut character": "ab\xf0\x9f\x94", "overlong": "\xc0\xaf\xe0\x80\xaf",
	"surrogates in UTF-8": "\xed\xa0\x80\xed\xb0\x80",
	"beyond Unicode":      "\xf4\x90\x80\x80", "long": strings.Repeat("x",
		10_000), "long in four bytes": strings.Repeat("\U0001f511", 10_000),
	"right to left": "abc\u202edef\u202c", "isolates": "\u2066abc\u2069",
	"combining": "Z" + strings.Repeat("\u0341\u0327\u031b", 200), "decomposed": "e\u0301",
	"BOM": "\ufeffabc", "separators": "a\u2028b\u2029c", "without width": "a\u200bb\u200cc\u2060d",
	"percent": "%%%zz%00%ff%u0041", "format": "%s%n%d{code}{{.}}${x}",
	"family": "\U0001f468\u200d\U0001f469\u200d\U0001f467", "flag": "\U0001f3f4\U000e0067\U000e0062\U000e007f",
	"noncharacter": "\ufffe\uffff\U0010ffff",
	"private":      "\ue000\U000f0000", "dotted I": "İIıi", "full width": "ａｄｍｉｎ＠ｘ", "quotes": "'\"`\\;--/*",
	"blank": " \t ", "wide blank": "\u3000\u00a0",
}

// escapes are texts that only JSON can write.
var escapes = map[string]string{
	"high surrogate": `"\ud800"`, "low surrogate": `"x\udc00y"`, "swapped": `"\udc00\ud800"`,
	"escaped NUL": `"a\u0000b"`, "escaped line break": `"a\nb"`,
	"a pair": `"\ud83d\udd11"`, "half before an escape": `"\ud83d\n"`, "escaped override": `"\u202eabc"`,
	"number": `12345678901234567890`, "exponent": `1e400`, "null": `null`,
	"list": `["a"]`, "object": `{"a":"b"}`, "deep": strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
}

// raw sends requests byte by byte, as no client would.
type raw struct {
	t       *testing.T
	address string
	conn    net.Conn
	lines   *bufio.Reader
}

// send sends one request and returns its response; the status is 0 if the server hung up without one.
func (r *raw) send(method, target, body string, headers ...string) answer {
	r.t.Helper()
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", method, target, r.address, len(body))
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&text, "%s: %s\r\n", headers[i], headers[i+1])
	}
	text.WriteString("\r\n" + body)
	if r.conn == nil {
		conn, err := net.Dial("tcp", r.address)
		require.NoError(r.t, err)
		r.conn, r.lines = conn, bufio.NewReader(conn)
	}
	_, _ = r.conn.Write(text.Bytes()) // a server that has refused the head may hang up meanwhile
	response, err := http.ReadResponse(r.lines, &http.Request{Method: method})
	if err != nil {
		r.close()
		return answer{}
	}
	content, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.Close || strings.ContainsAny(strings.Join(headers, ""),
		"\r\n") { // or the next answer is to what was smuggled
		r.close()
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(content)}
}

func (r *raw) close() {
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
}

// besieged is a server and the data that the attacks need.
type besieged struct {
	*booted
	*raw
	db      *sqlx.DB
	environ []string
	key     string // API key
	access  string
	account string
	id      string               // of a live challenge
	rows    string               // as counted last
	taken   int                  // requests that were not refused
	made    map[string][2]string // by address as JSON, the column that was given and its value
}

// jsonText writes any bytes as a JSON string, without repairing them.
func jsonText(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x00", "\x00").Replace(text) + `"`
}

// unchanged requires that nothing was stored since the last time.
func (b *besieged) unchanged(what string, values ...any) {
	b.t.Helper()
	before := b.rows
	b.count()
	require.Equal(b.t, before, b.rows, "it was refused, and changed something: "+fmt.Sprintf(what, values...))
}

// count remembers how many rows there are.
func (b *besieged) count() {
	b.t.Helper()
	tables := []string{"otp_auth_config", "credentials", "recipients", "challenges", "events", "deliveries",
		"idempotency_keys", "sandbox_accounts"}
	for i, table := range tables {
		tables[i] = "(SELECT COUNT(*) FROM " + table + ")"
	}
	found, err := b.db.Queryx("SELECT " + strings.Join(tables, ", "))
	require.NoError(b.t, err)
	defer found.Close()
	require.True(b.t, found.Next())
	row, err := found.SliceScan()
	require.NoError(b.t, err)
	b.rows = fmt.Sprint(row...)
}

// accountColumns are the columns that hold texts, and how a text is put into one.
var accountColumns = map[string]string{
	"esme_address": "%s", "name": "%s", "message_profile": "%s", "message_overrides": `{"error":%s}`,
	"countries": "[%s]", "servlet_types": `["verification",%s]`,
	"otp_cipher": "%s", "otp_encoding": "%s", "department_mode": "%s", "departments": "[%s]", "sms_channels": "%s",
	"email_channels": "%s", "sms_sender": "%s",
	"email_sender": "%s", "sms_template": "%s", "email_template": "%s", "dlt_entity_id": "%s", "dlt_template_id": "%s",
	"templates":            `{"login":%s}`,
	"cors_allowed_origins": "[%s]", "cors_allowed_methods": "[%s]", "cors_allowed_headers": "[%s]",
	"cost_guards": "%s", "prices": `{"*":%s}`,
	"cipher_key": "%s", "cipher_iv": "%s", "access_keys": `[{"key":%s}]`, "max_attempts": "%s", "otp_length": "%s",
}

// Whatever text a stranger or a caller writes into any field, on both databases: the server has no fault, a refusal
// names the field and changes nothing, and an accepted text reads back unchanged.
func TestHostileTexts_AreTakenAsTheyAreOrRefusedByName(t *testing.T) {
	for _, database := range []string{"sqlite", "mariadb"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			besiege(t, database)
		})
	}
}

func besiege(t *testing.T, database string) {
	environ := variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=0", "OTPBRIDGE_LOG_FORMAT=json",
		"OTPBRIDGE_SMS_CHANNELS=http://127.0.0.1:1/?to={to}&text={text}&ref={send_id}"+
			"#name=g&callback=0123456789abcdef&callback_reference=ref&callback_status=state&callback_error=error")
	if database == "mariadb" {
		server := sqltest.Shared(t)
		address := server.Schema(t)
		environ = append(environ, "OTPBRIDGE_DATABASE_URL="+address)
		storm(t, environ, sqltest.Connect(t, address))
		return
	}
	storm(t, environ, sqltest.Connect(t, databaseOf(t, environ)))
}

func storm(t *testing.T, environ []string, db *sqlx.DB) {
	db.SetMaxIdleConns(1) // rows are counted after every request
	s := boot(t, environ...)
	account := s.account(`{"email_enabled":true,"plain_validation_enabled":true,"departments":["sales"],
		"sends_per_minute":0,"sends_per_hour":0,"sends_per_day":0,
		"sms_channels":"inbox:","requests_per_minute":1000000,"templates":{"login":"{code}"}}`)
	b := &besieged{booted: s, raw: &raw{t: t, address: s.Addr()}, db: db, environ: environ, key: account.APIKey,
		access: account.AccessKey, account: account.Address}
	defer b.close()
	sent := b.send("POST", "/v1/send", `{"to":"+919551492003","method":"sms","type":"verification"}`, "Authorization",
		"Bearer "+b.key, "Content-Type", "application/json")
	require.Equal(t, 201, sent.status, sent.body)
	b.id = decoded(t, sent)["id"].(string)
	b.count()
	fields := slices.Concat(servletFields(), v1Fields(t), sandboxFields())
	tries, began := 0, time.Now()
	for _, field := range fields {
		if b.db.DriverName() == "mysql" && !field.stored() {
			continue // it is refused or read before the database is asked, which sqlite has shown
		}
		for _, text := range hostileTexts {
			if field.json {
				text = jsonText(text)
			}
			b.try(field, text)
			tries++
		}
		if field.json {
			for _, text := range escapes {
				b.try(field, text)
				tries++
			}
		}
	}
	t.Logf("%d requests, of which %d were taken, %v", tries, b.taken, time.Since(began))
	b.accounts()
	t.Logf("%d requests, of which %d were taken, %v", tries, b.taken, time.Since(began))
	b.commands()
	require.NotContains(t, s.log.String(), `level=ERROR`)
	t.Logf("%d requests, of which %d were taken, %v", tries, b.taken, time.Since(began))
}

// try sends a text and checks the result.
func (b *besieged) try(f hostileField, text string) {
	b.t.Helper()
	shown := text[:min(len(text), 60)]
	a := f.send(b, text)
	require.Less(b.t, a.status, 500, "%s %q: %s", f.name, shown, a.body)
	switch {
	case a.status == 0:
		require.Contains(b.t, f.name, "header", "%s %q was not answered", f.name, shown)
		return
	case a.status < 400:
		b.taken++
		b.count()
		if f.back != nil && a.status == 201 {
			f.back(b, text, a)
		}
		return
	}
	b.unchanged("%s %q: %s", f.name, shown, a.body)
	if f.named != "" && a.status == 400 && a.header.Get("Content-Type") == "application/problem+json" {
		namesIt := strings.Contains(a.body, f.named) || strings.Contains(a.body, "is not UTF-8") ||
			strings.Contains(a.body, "half a character") ||
			strings.Contains(a.body, "is not one JSON value")
		require.True(b.t, namesIt, "%s %q: %s", f.name, shown, a.body)
	}
}

// accounts makes an account for every column and text.
func (b *besieged) accounts() {
	b.made = map[string][2]string{}
	for column, form := range accountColumns {
		if b.db.DriverName() == "mysql" && strings.HasPrefix(column, "otp_") {
			continue // no text comes that far
		}
		for _, text := range hostileTexts {
			b.accountWith(column, fmt.Sprintf(form, jsonText(text)))
		}
		for _, text := range escapes {
			b.accountWith(column, fmt.Sprintf(form, text))
		}
	}
	b.listed() // once: each listing is of all
}

func (b *besieged) accountWith(column, value string) {
	b.t.Helper()
	shown := value[:min(len(value), 60)]
	a := b.send("POST", "/sandbox/accounts", `{"`+column+`":`+value+`}`)
	require.Less(b.t, a.status, 500, "%s %q: %s", column, shown, a.body)
	if a.status != 201 {
		b.unchanged("%s %q: %s", column, shown, a.body)
		namesIt := strings.Contains(a.body, column) || strings.Contains(a.body, "is not UTF-8") ||
			strings.Contains(a.body, "half a character") ||
			strings.Contains(a.body, "is not one JSON value")
		require.True(b.t, namesIt, "%s %q: %s", column, shown, a.body)
		return
	}
	b.taken++
	b.count()
	if column == "access_keys" || value == "null" || strings.HasPrefix(column, "cipher_") {
		return
	}
	b.made[string(fieldOfJSON(b.t, a.body, "esme_address"))] = [2]string{column, value}
}

// listed requires that every account that was made reads back unchanged.
func (b *besieged) listed() {
	b.t.Helper()
	var rows struct{ Data []map[string]json.RawMessage }
	require.NoError(b.t, json.Unmarshal([]byte(b.send("GET", "/sandbox/accounts", "").body), &rows))
	found := 0
	for _, row := range rows.Data {
		if given, ok := b.made[string(row["esme_address"])]; ok {
			sameJSON(b.t, given[1], row[given[0]])
			found++
		}
	}
	require.NotZero(b.t, found)
	require.Len(b.t, b.made, found, "an account that was made is not listed")
}

// sameJSON compares values, numbers by their digits.
func sameJSON(t *testing.T, want string, found json.RawMessage) {
	t.Helper()
	var values [2]any
	for i, text := range []string{want, string(found)} {
		numbers := json.NewDecoder(strings.NewReader(text))
		numbers.UseNumber()
		require.NoError(t, numbers.Decode(&values[i]), text)
	}
	require.NotContains(t, fmt.Sprint(values[0]), "\ufffd", "what is no text was mended: %s", want)
	require.Equal(t, values[0], values[1])
}

func fieldOfJSON(t *testing.T, text, name string) json.RawMessage {
	t.Helper()
	var object map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(text), &object))
	return object[name]
}

// commands tries the command line, each text in another column and flag.
func (b *besieged) commands() {
	columns := slices.Sorted(func(yield func(string) bool) {
		for column := range accountColumns {
			if column != "esme_address" && column != "access_keys" && !yield(column) {
				return
			}
		}
	})
	folder := b.t.TempDir()
	texts := slices.Concat(slices.Collect(func(yield func(string) bool) {
		for _, text := range hostileTexts {
			if !yield(jsonText(text)) {
				return
			}
		}
	}), slices.Collect(func(yield func(string) bool) {
		for _, text := range escapes {
			if !yield(text) {
				return
			}
		}
	}))
	for i, text := range texts {
		if b.db.DriverName() == "mysql" && i%3 > 0 {
			continue // the decoders are the same
		}
		column := columns[i%len(columns)]
		path := filepath.Join(folder, "account.json")
		address, words := fmt.Sprintf("77%d", i), `{"error":`+text+`}`
		require.NoError(b.t, os.WriteFile(path, []byte(`{"esme_address":"`+address+`","message_overrides":`+words+`}`),
			0o600))
		if b.command("account", "import", path, "--profile", "live", "--make-secrets") {
			var shown strings.Builder
			run([]string{"account", "show", address, "--json"}, process{environ: b.environ, stdout: &shown, stderr: io.Discard})
			sameJSON(b.t, words, fieldOfJSON(b.t, shown.String(), "message_overrides"))
		}
		plain := strings.Trim(text, `"`)
		b.command("account", "set", b.account, column+"="+plain)
		b.command("key", "create", b.account, "--name", plain)
		b.command("key", "create", b.account, "--allowed-origins", plain)
		b.command("recipient", "show", b.account, plain)
	}
}

// command runs one command, which must succeed or be refused; a refused command must change nothing.
func (b *besieged) command(arguments ...string) (done bool) {
	b.t.Helper()
	var out, problems strings.Builder
	code := run(arguments, process{environ: b.environ, stdin: strings.NewReader(""), stdout: &out, stderr: &problems})
	shown := problems.String()[:min(len(problems.String()), 300)]
	require.Contains(b.t, []int{exitOK, exitUnusable}, code, "%.100q: %s", arguments, shown)
	if code == exitUnusable {
		b.unchanged("%.100q: %s", arguments, shown)
		return false
	}
	b.taken++
	b.count()
	return true
}
