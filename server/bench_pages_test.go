//go:build unix

package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
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

var benchEvents = flag.Int("events", largeEvents,
	"benchmarks of pages: how many events are stored; a tenth as many deliveries")

// pageLoads is how often each page is loaded.
const pageLoads = 40

// TestBenchPages is the second part of make bench-large. It prints how long each page of the console takes with a long
// history and many accounts, keys, people, webhooks, deliveries, calls and counts.
func TestBenchPages(t *testing.T) {
	bench(t)
	databases := []func(*contender){(*contender).onSQLite}
	names := []string{"SQLite"}
	if _, err := exec.LookPath("mariadbd"); err == nil {
		server := sqltest.Own(t)
		databases, names = append(databases, func(c *contender) { c.onMariaDB(server) }), append(names, "MariaDB")
	} else {
		fmt.Println(withoutMariaDB)
	}
	var promises []promise
	for i, name := range names {
		slowest := benchPages(t, name, databases[i])
		promises = append(promises, longest(name+", p95 of the console's slowest page", slowest, 0, 50*time.Millisecond))
	}
	fmt.Printf("\nmachine    %s\n\n", machineFacts())
	printPromises(promises)
}

func benchPages(t *testing.T, name string, open func(*contender)) (slowest time.Duration) {
	c := newContender(t, name)
	open(c) // which makes its schema
	c.measured.stop(t)
	began := time.Now()
	fillHistory(t, c.db, began, *benchEvents, *benchEvents/10)
	fillLists(t, c)
	fmt.Printf("%s: stored %d events and what lists show in %v\n", name, *benchEvents,
		time.Since(began).Round(time.Second))
	c.start()
	for n := range 200 { // messages, requests and entries of the audit log
		require.Equal(t, "OTP Generated Successfully", newClient(t, c.measured.url).servlet("otpgenservlet", documentedKey,
			person(fmt.Sprint(919551492000+n))))
	}
	pages := pagesToTime(t, c.measured.url)
	for _, page := range slices.Sorted(maps.Keys(pages)) {
		took := pageTimes(t, c.measured.url+console.Path+page, pages[page])
		fmt.Printf("%s: %-62s p50 %8s, p95 %8s\n", name, console.Path+page, short(took[pageLoads/2]),
			short(took[pageLoads*95/100-1]))
		slowest = max(slowest, took[pageLoads*95/100-1])
	}
	c.measured.stop(t)
	return slowest
}

// pageTimes loads a page again and again, by a POST if it has a form, and returns how long that took, in order.
func pageTimes(t *testing.T, url, form string) []time.Duration {
	t.Helper()
	took := make([]time.Duration, pageLoads)
	for n := range took {
		began := time.Now()
		var response *http.Response
		var err error
		if form == "" {
			response, err = http.Get(url)
		} else {
			response, err = http.Post(url, formType, strings.NewReader(form))
		}
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode, url)
		took[n] = time.Since(began)
	}
	slices.Sort(took)
	return took
}

const benchAccount = "10000000000001"

// benchID returns the id of the row of a list.
func benchID(n int) otp.ID { return otp.ID(fmt.Appendf(nil, "%016d", n)) }

// pagesToTime returns the pages of a sandbox's console by path, each with the form to post, empty to load it: every
// page that is not a stream or a file, and lists in their costliest orders.
func pagesToTime(t *testing.T, url string) map[string]string {
	t.Helper()
	messages := decoded(t, newClient(t, url).do("GET", "/sandbox/messages?limit=1", ""))["data"].([]any)
	webhook := benchID(1).Text("whk")
	examples := map[string]string{":account": benchAccount, ":delivery": benchID(7).Text("wdl"),
		"inbox/message/:id": "inbox/message/" + messages[0].(map[string]any)["id"].(string),
		"keys/:id":          "keys/" + benchID(1).Text("key"), "people/:id": "people/" + benchID(1).Text("per"),
		"webhooks/:id": "webhooks/" + webhook}
	pages := map[string]string{
		"recipients":          formOf("account", benchAccount, "environment", "test", "to", "+919551492001"),
		"accounts?sort=-name": "", "accounts?search=shop+77&state=active": "", "people?sort=name&search=person": "",
		"webhooks?sort=account": "", "webhooks?search=77": "", "webhooks/" + webhook + "?state=dead": "",
		"migration?sort=-servlet_calls&span=quarter": "", "migration/" + benchAccount + "?span=quarter": "",
		"watch?span=week": "", "keys?status=active": "", "audit?account=" + benchAccount: "", "inbox?to=919551492001": "",
	}
	for _, route := range boot(t, variables(t)...).router().Routes() {
		page, ours := strings.CutPrefix(route.Path, console.Path)
		if !ours || route.Method != http.MethodGet || page == "" || page == "inbox/live" || page == "audit/export" ||
			strings.HasPrefix(page, "assets/") || page == "security" { // which needs a login
			continue
		}
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(examples))) { // longer names before their beginnings
			page = strings.ReplaceAll(page, name, examples[name])
		}
		require.NotContains(t, page, ":", "the page %s has no example", route.Path)
		if _, known := pages[page]; !known {
			pages[page] = ""
		}
	}
	return pages
}

