package insight

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Rule is a condition that operators are alerted of.
type Rule struct {
	Name   string `json:"name"`
	What   string `json:"what"`
	Remedy string `json:"remedy"`
	// Threshold is the value at which the rule raises an alert; 0 for a rule without a number.
	Threshold int64 `json:"threshold"`
	// Quiet is how long an alert stays after its cause was last seen, and then how long it is not raised again.
	Quiet time.Duration `json:"-"`
	// Action is what the rule can do itself: blocked or paused; empty for nothing.
	Action string `json:"action"`

	look func(ctx context.Context, r *round, threshold int64) ([]finding, error)
}

// The actions of rules.
const (
	Blocked = "blocked" // the address is refused for blockFor
	Paused  = "paused"  // the key is off until somebody switches it on
)

// blockFor is how long requests of an address are refused.
const blockFor = 15 * otp.Minute

// finding is one cause for an alert that a rule has found.
type finding struct {
	account, subject string
	value            int64
	says             string
	key              otp.ID // to pause; zero for none
}

// evaluateEvery is the pause between two evaluations of the rules.
const evaluateEvery = time.Minute

// maxFindings is how many causes one rule reports at once, so that an attacker cannot fill the table with addresses.
const maxFindings = 20

// Evaluate evaluates every rule at now. It raises alerts whose cause exists and resolves those whose cause is gone.
// The error names rules that could not be evaluated; their alerts stay as they are.
func (i *Insight) Evaluate(ctx context.Context, now otp.Millis) error {
	i.evaluating.Lock()
	defer i.evaluating.Unlock()
	var faults []error
	r := &round{insight: i, now: now}
	for _, rule := range rules {
		found, err := rule.look(ctx, r, rule.Threshold)
		if err == nil {
			err = i.settle(ctx, &rule, found[:min(len(found), maxFindings)], now)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("alert %s: %w", rule.Name, err))
		}
	}
	return errors.Join(append(faults, i.store.Alerts.Sweep(ctx, now), i.loadBlocks(ctx, now))...)
}

