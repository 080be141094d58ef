package insight

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Item is one item of the checklist with its current state.
type Item struct {
	Name   string `json:"name"`
	What   string `json:"what"`
	State  string `json:"state"` // ok, attention, or manual for what only a person can check
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`

	ReviewedAt *time.Time `json:"reviewed_at"` // nil: never
	ReviewedBy string     `json:"reviewed_by"`
	Note       string     `json:"note"`
	// ReviewDue reports whether nobody has reviewed it for a quarter of a year.
	ReviewDue bool `json:"review_due"`
}

// The states of an item.
const (
	ItemOK        = "ok"
	ItemAttention = "attention"
	ItemManual    = "manual"
)

// reviewEvery is how long a review is valid: a quarter of a year.
const reviewEvery = 92 * otp.Day

// Settings are the server's settings that the checklist needs.
type Settings struct {
	HTTPS       bool // credentials over plain HTTP are refused
	Sandbox     bool
	AuditsCalls bool
}

// check is an item and its function look, which returns why the item needs attention, empty if it does not.
type check struct {
	name, what, remedy string
	manual             string // why only a person can check it; look is nil then
	look               func(context.Context, *round) (string, error)
}

// checks are the checklist's items: the twelve of the reference's guide, then our own.
var checks = []check{
	{name: "key_storage", what: "Keys are stored safely",
		remedy: "keep keys in the environment or a key service, and never in code",
		manual: "where an application keeps its key cannot be seen from here"},
	{name: "key_rotation", what: "Keys are rotated every 90 days",
		remedy: "POST /api/keys/{id}/rotate",
		look: keysWith("older than 90 days", func(r *round, c *sql.Credential) bool {
			return r.now-c.CreatedAt > otp.RotationAge
		})},
	{name: "https", what: "All calls use HTTPS",
		remedy: "set OTPBRIDGE_HTTPS=require",
		look: setting("credentials are taken over plain HTTP",
			func(s Settings) bool { return s.HTTPS })},
	{name: "request_signing", what: "Sensitive requests are signed",
		remedy: `PATCH /api/keys/{id} {"signing":"required"}`,
		look: keysWith("taking requests without a signature", func(_ *round, c *sql.Credential) bool {
			return c.Kind == string(otp.SecretKey) && c.Environment == otp.Live && c.Signing != string(otp.SigningRequired)
		})},
	{name: "mfa", what: "People have a second factor",
		remedy: "ask them to add one at My security in the console",
		look:   mfa},
	{name: "monitoring", what: "Unusual use is looked at",
		remedy: "acknowledge the alerts, or mend their cause",
		look:   monitored},
	{name: "ip_allowlist", what: "Live keys are good from known addresses only",
		remedy: `PATCH /api/keys/{id} {"allowed_ips":["203.0.113.0/24"]}`,
		look: keysWith("good from everywhere", func(_ *round, c *sql.Credential) bool {
			return c.Environment == otp.Live && c.Kind != string(otp.ClientKey) && len(c.AllowedIPs) == 0
		})},
	{name: "csrf", what: "Web applications are protected against forged requests",
		remedy: "check the forms of your own applications",
		manual: "the console here is protected; your own applications cannot be seen from here"},
	{name: "webhook_signatures", what: "Webhook receivers verify signatures",
		remedy: "POST /api/webhooks/{webhook}/test sends one that is wrong; its receiver must refuse it",
		look:   unverifiedWebhooks},
	{name: "service_accounts", what: "Automation uses service accounts",
		remedy: "POST /api/service-accounts in place of somebody's login",
		manual: "whether a program logs in as a person cannot be seen from here"},
	{name: "error_handling", what: "Errors tell strangers nothing",
		remedy: "check what your own applications show when a call fails",
		manual: "answers here hold neither codes nor whole recipients; your own applications cannot be seen from here"},
	{name: "audit", what: "Logins and calls are logged",
		remedy: "set OTPBRIDGE_AUDIT_CALLS=all",
		look: setting("the audit log keeps no calls",
			func(s Settings) bool { return s.AuditsCalls })},

	{name: "client_keys", what: "Keys in web pages are good on named pages only",
		remedy: `PATCH /api/keys/{id} {"allowed_origins":["https://shop.example"]}`,
		look: keysWith("without allowed_origins", func(_ *round, c *sql.Credential) bool {
			return c.Kind == string(otp.ClientKey) && len(c.AllowedOrigins) == 0
		})},
	{name: "keys_in_pages", what: "Keys of servers are not in web pages",
		remedy: "POST /api/keys/{id}/compromised, and give the page a key of the kind client",
		look:   keysInPages},
	{name: "unused_keys", what: "Keys that nobody uses are revoked",
		remedy: "DELETE /api/keys/{id}",
		look: keysWith("not used for 30 days", func(r *round, c *sql.Credential) bool {
			return r.now-max(c.UsedAt, c.CreatedAt) > 30*otp.Day
		})},
	{name: "shared_keys", what: "Each of your environments has a key of its own",
		remedy: "POST /api/keys for each, and give each allowed_ips",
		look:   sharedKeys},
	{name: "unused_features", what: "What nobody uses is switched off",
		remedy: "switch it off by PATCH /api/accounts/{account}, so that nobody else uses it",
		look:   unusedFeatures},
	{name: "deprecated_calls", what: "Nobody calls servlets that are about to end",
		remedy: "look at GET /api/migration", look: deprecated},
}

// setting checks one setting; it is always fine in a sandbox.
func setting(wrong string, holds func(Settings) bool) func(context.Context, *round) (string, error) {
	return func(_ context.Context, r *round) (string, error) {
		if r.insight.Settings.Sandbox || holds(r.insight.Settings) {
			return "", nil
		}
		return wrong, nil
	}
}

// keysWith counts the active keys with a fault.
func keysWith(wrong string, is func(*round, *sql.Credential) bool) func(context.Context, *round) (string, error) {
	return func(ctx context.Context, r *round) (string, error) {
		all, err := r.credentials(ctx)
		var found []string
		for i := range all {
			if is(r, &all[i]) {
				found = append(found, all[i].ID.Text("key"))
			}
		}
		if len(found) == 0 {
			return "", err
		}
		return listed(found, "key", wrong), err
	}
}

// sharedDays is how many days back sharedKeys looks. A key that moves to another network is used from both on one day
// only, and needs no attention.
const sharedDays = 7

// listed says how many things are wrong, and names the first three.
func listed(found []string, one, wrong string) string {
	if len(found) > 1 {
		one += "s"
	}
	some := strings.Join(found[:min(3, len(found))], ", ")
	if len(found) > 3 {
		some += ", …"
	}
	return fmt.Sprintf("%d %s %s: %s", len(found), one, wrong, some)
}

// sharedKeys finds live keys without allowed_ips that were used from several networks on two or more of the last
// sharedDays days: production, tests and a developer may share such a key. It skips client keys, which web pages use
// from everywhere.
func sharedKeys(ctx context.Context, r *round) (string, error) {
	all, err := r.credentials(ctx)
	if err != nil {
		return "", err
	}
	var asked []otp.ID
	for i := range all {
		if c := &all[i]; c.Environment == otp.Live && c.Kind != string(otp.ClientKey) && len(c.AllowedIPs) == 0 {
			asked = append(asked, c.ID)
		}
	}
	several := map[otp.ID]int{}
	for some := range slices.Chunk(asked, 500) { // databases limit the parameters of a statement
		days, err := r.insight.store.Credentials.Days(ctx, some, sql.DayOf(r.now)-sharedDays+1)
		if err != nil {
			return "", err
		}
		for _, day := range days {
			if day.Network == sql.ManyNetworks {
				several[day.ID]++
			}
		}
	}
	return keysWith("used from several networks on two days of the last seven",
		func(_ *round, c *sql.Credential) bool { return several[c.ID] > 1 })(ctx, r)
}

// keysInPages finds keys that browsers used in the last 30 days, except client keys, which are made for them: everybody
// who opens the page can read such a key.
func keysInPages(ctx context.Context, r *round) (string, error) {
	used, err := r.sum(ctx, r.now-30*otp.Day, r.now+1, r.accounts, pages)
	if err != nil {
		return "", err
	}
	seen := map[string]bool{}
	for _, n := range used {
		seen[n.Part] = true
	}
	return keysWith("used by web pages", func(_ *round, c *sql.Credential) bool {
		return c.Kind != string(otp.ClientKey) && seen[c.ID.Text("key")]
	})(ctx, r)
}

// unverifiedWebhooks finds webhooks whose receiver did not pass the last test, or was not tested since the webhook was
// made or changed.
func unverifiedWebhooks(ctx context.Context, r *round) (string, error) {
	on, err := r.insight.store.Alerts.Endpoints(ctx, r.accounts, "")
	if err != nil {
		return "", err
	}
	tests, err := r.insight.store.Alerts.WebhookTests(ctx, r.accounts)
	passed := map[string]otp.Millis{}
	for _, test := range slices.Backward(tests) {
		if passed[test.Details["webhook"]] = test.At; test.Details["ok"] != "true" {
			passed[test.Details["webhook"]] = 0
		}
	}
	var found []string
	for i := range on {
		id := on[i].ID.Text("whk")
		if passed[id] < on[i].UpdatedAt {
			found = append(found, id)
		}
	}
	if len(found) == 0 {
		return "", err
	}
	return listed(found, "webhook", "without a passed test since the last change"), err
}

// unusedFor is how long a channel has to be unused to need attention.
const unusedFor = 30 * otp.Day

// unusedFeatures finds accounts that may send on a channel but have not used it for 30 days.
func unusedFeatures(ctx context.Context, r *round) (string, error) {
	made, err := r.sum(ctx, r.now-unusedFor, r.now+1, r.accounts, string(otp.EventSent), string(otp.EventResent))
	if err != nil {
		return "", err
	}
	used := map[string]bool{}
	for _, n := range made {
		channels, _, _ := strings.Cut(n.Part, " ")
		for _, channel := range strings.Split(channels, ",") {
			used[n.Account+" "+channel] = true
		}
	}
	accounts, err := r.working(ctx)
	var found []string
	for _, a := range accounts {
		if !a.Enabled || !a.OTPEnabled || a.CreatedAt > r.now-unusedFor {
			continue
		}
		for channel, may := range map[otp.Channels]bool{otp.SMS: a.SMSEnabled, otp.Email: a.EmailEnabled} {
			if may && !used[a.Address+" "+channel.String()] {
				found = append(found, a.Address+" ("+channel.String()+"_enabled)")
			}
		}
	}
	if len(found) == 0 || err != nil {
		return "", err
	}
	slices.Sort(found)
	return listed(found, "channel", "without a message for 30 days"), nil
}

func mfa(ctx context.Context, r *round) (string, error) {
	people, err := r.insight.store.People.List(ctx)
	if err != nil {
		return "", err
	}
	with, err := r.insight.store.People.WithFactors(ctx)
	without := 0
	for i := range people {
		if !with[people[i].ID] && people[i].DisabledAt == 0 {
			without++
		}
	}
	if without == 0 || err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d people have none", without, len(people)), nil
}

func monitored(ctx context.Context, r *round) (string, error) {
	open, err := r.insight.store.Alerts.CountRaised(ctx, r.accounts, r.now-otp.Day)
	if err != nil || open == 0 {
		return "", err
	}
	return fmt.Sprintf("alerts older than a day that nobody acknowledged: %d", open), err
}

// deprecated finds accounts whose servlets are deprecated and were called within the last day.
func deprecated(ctx context.Context, r *round) (string, error) {
	accounts, err := r.working(ctx)
	if err != nil {
		return "", err
	}
	ending := map[string]bool{}
	for _, a := range accounts {
		ending[a.Address] = a.ServletsDeprecatedAt != nil
	}
	made, err := r.sum(ctx, r.now-r.now%otp.Hour-otp.Day, r.now+1, r.accounts, calls)
	var found []string
	for _, n := range made {
		servlet := strings.HasPrefix(n.Part, string(otp.ServletDoor)+" ")
		if ending[n.Account] && servlet && !slices.Contains(found, n.Account) {
			found = append(found, n.Account)
		}
	}
	if len(found) == 0 {
		return "", err
	}
	return "still called within a day: " + strings.Join(found[:min(3, len(found))], ", "), err
}

// Checklist returns every item with its state at now. Items about accounts consider only these, nil for all.
func (i *Insight) Checklist(ctx context.Context, accounts []string, now otp.Millis) ([]Item, error) {
	reviews, err := i.store.Alerts.Reviews(ctx)
	if err != nil {
		return nil, err
	}
	r := &round{insight: i, now: now, accounts: accounts}
	items := make([]Item, 0, len(checks))
	for _, c := range checks {
		item := Item{Name: c.name, What: c.what, Remedy: c.remedy, State: ItemManual, Reason: c.manual, ReviewDue: true}
		if c.look != nil {
			item.State = ItemOK
			if item.Reason, err = c.look(ctx, r); err != nil {
				return nil, err
			}
			if item.Reason != "" {
				item.State = ItemAttention
			}
		}
		for _, review := range reviews {
			if review.Item == c.name {
				at := review.At.Time()
				item.ReviewedAt, item.ReviewedBy, item.Note = &at, review.Reviewer, review.Note
				item.ReviewDue = now-review.At > reviewEvery
			}
		}
		items = append(items, item)
	}
	return items, nil
}

// Review records that somebody has reviewed an item of the checklist. Refusals: NotFound; Invalid for a note of more
// than 500 characters.
func (i *Insight) Review(ctx context.Context, by otp.Actor, who, item, note string, now otp.Millis) error {
	if !slices.ContainsFunc(checks, func(c check) bool { return c.name == item }) {
		return otp.Refuse(otp.NotFound, "the checklist has no such item")
	}
	if utf8.RuneCountInString(note) > 500 {
		return otp.RefuseField("note", "must have at most 500 characters")
	}
	if err := otp.CheckText(note); err != nil {
		return otp.RefuseField("note", err.Error())
	}
	return i.store.Change(ctx, func(tx *sql.Tx) error {
		err := i.store.Alerts.Review(tx, sql.Review{Item: item, At: now, Reviewer: otp.Cut(who, 64), Note: note})
		if err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.ItemReviewed, Actor: by,
			Details: map[string]string{"item": item}})
	})
}
