package admin

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/insight"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

func TestStatistics_AreOfTheAccountsThatTheCallerSees(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.accounts(t, "4711", "4712")
	now := otp.At(time.Now())
	sending := otp.Sending{Channels: otp.SMS, Prefix: "919551", Price: 20_000}
	for range 4 {
		d.counts.Events([]otp.Event{
			{Kind: otp.EventSent, Account: "4711", Environment: otp.Live, Sending: sending},
			{Kind: otp.EventSent, Account: "4712", Environment: otp.Test, Sending: otp.Sending{Channels: otp.Email}},
		}, now)
	}
	sending.Price = 0
	d.counts.Events([]otp.Event{{Kind: otp.EventVerified, Account: "4711", Environment: otp.Live, Sending: sending}}, now)
	d.counts.Call(insight.Call{Door: "v1", Kind: "ok", Account: "4711", Key: otp.ID{1},
		Peer: netip.MustParseAddr("1.1.1.1"), Country: "AU", Took: 10 * time.Millisecond}, now)
	d.counts.Call(insight.Call{Door: "v1", Kind: "unknown_credential", Peer: netip.MustParseAddr("1.1.1.1")}, now)
	require.NoError(t, d.insight.Write(t.Context(), now))

	lines := func(query string, who []string) []any {
		return d.wants(t, 200, "", "GET", "/api/statistics"+query, "", who...).members["data"].([]any)
	}
	all := lines("", who)[0].(map[string]any)
	require.EqualValues(t, 8, all["sent"])
	require.EqualValues(t, 1, all["failed_authentications"])
	mine := lines("?by=country", d.member(t, people.Auditor, "4711"))
	require.Len(t, mine, 1)
	line := mine[0].(map[string]any)
	require.Equal(t, "IN", line["of"])
	require.EqualValues(t, 25, line["conversion"])
	require.EqualValues(t, 80_000, line["spend_micros"])
	require.Equal(t, "AU", lines("?by=client_country&account=4711", who)[0].(map[string]any)["of"])
	require.Equal(t, "20ms", lines("?by=latency", who)[0].(map[string]any)["of"])
	require.Equal(t, otp.ID{1}.Text("key"), lines("?by=key", who)[0].(map[string]any)["of"])
	require.Empty(t, lines("?by=prefix&environment=test&account=4711", who))
	require.Empty(t, lines("?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", who))
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/statistics?account=4712", "", d.member(t, people.Support, "4711")...)
	// A key sees its environment alone.
	_, live := d.apiKey(t, manage.NewKey{Permissions: []string{otp.PermitStatistics}, Environment: otp.Live})
	_, test := d.apiKey(t, manage.NewKey{Permissions: []string{otp.PermitStatistics}, Environment: otp.Test})
	require.EqualValues(t, 4, lines("", live)[0].(map[string]any)["sent"])
	require.Empty(t, lines("?by=country", test))
	require.Empty(t, lines("?by=country&environment=test", test))
	d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/statistics?environment=live", "", test...)
	for _, query := range []string{
		"?by=recipient", "?environment=prod", "?from=yesterday", "?to=1",
		"?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
		"?from=2020-01-01T00:00:00Z", "?hours=3", "?account=1&account=2", "?by=hour&by=day",
	} {
		d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/statistics"+query, "", who...)
	}
	d.wants(t, 401, "AUTH_003", "GET", "/api/statistics", "")
}

