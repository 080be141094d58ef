package manage

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// AccountQuery selects a page of accounts. Empty members match all.
type AccountQuery struct {
	Accounts []string       // that the caller sees; nil: all
	Search   string         // a part of the address or of the name, in any case
	State    string         // one of AccountStates
	Mode     otp.BridgeMode // who answers its servlet calls at Now
	Sort     string         // one of AccountSorts; empty: by address
	After    string         // the cursor of the last account of the page before
	Limit    int
	Now      otp.Millis
	Since    otp.Millis // from when calls are counted; 0: they are not, and cannot be sorted by
}

// The orders of accounts.
const (
	byAddress  = "address"
	byName     = "name"
	byServlets = "servlet_calls"
)

// AccountSorts returns the orders of accounts. A minus is for the reverse order.
func AccountSorts() []string { return []string{byAddress, "-" + byAddress, byName, "-" + byName} }

// MigrationSorts returns the orders of accounts whose calls are counted.
func MigrationSorts() []string { return append(AccountSorts(), byServlets, "-"+byServlets) }

// AccountStates returns the states of accounts.
func AccountStates() []string { return []string{"active", "disabled", "feature off", "broken"} }

// Check refuses what no page can be selected by. Refusal: Invalid, which names the field.
func (q *AccountQuery) Check() error {
	sorts := AccountSorts()
	if q.Since != 0 {
		sorts = MigrationSorts()
	}
	switch {
	case q.Sort != "" && !slices.Contains(sorts, q.Sort):
		return otp.RefuseField("sort", "must be one of "+strings.Join(sorts, ", "))
	case q.State != "" && !slices.Contains(AccountStates(), q.State):
		return otp.RefuseField("state", "must be one of "+strings.Join(AccountStates(), ", "))
	case q.Mode != "" && !slices.Contains(otp.BridgeModes(), q.Mode):
		return otp.RefuseField("mode", "must be local, forward or shadow")
	}
	return nil
}

// order returns the column to sort by, and whether backward.
func (q *AccountQuery) order() (by string, backward bool) {
	return strings.CutPrefix(cmp.Or(q.Sort, byAddress), "-")
}

// Cursor returns the cursor of an account: its place in the order of q.
func (q *AccountQuery) Cursor(m ManagedAccount) string {
	switch by, _ := q.order(); by {
	case byName:
		return m.Address + " " + strings.ToValidUTF8(m.Name, "\uFFFD")
	case byServlets:
		return m.Address + " " + strconv.FormatInt(m.servlets, 10)
	}
	return m.Address
}

// matches reports whether an account is one of those that q selects.
func (q *AccountQuery) matches(m *ManagedAccount) bool {
	return (q.State == "" || m.State() == q.State) && (q.Mode == "" || m.Handling(q.Now).Mode == q.Mode) &&
		(strings.Contains(m.Address, q.Search) || strings.Contains(strings.ToLower(m.Name), strings.ToLower(q.Search)))
}

// accountsAtOnce is how many accounts are read at once to find those that match.
const accountsAtOnce = 200

// place reads the cursor: the address of the last account, and what q sorts by besides. Refusal: Invalid, for a text
// that is no cursor in the order of q.
func (q *AccountQuery) place() (address, text string, err error) {
	address, text, sorted := strings.Cut(q.After, " ")
	by, _ := q.order()
	_, wrong := strconv.ParseInt(text, 10, 64)
	if q.After != "" && (len(address) > longestAddress || sorted != (by != byAddress) ||
		by == byServlets && wrong != nil) {
		err = otp.RefuseField("cursor", "must be the next_cursor of an answer of this list in the same order")
	}
	return address, text, err
}

// longestAddress is the length of the column, also for an address that cannot be used.
const longestAddress = 15

