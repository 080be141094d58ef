package insight

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// leastUsage is the number of calls in an hour below which a key's usage is never unusual.
const leastUsage = 300

// keyUsage compares this hour's calls of each key with those of the same hour in the four weeks before. It skips a key
// that was not used in those hours nor in the days before them.
func keyUsage(ctx context.Context, r *round, threshold int64) (found []finding, err error) {
	used, err := r.sum(ctx, r.hour(), r.now+1, nil, keys)
	used = slices.DeleteFunc(used, func(n sql.Statistic) bool { return n.Times < leastUsage })
	if err != nil || len(used) == 0 {
		return nil, err
	}
	most, known := map[string]int64{}, map[string]bool{}
	for week := otp.Millis(1); week <= 4; week++ {
		hour := r.hour() - week*7*otp.Day
		before, err := r.insight.store.Statistics.Sum(ctx, sql.StatisticQuery{Names: []string{keys}, From: hour - otp.Day,
			To: hour + 1, Accounts: accountsOf(used), ByHour: true})
		if err != nil {
			return nil, err
		}
		for _, n := range before {
			known[n.Part] = true
			if n.Hour == hour {
				most[n.Part] = max(most[n.Part], n.Times)
			}
		}
	}
	for _, n := range used {
		if known[n.Part] && n.Times > threshold*most[n.Part] {
			found = append(found, ofKey(n.Account, n.Part, n.Times, fmt.Sprintf(
				"%d calls in this hour, at most %d in the same hour of the four weeks before", n.Times, most[n.Part])))
		}
	}
	return found, nil
}

// keyCountry finds keys that are used from a new country: they were used in the last 30 days, but not from there.
func keyCountry(ctx context.Context, r *round, _ int64) (found []finding, err error) {
	today := r.now - r.now%otp.Day
	used, err := r.sum(ctx, today, today+1, nil, keyCountries)
	i := r.insight
	if i.countriesOf != today {
		i.countriesOf, i.usual = today, map[string]bool{}
	}
	used = slices.DeleteFunc(used, func(n sql.Statistic) bool {
		return i.usual[n.Part] || strings.HasSuffix(n.Part, " "+Unlocated)
	})
	if err != nil || len(used) == 0 {
		return nil, err
	}
	before, err := r.sum(ctx, today-30*otp.Day, today, accountsOf(used), keyCountries)
	if err != nil {
		return nil, err
	}
	known, pairs := map[string]bool{}, map[string]bool{}
	for _, n := range before {
		key, _, _ := strings.Cut(n.Part, " ")
		known[key], pairs[n.Part] = true, true
	}
	for _, n := range used {
		key, country, _ := strings.Cut(n.Part, " ")
		if !known[key] || pairs[n.Part] {
			i.usual[n.Part] = true
			continue
		}
		f := ofKey(n.Account, key, n.Times, fmt.Sprintf("called from %s, and never in the 30 days before; "+
			"calls: %d", country, n.Times))
		f.subject = n.Part
		found = append(found, f)
	}
	return found, nil
}

func ofKey(account, key string, value int64, says string) finding {
	id, _ := otp.ParseID("key", key)
	return finding{account: account, subject: key, value: value, says: says, key: id}
}

func accountsOf(counts []sql.Statistic) (accounts []string) {
	for i := range counts {
		if !slices.Contains(accounts, counts[i].Account) {
			accounts = append(accounts, counts[i].Account)
		}
	}
	return accounts
}

// over finds the accounts whose count in this hour has reached the threshold.
func over(ctx context.Context, r *round, threshold int64, name, says string, counts func(kind string) bool) ([]finding,
	error) {
	counted, err := r.sum(ctx, r.hour(), r.now+1, nil, name)
	of := map[string]int64{}
	for _, n := range counted {
		if _, kind, _ := strings.Cut(n.Part, " "); counts(kind) {
			of[n.Account] += n.Times
		}
	}
	var found []finding
	for account, times := range of {
		if times >= threshold {
			found = append(found, finding{account: account, value: times, says: fmt.Sprintf(says, times)})
		}
	}
	return found, err
}

func failedAuthentications(ctx context.Context, r *round, threshold int64) ([]finding, error) {
	return over(ctx, r, threshold, failures, "%d credentials or passwords were refused in this hour",
		func(string) bool { return true })
}

