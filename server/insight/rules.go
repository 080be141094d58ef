package insight

import (
	"context"
	"slices"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// rules are the rules of alerts.
var rules = []Rule{
	{Name: "key_usage", Threshold: 5, Quiet: 2 * time.Hour, Action: Paused, look: keyUsage,
		What:   "a key makes more than so many times the calls of this hour in the weeks before, and 300 at least",
		Remedy: "ask its owner; if it was not them, POST /api/keys/{id}/compromised"},
	{Name: "key_country", Quiet: 24 * time.Hour, Action: Paused, look: keyCountry,
		What:   "a key is used from a country that it was not used from in 30 days",
		Remedy: "ask its owner, and give the key allowed_ips"},
	{Name: "failed_authentications", Threshold: 100, Quiet: 2 * time.Hour, look: failedAuthentications,
		What:   "so many credentials or passwords were refused within the hour",
		Remedy: "look at GET /api/statistics?by=reason and at the audit log; a key that was rotated may still be in use"},
	{Name: "limit_violations", Threshold: 100, Quiet: 2 * time.Hour, look: limitViolations,
		What:   "limits refused so many calls of an account within the hour",
		Remedy: "look at GET /api/statistics?by=reason; raise the limit if the use is meant"},
	{Name: "address_failures", Threshold: 50, Quiet: 2 * time.Hour, Action: Blocked, look: addressFailures,
		What:   "one address brought so many credentials that were refused within the hour",
		Remedy: "find out whose address it is; block it in front of the server if it goes on"},
	{Name: "address_keys", Threshold: 10, Quiet: 24 * time.Hour, Action: Blocked, look: addressKeys,
		What:   "one address used so many different keys within the hour",
		Remedy: "find out whose address it is; keys that were stolen together are rotated together"},
	{Name: "address_recipients", Threshold: 30, Quiet: 24 * time.Hour, Action: Blocked, look: addressRecipients,
		What:   "one address had codes sent to so many recipients with a key of a web page within the hour",
		Remedy: "put a challenge for people before the form that sends, or let your server send"},
	{Name: "conversion", Threshold: 50, Quiet: 6 * time.Hour, look: conversionFell,
		What:   "of the codes of the last three hours less than so many percent of the usual share were verified",
		Remedy: "look at GET /api/statistics?by=prefix, and at the provider's receipts"},
	{Name: "spend", Threshold: 50, Quiet: 24 * time.Hour, look: spend,
		What:   "an account has spent 50, 80 or 100 percent of its spend_cap_per_day",
		Remedy: "look at GET /api/statistics?by=country; raise spend_cap_per_day if the use is meant"},
	{Name: "prefix_stopped", Quiet: 2 * time.Hour, look: prefixStopped,
		What:   "sends to a range of numbers were stopped because hardly anybody used the codes",
		Remedy: "look at GET /api/accounts/{account}/stopped-prefixes, which also lifts the stop"},
	{Name: "key_expiring", Threshold: 7, Quiet: 24 * time.Hour, look: keyExpiring,
		What:   "a key ends within so many days",
		Remedy: "POST /api/keys/{id}/rotate, and give the new key to the application"},
	{Name: "key_unused", Threshold: 90, Quiet: 24 * time.Hour, look: keyUnused,
		What:   "a key was not used for so many days",
		Remedy: "DELETE /api/keys/{id}"},
	{Name: "circuit_open", Quiet: 15 * time.Minute, look: circuitOpen,
		What:   "a provider failed again and again, and messages go by the next channel or nowhere",
		Remedy: "ask the provider; otpbridge doctor tries it"},
	{Name: "clock", Threshold: 500, Quiet: 15 * time.Minute, look: clock,
		What:   "this server's clock and the database's are so many milliseconds apart; from 1000 on it is not ready",
		Remedy: "let both machines ask a time server"},
	{Name: "audit_unsealed", Threshold: 60, Quiet: 15 * time.Minute, look: auditUnsealed,
		What:   "a server could seal no entry of the audit log, or push no checkpoint, for so many seconds",
		Remedy: "look at the server's log for audit:"},
	{Name: "webhook_paused", Quiet: time.Hour, look: webhookPaused,
		What:   "a webhook was paused because deliveries failed for days",
		Remedy: "mend the receiver, switch the webhook on and replay what was skipped"},
}

// Rules returns the rules of alerts.
func Rules() []Rule { return rules }

// RemedyOf returns what to do about an alert of a rule.
func RemedyOf(name string) string {
	for i := range rules {
		if rules[i].Name == name {
			return rules[i].Remedy
		}
	}
	return ""
}

// round is one evaluation of all rules. Data that several of them need is read once.
type round struct {
	insight *Insight
	now     otp.Millis
	keys    []sql.Credential
	read    bool
	owners  []otp.Account // of working; nil before

	accounts []string // whose keys are checked; nil: all
}

func (r *round) hour() otp.Millis { return r.now - r.now%otp.Hour }

// sum returns counts of a span of time, by account; nil accounts means all.
func (r *round) sum(ctx context.Context, from, to otp.Millis, accounts []string, names ...string) ([]sql.Statistic,
	error) {
	return r.insight.store.Statistics.Sum(ctx, sql.StatisticQuery{Names: names, Accounts: accounts, From: from, To: to,
		ByAccount: true})
}

// hourly calls look once an hour, for findings that change slowly or are expensive.
func (r *round) hourly(rule string, look func() ([]finding, error)) ([]finding, error) {
	known := r.insight.hourly[rule]
	if known.hour == r.hour() {
		return known.found, nil
	}
	found, err := look()
	if err == nil {
		r.insight.hourly[rule] = looked{r.hour(), found}
	}
	return found, err
}

// looked is the findings of an hour.
type looked struct {
	hour  otp.Millis
	found []finding
}

// credentials returns the active keys.
func (r *round) credentials(ctx context.Context) ([]sql.Credential, error) {
	if r.read {
		return r.keys, nil
	}
	all, err := r.insight.store.Credentials.List(ctx, "")
	for i := range all {
		c := &all[i]
		works := c.Enabled && c.RevokedAt == 0 && c.Successor.IsZero() && (c.ExpiresAt == 0 || c.ExpiresAt > r.now)
		if works && (r.accounts == nil || slices.Contains(r.accounts, c.Address)) {
			r.keys = append(r.keys, *c)
		}
	}
	r.read = err == nil
	return r.keys, err
}

// working returns the accounts that are not broken.
func (r *round) working(ctx context.Context) ([]otp.Account, error) {
	if r.owners != nil {
		return r.owners, nil
	}
	var all []otp.Account
	err := r.insight.store.Accounts.Each(ctx, func(a otp.Account, broken error) error {
		if broken == nil && (r.accounts == nil || slices.Contains(r.accounts, a.Address)) {
			all = append(all, a)
		}
		return nil
	})
	if err == nil {
		r.owners = all
	}
	return all, err
}
