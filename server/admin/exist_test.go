package admin

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

// nowhere is an account that does not exist.
const nowhere = "987654321"

// naming has bodies by call: those that name an account that does not exist, and those that a call checks before the
// object in its path.
var naming = map[string]string{
	"POST /api/keys":                                `{"account":"` + nowhere + `","name":"x"}`,
	"POST /api/webhooks":                            `{"account":"` + nowhere + `","url":"https://hooks.example.com/otp"}`,
	"POST /api/privacy/count":                       `{"account":"` + nowhere + `","id":"u-1"}`,
	"POST /api/privacy/export":                      `{"account":"` + nowhere + `","id":"u-1"}`,
	"POST /api/privacy/erase":                       `{"account":"` + nowhere + `","id":"u-1","confirm":"u-1"}`,
	"POST /api/recipients/lookup":                   `{"account":"` + nowhere + `","to":"+919551492394"}`,
	"POST /api/recipients/why":                      `{"account":"` + nowhere + `","to":"+919551492394"}`,
	"POST /api/recipients/unlock":                   `{"account":"` + nowhere + `","to":"+919551492394","reason":"they called"}`,
	"PATCH /api/accounts/:account":                  `{"name":"x"}`,
	"DELETE /api/accounts/:account":                 `{"confirm":"x"}`,
	"POST /api/accounts/:account/cut-over":          `{"mode":"forward"}`,
	"POST /api/accounts/:account/templates/preview": `{"medium":"sms"}`,
	"POST /api/accounts/:account/send-test":         `{"to":"+919551492394"}`,
	"POST /api/accounts/:account/test-recipients": `{"number":"+919551492394","code":"123456","reason":"x",` +
		`"expires_at":"2030-01-01T00:00:00Z"}`,
	"PATCH /api/keys/:id":                `{"name":"x"}`,
	"POST /api/keys/:id/rotate":          `{}`,
	"PATCH /api/webhooks/:webhook":       `{"description":"x"}`,
	"POST /api/checklist/:id/review":     `{"note":"x"}`,
	"PATCH /api/people/:id":              `{"accounts":["4711","` + nowhere + `"]}`,
	"POST /api/people":                   `{"email":"dev@shop.example","role":"developer","accounts":["4711","` + nowhere + `"]}`,
	"POST /api/service-accounts":         `{"name":"x","role":"auditor","accounts":["4711","` + nowhere + `"]}`,
	"POST /api/accounts":                 "", // makes the account that it names
	"POST /api/webhooks/:webhook/replay": `{"since":"2026-01-01T00:00:00Z"}`,
}

// outlasting are the calls about data of deleted accounts.
var outlasting = []string{"GET /api/audit", "GET /api/statistics", "GET /api/privacy/erasures"}

// Every object that a call names must exist: accounts in path, query and body, and people, keys, webhooks and others
// by id.
func TestCalls_WhatTheyNameExists(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711")
	who := d.proved(t)
	ids := map[string]string{"people": "per_", "invitations": "inv_", "keys": "key_", "alerts": "alr_", "sessions": "ses_",
		"mfa": "fac_", "service-accounts": "svc_", "test-recipients": "test_", "checklist": "weather"}
	fill := regexp.MustCompile(`(\w[\w-]*)/:(id|webhook|delivery|prefix)`)
	last := "" // of an id: 4 for one that nobody has, 0 for the one that no id can be
	unknown := func(path string) string {
		return fill.ReplaceAllStringFunc(path, func(named string) string {
			kind, part, _ := strings.Cut(named, "/:")
			prefix := map[string]string{"id": ids[kind], "webhook": "whk_", "delivery": "wdl_", "prefix": "+9199"}[part]
			if strings.HasSuffix(prefix, "_") {
				prefix += strings.Repeat("0", 25) + last
			}
			return kind + "/" + prefix
		})
	}
	for _, r := range routes {
		call := r.method + " " + r.path
		ask := func(path string) {
			for _, last = range []string{"0", "4"} {
				path := unknown(path)
				if slices.Contains(r.parameters, "since") {
					path += "?since=2026-01-01T00:00:00Z"
				}
				got := d.ask(t, r.method, path, naming[call], append(who, "If-Match", "*")...)
				require.Equal(t, 404, got.status, "%s %s: %s", r.method, path, got.text)
			}
		}
		switch {
		case strings.Contains(r.path, ":account/"): // what is in an account that is there, and in one that is not
			ask(strings.Replace(r.path, ":account", nowhere, 1))
			if strings.Count(r.path, ":") > 1 {
				ask(strings.Replace(r.path, ":account", "4711", 1))
			}
		case strings.Contains(r.path, ":"):
			ask(strings.Replace(r.path, ":account", nowhere, 1))
		}
		if slices.Contains(r.parameters, "account") && !slices.Contains(outlasting, call) {
			ask(r.path + "?account=" + nowhere)
		}
	}
	person := d.id(t, d.member(t, people.Support, "4711"))
	for call, body := range naming {
		method, path, _ := strings.Cut(call, " ")
		switch path = strings.Replace(path, ":id", person, 1); {
		case strings.Contains(body, `["4711",`):
			got := d.ask(t, method, path, body, append(who, "If-Match", "*")...)
			require.Equal(t, 400, got.status, "%s: %s", call, got.text)
			require.Contains(t, got.text, `"/accounts/1"`, call)
		case strings.Contains(body, nowhere):
			d.wants(t, 404, "NOT_FOUND", method, path, body, who...)
		}
	}
}

