package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/webhook"
	"otpbridge/sql"
)

// many makes 120 accounts, people, webhooks, deliveries of the first webhook, and calls. Names are in the reverse order
// of addresses, save that every tenth is the same.
func (d *desk) many(t *testing.T) string {
	t.Helper()
	now := otp.At(time.Now())
	var seeded []sql.Seeded
	var counts []sql.CallCount
	for i := range 120 {
		a := otp.DefaultAccount(fmt.Sprintf("%d", 5000+i))
		a.Name, a.CreatedAt, a.UpdatedAt, a.Cipher = fmt.Sprintf("Shop %03d", 999-i), now, now, "none"
		a.PlainValidation = true
		if i%10 == 0 {
			a.Name = "Same"
		}
		a.Enabled = i%4 != 1
		seeded = append(seeded, sql.Seeded{Account: a})
		for door, calls := range map[string]int64{"servlet": int64(i % 7), "v1": 1000, "shadow": 9} {
			if calls == 0 {
				continue
			}
			counts = append(counts, sql.CallCount{Calls: calls, LastAt: now, CallKey: sql.CallKey{Hour: now - now%otp.Hour,
				Account: a.Address, Door: door, Name: "x", Kind: "ok"}})
		}
	}
	require.NoError(t, d.store.Change(t.Context(), func(tx *sql.Tx) error {
		if err := tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.AccountCreated}); err != nil {
			return err
		}
		return d.store.Accounts.Insert(tx, seeded)
	}))
	require.NoError(t, d.store.Calls.Add(t.Context(), otp.ID{1}, counts, now))
	db := d.database(t)
	for i := range 120 {
		db.MustExec(`INSERT INTO persons (id, email, name, password_hash, role, version, created_at, updated_at, disabled_at)
			VALUES (?, ?, ?, '', ?, 1, ?, ?, ?)`, fmt.Appendf(nil, "person%010d", i), fmt.Sprintf("p%03d@shop.example", 999-i),
			fmt.Sprintf("Person %d", i%13), []people.Role{people.Support, people.Auditor}[i%2], int64(now), int64(now),
			map[bool]any{true: int64(now)}[i%5 == 0])
		db.MustExec(`INSERT INTO webhook_endpoints (id, esme_address, environment, url, events, description, format,
			signature_header, recipients, secret, off, version, created_at, updated_at)
			VALUES (?, ?, '', ?, '["*"]', '', 'json', 'X-OTP-Signature', 'masked', '', '', 1, ?, ?)`,
			fmt.Appendf(nil, "endpoint%08d", i), fmt.Sprint(5000+i%60), fmt.Sprintf("https://Hooks.shop.example/%d", i),
			int64(now), int64(now))
	}
	db.MustExec(`UPDATE webhook_endpoints SET failing_since = 1 WHERE url LIKE '%5'`)
	db.MustExec(`UPDATE webhook_endpoints SET off = 'paused' WHERE url LIKE '%7'`)
	id := otp.ID([]byte("endpoint00000000"))
	for i := range 120 {
		db.MustExec(`INSERT INTO webhook_deliveries (endpoint_id, id, event_id, esme_address, environment, type, at, state,
			attempts, status, reason) VALUES (?, ?, ?, '5000', 'live', 'otp.sent', ?, ?, 1, 200, '')`, id[:],
			fmt.Appendf(nil, "delivery%08d", i), id[:], int64(now), []string{"delivered", "dead", "skipped"}[i%3])
	}
	return id.Text(webhook.EndpointPrefix)
}

// all reads a list part by part and returns one member of each element, and the number of parts. Every part but the
// last is full, and the Link header leads to the next.
func (d *desk) all(t *testing.T, list, member string, limit int, who []string) (found []string) {
	t.Helper()
	path := list + map[bool]string{true: "&", false: "?"}[strings.Contains(list, "?")] + fmt.Sprintf("limit=%d", limit)
	for at := path; ; {
		part := d.wants(t, 200, "", "GET", at, "", who...)
		rows, _ := part.members["data"].([]any)
		if rows == nil {
			rows = part.members["accounts"].([]any)
		}
		for _, row := range rows {
			found = append(found, row.(map[string]any)[member].(string))
		}
		if part.members["next_cursor"] == nil {
			require.Equal(t, false, part.members["has_more"])
			require.Empty(t, part.header.Get("Link"))
			return found
		}
		require.Equal(t, true, part.members["has_more"])
		require.Len(t, rows, limit)
		at = path + "&cursor=" + url.QueryEscape(part.member("next_cursor"))
		next, _, _ := strings.Cut(strings.TrimPrefix(part.header.Get("Link"), "<"), ">")
		require.Equal(t, query(t, at), query(t, next))
	}
}

