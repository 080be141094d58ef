package admin

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

func TestAudit_IsSearchedByThoseWhoMayAndEveryReadingIsRecorded(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"4712","otp_cipher":"none"}`, who...)
	seal := func() {
		_, err := d.audit.Seal(t.Context())
		require.NoError(t, err)
	}
	seal()
	auditor := d.member(t, people.Auditor)
	found := d.wants(t, 200, "", "GET", "/api/audit?account=4711", "", auditor...)
	require.Len(t, found.members["data"], 2, "the account, and the access key that was made with it")
	entry := found.members["data"].([]any)[0].(map[string]any)
	require.Equal(t, "change", entry["type"])
	require.Equal(t, "person", entry["actor_kind"])
	require.Equal(t, "4711", entry["account"])
	require.Equal(t, "ok", entry["result"])
	require.Equal(t, 1, d.recorded(t, "audit.read"))

	seal()
	total := 0
	cursor := ""
	for {
		part := d.wants(t, 200, "", "GET", "/api/audit?limit=2"+cursor, "", auditor...)
		total += len(part.members["data"].([]any))
		if part.members["next_cursor"] == nil {
			require.Equal(t, false, part.members["has_more"])
			break
		}
		cursor = "&cursor=" + part.member("next_cursor")
	}
	last := d.wants(t, 200, "", "GET", "/api/audit?limit=1", "", auditor...).members["data"].([]any)[0].(map[string]any)
	require.Equal(t, float64(total-1), last["place"], strconv.Itoa(total))

	for query, parameter := range map[string]string{
		"limit=0": "limit", "limit=101": "limit", "cursor=x": "cursor", "cursor=-1": "cursor", "cursor=": "cursor",
		"from=today": "from", "to=2026-11-29": "to", "from=": "from", "who=me": "who", "action=a&action=b": "action",
		"from=0001-01-01T00:00:00Z": "from",
	} {
		refused := d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/audit?"+query, "", auditor...)
		require.Contains(t, refused.text, `"`+parameter+`"`, query)
	}
	require.NotEmpty(t, d.wants(t, 200, "", "GET", "/api/audit?"+url.Values{"from": {"2020-01-01T00:00:00+05:30"},
		"action": {"account.created"}, "actor": {"nobody"}}.Encode(), "", auditor...).text)

	d.wants(t, 403, "PERMISSION_DENIED", "GET", "/api/audit", "", d.member(t, people.Developer)...)
	d.wants(t, 403, "PERMISSION_DENIED", "GET", "/api/audit", "", d.member(t, people.Support)...)
	d.wants(t, 401, "AUTH_003", "GET", "/api/audit", "")
	narrow := d.member(t, people.Auditor, "4712")
	own := d.wants(t, 200, "", "GET", "/api/audit", "", narrow...)
	for _, one := range own.members["data"].([]any) {
		require.Equal(t, "4712", one.(map[string]any)["account"])
	}
	require.Len(t, own.members["data"], 1)
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/audit?account=4711", "", narrow...)
	both := d.member(t, people.Auditor, "4711", "4712")
	d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/audit", "", both...)
	d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/audit?account=", "", both...)
}

func TestAudit_IsProvedAndTakenAwayByThoseWhoSeeAll(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	_, err := d.audit.Seal(t.Context())
	require.NoError(t, err)
	auditor, narrow := d.member(t, people.Auditor), d.member(t, people.Auditor, "4711")
	const verify, export = "/api/audit/verify", "/api/audit/export"
	fits := d.wants(t, 200, "", "POST", verify, "", auditor...)
	require.Equal(t, true, fits.members["fits"])
	before, err := json.Marshal(map[string]string{"checkpoints": fits.member("checkpoint")})
	require.NoError(t, err)
	require.EqualValues(t, 1, d.wants(t, 200, "", "POST", verify, string(before), auditor...).members["checkpoints"])
	taken := d.raw("GET", export, "", auditor...)
	require.Equal(t, `attachment; filename="audit.jsonl"`, taken.Header().Get("Content-Disposition"))
	require.Contains(t, taken.Body.String(), `"account.created"`)
	require.True(t, strings.HasPrefix(d.raw("GET", export+"?format=csv", "", auditor...).Body.String(), "place,type,at,"))
	require.Equal(t, 2, d.recorded(t, "audit.exported"))

	d.wants(t, 400, "INVALID_REQUEST", "GET", export+"?format=pdf", "", auditor...)
	d.wants(t, 400, "INVALID_REQUEST", "POST", verify, `{"since":1}`, auditor...)
	d.wants(t, 400, "INVALID_REQUEST", "POST", verify, `{"checkpoints":"none"}`, auditor...)
	d.wants(t, 403, "PERMISSION_DENIED", "POST", verify, "", narrow...)
	d.wants(t, 403, "PERMISSION_DENIED", "GET", export, "", narrow...)
	require.Equal(t, 2, d.recorded(t, "audit.exported"), "nothing was taken away")

	_, err = d.database(t).Exec(`UPDATE changes SET details = '{"name":"other"}' WHERE place = 1`)
	require.NoError(t, err)
	changed := d.wants(t, 200, "", "POST", verify, string(before), auditor...)
	require.Equal(t, false, changed.members["fits"])
	require.EqualValues(t, 1, changed.members["place"])
	require.Nil(t, changed.members["checkpoint"], "what does not fit is not signed")
}