func limitViolations(ctx context.Context, r *round, threshold int64) ([]finding, error) {
	return over(ctx, r, threshold, calls, "limits refused %d calls in this hour",
		func(kind string) bool { return slices.Contains(limiting, kind) })
}

// addresses finds the networks whose count on this server in this hour has reached the threshold.
func addresses(r *round, threshold int64, says string, of func(*address) int) (found []finding, err error) {
	r.insight.Tally.eachAddress(r.hour(), func(network netip.Prefix, did *address) {
		if n := int64(of(did)); n >= threshold {
			found = append(found, finding{subject: network.String(), value: n, says: fmt.Sprintf(says, n)})
		}
	})
	slices.SortFunc(found, func(x, y finding) int { return int(y.value - x.value) })
	return found, nil
}

func addressFailures(_ context.Context, r *round, threshold int64) ([]finding, error) {
	return addresses(r, threshold, "%d credentials that it brought were refused in this hour",
		func(a *address) int { return a.failed })
}

func addressKeys(_ context.Context, r *round, threshold int64) ([]finding, error) {
	return addresses(r, threshold, "it used %d different keys in this hour", func(a *address) int { return len(a.keys) })
}

func addressRecipients(_ context.Context, r *round, threshold int64) ([]finding, error) {
	return addresses(r, threshold, "it had codes sent to %d recipients in this hour, with keys of web pages",
		func(a *address) int { return len(a.recipients) })
}

// How many sends are needed before conversion rates are compared.
const (
	recentSends = 100
	usualSends  = 500
)

// conversionFell compares the rate of verified sends in the last three whole hours with that of the week before.
func conversionFell(ctx context.Context, r *round, threshold int64) ([]finding, error) {
	return r.hourly("conversion", func() (found []finding, err error) {
		names := []string{string(otp.EventSent), string(otp.EventResent), string(otp.EventUnsent), string(otp.EventVerified)}
		from := r.hour() - 3*otp.Hour
		recent, err := r.sum(ctx, from, r.hour(), nil, names...)
		if err != nil {
			return nil, err
		}
		lines := byAccount(recent)
		for account, line := range lines {
			if line.Sent-line.Unsent < recentSends {
				delete(lines, account)
			}
		}
		if len(lines) == 0 {
			return nil, nil
		}
		recent = slices.DeleteFunc(recent, func(n sql.Statistic) bool { return lines[n.Account] == nil })
		week, err := r.sum(ctx, from-7*otp.Day, from, accountsOf(recent), names...)
		if err != nil {
			return nil, err
		}
		for account, usual := range byAccount(week) {
			now := lines[account]
			if usual.Sent-usual.Unsent < usualSends {
				continue
			}
			share, expected := now.Verified*1000/(now.Sent-now.Unsent), usual.Verified*1000/(usual.Sent-usual.Unsent)
			if share*100 < expected*threshold {
				found = append(found, finding{account: account, value: share / 10, says: fmt.Sprintf(
					"%d.%d %% of the codes of the last three hours were verified, %d.%d %% in the week before", share/10,
					share%10, expected/10, expected%10)})
			}
		}
		return found, nil
	})
}

func byAccount(counts []sql.Statistic) map[string]*Line {
	of := map[string]*Line{}
	for i := range counts {
		line := of[counts[i].Account]
		if line == nil {
			line = &Line{}
			of[counts[i].Account] = line
		}
		line.add(&counts[i])
	}
	return of
}