func query(t *testing.T, address string) url.Values {
	t.Helper()
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	return parsed.Query()
}

// Lists are sorted, searched and read in parts, each element once.
func TestLists_AreSortedSearchedAndReadInParts(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	endpoint := d.many(t)
	deliveries := "/api/webhooks/" + endpoint + "/deliveries"
	for _, tt := range []struct {
		list, member string
		n            int
		order        string // the member that the list is in the order of
	}{
		{"/api/accounts", "esme_address", 120, "esme_address"},
		{"/api/accounts?sort=-address", "esme_address", 120, "-esme_address"},
		{"/api/accounts?sort=name", "esme_address", 120, "name"},
		{"/api/accounts?sort=-name", "esme_address", 120, "-name"},
		{"/api/accounts?search=shop+9", "esme_address", 90, "esme_address"},
		{"/api/accounts?search=511&sort=-name", "esme_address", 10, "-name"},
		{"/api/accounts?state=disabled", "esme_address", 30, "esme_address"},
		{"/api/accounts?state=broken", "esme_address", 0, "esme_address"},
		{"/api/people", "id", 121, "id"}, // with the owner
		{"/api/people?sort=name", "id", 121, "name"},
		{"/api/people?sort=-email", "id", 121, "-email"},
		{"/api/people?sort=-created", "id", 121, "-id"},
		{"/api/people?role=auditor&state=disabled&search=PERSON", "id", 12, "id"},
		{"/api/webhooks", "id", 120, "id"},
		{"/api/webhooks?sort=-created", "id", 120, "-id"},
		{"/api/webhooks?sort=account", "id", 120, "account"},
		{"/api/webhooks?sort=-account&state=on", "id", 96, "-account"},
		{"/api/webhooks?state=failing", "id", 12, "id"}, {"/api/webhooks?state=off", "id", 12, "id"},
		{"/api/webhooks?search=HOOKS.shop.example/11", "id", 11, "id"},
		{"/api/webhooks?account=5003", "id", 2, "id"},
		{deliveries, "id", 120, "-id"}, {deliveries + "?sort=at", "id", 120, "id"},
		{deliveries + "?sort=at&state=dead", "id", 40, "id"}, {deliveries + "?state=skipped", "id", 40, "-id"},
		{"/api/migration", "esme_address", 120, "esme_address"},
		{"/api/migration?sort=-name", "esme_address", 120, "-name"},
		{"/api/migration?sort=servlet_calls", "esme_address", 120, "servlet_calls"},
		{"/api/migration?sort=-servlet_calls&search=Same", "esme_address", 12, "-servlet_calls"},
		{"/api/migration?mode=forward", "esme_address", 0, "esme_address"},
	} {
		whole := d.all(t, tt.list, tt.member, 100, who)
		require.Len(t, whole, tt.n, tt.list)
		seen := slices.Clone(whole)
		slices.Sort(seen)
		require.Len(t, slices.Compact(seen), tt.n, "%s has an element twice", tt.list)
		for _, limit := range []int{7, 50} {
			require.Equal(t, whole, d.all(t, tt.list, tt.member, limit, who), "%s in parts of %d", tt.list, limit)
		}
		d.ordered(t, tt.list, tt.order, who)
	}
}

// ordered requires that the first part of a list is in an order.
func (d *desk) ordered(t *testing.T, list, by string, who []string) {
	t.Helper()
	by, backward := strings.CutPrefix(by, "-")
	part := d.wants(t, 200, "", "GET", list, "", who...)
	rows, _ := part.members["data"].([]any)
	if rows == nil {
		rows = part.members["accounts"].([]any)
	}
	for i := 1; i < len(rows); i++ {
		before, after := fmt.Sprint(rows[i-1].(map[string]any)[by]), fmt.Sprint(rows[i].(map[string]any)[by])
		if backward {
			before, after = after, before
		}
		require.LessOrEqual(t, strings.ToLower(before), strings.ToLower(after), list)
	}
}

