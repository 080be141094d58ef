package sql

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// Statistics are counts per hour and account. They guard nothing: a killed server loses what it had not added yet, and
// a COMMIT that was not answered may count twice.
type Statistics struct{ store *Store }

// StatisticKey identifies what is counted.
type StatisticKey struct {
	Name        string     // of the count, up to 16 characters
	Hour        otp.Millis // start of the hour
	Account     string     // empty for callers without an account
	Environment string     // of sends and of calls with a key; else empty
	Part        string     // what is counted separately under the name, up to 64 characters
}

// Statistic is a count.
type Statistic struct {
	StatisticKey
	Times  int64
	Amount int64 // millionths of money, or microseconds
}

// StatisticsMemory is how long counts are kept.
const StatisticsMemory = 92 * otp.Day

// statisticsAtOnce bounds the rows of one transaction, so that decisions do not wait long for it.
const statisticsAtOnce = 100

// Add adds a server's counts and removes old ones. It returns what it could not add, with the reason. Counts of
// several servers with the same key add up.
func (c *Statistics) Add(ctx context.Context, counts []Statistic, now otp.Millis) ([]Statistic, error) {
	slices.SortFunc(counts, func(x, y Statistic) int { return x.compare(&y.StatisticKey) }) // as every server locks them
	for len(counts) > 0 {
		part := counts[:min(len(counts), statisticsAtOnce)]
		err := c.add(ctx, part, now)
		for try := 1; err != nil && c.store.dialect.taken(err) && try < maxTries; try++ {
			err = c.add(ctx, part, now) // another server inserted the row in between; now it can be updated
		}
		if err != nil {
			return counts, fmt.Errorf("add statistics: %w", err)
		}
		counts = counts[len(part):]
	}
	return nil, nil
}

func (k *StatisticKey) compare(other *StatisticKey) int {
	return cmp.Or(strings.Compare(k.Name, other.Name), cmp.Compare(k.Hour, other.Hour),
		strings.Compare(k.Account, other.Account), strings.Compare(k.Environment, other.Environment),
		strings.Compare(k.Part, other.Part))
}

func (c *Statistics) add(ctx context.Context, counts []Statistic, now otp.Millis) error {
	return c.store.write(ctx, func(w *session) error {
		for i := range counts {
			n := &counts[i]
			key := []driver.Value{n.Name, int64(n.Hour), n.Account, n.Environment, n.Part}
			added, err := w.affect(ctx, `
				UPDATE statistics
				SET times = times + ?, amount = amount + ?
				WHERE name = ? AND hour = ? AND esme_address = ? AND environment = ? AND part = ?`,
				slices.Concat([]driver.Value{n.Times, n.Amount}, key)...)
			if err == nil && added == 0 {
				err = w.exec(ctx, `
					INSERT INTO statistics (name, hour, esme_address, environment, part, times, amount)
					VALUES (?, ?, ?, ?, ?, ?, ?)`, append(key, n.Times, n.Amount)...)
			}
			if err != nil {
				return err
			}
		}
		return w.exec(ctx, `DELETE FROM statistics WHERE hour < ?`, int64(now-StatisticsMemory))
	})
}

// StatisticQuery selects counts.
type StatisticQuery struct {
	Names       []string // at least one
	Accounts    []string // nil: all, and callers without an account
	Environment string   // this one, and what has none; empty: any
	From, To    otp.Millis
	ByHour      bool // else the counts of all hours are added up
	ByAccount   bool // else those of all accounts are added up
}

// Sum reads counts, added up over what the query does not separate. It reads only the rows of its names and hours,
// however many events there were.
func (c *Statistics) Sum(ctx context.Context, q StatisticQuery) (all []Statistic, err error) {
	if q.Accounts != nil && len(q.Accounts) == 0 {
		return nil, nil
	}
	text, args := q.text()
	err = c.store.each(ctx, "read statistics", text, args, func(rows *sql.Rows) error {
		var n Statistic
		err := rows.Scan(&n.Name, &n.Part, &n.Hour, &n.Account, &n.Times, &n.Amount)
		all = append(all, n)
		return err
	})
	return all, err
}

// text returns the statement that reads what q selects.
func (q *StatisticQuery) text() (string, []any) {
	names, args := in(q.Names, func(n string) any { return n })
	where := `name IN ` + names + ` AND hour >= ? AND hour < ?`
	args = append(args, int64(q.From), int64(q.To))
	if q.Accounts != nil {
		list, accounts := in(q.Accounts, func(a string) any { return a })
		where, args = where+` AND esme_address IN `+list, append(args, accounts...)
	}
	if q.Environment != "" {
		where, args = where+` AND environment IN ('', ?)`, append(args, q.Environment)
	}
	hour, account, group := `0`, `''`, `name, part`
	if q.ByHour {
		hour, group = `hour`, group+`, hour`
	}
	if q.ByAccount {
		account, group = `esme_address`, group+`, esme_address`
	}
	return `
		SELECT name, part, ` + hour + `, ` + account + `, SUM(times), SUM(amount)
		FROM statistics
		WHERE ` + where + `
		GROUP BY ` + group + `
		ORDER BY ` + group, args
}