// The pages of the list together have every alert that the caller sees once, newest first, also if one is raised in
// between.
func TestAlerts_AreListedInParts(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.accounts(t, "4711", "4712")
	now := otp.At(time.Now())
	raise := func(account, prefix string) {
		t.Helper()
		d.counts.Events([]otp.Event{{Kind: otp.EventPrefixStop, Account: account, Environment: otp.Live,
			Sending: otp.Sending{Channels: otp.SMS, Prefix: prefix}}}, now)
		require.NoError(t, d.insight.Write(t.Context(), now))
		require.NoError(t, d.insight.Evaluate(t.Context(), now))
	}
	var want []string
	for _, digit := range []string{"1", "2", "3", "4", "5"} {
		raise("4711", "91955"+digit)
		raise("4712", "91956"+digit)
		want = slices.Insert(want, 0, "+91956"+digit, "+91955"+digit)
	}
	parts := func(who []string, limit int) (found []string) {
		cursor := ""
		for {
			part := d.wants(t, 200, "", "GET", fmt.Sprintf("/api/alerts?limit=%d%s", limit, cursor), "", who...)
			for _, shown := range part.members["data"].([]any) {
				found = append(found, shown.(map[string]any)["subject"].(string))
			}
			require.Equal(t, part.members["next_cursor"] != nil, part.members["has_more"])
			if part.members["next_cursor"] == nil {
				return found
			}
			if cursor == "" && limit == 4 {
				raise("4711", "91957")
			}
			cursor = "&cursor=" + part.member("next_cursor")
		}
	}
	require.Equal(t, want, parts(who, 3))
	require.Equal(t, want, parts(who, 10), "no empty part at the end")
	require.Equal(t, []string{"+919565", "+919564", "+919563", "+919562", "+919561"},
		parts(d.member(t, people.Support, "4712"), 2))
	require.Equal(t, want, parts(who, 4))
	for _, query := range []string{
		"limit=0", "limit=101", "limit=x", "limit=-1", "limit=1&limit=2", "cursor=", "cursor=x", "cursor=alr_", "cursor=5",
		"cursor=" + otp.ID{1}.Text("key"), "offset=1", "state=raised",
	} {
		d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/alerts?"+query, "", who...)
	}
}

func TestAlerts_AreShownAndAcknowledgedByWhoMay(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.accounts(t, "4711", "4712")
	now := otp.At(time.Now())
	for _, account := range []string{"4711", "4712"} {
		d.counts.Events([]otp.Event{{Kind: otp.EventPrefixStop, Account: account, Environment: otp.Live,
			Sending: otp.Sending{Channels: otp.SMS, Prefix: "919551"}}}, now)
	}
	require.NoError(t, d.insight.Write(t.Context(), now))
	require.NoError(t, d.insight.Evaluate(t.Context(), now))

	list := func(who []string) []any {
		return d.wants(t, 200, "", "GET", "/api/alerts", "", who...).members["data"].([]any)
	}
	require.Len(t, list(who), 2)
	support := d.member(t, people.Support, "4711")
	mine := list(support)
	require.Len(t, mine, 1)
	shown := mine[0].(map[string]any)
	require.Equal(t, "+919551", shown["subject"])
	require.Equal(t, "raised", shown["state"])
	path := "/api/alerts/" + shown["id"].(string) + "/acknowledge"
	d.wants(t, 403, "PERMISSION_DENIED", "POST", path, "", d.member(t, people.Auditor)...)
	d.wants(t, 404, "NOT_FOUND", "POST", path, "", d.member(t, people.Support, "4712")...)
	d.wants(t, 204, "", "POST", path, "", support...)
	require.Equal(t, "acknowledged", list(support)[0].(map[string]any)["state"])
	d.wants(t, 404, "NOT_FOUND", "POST", "/api/alerts/alr_x/acknowledge", "", who...)

	one := d.wants(t, 200, "", "GET", "/api/alerts?account=4712", "", who...).members["data"].([]any)
	require.Len(t, one, 1)
	require.Equal(t, "4712", one[0].(map[string]any)["account"])
	for _, list := range []string{"/api/alerts", "/api/checklist"} {
		d.wants(t, 404, "NOT_FOUND", "GET", list+"?account=4712", "", support...)
		d.wants(t, 400, "INVALID_REQUEST", "GET", list+"?of=4712", "", who...)
	}
	d.database(t).MustExec(`UPDATE otp_auth_config SET created_at = 1 WHERE esme_address = '4712'`)
	for account, says := range map[string]string{"4711": "",
		"4712": "1 channel without a message for 30 days: 4712 (sms_enabled)"} {
		checked := d.wants(t, 200, "", "GET", "/api/checklist?account="+account, "", who...)
		for _, item := range checked.members["data"].([]any) {
			if item := item.(map[string]any); item["name"] == "unused_features" {
				require.Equal(t, says, item["reason"], account)
			}
		}
	}

	d.wants(t, 204, "", "POST", "/api/checklist/csrf/review", `{"note":"looked"}`, support...)
	d.wants(t, 404, "NOT_FOUND", "POST", "/api/checklist/x/review", "", support...)
	items := d.wants(t, 200, "", "GET", "/api/checklist", "", who...).members["data"].([]any)
	reviewed := 0
	for _, item := range items {
		if item.(map[string]any)["reviewed_at"] != nil {
			reviewed++
		}
	}
	require.Equal(t, 1, reviewed)
}