// Whoever sees few accounts finds nothing of others in any order.
func TestLists_HaveOnlyWhatTheCallerSees(t *testing.T) {
	d := fresh(t)
	d.many(t)
	auditor := d.member(t, people.Auditor, "5003", "5004", "5119")
	for list, want := range map[string][]string{
		"/api/accounts": {"5003", "5004", "5119"}, "/api/accounts?sort=name": {"5119", "5004", "5003"},
		"/api/accounts?search=511": {"5119"}, "/api/migration": {"5003", "5004", "5119"},
		"/api/migration?sort=-servlet_calls": {"5004", "5003", "5119"}, // 4, 3 and 0
	} {
		require.Equal(t, want, d.all(t, list, "esme_address", 2, auditor), list)
	}
	require.Equal(t, []string{"5003", "5003", "5004", "5004"},
		d.all(t, "/api/webhooks?sort=account", "account", 3, auditor))
	require.Len(t, d.all(t, "/api/people", "id", 50, auditor), 1, "themselves")
	for _, refused := range []string{"/api/accounts?sort=state", "/api/accounts?state=none",
		"/api/accounts?sort=servlet_calls",
		"/api/people?role=boss", "/api/people?state=off", "/api/people?sort=role", "/api/webhooks?sort=url",
		"/api/webhooks?state=paused", "/api/migration?mode=none", "/api/migration?sort=v1", "/api/migration?limit=0",
		"/api/migration?sort=servlet_calls&cursor=5000+x"} {
		d.wants(t, 400, "INVALID_REQUEST", "GET", refused, "", auditor...)
	}
}

// Calls that come while somebody turns the pages of a list that is sorted by them neither hide an account nor show one
// twice.
func TestLists_ByCallsStaysInOrderFromPageToPage(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.many(t)
	const list = "/api/migration?sort=-servlet_calls&limit=60"
	first := d.wants(t, 200, "", "GET", list, "", who...)
	now := otp.At(time.Now())
	require.NoError(t, d.store.Calls.Add(t.Context(), otp.ID{2}, []sql.CallCount{{Calls: 1000, LastAt: now,
		CallKey: sql.CallKey{Hour: now - now%otp.Hour, Account: "5000", Door: "servlet", Name: "x", Kind: "ok"}}}, now))
	second := d.wants(t, 200, "", "GET", list+"&cursor="+url.QueryEscape(first.member("next_cursor")), "", who...)
	var shown []string
	for _, part := range []reply{first, second} {
		for _, row := range part.members["accounts"].([]any) {
			shown = append(shown, row.(map[string]any)["esme_address"].(string))
		}
	}
	slices.Sort(shown)
	require.Len(t, slices.Compact(shown), 120)
}

// A cursor of another list, or of another order, is refused: it would begin anywhere. The fault is named as the
// parameter that it is.
func TestLists_ACursorIsGoodForItsListOnly(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	endpoint := d.many(t)
	d.shop(t, "4711", who)
	const key, person, service, account = "key_06bq3c7k5sqn2e8v4g1t9hp0mc", "per_06bq3c7k5sqn2e8v4g1t9hp0mc",
		"svc_06bq3c7k5sqn2e8v4g1t9hp0mc", "5000"
	for list, cursors := range map[string][]string{
		"/api/accounts":                             {key, person, account + " Same"},
		"/api/accounts?sort=name":                   {key, account},
		"/api/migration":                            {key, account + " 7"},
		"/api/migration?sort=servlet_calls":         {key, account, account + " Same"},
		"/api/people":                               {key, account, person + " Olga"},
		"/api/people?sort=name":                     {key + " Olga", account, person},
		"/api/people/invitations":                   {key, person, account},
		"/api/auth/sessions":                        {key, person, account},
		"/api/service-accounts":                     {key, person, account, strings.ToUpper(service)},
		"/api/webhooks":                             {key, account, endpoint + " 5000"},
		"/api/webhooks?sort=account":                {key, account, endpoint},
		"/api/webhooks/" + endpoint + "/deliveries": {key, account, endpoint},
		"/api/keys":                                 {person, account},
		"/api/alerts":                               {key, account},
		"/api/audit":                                {key, "0", "-1"},
		"/api/privacy/erasures":                     {key, account},
		"/api/accounts/4711/test-recipients":        {key, account},
		"/api/accounts/4711/stopped-prefixes":       {key, account, "91 nowhere"},
	} {
		for _, cursor := range append(cursors, "no-cursor-of-any-list", "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9") {
			at := list + map[bool]string{true: "&", false: "?"}[strings.Contains(list, "?")] +
				"cursor=" + url.QueryEscape(cursor)
			got := d.wants(t, 400, "INVALID_REQUEST", "GET", at, "", who...)
			require.Equal(t, "cursor", got.members["errors"].([]any)[0].(map[string]any)["parameter"], at)
		}
	}
}

func TestLists_SessionsAreReadInPartsNewestFirst(t *testing.T) {
	d := fresh(t)
	d.owner(t)
	var who []string
	for range 4 {
		who = bearer(d.login(t, ""))
	}
	whole := d.all(t, "/api/auth/sessions", "id", 100, who)
	require.Len(t, whole, 5)
	require.True(t, slices.IsSortedFunc(whole, func(a, b string) int { return strings.Compare(b, a) }))
	require.Equal(t, whole, d.all(t, "/api/auth/sessions", "id", 2, who))
}
