package v1

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// A code sent to one mailbox verifies no other, whatever Unicode makes of their spellings.
func TestVerify_ACodeForOneMailboxVerifiesNoOther(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	for i, pair := range [][2]string{
		{"victim@gİthub.example", "victim@github.example"}, {"victim@github.example", "victim@gıthub.example"},
		{"jo@straße.example", "jo@strasse.example"}, {"jo@аpple.example", "jo@apple.example"}, {"jo@bücher.example",
			"jo@bucher.example"},
		{"jo@οmega.example", "jo@omega.example"}, {"jo@ﬀ.example", "jo@f.example"}, {"jo@paypaⅼ.example",
			"jo@paypai.example"},
		{"jo@x-1.example", "jo@x1.example"}, {"j.o@example.com", "jo@example.com"}, {"jo+a@example.com", "jo@example.com"},
	} {
		sent := c.post("/v1/send", fmt.Sprintf(`{"to":%q,"method":"email","type":"verification"}`, pair[0]))
		require.Equal(t, 201, sent.status, sent.text)
		right, _ := c.codes()
		a := c.post("/v1/verify", fmt.Sprintf(`{"to":%q,"code":%q}`, pair[1], right))
		require.Equal(t, "NOT_FOUND", a.json["reason"], "%d: %q verified by %q", i, pair[0], pair[1])
		a = c.post("/v1/verify", fmt.Sprintf(`{"to":%q,"code":%q}`, pair[0], right))
		require.Equal(t, true, a.json["valid"], pair[0])
	}
}

// All spellings of one mailbox share one budget of sends.
func TestSend_SpellingsOfOneMailboxShareItsBudget(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	spellings := []string{
		"victim@github.example", "VICTIM@github.example", "victim@GITHUB.example", "victim@ｇｉｔｈｕｂ.example",
		"victim@github。example",
		"victim@github．example", "victim@github｡example", "victim@ⓖithub.example", "Victim@𝐠ithub.example",
		"victim@github.ｅxample",
	}
	for _, to := range spellings {
		sent := c.post("/v1/send", fmt.Sprintf(`{"to":%q,"method":"email","type":"verification"}`, to))
		require.Equal(t, 201, sent.status, sent.text)
		require.Equal(t, "v•••@github.example", sent.json["to"])
	}
	requireProblem(t, c.post("/v1/send", `{"to":"vicTim@github.example","method":"email","type":"verification"}`), 429,
		"RATE_LIMIT_EXCEEDED")
}

func TestSend_RefusesMailboxesByName(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	for to, why := range map[string]string{
		"é@example.com": "ASCII", "İ@example.com": "ASCII", `"a"@example.com`: "quotes", "a@[127.0.0.1]": "brackets",
		"a@example.com.": "dot",
		"a@b@c.example":  "one @", "a@ex_ample.com": "domain", "a@example.1": "IP address or a " +
			"number", "a@-x.example": "domain", "a@": "domain",
	} {
		for _, field := range []string{"to", "email"} {
			body := map[string]any{"to": to, "method": "email", "type": "verification"}
			if field == "email" {
				body["to"], body["email"] = number, to
			}
			text, err := json.Marshal(body)
			require.NoError(t, err)
			a := c.post("/v1/send", string(text))
			requireProblem(t, a, 400, "INVALID_REQUEST")
			require.Contains(t, a.text, "/"+field)
			require.Contains(t, a.text, why, to)
		}
	}
}

func TestBinding_NumbersThatADoubleDoesNotHoldAreRefused(t *testing.T) {
	c := newHouse(t).newClient(t, func(a *otp.Account) { a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = 0, 0, 0 })
	for binding, pointer := range map[string]string{
		`{"iban":12345678901234567890}`: "/binding/iban", `{"iban":12345678901234567891}`: "/binding/iban",
		`[1,9007199254740993]`: "/binding/1",
		`1e400`:                "/binding", `{"a":{"b":[0.30000000000000001]}}`: "/binding/a/b/0",
		`{"x/y":1e-400}`:     "/binding/x~1y",
		`9007199254740993.0`: "/binding",
	} {
		a := c.post("/v1/send", `{"to":"`+number+`","method":"sms","type":"verification","binding":`+binding+`}`)
		requireProblem(t, a, 400, "INVALID_REQUEST")
		require.Contains(t, a.text, pointer, binding)
		a = c.post("/v1/verify", `{"to":"`+number+`","code":"123456","binding":`+binding+`}`)
		requireProblem(t, a, 400, "INVALID_REQUEST")
	}
	sent := c.post("/v1/send",
		`{"to":"`+number+`","method":"sms","type":"verification","binding":{"amount":10.50,"iban":"12345678901234567890"}}`)
	require.Equal(t, 201, sent.status, sent.text)
	right, _ := c.codes()
	a := c.post("/v1/verify",
		`{"to":"`+number+`","code":"`+right+`","binding":{"iban":"12345678901234567890","amount":1.05e1}}`)
	require.Equal(t, true, a.json["valid"], a.text)
}
