package sql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// Pages of lists are read by an index, in either order, also far from the beginning, on both databases.
func TestLists_AreReadByTheirIndexes(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s, sqlite := openTest(t, url, Options{}), strings.HasPrefix(url, "sqlite:")
		var accounts []Seeded
		for n := range 4000 {
			a := otp.DefaultAccount(fmt.Sprint(1000 + n))
			a.Name, a.CreatedAt, a.UpdatedAt = fmt.Sprint("Shop ", (n*7)%50), noon, noon
			accounts = append(accounts, Seeded{Account: a})
		}
		var calls []CallCount
		for n := range 2000 {
			calls = append(calls, CallCount{Calls: 1, LastAt: noon, CallKey: CallKey{Hour: noon + otp.Millis(n%40)*otp.Hour,
				Account: fmt.Sprint(1000 + n/40), Door: "v1", Name: "x", Kind: "ok"}})
		}
		alter(t, s, func(tx *Tx) error { return s.Accounts.Insert(tx, accounts) })
		require.NoError(t, s.Calls.Add(ctx, otp.ID{1}, calls, noon))
		e := listen(t, s, "*")
		var rows []string
		for n := range 4000 {
			rows = append(rows, fmt.Sprintf(`(X'%x', X'%x', X'%x', '1', 'live', 'otp.sent', 1, '%s', 1, 200, '')`, e.ID[:],
				id(noon, n), e.ID[:], map[bool]string{true: NoticeDead, false: NoticeDelivered}[n%100 == 0]))
		}
		require.NoError(t, s.write(ctx, func(w *session) error {
			return w.exec(ctx, `INSERT INTO webhook_deliveries (endpoint_id, id, event_id, esme_address, environment, type, at,
				state, attempts, status, reason) VALUES `+strings.Join(rows, ", "))
		}))
		if !sqlite { // SQLite is never told to look at its rows, and plans by its indexes alone
			_, err := s.reads.Exec(`ANALYZE TABLE otp_auth_config, webhook_deliveries, calls`)
			require.NoError(t, err)
		}
		for _, q := range []AccountQuery{{}, {Backward: true}, {ByName: true}, {ByName: true, Backward: true}} {
			for _, after := range []AccountPlace{{}, {"2300", "Shop 7"}} {
				q.After, q.Limit = after, 10
				where, args := q.where()
				found := walked(t, s, sqlite, `SELECT `+accountColumnList()+` FROM otp_auth_config WHERE `+where, args)
				require.Equal(t, q.ByName, strings.Contains(found, "otp_auth_config_name"), found)
			}
		}
		for _, q := range []NoticeQuery{{}, {OldestFirst: true}, {State: NoticeDead},
			{State: NoticeDead, OldestFirst: true}} {
			for _, after := range []otp.ID{{}, id(noon, 2000)} {
				q.After, q.Limit = after, 10
				where, args := q.where(e.ID)
				found := walked(t, s, sqlite, notices.selects()+where, args)
				require.Equal(t, q.State != "", strings.Contains(found, "webhook_deliveries_state"), found)
			}
		}
		where, args := among([]string{"1001", "1002"})
		require.Contains(t, walked(t, s, sqlite, `SELECT SUM(calls) FROM calls WHERE `+where+` AND hour >= ?`,
			append(args, int64(noon))), "calls_account")
	})
}

// walked refuses a plan that sorts rows or reads all of a table, and returns it. A walk along an index that ends with
// the page is no such plan.
func walked(t *testing.T, s *Store, sqlite bool, text string, args []any) (plan string) {
	t.Helper()
	for _, step := range planOf(t, s, sqlite, text, args) {
		if plan += step.detail + "\n"; !sqlite && !strings.HasPrefix(step.table, "<") { // <…> is of an earlier step
			plan += fmt.Sprintf("%s %s %s\n", step.way, step.index, step.extra)
		}
	}
	_, asked, _ := strings.Cut(text, "WHERE")
	require.NotContains(t, plan, "TEMP B-TREE", asked)
	require.NotContains(t, plan, "filesort", asked)
	require.NotRegexp(t, `(?m)^ALL|^SCAN \w+$`, plan, asked)
	return plan
}

// A page has the accounts of the query alone, each once, in order, on both databases.
func TestAccounts_ArePagedAlikeOnBothDatabases(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		var accounts []Seeded
		for n, name := range []string{"b", "a", "", "B", "a", "é", "a b", "Z", "", "ß"} {
			a := otp.DefaultAccount(fmt.Sprint(10 - n))
			a.Name, a.CreatedAt, a.UpdatedAt = name, noon, noon
			accounts = append(accounts, Seeded{Account: a})
		}
		alter(t, s, func(tx *Tx) error { return s.Accounts.Insert(tx, accounts) })
		all := func(q AccountQuery) (found string) {
			for {
				q.Limit = 3
				part, err := s.Accounts.Page(ctx, q)
				require.NoError(t, err)
				for _, row := range part {
					require.NoError(t, row.Broken)
					q.After = AccountPlace{row.Account.Address, row.Account.Name}
					found += " " + row.Account.Address
				}
				if len(part) < 3 {
					return found
				}
			}
		}
		require.Equal(t, " 1 10 2 3 4 5 6 7 8 9", all(AccountQuery{}))
		require.Equal(t, " 9 8 7 6 5 4 3 2 10 1", all(AccountQuery{Backward: true}))
		require.Equal(t, " 2 8 7 3 6 9 4 10 1 5", all(AccountQuery{ByName: true}))
		require.Equal(t, " 5 1 10 4 9 6 3 7 8 2", all(AccountQuery{ByName: true, Backward: true}))
		require.Equal(t, " 8 6 9", all(AccountQuery{ByName: true, Accounts: []string{"6", "8", "9", "x"}}))
		require.Empty(t, all(AccountQuery{Accounts: []string{}}))
	})
}
