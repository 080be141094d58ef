package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/bridge"
	"otpbridge/server/people"
	"otpbridge/sql"
)

func TestCutOver_SaysWhoAnswersFromWhenOn(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"4711","otp_cipher":"none"}`, who...)
	const call = "/api/accounts/4711/cut-over"
	d.wants(t, 400, "INVALID_REQUEST", "POST", call, `{"mode":"forward"}`, who...) // where to?
	change := func(url string, status int, code string) {
		tag := d.wants(t, 200, "", "GET", "/api/accounts/4711", "", who...).header.Get("ETag")
		encoded, err := json.Marshal(url)
		require.NoError(t, err)
		d.wants(t, status, code, "PATCH", "/api/accounts/4711", fmt.Sprintf(`{"upstream_url":%s}`, encoded),
			append(who, "If-Match", tag)...)
	}
	for _, url := range []string{
		"", "otp.example.com", "http://otp.example.com/", "https://169.254.169.254/latest", "https://10.0.0.1/",
		"https://[fd00::1]/", "https://user:secret@otp.example.com/", "https://otp.example.com/?a=b", "https://2130706433/",
		"https://otp.example.com/#x", "ftp://otp.example.com/", "https://otp.example.com:22/", "https://otp.example.com./",
	} {
		change(url, 400, "INVALID_REQUEST")
	}
	change("https://otp.example.com/otpauthapi", 200, "")
	for _, body := range []string{
		`{}`, `{"mode":"back"}`, `{"mode":"forward","at":"tomorrow"}`, `{"mode":"forward","at":"2020-01-01T00:00:00Z"}`,
		`{"mode":"forward","at":"2999-01-01T00:00:00Z"}`, `{"mode":"forward","when":1}`, `{"mode":7}`,
	} {
		d.wants(t, 400, "INVALID_REQUEST", "POST", call, body, who...)
	}
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	set := d.wants(t, 200, "", "POST", call, fmt.Sprintf(`{"mode":"forward","at":%q}`, later.Format(time.RFC3339)), who...)
	require.Equal(t, "forward", set.members["bridge_mode"])
	require.Equal(t, "local", set.members["bridge_before"])
	require.EqualValues(t, later.UnixMilli(), set.members["cut_over_at"])
	d.wants(t, 200, "", "POST", call, `{"mode":"local"}`, who...)
	d.wants(t, 400, "INVALID_REQUEST", "POST", call, `{"mode":"forward"}`, who...) // the other is about to happen
	tag := d.wants(t, 200, "", "GET", "/api/accounts/4711", "", who...).header.Get("ETag")
	d.wants(t, 400, "INVALID_REQUEST", "PATCH", "/api/accounts/4711", `{"bridge_mode":"forward"}`,
		append(who, "If-Match", tag)...)
	d.wants(t, 404, "NOT_FOUND", "POST", "/api/accounts/99/cut-over", `{"mode":"local"}`, who...)
}

func TestMigration_WhoMayReadStatisticsSeesTheirAccounts(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	for _, account := range []string{"4711", "4712"} {
		d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"`+account+`","otp_cipher":"none"}`, who...)
	}
	tally := bridge.NewTally(d.store, slog.New(slog.DiscardHandler))
	for i := range 3 {
		tally.Note(sql.CallKey{Account: "4711", Door: "servlet", Name: "otpgenservlet", Passed: "generated", Kind: "ok"},
			netip.MustParseAddr("192.0.2.7"), time.Now(), 10*time.Millisecond, 27)
		tally.Note(sql.CallKey{Account: "4712", Door: "v1", Name: "/v1/send", Kind: "ok"}, netip.Addr{}, time.Now(), 0, i)
	}
	tally.Write()
	tally.Note(sql.CallKey{Account: "4711", Door: "servlet", Name: "otpgenservlet", Passed: "generated", Kind: "ok"},
		netip.MustParseAddr("192.0.2.7"), time.Now(), 10*time.Millisecond, 27)
	tally.Close()

	accounts := func(query string, who []string) []any {
		return d.wants(t, 200, "", "GET", "/api/migration"+query, "", who...).members["accounts"].([]any)
	}
	require.Len(t, accounts("", who), 2)
	mine := accounts("", d.member(t, people.Auditor, "4711"))
	require.Len(t, mine, 1)
	account := mine[0].(map[string]any)
	require.Equal(t, 4.0, account["servlet_calls"])
	call := account["calls"].([]any)[0].(map[string]any)
	require.Equal(t, 10.0, call["average_ms"])
	require.Equal(t, 108.0, call["bytes"])
	require.Equal(t, "192.0.2.7", call["addresses"].([]any)[0].(map[string]any)["id"])
	require.Equal(t, 3.0, accounts("?account=4712&hours=2", who)[0].(map[string]any)["v1_calls"])
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/migration?account=4712", "", d.member(t, people.Support, "4711")...)
	for _, query := range []string{"?hours=0", "?hours=2161", "?hours=x", "?since=1", "?account=1&account=2"} {
		d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/migration"+query, "", who...)
	}
	d.wants(t, 401, "AUTH_003", "GET", "/api/migration", "")
}
