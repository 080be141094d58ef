package v1

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// malformed is a request that must be refused and change nothing.
type malformed struct {
	path, body  string
	contentType string // empty: application/json
	pointer     string // of the first fault; "" for the whole body, "*" for anywhere
}

// valid are correct bodies, from which the malformed ones are made. {id} and {code} stand for those of a live
// challenge.
var valid = map[string]string{
	"/v1/send": `{"to":"+919876543210","method":"sms","type":"verification","template":"plain","locale":"en","ttl":300,"length":6,` +
		`"email":"user@example.com","metadata":{"a":1},"binding":{"a":1},"ip":"203.0.113.7","fallback":["email"]}`,
	"/v1/verify": `{"id":"{id}","code":"{code}","type":"verification","binding":null}`,
	"/v1/resend": `{"id":"{id}","method":"sms"}`,
	"/v1/cancel": `{"id":"{id}"}`,
}

// values are tried for every member whose schema refuses them.
var values = []string{
	`null`, `true`, `false`, `0`, `-1`, `1`, `1.5`, `3`, `11`, `29`, `1e3`, `1e400`, `-0`, `99999999999999999999`,
	`2147483648`,
	`""`, `" "`, `"x"`, `"SMS"`, `"300"`, `"\u0000"`, `"a\u0000b"`, `"+91987\r\nBcc: x"`, `"{{7*7}}"`, `"' OR 1=1 --"`,
	`"../../etc/passwd"`,
	`"` + strings.Repeat("9", 300) + `"`, `"１２３４５６"`, `"12345"`, `[]`, `["sms"]`, `["sms","sms"]`, `["fax"]`, `[null]`,
	`[[["x"]]]`, `{}`, `{"a":{"b":[]}}`,
}

// generated makes bodies from the document: each member with each value that its schema refuses, each required member
// left out, each member repeated, and an unknown one added.
func generated(t testing.TB) []malformed {
	var all []malformed
	document := openapi(t)
	for _, path := range slices.Sorted(maps.Keys(valid)) {
		schema := document.Paths.Value(path).Post.RequestBody.Value.Content["application/json"].Schema.Value
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(valid[path]), &members))
		with := func(name, value string) string {
			changed := maps.Clone(members)
			changed[name] = json.RawMessage(value)
			return object(changed)
		}
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			if path != "/v1/send" && (name == "to" || name == "ip") {
				delete(members, "id")
				members["to"] = json.RawMessage(`"+919876543210"`)
			}
			for _, value := range values {
				if refused(schema.Properties[name].Value, value) {
					all = append(all, malformed{path: path, body: with(name, value), pointer: "/" + name})
				}
			}
			if given, ok := members[name]; ok {
				all = append(all, malformed{path: path, body: strings.TrimSuffix(object(members), "}") + `,"` + name + `":` +
					string(given) + "}", pointer: "/" + name})
			}
			without := maps.Clone(members)
			delete(without, name)
			if slices.Contains(schema.Required, name) {
				all = append(all, malformed{path: path, body: object(without), pointer: "/" + name})
			}
			if path != "/v1/send" && name == "to" {
				require.NoError(t, json.Unmarshal([]byte(valid[path]), &members))
				delete(members, "to")
			}
		}
		for _, name := range []string{"unknown", "To", "TTL", "constructor", "__proto__", ""} {
			all = append(all, malformed{path: path, body: with(name, `1`), pointer: "/" + name})
		}
	}
	return all
}

// refused reports whether a schema does not allow a value.
func refused(schema *openapi3.Schema, text string) bool {
	if text == `1e400` { // beyond Go's range
		return !schema.Type.Includes("number") && !schema.Type.Includes("integer") || schema.Type.Is("integer")
	}
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return false
	}
	return schema.VisitJSON(value, openapi3.EnableJSONSchema2020()) != nil
}

func object(members map[string]json.RawMessage) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "%q:%s", name, members[name])
	}
	return "{" + b.String() + "}"
}