// The tests above try every body that names accounts; the document says which do.
func TestCalls_EachBodyThatNamesAnAccountIsTried(t *testing.T) {
	segment := regexp.MustCompile(`:(\w+)`)
	for _, r := range routes {
		body := openapi(t).Paths.Value(segment.ReplaceAllString(r.path, "{$1}")).Operations()[r.method].RequestBody
		if body == nil || body.Value.Content.Get("application/json") == nil {
			continue
		}
		for name := range closed(body.Value.Content.Get("application/json").Schema) {
			if name == "account" || name == "accounts" || name == "esme_address" {
				_, tried := naming[r.method+" "+r.path]
				require.True(t, tried, "%s %s takes %s and is not tried", r.method, r.path, name)
			}
		}
	}
}

// A caller who sees only some accounts cannot find out whether another exists.
func TestCalls_AnotherAccountIsLikeNone(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711", "4712")
	admin := append(d.member(t, people.Admin, "4711"), "If-Match", "*")
	person := d.id(t, d.member(t, people.Support, "4711"))
	for call, body := range naming {
		if !strings.Contains(body, nowhere) {
			continue
		}
		method, path, _ := strings.Cut(call, " ")
		path = strings.Replace(path, ":id", person, 1)
		answers := map[string]bool{}
		for _, account := range []string{"4712", nowhere} {
			got := d.ask(t, method, path, strings.ReplaceAll(body, nowhere, account), admin...)
			require.GreaterOrEqual(t, got.status, 400, "%s %s", call, account)
			delete(got.members, "request_id")
			text, err := json.Marshal(got.members)
			require.NoError(t, err)
			answers[strings.ReplaceAll(string(text), account, nowhere)] = true
		}
		require.Len(t, answers, 1, "%s: %v", call, answers)
	}
}

// An empty value is most often a variable of a script that was not set. It is refused where a member or parameter that
// is left out has a meaning, such as a live key, all environments, at once, or everything.
func TestCalls_AnEmptyValueIsNoDefault(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711")
	who := d.proved(t)
	for _, tt := range [][3]string{
		{"/api/keys", `{"account":"4711","environment":""}`, "/environment"},
		{"/api/keys", `{"account":"4711","kind":""}`, "/kind"}, {"/api/keys", `{"account":""}`, "/account"},
		{"/api/keys", `{"account":"4711","signing":""}`, "/signing"},
		{"/api/webhooks", `{"account":"4711","url":"https://hooks.example.com","environment":""}`, "/environment"},
		{"/api/service-accounts", `{"name":"x","role":""}`, "/role"},
		{"/api/service-accounts", `{"name":"x","role":"auditor","token_endpoint_auth_method":""}`, "/token_endpoint_auth_method"},
		{"/api/accounts/4711/cut-over", `{"mode":"local","at":""}`, "/at"},
		{"/api/accounts/4711/send-test", `{"to":"+919551492394","channel":""}`, "/channel"},
	} {
		got := d.wants(t, 400, "INVALID_REQUEST", "POST", tt[0], tt[1], who...)
		require.Equal(t, tt[2], got.members["errors"].([]any)[0].(map[string]any)["pointer"], got.text)
	}
	for _, r := range routes {
		for _, name := range r.parameters {
			path := strings.NewReplacer(":account", "4711", ":webhook", "whk_06bq3c7k5sqn2e8v4g1t9hp0mc").Replace(r.path)
			got := d.wants(t, 400, "INVALID_REQUEST", r.method, path+"?"+name+"=", "", who...)
			require.Equal(t, name, got.members["errors"].([]any)[0].(map[string]any)["parameter"], got.text)
		}
	}
}