// spend compares accounts' spend of today with their caps. It reports only the highest mark that was reached.
func spend(ctx context.Context, r *round, threshold int64) (found []finding, err error) {
	caps := map[string]int64{}
	var accounts []string
	err = r.insight.store.Accounts.Each(ctx, func(a otp.Account, broken error) error {
		if broken == nil && a.SpendCapPerDay != nil && *a.SpendCapPerDay > 0 {
			caps[a.Address], accounts = int64(*a.SpendCapPerDay), append(accounts, a.Address)
		}
		return nil
	})
	if err != nil || len(accounts) == 0 {
		return nil, err
	}
	today := r.now - r.now%otp.Day
	spent, err := r.insight.store.Statistics.Sum(ctx, sql.StatisticQuery{
		Accounts: accounts, Environment: string(otp.Live), From: today, To: r.now + 1, ByAccount: true,
		Names: []string{string(otp.EventSent), string(otp.EventResent), string(otp.EventUnsent)}})
	for account, line := range byAccount(spent) {
		share := line.Spend * 100 / caps[account]
		for _, mark := range []int64{100, 80, threshold} {
			if share >= mark {
				found = append(found, finding{account: account, value: share,
					subject: fmt.Sprintf("%s %d%%", today.Time().Format(time.DateOnly), mark),
					says:    fmt.Sprintf("%d %% of what may be spent today is spent", share)})
				break
			}
		}
	}
	return found, err
}

func prefixStopped(ctx context.Context, r *round, _ int64) (found []finding, err error) {
	stops, err := r.sum(ctx, r.hour(), r.now+1, nil, string(otp.EventPrefixStop))
	for _, n := range stops {
		_, prefix, _ := strings.Cut(n.Part, " ")
		found = append(found, finding{account: n.Account, subject: "+" + prefix, value: n.Times,
			says: "sends to +" + prefix + " were stopped for an hour: codes sent there are not used"})
	}
	return found, err
}

func keyExpiring(ctx context.Context, r *round, threshold int64) ([]finding, error) {
	return r.hourly("key_expiring", func() ([]finding, error) {
		return r.eachKey(ctx, func(c *sql.Credential) (int64, string) {
			if c.ExpiresAt == 0 || c.ExpiresAt > r.now+otp.Millis(threshold)*otp.Day {
				return 0, ""
			}
			return 1 + int64((c.ExpiresAt-r.now)/otp.Day), "it ends at " + c.ExpiresAt.Time().Format(time.RFC3339)
		})
	})
}

func keyUnused(ctx context.Context, r *round, threshold int64) ([]finding, error) {
	return r.hourly("key_unused", func() ([]finding, error) {
		return r.eachKey(ctx, func(c *sql.Credential) (int64, string) {
			days := int64((r.now - max(c.UsedAt, c.CreatedAt)) / otp.Day)
			if days < threshold {
				return 0, ""
			}
			return days, fmt.Sprintf("it was not used for %d days", days)
		})
	})
}

// eachKey finds the active keys for which look returns a text.
func (r *round) eachKey(ctx context.Context, look func(*sql.Credential) (int64, string)) (found []finding, err error) {
	all, err := r.credentials(ctx)
	for i := range all {
		if value, says := look(&all[i]); says != "" {
			found = append(found, ofKey(all[i].Address, all[i].ID.Text("key"), value, says))
		}
	}
	return found, err
}

func circuitOpen(_ context.Context, r *round, _ int64) (found []finding, err error) {
	if r.insight.Circuits == nil {
		return nil, nil
	}
	for _, name := range r.insight.Circuits() {
		found = append(found, finding{subject: otp.Cut(name, 64),
			says: name + " failed again and again and is given a pause"})
	}
	return found, nil
}

func clock(ctx context.Context, r *round, threshold int64) ([]finding, error) {
	skew, err := r.insight.skew(ctx)
	if apart := max(skew, -skew).Milliseconds(); err == nil && apart >= threshold {
		return []finding{{value: apart, says: fmt.Sprintf("the clocks are %d ms apart", apart)}}, nil
	}
	return nil, err
}

func auditUnsealed(_ context.Context, r *round, threshold int64) ([]finding, error) {
	if r.insight.Unsealed == nil {
		return nil, nil
	}
	seconds := int64(r.insight.Unsealed() / time.Second)
	if seconds < threshold {
		return nil, nil
	}
	says := fmt.Sprintf("nothing could be sealed for %d seconds, or no checkpoint be pushed", seconds)
	return []finding{{value: seconds, says: says}}, nil
}

func webhookPaused(ctx context.Context, r *round, _ int64) (found []finding, err error) {
	paused, err := r.insight.store.Alerts.Endpoints(ctx, nil, "paused")
	for i := range paused {
		id := paused[i].ID.Text("whk")
		found = append(found, finding{account: paused[i].Account, subject: id,
			says: "deliveries to " + id + " failed for days"})
	}
	return found, err
}