// settle updates the alerts of a rule to its findings.
func (i *Insight) settle(ctx context.Context, rule *Rule, found []finding, now otp.Millis) error {
	quiet := otp.Span(rule.Quiet)
	known, err := i.store.Alerts.Current(ctx, rule.Name, now-quiet)
	if err != nil {
		return err
	}
	var seen []sql.Alert
	for _, f := range found {
		at := slices.IndexFunc(known, func(a sql.Alert) bool {
			return a.Account == f.account && a.Subject == f.subject
		})
		switch {
		case at >= 0 && known[at].State != sql.AlertResolved:
			known[at].SeenAt, known[at].Value = now, f.value
			seen = append(seen, known[at])
		case at < 0:
			if err := i.raise(ctx, rule, f, now); err != nil {
				return err
			}
		}
	}
	if err := i.store.Alerts.See(ctx, seen); err != nil {
		return err
	}
	for n := range known {
		if a := &known[n]; a.State != sql.AlertResolved && a.SeenAt < now-quiet {
			if err := i.resolve(ctx, a, now-quiet, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// raise raises one alert, and takes its rule's action if that is switched on.
func (i *Insight) raise(ctx context.Context, rule *Rule, f finding, now otp.Millis) error {
	a := sql.Alert{Rule: rule.Name, Account: f.account, Subject: f.subject, ID: sql.NewID(), State: sql.AlertRaised,
		Value: f.value, Says: f.says, RaisedAt: now, SeenAt: now}
	acts := slices.Contains(i.Acting, rule.Name)
	switch {
	case rule.Action == "":
	case !acts:
		a.Action = "would_be_" + rule.Action
	default:
		if a.Action = rule.Action; rule.Action == Blocked {
			a.ActsUntil = now + blockFor
		}
	}
	raised, err := i.store.Alerts.Raise(ctx, &a, now-otp.Span(rule.Quiet), func(tx *sql.Tx) error {
		if rule.Action == Paused && acts {
			paused, err := i.store.Alerts.PauseKey(tx, f.key)
			if err != nil {
				return err
			}
			if a.Action = Paused; !paused {
				a.Action = "" // somebody was faster
			}
		}
		change := changeOf(&a, otp.AlertRaised, otp.Actor{Kind: "server"}, now)
		if a.Action == Paused {
			change.Credential = f.key
		}
		return tx.Record(change)
	})
	if raised {
		i.Log.Warn("alert", "rule", a.Rule, "account", a.Account, "subject", a.Subject, "says", a.Says, "action", a.Action,
			"remedy", rule.Remedy)
		i.raised.WithLabelValues(rule.Name).Inc()
		if i.Mail != nil {
			i.Mail("OTPBridge alert: "+a.Rule, fmt.Sprintf("%s\n\nrule: %s\naccount: %s\nsubject: %s\naction: %s\n\n"+
				"What to do: %s\n", a.Says, a.Rule, a.Account, a.Subject, a.Action, rule.Remedy))
		}
	}
	return err
}

func (i *Insight) resolve(ctx context.Context, a *sql.Alert, seenBefore, now otp.Millis) error {
	err := i.store.Change(ctx, func(tx *sql.Tx) error {
		resolved, err := i.store.Alerts.Resolve(tx, a.ID, seenBefore, now)
		if err != nil || !resolved {
			return errors.Join(err, errUnchanged)
		}
		return tx.Record(changeOf(a, otp.AlertResolved, otp.Actor{Kind: "server"}, now))
	})
	if errors.Is(err, errUnchanged) { // another server has resolved it
		err = nil
	}
	return err
}

// errUnchanged ends a transaction that had nothing to change.
var errUnchanged = errors.New("insight: nothing was changed")

func changeOf(a *sql.Alert, kind otp.ChangeKind, by otp.Actor, now otp.Millis) otp.Change {
	details := map[string]string{"alert": a.ID.Text(AlertPrefix), "rule": a.Rule, "says": a.Says}
	if a.Subject != "" {
		details["subject"] = a.Subject
	}
	if a.Action != "" {
		details["action"] = a.Action
	}
	return otp.Change{ID: sql.NewID(), At: now, Kind: kind, Actor: by, Account: a.Account, Details: details}
}

// Alerts returns at most limit alerts, newest first. Nil accounts means all alerts, also those without an account. If
// before is not zero, only alerts that were raised before that one.
func (i *Insight) Alerts(ctx context.Context, accounts []string, before otp.ID, limit int) ([]sql.Alert, error) {
	return i.store.Alerts.List(ctx, accounts, before, limit)
}

// PausedBy returns the alert that switched a key of an account off, and nil if none did since AlertMemory, or if a
// person has switched the key on or off since.
func (i *Insight) PausedBy(ctx context.Context, account string, key otp.ID) (*Alert, error) {
	var pausing []string
	for _, rule := range rules {
		if rule.Action == Paused {
			pausing = append(pausing, rule.Name)
		}
	}
	found, err := i.store.Alerts.Latest(ctx, pausing, account, key.Text("key"), Paused)
	if errors.Is(err, sql.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switched, err := i.store.Alerts.Switched(ctx, key, found.RaisedAt)
	if err != nil || switched {
		return nil, err
	}
	return &found, nil
}

// Alert is an alert of one rule about one subject.
type Alert = sql.Alert

// Raised is the state of an alert whose cause exists and that nobody has acknowledged.
const Raised = sql.AlertRaised

// AlertPrefix is the prefix of alerts' ids.
const AlertPrefix = "alr"

// Acknowledge records that somebody knows of an alert of these accounts, nil for all, and ends its block of an
// address. It does not change an alert that is acknowledged or resolved. Refusal: NotFound.
func (i *Insight) Acknowledge(ctx context.Context, by otp.Actor, who string, accounts []string, id string,
	now otp.Millis) error {
	parsed, ok := otp.ParseID(AlertPrefix, id)
	a, err := i.store.Alerts.ByID(ctx, parsed)
	if !ok || errors.Is(err, sql.ErrNotFound) || err == nil && accounts != nil && !slices.Contains(accounts, a.Account) {
		return otp.Refuse(otp.NotFound, "there is no such alert")
	}
	if err != nil {
		return err
	}
	err = i.store.Change(ctx, func(tx *sql.Tx) error {
		done, err := i.store.Alerts.Acknowledge(tx, a.ID, otp.Cut(who, 64), now)
		if err != nil || !done {
			return errors.Join(err, errUnchanged)
		}
		return tx.Record(changeOf(&a, otp.AlertAcknowledged, by, now))
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// loadBlocks reads which addresses are refused, because of this server's alerts or another's.
func (i *Insight) loadBlocks(ctx context.Context, now otp.Millis) error {
	acting, err := i.store.Alerts.Acting(ctx, now)
	if err != nil {
		return err
	}
	blocks := map[netip.Prefix]otp.Millis{}
	for n := range acting {
		if network, err := netip.ParsePrefix(acting[n].Subject); err == nil && acting[n].Action == Blocked {
			blocks[network] = acting[n].ActsUntil
		}
	}
	i.blocks.Store(&blocks)
	return nil
}

// Block returns how long requests of an address are still refused; 0 if they are not. It does not read the database: a
// block reaches every server within a minute.
func (i *Insight) Block(peer netip.Addr, now otp.Millis) time.Duration {
	blocks := i.blocks.Load()
	if blocks == nil || len(*blocks) == 0 || !peer.IsValid() {
		return 0
	}
	return max(0, (*blocks)[otp.HostOf(peer)]-now).Duration()
}
