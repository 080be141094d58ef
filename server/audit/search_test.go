package audit

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

var (
	reader = otp.Actor{Kind: "person", ID: otp.ID{9}}
	shop   = otp.ID{1}
	bank   = otp.ID{2}
)

// story makes a log in which each filter finds changes and calls.
func story(t testing.TB, l *Log) {
	t.Helper()
	for i := range 30 {
		at := now + otp.Millis(i)*otp.Minute
		account, key, address, result := "4711", shop, "203.0.113.7", "ok"
		if i%3 == 0 {
			account, key, address, result = "4712", bank, "2001:db8::1", "wrong_code"
		}
		if i%2 == 0 {
			l.Record(Call{Began: at.Time(), Action: "POST /v1/verify", Account: account, Key: key,
				Address: netip.MustParseAddr(address),
				Result:  result, Status: 200, Method: "POST"}, nil)
		} else {
			kind := otp.PersonChanged
			if i%5 == 0 {
				kind = otp.SessionRefused
			}
			require.NoError(t, l.store.Change(ctx, func(tx *sql.Tx) error {
				return tx.Record(otp.Change{ID: sql.NewID(), At: at, Kind: kind, Account: account, Credential: key,
					Actor: otp.Actor{Kind: "person", ID: key, Address: address}})
			}))
		}
		if i%4 == 3 {
			seal(t, l)
		}
	}
	seal(t, l)
}

// pages follows the cursors of a query to its end.
func pages(t testing.TB, l *Log, q Query) (all []Placed) {
	t.Helper()
	for {
		found, err := l.Read(ctx, reader, q, now)
		require.NoError(t, err)
		require.LessOrEqual(t, len(found.Entries), q.Limit)
		all = append(all, found.Entries...)
		if found.Next == 0 {
			return all
		}
		q.Before = found.Next
	}
}

func TestRead_FindsByEachFilterWhatAWalkThroughEverythingFinds(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		l := open(t, url)
		story(t, l)
		var all []Placed
		require.NoError(t, l.walk(ctx, 30, func(place int64, s stub, content []byte) error {
			var one Placed
			one.Place = place
			all = append([]Placed{one}, all...)
			return json.Unmarshal(content, &all[0].Entry)
		}))
		for _, q := range []Query{
			{}, {Action: "POST /v1/verify"}, {Action: "person.changed"}, {Action: "nothing"}, {Actor: shop.Text("per")},
			{Actor: bank.Text("key")}, {Actor: "somebody"}, {Account: "4711"}, {Account: "4712", Result: "ok"},
			{Credential: shop.Text("key")}, {Credential: bank.Text("key"), Action: "POST /v1/verify"}, {Credential: "key_x"},
			{Address: "2001:db8::1"}, {Address: "203.0.113.7", Account: "4711", Result: "ok"}, {Result: "wrong_code"},
			{Result: Refused}, {Result: "fault"}, {From: now + 10*otp.Minute}, {To: now + 10*otp.Minute},
			{From: now + 5*otp.Minute, To: now + 20*otp.Minute, Account: "4711"}, {From: now + otp.Day},
			{To: now}, {Account: "4711", Actor: bank.Text("per")},
		} {
			var want []int64
			for _, one := range all {
				e := one.Entry
				if e.Type == ChangeEntry && q.Actor != "" && strings.HasSuffix(e.Actor, q.Actor[3:]) {
					e.Actor = q.Actor // a change names the kind of its actor apart
				}
				if q.wants(e) {
					want = append(want, one.Place)
				}
			}
			for _, limit := range []int{1, 7, 100} {
				q.Limit = limit
				var have []int64
				for _, one := range pages(t, l, q) {
					if one.Action != string(otp.AuditRead) {
						have = append(have, one.Place)
					}
				}
				require.Equal(t, want, have, "%+v", q)
			}
		}
		usual := pages(t, l, Query{Address: "2001:db8::1", Limit: 100})
		require.NotEmpty(t, usual)
		for _, spelling := range []string{"2001:DB8::1", "2001:db8:0:0::0001"} {
			require.Equal(t, usual, pages(t, l, Query{Address: spelling, Limit: 100}), spelling)
		}
		seal(t, l)
		require.NotEmpty(t, pages(t, l, Query{Action: string(otp.AuditRead), Limit: 100}), "readings are recorded")
	})
}

// A page of an answer does not move when entries are added.
// A page of the answer opens only the log's pages that it shows, and no more calls of them.
func TestRead_OpensNoMoreThanItShows(t *testing.T) {
	url := migrated.SQLite(t)
	l := open(t, url)
	for n := range 4 {
		for i := range 5 {
			l.Record(call(now+otp.Millis(10*n+i), "4711"), nil)
		}
		seal(t, l)
	}
	all := pages(t, l, Query{Limit: 3})
	var calls []int64
	for _, p := range all {
		if p.Action == "POST /v1/verify" {
			calls = append(calls, p.Place)
		}
	}
	require.Len(t, calls, 20)
	seal(t, l)
	bySQL(t, url, fmt.Sprint(`UPDATE audit_pages SET calls = X'00' WHERE place < `, calls[9])) // all but the newer two
	for limit := 1; limit <= 9; limit++ {
		found, err := l.Read(ctx, reader, Query{Limit: limit, Before: calls[0] + 1}, now)
		require.NoError(t, err, limit)
		require.Len(t, found.Entries, limit)
		require.Equal(t, calls[0], found.Entries[0].Place)
	}
	_, err := l.Read(ctx, reader, Query{Limit: 20, Before: calls[0] + 1}, now)
	require.Error(t, err, "an older page is opened by whoever asks for it")
}