// Page returns the accounts that a query selects, also broken ones. It reads no more than it returns, unless it has to
// look for what matches. Refusals: those of Check, and Invalid for a text that is no cursor.
func (c Accounts) Page(ctx context.Context, q AccountQuery) (all []ManagedAccount, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	address, name, err := q.place()
	if err != nil {
		return nil, err
	}
	by, backward := q.order()
	if by == byServlets {
		return c.pageByCalls(ctx, q, backward)
	}
	part := sql.AccountQuery{Accounts: q.Accounts, ByName: by == byName, Backward: backward, Limit: q.Limit}
	if q.Search != "" || q.State != "" || q.Mode != "" {
		part.Limit = max(q.Limit, accountsAtOnce)
	}
	part.After = sql.AccountPlace{Address: address, Name: name}
	for {
		rows, err := c.store.Accounts.Page(ctx, part)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			m := c.managed(row.Account, row.Broken)
			if q.matches(&m) {
				if all = append(all, m); len(all) == q.Limit {
					return all, nil
				}
			}
			part.After = sql.AccountPlace{Address: m.Address, Name: m.Name}
		}
		if len(rows) < part.Limit {
			return all, nil
		}
	}
}

// callsFresh is how old the counts may be by which pages are sorted. Servers write them every 20 seconds.
const callsFresh = 10 * time.Second

// callTotals are the calls of all accounts' servlets, for the next page of a list.
type callTotals struct {
	mu    sync.Mutex
	since otp.Millis
	read  time.Time
	calls map[string]int64
}

// servletCalls adds up the calls of accounts' servlets since an hour, nil accounts for all. What it adds up for all is
// kept for callsFresh, because it reads every count since then.
func (c Accounts) servletCalls(ctx context.Context, since otp.Millis, accounts []string) (map[string]int64, error) {
	kept := &c.calls
	if accounts == nil {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		if kept.since == since && time.Since(kept.read) < callsFresh {
			return kept.calls, nil
		}
	}
	began := time.Now()
	totals, err := c.store.Calls.Totals(ctx, since, accounts)
	if err != nil {
		return nil, err
	}
	calls := map[string]int64{}
	for _, n := range totals {
		if n.Door == string(otp.ServletDoor) {
			calls[n.Account] += n.Calls
		}
	}
	if accounts == nil {
		kept.since, kept.read, kept.calls = since, began, calls
	}
	return calls, nil
}

// pageByCalls is Page in the order of the calls of accounts' servlets, which has no index: it adds up all calls since
// q.Since, and then reads accounts until it has enough.
func (c Accounts) pageByCalls(ctx context.Context, q AccountQuery, backward bool) (all []ManagedAccount, err error) {
	addresses := slices.Clone(q.Accounts)
	if q.Accounts == nil {
		if addresses, err = c.store.Accounts.Addresses(ctx); err != nil {
			return nil, err
		}
	}
	calls, err := c.servletCalls(ctx, q.Since-q.Since%otp.Hour, q.Accounts)
	if err != nil {
		return nil, err
	}
	compare := func(a string, callsA int64, b string, callsB int64) int {
		order := cmp.Or(cmp.Compare(callsA, callsB), strings.Compare(a, b))
		if backward {
			return -order
		}
		return order
	}
	slices.SortFunc(addresses, func(a, b string) int { return compare(a, calls[a], b, calls[b]) })
	if q.After != "" {
		last, text, _ := strings.Cut(q.After, " ")
		before, _ := strconv.ParseInt(text, 10, 64) // place has checked it
		addresses = slices.DeleteFunc(addresses, func(a string) bool { return compare(a, calls[a], last, before) <= 0 })
	}
	for some := range slices.Chunk(addresses, accountsAtOnce) {
		rows, err := c.store.Accounts.Page(ctx, sql.AccountQuery{Accounts: some, Limit: len(some)})
		if err != nil {
			return nil, err
		}
		slices.SortFunc(rows, func(a, b sql.AccountRow) int {
			x, y := a.Account.Address, b.Account.Address
			return compare(x, calls[x], y, calls[y])
		})
		for _, row := range rows {
			m := c.managed(row.Account, row.Broken)
			m.servlets = calls[m.Address]
			if q.matches(&m) {
				if all = append(all, m); len(all) == q.Limit {
					return all, nil
				}
			}
		}
	}
	return all, nil
}

// managed returns an account as an operator sees it. broken is why its row cannot be used.
func (c *core) managed(row otp.Account, broken error) ManagedAccount {
	if broken == nil {
		_, broken = c.vault.ServletCipher(&row)
	}
	return ManagedAccount{Account: row, Broken: broken}
}
