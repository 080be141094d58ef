package v1

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/audit"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// Each call once: the house checks every answer against the document.
func TestWebhooks_EveryAnswerIsAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusInternalServerError)
	}))
	defer receiver.Close()
	h := newHouse(t)
	app := h.newClient(t, nil)
	c := app.with(manage.NewKey{Name: "hooks", Permissions: []string{otp.PermitReadWebhooks, otp.PermitWriteWebhooks}})
	made := c.post("/v1/webhooks", `{"url":"`+receiver.URL+`","events":["*"]}`)
	require.Equal(t, 201, made.status, made.text)
	path := made.header.Get("Location")
	second := c.post("/v1/webhooks", `{"url":"`+receiver.URL+`/two","enabled":false}`).json["id"].(string)
	page := c.get("/v1/webhooks?limit=1")
	require.Equal(t, made.json["id"], page.json["next_cursor"])
	rest := c.get("/v1/webhooks?limit=1&cursor=" + made.json["id"].(string))
	require.Equal(t, second, rest.json["data"].([]any)[0].(map[string]any)["id"])
	require.Equal(t, false, rest.json["has_more"])
	requireProblem(t, c.get("/v1/webhooks?cursor="+strings.Replace(second, "whk", "key", 1)), 400, "INVALID_REQUEST")
	app.sent(sendBody)
	deliveries := func() []any { return c.get(path + "/deliveries").json["data"].([]any) }
	require.Eventually(t, func() bool {
		all := deliveries()
		return len(all) == 1 && all[0].(map[string]any)["attempts"] == 1.0
	}, 10*time.Second, 20*time.Millisecond)
	delivery := deliveries()[0].(map[string]any)["id"].(string)
	shown := c.get(path + "/deliveries/" + delivery)
	require.Equal(t, "no\n", shown.json["answer"])
	require.Equal(t, "otp.sent", shown.json["request"].(map[string]any)["type"])
	require.NoError(t, openapi(t).Components.Schemas["ChallengeEvent"].Value.VisitJSON(shown.json["request"]))
	for call, body := range map[string]string{"/rotate": "", "/test": "", "/replay": `{"delivery":"` + delivery + `"}`} {
		headers := []string{"If-Match", "*", "Idempotency-Key", "one " + call}
		first, again := c.post(path+call, body, headers...), c.post(path+call, body, headers...)
		require.Equal(t, 200, first.status, first.text)
		require.Equal(t, first.text, again.text, call)
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"), call)
	}
	since := url.QueryEscape(time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	for _, call := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/webhooks", "", 200}, {"GET", path, "", 200},
		{"PATCH", path, `{"description":"orders","enabled":false}`, 200}, {"PATCH", path, `{"events":[]}`, 400},
		{"POST", path + "/rotate", "", 200}, {"POST", path + "/test", "", 200},
		{"GET", path + "/deliveries?limit=1&state=pending", "", 200}, {"GET", path + "/deliveries?state=lost", "", 400},
		{"GET", path + "/replay?since=" + since, "", 200}, {"GET", path + "/replay?since=today", "", 400},
		{"POST", path + "/replay", `{"delivery":"` + delivery + `"}`, 200}, {"POST", path + "/replay", `{}`, 400},
		{"GET", path + "/deliveries/wdl_1", "", 404}, {"POST", "/v1/webhooks", `{"url":"ftp://x"}`, 400},
		{"DELETE", path, "", 204}, {"GET", path, "", 404}, {"POST", path + "/test", "", 404},
	} {
		answer := c.call(call.method, call.path, call.body, "Content-Type", "application/json", "If-Match", "*")
		require.Equal(t, call.status, answer.status, "%s %s: %s", call.method, call.path, answer.text)
	}
	require.Equal(t, 403, app.get("/v1/webhooks").status)

	_, err := h.audit.Seal(t.Context())
	require.NoError(t, err)
	auditor := app.with(manage.NewKey{Name: "auditor", Permissions: []string{otp.PermitAudit}})
	for kind, want := range map[string]string{"webhook.delivery_read": `"delivery":"` + delivery + `"`,
		"webhook.tested": `"ok":"false"`} {
		found := auditor.get("/v1/audit-logs?action=" + kind)
		times := map[string]int{"webhook.delivery_read": 1, "webhook.tested": 2}[kind] // once under the key
		require.Len(t, found.json["data"], times, found.text)
		require.Contains(t, found.text, want)
		require.Contains(t, found.text, `"actor_kind":"key"`)
	}
}