// byHand returns malformed requests that no schema expresses.
func byHand() []malformed {
	const to = `"to":"+919876543210","method":"sms","type":"verification"`
	all := []malformed{
		{path: "/v1/send", body: `{` + to + `,"metadata":{"a":1,"a":2}}`, pointer: "/metadata/a"},
		{path: "/v1/send", body: `{` + to + `,"metadata":{"a":1,"\u0061":2}}`, pointer: "/metadata/a"},
		{path: "/v1/send", body: `{` + to + `,"metadata":{"a":"` + strings.Repeat("x", 1024) + `"}}`, pointer: "/metadata"},
		{path: "/v1/send", body: `{` + to + `,"metadata":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40) +
			`}`, pointer: "/metadata"},
		{path: "/v1/send", body: `{` + to + `,"binding":{"a":1,"a":1}}`, pointer: "/binding/a"},
		{path: "/v1/send", body: `{` + to + `,"binding":` + strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40) + `}`,
			pointer: "/binding"},
		{path: "/v1/send", body: `{` + to + `,"binding":1e400}`, pointer: "/binding"},
		{path: "/v1/send", body: `{` + to + `,"binding":"\ud800"}`},
		{path: "/v1/send", body: `{` + to + `,"t\u006f":"+919876543210"}`, pointer: "/to"},
		{path: "/v1/send", body: `{"to":"919876543210","method":"sms","type":"verification"}`, pointer: "/to"},
		{path: "/v1/send", body: `{"to":"+12025550123","method":"sms","type":"verification"}`, pointer: "/to"},
		{path: "/v1/send", body: `{"to":"+91 98765 43210","method":"sms","type":"verification"}`, pointer: "/to"},
		{path: "/v1/send", body: `{"to":"user@example.com","method":"sms","type":"verification"}`, pointer: "/method"},
		{path: "/v1/send", body: `{"to":"a@b@c","method":"email","type":"verification"}`, pointer: "/to"},
		{path: "/v1/send", body: `{"to":"Name <user@example.com>","method":"email","type":"verification"}`, pointer: "/to"},
		{path: "/v1/send", body: `{"to":"user@example.com\r\nBcc: x@example.com","method":"email","type":"verification"}`,
			pointer: "/to"},
		{path: "/v1/send", body: `{"to":"+919876543210","method":"email","type":"verification"}`, pointer: "/method"},
		{path: "/v1/send", body: `{` + to + `,"template":"missing"}`, pointer: "/template"},
		{path: "/v1/send", body: `{` + to + `,"length":5}`, pointer: "/length"},
		{path: "/v1/send", body: `{` + to + `,"fallback":["sms"]}`, pointer: "/fallback/0"},
		{path: "/v1/verify", body: `{"id":"{id}","to":"+919876543210","code":"{code}"}`, pointer: "/to"},
		{path: "/v1/verify", body: `{"id":"{id}","ip":"203.0.113.7","code":"{code}"}`, pointer: "/ip"},
		{path: "/v1/verify", body: `{"code":"{code}"}`, pointer: "/id"},
		{path: "/v1/verify", body: `{"id":"{id}","code":"{code} "}`, pointer: "/code"},
		{path: "/v1/verify", body: `{"id":"{id}","code":"{code}00000"}`, pointer: "/code"},
		{path: "/v1/verify", body: `{"id":"{id}","code":{code}.0}`, pointer: "*"},
		{path: "/v1/verify", body: `{"id":"key_{id}","code":"{code}"}`, pointer: "/id"},
		{path: "/v1/cancel", body: `{"id":"{ID}"}`, pointer: "/id"},
	}
	for _, path := range slices.Sorted(maps.Keys(valid)) {
		whole := valid[path]
		for _, body := range []string{
			``, ` `, `null`, `true`, `1`, `"x"`, `[]`, `[` + whole + `]`, whole + whole, whole + ` x`, whole[:len(whole)-1],
			whole[1:],
			`{`, `{"id"`, `{"id":}`, `{id:1}`, `{'id':1}`, strings.Repeat(`[`, 20000), strings.Repeat(`{"a":`, 9000),
			whole + "\x00", "\xef\xbb\xbf" + whole, strings.Replace(whole, `"`, "\"\xff", 1),
			strings.Replace(whole, `"`, "\"\xed\xa0\x80", 1),
			strings.Replace(whole, `{"`, `{"\ud83d`, 1), `/* */` + whole, whole + ` // x`, `{,` + whole[1:], `<xml/>`,
			"id=1&code=2", `{"a":NaN}`, `{"a":0x1}`, `{"a":01}`,
			`{"a":"` + strings.Repeat("x", 64<<10) + `"}`, strings.Repeat(" ", 70<<10) + whole,
		} {
			all = append(all, malformed{path: path, body: body})
		}
		for _, kind := range []string{
			"none", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
			"application/json; charset=utf-16",
			"application/json; a=b", "application/jsonp", "application/json, text/plain", "text/json", ";",
		} {
			all = append(all, malformed{path: path, body: whole, contentType: kind, pointer: "*"})
		}
	}
	return all
}

// Every malformed body is refused with 400 and the place of the fault. After all of them the database is unchanged to
// the byte, and the recipient has all its sends and guesses.
func TestMalformed_IsRefusedChangesNothingAndCostsNothing(t *testing.T) {
	h := newHouse(t)
	c := h.newClient(t, nil).with(unlimitedKey)
	id, code, _ := c.sent(sendBody)
	fill := strings.NewReplacer("{id}", id, "{code}", code, "{ID}", strings.ToUpper(id))
	all := append(generated(t), byHand()...)
	require.GreaterOrEqual(t, len(all), 200)

	before := h.dump(t)
	for _, m := range all {
		kind := m.contentType
		switch kind {
		case "":
			kind = "application/json"
		case "none":
			kind = ""
		}
		a := c.post(m.path, fill.Replace(m.body), "Content-Type", kind, "Idempotency-Key", "k")
		if a.status != 400 {
			t.Errorf("%s %.200s: %d %s", m.path, m.body, a.status, a.text)
			continue
		}
		require.NotEmpty(t, a.json["errors"], "%s %.200s: %s", m.path, m.body, a.text)
		first := a.json["errors"].([]any)[0].(map[string]any)
		pointer, _ := first["pointer"].(string)
		if m.pointer != "*" && pointer != m.pointer && !strings.HasPrefix(pointer, m.pointer+"/") {
			t.Errorf("%s %.200s: is pointed at %q, not at %q", m.path, m.body, a.text, m.pointer)
		}
		require.Less(t, len(a.text), 4000, "an answer is not as long as its sender pleases")
	}
	require.Equal(t, before, h.dump(t))
	t.Logf("%d malformed requests", len(all))

	// All limits are unchanged: nine more sends of ten, five guesses of five.
	require.Equal(t, true, c.post("/v1/verify", fill.Replace(`{"id":"{id}","code":"{code}"}`)).json["valid"])
	for range 9 {
		c.sent(sendBody)
	}
	requireProblem(t, c.post("/v1/send", sendBody), 429, "RATE_LIMIT_EXCEEDED")
}

// dump returns every row of the database, including credentials and accounts.
func (h *house) dump(t testing.TB) map[string][]string {
	db := sqltest.Connect(t, "sqlite:"+h.path)
	names, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'table'`)
	require.NoError(t, err)
	var tables []string
	for names.Next() {
		var name string
		require.NoError(t, names.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, names.Err())
	dump := map[string][]string{}
	for _, table := range tables {
		rows, err := db.Query(`SELECT * FROM "` + table + `"`)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			row := make([]any, len(columns))
			targets := make([]any, len(columns))
			for i := range row {
				targets[i] = &row[i]
			}
			require.NoError(t, rows.Scan(targets...))
			dump[table] = append(dump[table], fmt.Sprint(row...))
		}
		require.NoError(t, rows.Err())
	}
	require.NotEmpty(t, dump["challenges"])
	return dump
}

// checksNothing accepts every request that decodes, and decodesAnything every one that is JSON.
var (
	checksNothing = sqltest.Mutation{Name: "checks nothing", Package: "otpbridge/server/v1", File: "checks.go",
		Change: func(t testing.TB, source string) string {
			return sqltest.Replace(t, source, "	if len(k.faults) == 0 {\n",
				"	if len(k.faults) == 0 || seeded(`checks nothing`, true, false) {\n", 1)
		}}
	decodesAnything = sqltest.Mutation{Name: "decodes anything", Package: "otpbridge/server/strict", File: "strict.go",
		Change: func(t testing.TB, source string) string {
			return sqltest.Replace(t, source, "	if len(d.faults) > 0 {\n",
				"	if len(d.faults) > 0 && seeded(`decodes anything`, false, true) {\n", 1)
		}}
)

// A test is trusted only if it has caught a bug: built with a validator that does nothing, this one must fail.
func TestMalformed_CatchesABuildThatValidatesNothing(t *testing.T) {
	if os.Getenv("OTP_MUTANT") != "" {
		t.Skip("this is the mutant")
	}
	tests := sqltest.Tests(t, checksNothing, decodesAnything)
	for _, mutation := range []sqltest.Mutation{checksNothing, decodesAnything} {
		command := exec.Command(tests, "-test.timeout", "2m", "-test.run", "TestMalformed_IsRefused")
		command.Env = sqltest.Seeded(mutation)
		output, err := command.CombinedOutput()
		require.Error(t, err, "%s:\n%s", mutation.Name, output)
		require.Contains(t, string(output), "--- FAIL: TestMalformed_IsRefused", mutation.Name)
	}
}
