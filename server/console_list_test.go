package main

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
)

// newCrowdedSandbox boots a sandbox with 120 accounts more, people, webhooks, deliveries of one webhook, and calls of
// the last days. It returns that webhook's id.
func newCrowdedSandbox(t *testing.T) (s *booted, endpoint string) {
	t.Helper()
	environ := variables(t)
	s = boot(t, environ...)
	db, now := sqltest.Connect(t, databaseOf(t, environ)), otp.At(time.Now())
	var seeded []sql.Seeded
	var counts []sql.CallCount
	for i := range 120 {
		a := otp.DefaultAccount(fmt.Sprint(5000 + i))
		a.Name, a.CreatedAt, a.UpdatedAt, a.Cipher = fmt.Sprintf("Shop %03d", 999-i), now, now, "none"
		a.Enabled = i%4 != 1
		seeded = append(seeded, sql.Seeded{Account: a})
		for day := range otp.Millis(40) {
			for _, call := range [][2]string{{"servlet", "otpgenservlet"}, {"servlet", "otpvalidationservlet"},
				{"v1", "/v1/send"}, {"v1", "/v1/verify"}} {
				if i == 7 && (call[0] == "servlet") == (day > 3) {
					counts = append(counts, sql.CallCount{Calls: int64(day + 1), LastAt: now, CallKey: sql.CallKey{
						Hour: now - now%otp.Hour - day*otp.Day, Account: a.Address, Door: call[0], Name: call[1], Kind: "ok"}})
				}
			}
		}
	}
	require.NoError(t, s.store.Change(t.Context(), func(tx *sql.Tx) error {
		if err := tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.AccountCreated}); err != nil {
			return err
		}
		return s.store.Accounts.Insert(tx, seeded)
	}))
	require.NoError(t, s.store.Calls.Add(t.Context(), otp.ID{1}, counts, now))
	id := otp.ID([]byte("endpoint00000000"))
	for i := range 120 {
		db.MustExec(`INSERT INTO persons (id, email, name, password_hash, role, version, created_at, updated_at)
			VALUES (?, ?, ?, '', ?, 1, ?, ?)`, fmt.Appendf(nil, "person%010d", i), fmt.Sprintf("p%03d@shop.example", 999-i),
			fmt.Sprintf("Person %03d", i), []string{"support", "auditor"}[i%2], int64(now), int64(now))
		db.MustExec(`INSERT INTO webhook_endpoints (id, esme_address, environment, url, events, description, format,
			signature_header, recipients, secret, off, version, created_at, updated_at)
			VALUES (?, ?, '', ?, '["*"]', '', 'json', 'X-OTP-Signature', 'masked', '', 'paused', 1, ?, ?)`,
			fmt.Appendf(nil, "endpoint%08d", i), fmt.Sprint(5000+i%60), fmt.Sprintf("https://hooks.example/%03d", i),
			int64(now), int64(now))
		db.MustExec(`INSERT INTO webhook_deliveries (endpoint_id, id, event_id, esme_address, environment, type, at, state,
			attempts, status, reason) VALUES (?, ?, ?, '5000', 'live', 'otp.sent', ?, ?, 1, 200, ?)`, id[:],
			fmt.Appendf(nil, "delivery%08d", i), id[:], int64(now), []string{"delivered", "dead"}[i%2],
			fmt.Sprintf("reason %03d", i))
	}
	return s, id.Text("whk")
}

var (
	nextPart  = regexp.MustCompile(`<a href="([^"]+)">Next page</a>`)
	firstPart = regexp.MustCompile(`<a href="([^"]+)">First page</a>`)
)

// parts follows a list's links from its first page, and returns what of matches in its rows.
func (b *booted) parts(page string, of *regexp.Regexp) (found []string, pages int) {
	b.t.Helper()
	for at := console.Path + page; ; {
		a := b.do("GET", at, "")
		require.Equal(b.t, 200, a.status, a.body)
		_, rows, _ := strings.Cut(a.body, "<tbody>")
		rows, _, _ = strings.Cut(rows, "</tbody>")
		found = append(found, of.FindAllString(rows, -1)...)
		if first := firstPart.FindStringSubmatch(a.body); pages > 0 {
			require.NotNil(b.t, first, at)
			require.Equal(b.t, parameters(b.t, console.Path+page), parameters(b.t, html.UnescapeString(first[1])))
		} else {
			require.Nil(b.t, first)
		}
		pages++
		next := nextPart.FindStringSubmatch(a.body)
		if next == nil {
			return found, pages
		}
		at = html.UnescapeString(next[1])
	}
}

// parameters returns a URL's path and query.
func parameters(t *testing.T, address string) []any {
	t.Helper()
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	return []any{parsed.Path, parsed.Query()}
}