func TestAuditLogs_ShowAnAccountItsOwnAndNobodyElses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	app, other := h.newClient(t, nil), h.newClient(t, nil)
	c := app.with(manage.NewKey{Name: "auditor", Permissions: []string{otp.PermitAudit}})
	seal := func() {
		t.Helper()
		_, err := h.audit.Seal(t.Context())
		require.NoError(t, err)
	}
	seal()
	found := func(query string) []any {
		t.Helper()
		answer := c.get("/v1/audit-logs" + query)
		require.Equal(t, 200, answer.status, answer.text)
		return answer.json["data"].([]any)
	}
	all := found("")
	require.NotEmpty(t, all)
	for _, entry := range all {
		require.Equal(t, app.Address, entry.(map[string]any)["account"])
	}
	require.NotEmpty(t, found("?action=key.created&account="+app.Address))
	require.Empty(t, found("?action=key.created&to=2020-01-01T00:00:00Z"))
	seal()
	read := found("?action=audit.read")
	require.Len(t, read, 3)
	require.Equal(t, "key", read[0].(map[string]any)["actor_kind"])
	require.Len(t, found("?actor="+read[0].(map[string]any)["actor"].(string)), 3)

	page := c.get("/v1/audit-logs?limit=2")
	require.Equal(t, true, page.json["has_more"])
	require.Contains(t, page.header.Get("Link"), "cursor="+page.json["next_cursor"].(string))
	next := found("?limit=2&cursor=" + page.json["next_cursor"].(string))
	require.Less(t, next[0].(map[string]any)["place"], page.json["data"].([]any)[1].(map[string]any)["place"])

	for query, status := range map[string]int{"?account=" + other.Address: 404, "?account=nobody": 404, "?limit=0": 400,
		"?limit=101": 400, "?cursor=0": 400, "?cursor=x": 400, "?from=today": 400, "?to=": 400, "?who=me": 400,
		"?action=a&action=b": 400} {
		require.Equal(t, status, c.get("/v1/audit-logs"+query).status, query)
	}
	require.Equal(t, 403, app.get("/v1/audit-logs").status, "a key that may not")
}

// A key sees what is about its own environment, and what is about none, page by page to the end.
func TestAuditLogs_ShowAKeyItsOwnEnvironment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	app := h.newClient(t, nil)
	keys := map[otp.Environment]client{}
	for _, environment := range otp.Environments() {
		keys[environment] = app.with(manage.NewKey{Name: string(environment), Environment: environment,
			Permissions: []string{otp.PermitAudit}})
	}
	list, err := h.manage.Keys.List(t.Context(), app.Address)
	require.NoError(t, err)
	owner := map[string]string{} // the environment's name, by the key's id
	for _, key := range list {
		if c, ours := keys[key.Environment]; ours && key.Name == string(key.Environment) {
			owner[key.ID.Text("key")] = key.Name
			for range 3 {
				require.Equal(t, 200, c.get("/v1/audit-logs").status)
				h.audit.Record(audit.Call{Began: time.Now(), Action: "POST /v1/verify", Account: app.Address, Key: key.ID,
					Result: "ok", Status: 200, Method: "POST"}, nil)
				_, err := h.audit.Seal(t.Context())
				require.NoError(t, err)
			}
		}
	}
	require.Len(t, owner, len(keys))
	for environment, c := range keys {
		seen := map[any]int{}
		for cursor, more := "", true; more; {
			answer := c.get("/v1/audit-logs?limit=1" + cursor)
			require.Equal(t, 200, answer.status, answer.text)
			for _, each := range answer.json["data"].([]any) {
				entry := each.(map[string]any)
				for _, member := range []string{"credential", "actor"} {
					if of := owner[fmt.Sprint(entry[member])]; of != "" {
						require.Equal(t, string(environment), of, entry)
						seen[entry["action"]]++
					}
				}
			}
			if more = answer.json["has_more"].(bool); more {
				cursor = "&cursor=" + answer.json["next_cursor"].(string)
			}
		}
		require.Equal(t, 1, seen["key.created"])
		require.GreaterOrEqual(t, seen["audit.read"], 3)
		require.GreaterOrEqual(t, seen["POST /v1/verify"], 3)
	}
}
