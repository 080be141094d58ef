package sql

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

var counted = otp.At(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))

func statistic(hour otp.Millis, account, part string) Statistic {
	return Statistic{StatisticKey{"sent", hour, account, "live", part}, 1, 10}
}

// The counts of two servers add up. A query reads the rows of its hours, accounts and names, however many events there
// were.
func TestStatistics_AddUpAndAreFoundByAnIndexRace(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		const servers, rounds = 2, 10
		var each sync.WaitGroup
		var any *Store
		for range servers {
			any = openTest(t, url, Options{})
			store := any
			each.Go(func() {
				for n := range rounds {
					left, err := store.Statistics.Add(ctx, []Statistic{statistic(counted, "1", fmt.Sprint(n)),
						statistic(counted, "1", "all")}, counted)
					if err != nil || len(left) > 0 {
						t.Error(left, err)
					}
				}
			})
		}
		each.Wait()
		found, err := any.Statistics.Sum(ctx, StatisticQuery{Names: []string{"sent"}, From: counted, To: counted + 1})
		require.NoError(t, err)
		require.Len(t, found, rounds+1)
		for _, n := range found {
			times := int64(servers)
			if n.Part == "all" {
				times *= rounds
			}
			require.Equal(t, []int64{times, 10 * times}, []int64{n.Times, n.Amount}, n.Part)
		}
		requireIndexed(t, any, strings.HasPrefix(url, "sqlite:"))
	})
}

func requireIndexed(t *testing.T, s *Store, sqlite bool) {
	var rows []string
	for n := range 4000 {
		rows = append(rows, fmt.Sprintf(`('sent', %d, '%d', 'live', 'sms', 1, 1)`, n/10, n%10))
	}
	require.NoError(t, s.write(ctx, func(w *session) error {
		if err := w.exec(ctx, `INSERT INTO statistics (name, hour, esme_address, environment, part, times, amount) VALUES `+
			strings.Join(rows, ", ")); err != nil || !sqlite {
			return err
		}
		return w.exec(ctx, `ANALYZE`)
	}))
	if !sqlite {
		_, err := s.reads.Exec(`ANALYZE TABLE statistics`)
		require.NoError(t, err)
	}
	for _, q := range []StatisticQuery{
		{Names: []string{"sent", "verified"}, From: 5, To: 9}, {Names: []string{"sent"}, From: 5, To: 9, ByHour: true},
		{Names: []string{"sent"}, Accounts: []string{"3", "4"}, From: 5, To: 9, ByAccount: true},
		{Names: []string{"sent"}, Accounts: []string{"3"}, Environment: "live", From: 5, To: 9, ByHour: true},
	} {
		text, args := q.text()
		requireSearch(t, s, sqlite, text, args)
	}
	requireSearch(t, s, sqlite, `DELETE FROM statistics WHERE hour < ?`, []any{3})
}

// planStep is a step of a query plan: SQLite's detail, or the table, the way into it, the index and more of MariaDB.
type planStep struct{ detail, table, way, index, extra string }

func planOf(t *testing.T, s *Store, sqlite bool, text string, args []any) (steps []planStep) {
	t.Helper()
	rows, err := s.reads.Queryx(map[bool]string{true: `EXPLAIN QUERY PLAN `, false: `EXPLAIN `}[sqlite]+text, args...)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		step := map[string]any{}
		require.NoError(t, rows.MapScan(step))
		if sqlite {
			steps = append(steps, planStep{detail: fmt.Sprint(step["detail"])})
			continue
		}
		said := func(name string) string { return fmt.Sprintf("%s", step[name]) }
		steps = append(steps, planStep{table: said("table"), way: said("type"), index: said("key"), extra: said("Extra")})
	}
	require.NoError(t, rows.Err())
	return steps
}

// requireSearch refuses a plan that reads a whole table or index. It returns the indexes that the plan uses.
func requireSearch(t *testing.T, s *Store, sqlite bool, text string, args []any) (indexes []string) {
	t.Helper()
	for _, step := range planOf(t, s, sqlite, text, args) {
		switch {
		case sqlite:
			require.NotRegexp(t, `^SCAN`, step.detail, text)
			indexes = append(indexes, step.detail)
		case !strings.HasPrefix(step.table, "<"): // what an earlier step found
			require.NotContains(t, []string{"ALL", "index"}, step.way, "%s: %v", text, step)
			indexes = append(indexes, step.index)
		}
	}
	return indexes
}

func TestStatistics_OldOnesAreRemoved(t *testing.T) {
	s := openTest(t, migrated.SQLite(t), Options{})
	old := counted - StatisticsMemory - otp.Hour
	for _, hour := range []otp.Millis{old, counted} {
		_, err := s.Statistics.Add(ctx, []Statistic{statistic(hour, "1", "sms")}, hour)
		require.NoError(t, err)
	}
	found, err := s.Statistics.Sum(ctx, StatisticQuery{Names: []string{"sent"}, To: counted + 1, ByHour: true})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, counted, found[0].Hour)
}
