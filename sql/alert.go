package sql

import (
	"context"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// Alerts are the warnings for operators. They are decided by guarded writes, so only one of several servers raises an
// alert.
type Alerts struct{ store *Store }

// The states of an alert.
const (
	AlertRaised       = "raised"
	AlertAcknowledged = "acknowledged" // somebody knows about it
	AlertResolved     = "resolved"     // its cause is gone
)

// Alert is one warning about one subject.
type Alert struct {
	Rule           string
	Account        string // empty for none
	Subject        string // besides the account: a key, an address, a range of numbers
	ID             otp.ID // new each time that it is raised
	State          string
	Value          int64 // the value over the threshold when last seen
	Says           string
	RaisedAt       otp.Millis
	SeenAt         otp.Millis // when the cause was last seen
	AcknowledgedAt otp.Millis
	AcknowledgedBy string
	ResolvedAt     otp.Millis
	Action         string     // what was done, or would have been; empty for nothing
	ActsUntil      otp.Millis // 0: nothing was done, or it has no end
}

var alerts = table[Alert]{"alerts", func(a *Alert) []column {
	return []column{
		{"rule", &a.Rule}, {"esme_address", &a.Account}, {"subject", &a.Subject}, {"id", &a.ID}, {"state", &a.State},
		{"value", &a.Value}, {"says", &a.Says}, {"raised_at", &a.RaisedAt}, {"seen_at", &a.SeenAt},
		{"acknowledged_at", &a.AcknowledgedAt}, {"acknowledged_by", &a.AcknowledgedBy}, {"resolved_at", &a.ResolvedAt},
		{"action", &a.Action}, {"acts_until", &a.ActsUntil},
	}
}}

// maxTests is the largest number of webhooks' tests that is read at once.
const maxTests = 10_000

// AlertMemory is how long resolved alerts are kept.
const AlertMemory = 92 * otp.Day

// List reads alerts, newest first, at most limit: those of the given accounts (nil: all), and only those raised before
// the alert with the id before, unless that is zero.
func (a *Alerts) List(ctx context.Context, accounts []string, before otp.ID, limit int) ([]Alert, error) {
	where, args := among(accounts)
	if !before.IsZero() {
		where, args = where+` AND id < ?`, append(args, before[:])
	}
	return alerts.find(ctx, a.store, where+` ORDER BY id DESC LIMIT ?`, append(args, limit)...)
}

// Current reads the alerts of a rule that are not resolved or were resolved after a moment. It has no limit.
func (a *Alerts) Current(ctx context.Context, rule string, resolvedAfter otp.Millis) ([]Alert, error) {
	return alerts.find(ctx, a.store, `rule = ? AND (state <> ? OR resolved_at > ?)`, rule, AlertResolved,
		int64(resolvedAfter))
}

// Latest reads the newest alert with an action about a subject of an account, among those of the rules; ErrNotFound if
// there is none. The alert's subject may have more behind it, such as a country.
func (a *Alerts) Latest(ctx context.Context, rules []string, account, subject, action string) (Alert, error) {
	list, args := in(rules, func(t string) any { return t })
	return alerts.one(ctx, a.store, `rule IN `+list+` AND esme_address = ? AND (subject = ? OR subject LIKE ?)
		AND action = ? ORDER BY id DESC LIMIT 1`, append(args, account, subject, subject+" %", action)...)
}

// CountRaised counts the alerts of accounts, nil for all, that were raised before a moment and that nobody
// acknowledged.
func (a *Alerts) CountRaised(ctx context.Context, accounts []string, before otp.Millis) (n int, err error) {
	where, args := among(accounts)
	err = a.store.reads.GetContext(ctx, &n, `SELECT COUNT(*) FROM alerts WHERE `+where+` AND state = ? AND raised_at < ?`,
		append(args, AlertRaised, int64(before))...)
	return n, err
}

// ByID reads an alert; ErrNotFound if there is none.
func (a *Alerts) ByID(ctx context.Context, id otp.ID) (Alert, error) {
	return alerts.one(ctx, a.store, `id = ?`, id[:])
}

// Raise raises an alert, unless it is already raised or was resolved after resolvedBefore. It reports whether it did.
// act runs before in the same transaction: it records the change, and may set the alert's action.
func (a *Alerts) Raise(ctx context.Context, made *Alert, resolvedBefore otp.Millis, act func(*Tx) error) (bool, error) {
	err := a.store.Change(ctx, func(tx *Tx) error {
		if err := tx.exec(ctx, `DELETE FROM alerts WHERE rule = ? AND esme_address = ? AND subject = ? AND resolved_at <= ?`,
			made.Rule, made.Account, made.Subject, int64(resolvedBefore)); err != nil {
			return err
		}
		if err := act(tx); err != nil {
			return err
		}
		return alerts.insert(ctx, tx, made) // ErrTaken for a row that is still there, which undoes the whole
	})
	if err == ErrTaken { //nolint:errorlint // Change returns it as it is
		return false, nil
	}
	return err == nil, err
}

// See records that causes were seen again.
func (a *Alerts) See(ctx context.Context, seen []Alert) error {
	if len(seen) == 0 {
		return nil
	}
	return a.store.write(ctx, func(w *session) error {
		for i := range seen {
			at := int64(seen[i].SeenAt)
			if err := w.exec(ctx, `UPDATE alerts SET seen_at = ?, value = ? WHERE id = ? AND seen_at < ?`, at, seen[i].Value,
				seen[i].ID[:], at); err != nil {
				return err
			}
		}
		return nil
	})
}

// Resolve ends an alert whose cause was last seen before seenBefore. It reports false if it was seen since, or is
// already resolved.
func (a *Alerts) Resolve(tx *Tx, id otp.ID, seenBefore, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE alerts SET state = ?, resolved_at = ? WHERE id = ? AND state <> ? AND seen_at < ?`,
		AlertResolved, int64(now), id[:], AlertResolved, int64(seenBefore))
}

// Acknowledge records that somebody knows about an alert. It reports false if the alert is not in the state raised.
func (a *Alerts) Acknowledge(tx *Tx, id otp.ID, by string, now otp.Millis) (bool, error) {
	return tx.changed(`
		UPDATE alerts
		SET state = ?, acknowledged_at = ?, acknowledged_by = ?, acts_until = NULL
		WHERE id = ? AND state = ?`, AlertAcknowledged, int64(now), by, id[:], AlertRaised)
}

// Acting reads the alerts whose action is in force at now.
func (a *Alerts) Acting(ctx context.Context, now otp.Millis) ([]Alert, error) {
	return alerts.find(ctx, a.store, `acts_until > ?`, int64(now))
}

// Sweep removes alerts that were resolved more than AlertMemory ago.
func (a *Alerts) Sweep(ctx context.Context, now otp.Millis) error {
	old, err := alerts.find(ctx, a.store, `resolved_at < ? LIMIT 1`, int64(now-AlertMemory))
	if err != nil || len(old) == 0 {
		return err
	}
	return a.store.exec(ctx, `DELETE FROM alerts WHERE resolved_at < ?`, int64(now-AlertMemory))
}

// PauseKey switches a key off. It reports false if it is already off or gone.
func (a *Alerts) PauseKey(tx *Tx, id otp.ID) (bool, error) {
	return tx.changed(`UPDATE credentials SET enabled = 0, version = version + 1 WHERE id = ? AND enabled = 1`, id[:])
}

// Switched reports whether somebody has switched a key on or off since a moment.
func (a *Alerts) Switched(ctx context.Context, key otp.ID, since otp.Millis) (bool, error) {
	made, err := changes.find(ctx, a.store, `credential_id = ? AND kind = ? AND at >= ?`, key[:], string(otp.KeyChanged),
		int64(since))
	return slices.ContainsFunc(made, func(c change) bool { return strings.Contains(c.details, `"state":`) }), err
}

// Endpoints reads the webhook endpoints of accounts, nil for all, that are off for a reason, such as paused, or with ""
// those that are on. It has no limit: an account has only a few.
func (a *Alerts) Endpoints(ctx context.Context, accounts []string, off string) ([]Endpoint, error) {
	where, args := among(accounts)
	return endpoints.find(ctx, a.store, where+` AND off = ? ORDER BY id`, append(args, off)...)
}

// WebhookTests reads the last tests of accounts' webhooks, nil for all, newest first.
func (a *Alerts) WebhookTests(ctx context.Context, accounts []string) ([]SealedChange, error) {
	where, args := among(accounts)
	return a.store.Audit.changes(ctx, where+` AND kind = ? ORDER BY id DESC LIMIT ?`,
		append(args, string(otp.WebhookTested), maxTests)...)
}

// Review is the last review of an item of the checklist.
type Review struct {
	Item     string
	At       otp.Millis
	Reviewer string
	Note     string
}

var reviews = table[Review]{"checklist_reviews", func(r *Review) []column {
	return []column{{"item", &r.Item}, {"at", &r.At}, {"reviewer", &r.Reviewer}, {"note", &r.Note}}
}}

// Reviews reads all reviews.
func (a *Alerts) Reviews(ctx context.Context) ([]Review, error) {
	return reviews.find(ctx, a.store, `1 = 1`)
}

// Review stores a review and replaces the previous one of its item.
func (a *Alerts) Review(tx *Tx, r Review) error {
	if err := tx.exec(tx.ctx, `DELETE FROM checklist_reviews WHERE item = ?`, r.Item); err != nil {
		return err
	}
	return reviews.insert(tx.ctx, tx, &r)
}