func TestRead_CursorsStayGoodWhileTheLogGrows(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	story(t, l)
	first, err := l.Read(ctx, reader, Query{Limit: 10}, now)
	require.NoError(t, err)
	story(t, l)
	require.NoError(t, l.Sweep(ctx, now))
	second, err := l.Read(ctx, reader, Query{Limit: 10, Before: first.Next}, now)
	require.NoError(t, err)
	require.Equal(t, int64(20), first.Entries[9].Place)
	require.Equal(t, int64(19), second.Entries[0].Place)
}

// A search whose entry cannot be recorded returns nothing.
func TestRead_ShowsNothingThatCannotBeRecorded(t *testing.T) {
	url := migrated.SQLite(t)
	l := open(t, url)
	story(t, l)
	bySQL(t, url, `CREATE TRIGGER refuse BEFORE INSERT ON changes BEGIN SELECT RAISE(ABORT, 'no'); END`)
	found, err := l.Read(ctx, reader, Query{Limit: 10}, now)
	require.Error(t, err)
	require.Empty(t, found.Entries)
}

// The queries of sql.FindChanges, FindPages and FirstSealed, one filter at a time, do not read a whole table.
func TestRead_SearchesByIndex(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		l := open(t, url)
		require.NoError(t, l.store.Change(ctx, func(tx *sql.Tx) error {
			for i := range 2000 {
				id := otp.ID{byte(i), 1}
				err := tx.Record(otp.Change{ID: sql.NewID(), At: now + otp.Millis(i), Kind: otp.ChangeKind(fmt.Sprint("k", i%50)),
					Account: fmt.Sprint(i % 99), Credential: id, Actor: otp.Actor{ID: id, Address: fmt.Sprint("203.0.113.", i%90)}})
				if err != nil {
					return err
				}
			}
			return nil
		}))
		for i := range 800 {
			l.Record(call(now+otp.Millis(i), fmt.Sprint(4711+i%7)), nil)
			if i%8 == 7 {
				seal(t, l)
			}
		}
		analyse := map[bool]string{true: "ANALYZE", false: "ANALYZE TABLE changes, audit_pages, audit_terms"}
		bySQL(t, url, analyse[strings.HasPrefix(url, "sqlite:")])
		began := time.Now()
		found, err := l.Read(ctx, reader, Query{Account: "4711", Address: "203.0.113.7", Limit: 50}, now)
		require.NoError(t, err)
		require.Len(t, found.Entries, 50)
		t.Logf("one part of a search took %v", time.Since(began))
		id := "X'01000000000000000000000000000000'"
		for _, where := range []string{
			"kind = 'a'", "actor_id = " + id, "credential_id = " + id, "esme_address = '4711'", "address = '203.0.113.7'",
			"kind NOT IN ('a', 'b')", "kind IN ('a', 'b')",
			"place >= 400 AND place < 500 AND at >= 1 AND at < 2", // moments are turned into places
		} {
			searches(t, url, `SELECT id FROM changes WHERE place >= 1 AND place < 9000 AND `+where+`
				ORDER BY place DESC LIMIT 51`)
		}
		for n := 1; n < 8 && !strings.HasPrefix(url, "sqlite:"); n *= 2 { // a few thousand MariaDB would rather sort
			bySQL(t, url, fmt.Sprintf(`
				INSERT INTO changes (id, at, kind, actor_kind, address, request_id, esme_address, place)
				SELECT UNHEX(MD5(CONCAT(HEX(id), %[1]d))), at, kind, '', address, '', esme_address, place + %[1]d
				FROM changes
				WHERE place IS NOT NULL`, 10_000*n), analyse[false])
		}
		for _, where := range []string{"at >= 1 AND at < 9000000000000", "at >= 9000000000000", "TRUE",
			"esme_address = '4711' AND at < 9000000000000", "kind NOT IN ('a', 'b') AND at >= 1"} {
			searches(t, url, `SELECT id, at FROM changes WHERE place >= 1 AND place < 900000 AND `+where+`
				ORDER BY place DESC LIMIT 51`)
		}
		searches(t, url, `SELECT place FROM audit_pages WHERE sealed_at >= 5 ORDER BY sealed_at, place LIMIT 1`)
		searches(t, url, `SELECT t0.page FROM audit_terms t0 JOIN audit_terms t1 ON t1.page = t0.page AND t1.term = `+id+`
			WHERE t0.term = `+id+` AND t0.page >= 0 AND t0.page < 9000 ORDER BY t0.page DESC LIMIT 8`)
	})
}

// searches refuses a plan that reads a whole table.
func searches(t *testing.T, url, statement string) {
	t.Helper()
	db := sqltest.Connect(t, url)
	if strings.HasPrefix(url, "sqlite:") {
		var steps []struct {
			ID, Parent, Notused int
			Detail              string
		}
		require.NoError(t, db.Select(&steps, "EXPLAIN QUERY PLAN "+statement))
		for _, step := range steps {
			require.NotRegexp(t, `^SCAN \w+$`, step.Detail, statement)
		}
		return
	}
	rows, err := db.Queryx("EXPLAIN " + statement)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		step := map[string]any{}
		require.NoError(t, rows.MapScan(step))
		require.NotEqual(t, "ALL", fmt.Sprintf("%s", step["type"]), "%s: %s", statement, step)
	}
	require.NoError(t, rows.Err())
}