// Long lists are paged, filtered and sorted, and every part has a URL that shows the same elements again.
func TestConsole_ListsAreSortedFilteredAndPaged(t *testing.T) {
	s, endpoint := newCrowdedSandbox(t)
	account, person := regexp.MustCompile(`\b5\d\d\d</a>`), regexp.MustCompile(`Person \d\d\d`)
	hook, reason := regexp.MustCompile(`hooks\.example/\d\d\d`), regexp.MustCompile(`reason \d\d\d`)
	deliveries := "webhooks/" + endpoint
	for _, tt := range []struct {
		page        string
		of          *regexp.Regexp
		n, pages    int
		first, last string
	}{
		{"accounts", account, 120, 3, "5000</a>", "5119</a>"}, // beside the demo accounts
		{"accounts?sort=name", account, 120, 3, "5119</a>", "5000</a>"},
		{"accounts?search=SHOP+9&sort=-name", account, 100, 2, "5000</a>", "5099</a>"},
		{"accounts?state=disabled", account, 30, 1, "5001</a>", "5117</a>"},
		{"people", person, 120, 3, "Person 000", "Person 119"},
		{"people?sort=email", person, 120, 3, "Person 119", "Person 000"},
		{"people?sort=-created", person, 120, 3, "Person 119", "Person 000"},
		{"people?role=auditor&search=person", person, 60, 2, "Person 001", "Person 119"},
		{"people?state=disabled", person, 0, 1, "", ""},
		{"webhooks", hook, 120, 3, "hooks.example/000", "hooks.example/119"},
		{"webhooks?sort=-account", hook, 120, 3, "hooks.example/119", "hooks.example/000"},
		{"webhooks?search=/11", hook, 10, 1, "hooks.example/110", "hooks.example/119"},
		{"webhooks?account=5003&state=off", hook, 2, 1, "hooks.example/003", "hooks.example/063"},
		{"webhooks?state=failing", hook, 0, 1, "", ""},
		{deliveries, reason, 120, 3, "reason 119", "reason 000"},
		{deliveries + "?state=dead&sort=at", reason, 60, 2, "reason 001", "reason 119"},
		{"migration", account, 120, 3, "5000</a>", "5119</a>"},
		{"migration?search=510&sort=name", account, 10, 1, "5109</a>", "5100</a>"},
		{"migration?sort=-servlet_calls&span=month", account, 120, 3, "5007</a>", "5000</a>"},
		{"migration?mode=forward", account, 0, 1, "", ""},
	} {
		found, pages := s.parts(tt.page, tt.of)
		require.Len(t, found, tt.n, tt.page)
		require.Equal(t, tt.pages, pages, tt.page)
		if tt.n > 0 {
			require.Equal(t, []string{tt.first, tt.last}, []string{found[0], found[tt.n-1]}, tt.page)
		} else {
			require.Contains(t, s.do("GET", console.Path+tt.page, "").body, "Show all", tt.page)
		}
		slices.Sort(found)
		require.Len(t, slices.Compact(found), tt.n, "%s shows something twice", tt.page)
	}
	for _, refused := range []string{"accounts?sort=x", "people?role=x", "webhooks?state=x", "migration?mode=x",
		"webhooks?cursor=x", deliveries + "?sort=x"} {
		a := s.do("GET", console.Path+refused, "")
		require.Equal(t, 400, a.status, refused)
		require.Contains(t, a.body, "must be", refused)
	}
}

// An account's page shows the calls of each day and endpoint as a chart and as a table of the same numbers.
func TestConsole_MigrationShowsCallsByDayAndEndpoint(t *testing.T) {
	s, _ := newCrowdedSandbox(t)
	bars := regexp.MustCompile(`<title>(\d{4}-\d\d-\d\d): (\d+), (\d+) of them to /v1</title>`)
	for span, days := range map[string]int{"": 7, "month": 30, "quarter": 90} {
		a := s.do("GET", console.Path+"migration/5007?span="+span, "")
		require.Equal(t, 200, a.status)
		require.NotContains(t, a.body, "style=")
		drawn := bars.FindAllStringSubmatch(a.body, -1)
		require.Len(t, drawn, 5*days, "a bar for each day, of all calls and of each of four")
		_, table, _ := strings.Cut(a.body, "All charts have the same scale")
		today := time.Now().UTC()
		for n := range days {
			day, calls := today.AddDate(0, 0, n+1-days), 0
			if ago := days - 1 - n; ago < 40 {
				calls = ago + 1
			}
			numbers := []int{0, 0, calls, calls} // otpgenservlet, otpvalidationservlet, /v1/send, /v1/verify
			if days-1-n > 3 {
				numbers = []int{calls, calls, 0, 0}
			}
			row := ""
			for i, name := range []string{"otpgenservlet", "otpvalidationservlet", "/v1/send", "/v1/verify"} {
				row += fmt.Sprintf(`<td class="num" data-label="%s">%d</td>`, name, numbers[i])
				bar := drawn[(i+1)*days+n]
				require.Equal(t, []string{day.Format(time.DateOnly), fmt.Sprint(numbers[i])}, bar[1:3], name)
			}
			require.Contains(t, table, `<td data-label="Day" class="whole">`+day.Format(time.DateOnly)+`</td>`+row)
			require.Equal(t, []string{day.Format(time.DateOnly), fmt.Sprint(2 * calls), fmt.Sprint(2 * numbers[2])},
				drawn[n][1:])
		}
	}
}