// What fillLists stores.
const (
	listedAccounts = 1000
	listedPeople   = 200
	listedDays     = 90
)

// fillLists stores what the console's lists show. Accounts with webhooks are not the ones that send codes.
func fillLists(t *testing.T, c *contender) {
	t.Helper()
	store, err := sql.Open(t.Context(), c.url, sql.Options{})
	require.NoError(t, err)
	defer store.Close()
	now := otp.At(time.Now())
	var accounts []sql.Seeded
	for n := range listedAccounts {
		a := otp.DefaultAccount(fmt.Sprint(500_000 + n))
		a.Name, a.CreatedAt, a.UpdatedAt, a.Cipher = fmt.Sprintf("Shop %d", n*7%listedAccounts), now, now, "none"
		accounts = append(accounts, sql.Seeded{Account: a, Credentials: []sql.Credential{{ID: benchID(n), Kind: "secret",
			Address: a.Address, Name: "key", Environment: otp.Live, Hash: [32]byte(fmt.Appendf(nil, "%032d", n)),
			LastFour: "abcd", Signing: "off", Enabled: true, CreatedAt: now - 100*otp.Day}}})
	}
	require.NoError(t, store.Change(t.Context(), func(tx *sql.Tx) error {
		if err := tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.AccountCreated}); err != nil {
			return err
		}
		return store.Accounts.Insert(tx, accounts)
	}))
	var calls []sql.CallCount
	var counts []sql.Statistic
	for hour := now - now%otp.Hour; hour > now-listedDays*otp.Day; hour -= otp.Hour {
		account := benchAccount
		if hour%(4*otp.Hour) == 0 {
			account = accounts[int(hour/otp.Hour)%listedAccounts].Account.Address
		}
		for _, name := range []string{"otpgenservlet", "otpvalidationservlet"} {
			calls = append(calls, sql.CallCount{Calls: 5, LastAt: hour, CallKey: sql.CallKey{Hour: hour, Account: account,
				Door: "servlet", Name: name, Credential: benchID(1), Address: "192.0.2.1", Kind: "ok"}})
		}
		for part, name := range map[string]string{"servlet ok": "call", "servlet invalid": "call", "5ms": "latency",
			"20ms": "latency", benchID(1).Text("key"): "key", "IN": "country", "sms 919551": "sent", "sms 919552": "verified",
			"v1 unknown_credential": "failed"} {
			counts = append(counts, sql.Statistic{Times: 9, Amount: 900, StatisticKey: sql.StatisticKey{Name: name, Hour: hour,
				Account: account, Environment: "live", Part: part}})
		}
	}
	require.NoError(t, store.Calls.Add(t.Context(), otp.ID{1}, calls, now))
	_, err = store.Statistics.Add(t.Context(), counts, now)
	require.NoError(t, err)
	fillRows(t, c, int64(now))
}

// fillRows stores people, webhooks, deliveries of one of them, and alerts.
func fillRows(t *testing.T, c *contender, now int64) {
	t.Helper()
	id := func(n int) []byte { made := benchID(n); return made[:] }
	people := bulkInsert{t: t, db: c.db, into: `persons (id, email, name, password_hash, role, version, created_at,
		updated_at)`}
	for n := range listedPeople {
		people.add(id(n), fmt.Sprintf("p%d@shop.example", n), fmt.Sprintf("Person %d", n), "", "support", 1, now, now)
	}
	people.flush()
	webhooks := bulkInsert{t: t, db: c.db, into: `webhook_endpoints (id, esme_address, environment, url, events, description,
		format, signature_header, recipients, secret, off, version, created_at, updated_at)`}
	alerts := bulkInsert{t: t, db: c.db, into: `alerts (rule, esme_address, subject, id, state, value, says, raised_at,
		seen_at, acknowledged_by, action)`}
	for n := range listedAccounts {
		account := fmt.Sprint(500_000 + n)
		webhooks.add(id(n), account, "", fmt.Sprintf("https://hooks.shop.example/%d", n), `["*"]`, "", "json",
			"X-OTP-Signature", "masked", []byte("sealed"), "", 1, now, now)
		alerts.add("key_unused", account, "", id(n), "acknowledged", 1, "a key was not used", now, now, "Ada", "")
	}
	webhooks.flush()
	alerts.flush()
	deliveries := bulkInsert{t: t, db: c.db, into: `webhook_deliveries (endpoint_id, id, event_id, esme_address, environment,
		type, at, state, attempts, status, reason)`}
	for n := range *benchEvents / 10 {
		state := map[bool]string{true: sql.NoticeDead, false: sql.NoticeDelivered}[n%1000 == 0]
		deliveries.add(id(1), id(n), id(n), "500001", "live", "otp.sent", now, state, 1, 200, "")
	}
	deliveries.flush()
}
