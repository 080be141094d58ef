package insight

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

// reasonOf returns why an item of the checklist needs attention, empty if it does not.
func reasonOf(t testing.TB, i *Insight, name string, accounts []string) string {
	t.Helper()
	all, err := i.Checklist(ctx, accounts, now)
	require.NoError(t, err)
	at := slices.IndexFunc(all, func(item Item) bool { return item.Name == name })
	require.GreaterOrEqual(t, at, 0, name)
	require.Equal(t, all[at].Reason != "", all[at].State == ItemAttention)
	return all[at].Reason
}

func TestChecklist_FindsKeysThatEnvironmentsShare(t *testing.T) {
	type key = sql.Credential
	const a, b, several = "192.0.2.0/24", "198.51.100.0/24", sql.ManyNetworks
	plain := func(*sql.Credential) {}
	for name, c := range map[string]struct {
		networks []string // of today, yesterday and so on
		key      func(*sql.Credential)
		shared   bool
	}{
		"never used":               {nil, plain, false},
		"one network":              {[]string{a, a, a, a}, plain, false},
		"moved over night":         {[]string{b, b, a, a}, plain, false},
		"moved by day":             {[]string{b, several, a}, plain, false},
		"two days":                 {[]string{several, several}, plain, true},
		"two days apart":           {[]string{several, a, a, a, a, a, several}, plain, true},
		"every day":                {[]string{several, several, several, several, several, several, several}, plain, true},
		"one of them is long ago":  {[]string{several, a, a, a, a, a, a, several}, plain, false},
		"both are long ago":        {[]string{a, a, a, a, a, a, a, several, several}, plain, false},
		"a service account's":      {[]string{several, several}, func(k *key) { k.Kind = "service" }, true},
		"a web page's":             {[]string{several, several}, func(k *key) { k.Kind = "client" }, false},
		"for tests":                {[]string{several, several}, func(k *key) { k.Environment = otp.Test }, false},
		"bound to its networks":    {[]string{several, several}, func(k *key) { k.AllowedIPs = []string{a, b} }, false},
		"revoked":                  {[]string{several, several}, func(k *key) { k.RevokedAt = now }, false},
		"switched off":             {[]string{several, several}, func(k *key) { k.Enabled = false }, false},
		"replaced by another key":  {[]string{several, several}, func(k *key) { k.Successor = otp.ID{7} }, false},
		"ended":                    {[]string{several, several}, func(k *key) { k.ExpiresAt = now - 1 }, false},
		"one network after others": {[]string{a, several, several}, plain, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := open(t, migrated.SQLite(t))
			shop(t, i, func(_ *otp.Account, key *sql.Credential) { c.key(key) })
			var uses []sql.KeyUse
			for n, network := range c.networks {
				at := now - otp.Millis(n)*otp.Day
				uses = append(uses, sql.KeyUse{At: at, Address: "192.0.2.1",
					KeyDay: sql.KeyDay{ID: shopKey, Day: sql.DayOf(at), Calls: 1, Network: network}})
			}
			require.NoError(t, i.store.Credentials.AddUses(ctx, uses))
			reason := reasonOf(t, i, "shared_keys", nil)
			require.Equal(t, c.shared, strings.Contains(reason, shopKey.Text("key")), reason)
			require.Equal(t, c.shared, reason != "")
			require.Empty(t, reasonOf(t, i, "shared_keys", []string{"2"}), "the key is another account's")
		})
	}
}

func TestChecklist_FindsWebhooksWhoseReceiverWasNotTested(t *testing.T) {
	const changed = otp.Hour // before now
	for name, c := range map[string]struct {
		off     string
		tests   []string // results, oldest first, a minute apart; the last is at now
		account string
		want    bool
	}{
		"never tested":            {want: true},
		"passed":                  {tests: []string{"true"}},
		"failed":                  {tests: []string{"false"}, want: true},
		"failed, then passed":     {tests: []string{"false", "true"}},
		"passed, then failed":     {tests: []string{"true", "false"}, want: true},
		"passed twice":            {tests: []string{"true", "true"}},
		"passed before a change":  {tests: append([]string{"true"}, make([]string, 61)...), want: true},
		"without a result":        {tests: []string{""}, want: true},
		"paused":                  {off: "paused"},
		"gone":                    {off: "gone", tests: []string{"false"}},
		"of an account not shown": {account: "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := open(t, migrated.SQLite(t))
			e := sql.Endpoint{ID: sql.NewID(), Account: "1", URL: "https://hooks.example.com", Events: []string{"*"},
				Format: "json", SignatureHeader: "X-OTP-Signature", Recipients: "masked", Secret: []byte("sealed"), Version: 1,
				CreatedAt: now - otp.Day, UpdatedAt: now - changed, Off: c.off}
			require.NoError(t, i.store.Change(ctx, func(tx *sql.Tx) error {
				return errors.Join(i.store.Webhooks.Insert(tx, e),
					tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.WebhookCreated, Account: "1"}))
			}))
			for n, ok := range c.tests {
				at := now - otp.Millis(len(c.tests)-1-n)*otp.Minute
				if ok == "" && len(c.tests) > 1 {
					continue // only time passes
				}
				require.NoError(t, i.store.Change(ctx, func(tx *sql.Tx) error {
					return tx.Record(otp.Change{ID: sql.NewID(), At: at, Kind: otp.WebhookTested, Account: "1",
						Details: map[string]string{"webhook": e.ID.Text("whk"), "ok": ok}})
				}))
			}
			var shown []string
			if c.account != "" {
				shown = []string{c.account}
			}
			reason := reasonOf(t, i, "webhook_signatures", shown)
			require.Equal(t, c.want, strings.Contains(reason, e.ID.Text("whk")), reason)
			require.Equal(t, c.want, reason != "")
		})
	}
}

func TestChecklist_CountsPeopleWithoutASecondFactor(t *testing.T) {
	url := migrated.SQLite(t)
	i, db := open(t, url), sqltest.Connect(t, url)
	for n, disabled := range []any{nil, nil, nil, int64(now)} {
		id := fmt.Appendf(nil, "person%010d", n)
		db.MustExec(`INSERT INTO persons (id, email, name, password_hash, role, version, created_at, updated_at, disabled_at)
			VALUES (?, ?, '', '', 'support', 1, 1, 1, ?)`, id, fmt.Sprint(n), disabled)
		if n < 2 { // the second was never confirmed
			db.MustExec(`INSERT INTO factors (id, person_id, kind, name, last_step, created_at, confirmed_at)
				VALUES (?, ?, 'totp', '', 0, 1, ?)`, id, id, []any{int64(now), nil}[n])
		}
	}
	require.Equal(t, "2 of 4 people have none", reasonOf(t, i, "mfa", nil))
	db.MustExec(`UPDATE factors SET confirmed_at = 1`)
	db.MustExec(`DELETE FROM persons WHERE email = '2'`)
	require.Empty(t, reasonOf(t, i, "mfa", nil))
}

// The webhooks of other accounts, however many, hide none of a reader's.
func TestChecklist_FindsAnAccountsWebhookAmongThousands(t *testing.T) {
	url := migrated.SQLite(t)
	i := open(t, url)
	db := sqltest.Connect(t, url)
	for account, n := range map[string]int{"1": 1001, "2": 1} {
		db.MustExec(`
			WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT ?)
			INSERT INTO webhook_endpoints (id, esme_address, environment, url, events, description, format, signature_header,
				recipients, secret, off, version, created_at, updated_at)
			SELECT CAST(printf('%s%015d', ?, n) AS BLOB), ?, '', '', '["*"]', '', '', '', '', '', '', 1, ?, ? FROM n`,
			n, account, account, int64(now-otp.Day), int64(now))
	}
	require.NoError(t, i.store.Change(ctx, func(tx *sql.Tx) error {
		return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.WebhookTested, Account: "1",
			Details: map[string]string{"webhook": otp.ID([]byte("1000000000000001")).Text("whk"), "ok": "true"}})
	}))
	hers := otp.ID([]byte("2000000000000001")).Text("whk")
	require.Equal(t, "1 webhook without a passed test since the last change: "+hers,
		reasonOf(t, i, "webhook_signatures", []string{"2"}))
	require.Contains(t, reasonOf(t, i, "webhook_signatures", []string{"1"}), "1000 webhooks ")
	require.Contains(t, reasonOf(t, i, "webhook_signatures", nil), "1001 webhooks ")
	require.Empty(t, reasonOf(t, i, "webhook_signatures", []string{"3"}))
}

func TestChecklist_FindsKeysInWebPages(t *testing.T) {
	for name, c := range map[string]struct {
		key       func(*sql.Credential)
		elsewhere bool // it is used by programs
		ago       otp.Millis
		want      bool
	}{
		"a secret key":        {want: true},
		"a service account's": {key: func(k *sql.Credential) { k.Kind = "service" }, want: true},
		"one for tests":       {key: func(k *sql.Credential) { k.Environment = otp.Test }, want: true},
		"a client key":        {key: func(k *sql.Credential) { k.Kind = "client" }},
		"a program's":         {elsewhere: true},
		"29 days ago":         {ago: 29 * otp.Day, want: true},
		"32 days ago":         {ago: 32 * otp.Day},
		"revoked":             {key: func(k *sql.Credential) { k.RevokedAt = now }},
		"switched off":        {key: func(k *sql.Credential) { k.Enabled = false }},
		"replaced":            {key: func(k *sql.Credential) { k.Successor = otp.ID{7} }},
		"ended":               {key: func(k *sql.Credential) { k.ExpiresAt = now - 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := open(t, migrated.SQLite(t))
			shop(t, i, func(_ *otp.Account, key *sql.Credential) {
				if c.key != nil {
					c.key(key)
				}
			})
			i.Tally.Call(Call{Door: "v1", Kind: "ok", Account: "1", Key: shopKey, Page: !c.elsewhere}, now-c.ago)
			require.NoError(t, i.Write(ctx, now-c.ago))
			reason := reasonOf(t, i, "keys_in_pages", nil)
			require.Equal(t, c.want, strings.Contains(reason, shopKey.Text("key")), reason)
			require.Equal(t, c.want, reason != "")
			require.Empty(t, reasonOf(t, i, "keys_in_pages", []string{"2"}), "the key is another account's")
		})
	}
}

func TestChecklist_FindsChannelsThatNobodyUses(t *testing.T) {
	const both = otp.SMS | otp.Email
	for name, c := range map[string]struct {
		may, used otp.Channels
		account   func(*otp.Account)
		ago       otp.Millis
		want      string
	}{
		"SMS is used":             {may: otp.SMS, used: otp.SMS},
		"SMS is not":              {may: otp.SMS, want: "1 (sms_enabled)"},
		"mail is used":            {may: otp.Email, used: otp.Email},
		"mail is not":             {may: otp.Email, want: "1 (email_enabled)"},
		"both are used at once":   {may: both, used: both},
		"mail only":               {may: both, used: otp.Email, want: "1 (sms_enabled)"},
		"SMS only":                {may: both, used: otp.SMS, want: "1 (email_enabled)"},
		"neither is":              {may: both, want: "1 (email_enabled), 1 (sms_enabled)"},
		"nothing may be sent":     {},
		"used 29 days ago":        {may: otp.SMS, used: otp.SMS, ago: 29 * otp.Day},
		"used 31 days ago":        {may: otp.SMS, used: otp.SMS, ago: 31 * otp.Day, want: "1 (sms_enabled)"},
		"a new account":           {may: both, account: func(a *otp.Account) { a.CreatedAt = now - 29*otp.Day }},
		"an account that is off":  {may: both, account: func(a *otp.Account) { a.Enabled = false }},
		"one that makes no codes": {may: both, account: func(a *otp.Account) { a.OTPEnabled = false }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := open(t, migrated.SQLite(t))
			shop(t, i, func(a *otp.Account, _ *sql.Credential) {
				a.CreatedAt, a.SMSEnabled, a.EmailEnabled = now-40*otp.Day, c.may.Has(otp.SMS), c.may.Has(otp.Email)
				if c.account != nil {
					c.account(a)
				}
			})
			if c.used != 0 {
				i.Tally.Events([]otp.Event{{Kind: otp.EventSent, Account: "1", Environment: otp.Live,
					Sending: otp.Sending{Channels: c.used}}}, now-c.ago)
				require.NoError(t, i.Write(ctx, now-c.ago))
			}
			require.Equal(t, c.want, strings.Join(regexp.MustCompile(`1 \(\w+\)`).FindAllString(
				reasonOf(t, i, "unused_features", nil), -1), ", "))
			require.Empty(t, reasonOf(t, i, "unused_features", []string{"2"}), "the account is not theirs")
		})
	}
}

func TestChecklist_SaysWhatIsWrongAndWhoLooked(t *testing.T) {
	i := open(t, migrated.SQLite(t))
	shop(t, i, func(_ *otp.Account, key *sql.Credential) { key.CreatedAt, key.UsedAt = now-100*otp.Day, 0 })
	item := func(name string, accounts ...string) Item {
		all, err := i.Checklist(ctx, accounts, now)
		require.NoError(t, err)
		for _, item := range all {
			require.NotEmpty(t, item.Remedy)
			if item.Name == name {
				return item
			}
		}
		t.Fatal(name)
		return Item{}
	}
	for _, name := range []string{"key_rotation", "https", "request_signing", "ip_allowlist", "audit", "unused_keys"} {
		require.Equal(t, ItemAttention, item(name).State, name)
		require.NotEmpty(t, item(name).Reason, name)
	}
	require.Regexp(t, "^1 key taking requests without a signature: key_", item("request_signing").Reason)
	for _, name := range []string{"mfa", "monitoring", "client_keys", "deprecated_calls"} {
		require.Equal(t, ItemOK, item(name).State, name)
	}
	require.Equal(t, ItemManual, item("csrf").State)
	require.Equal(t, ItemOK, item("key_rotation", "2").State, "the key is another account's")
	i.Settings = Settings{HTTPS: true, AuditsCalls: true}
	require.Equal(t, ItemOK, item("https").State)

	require.True(t, item("csrf").ReviewDue)
	require.NoError(t, i.Review(ctx, otp.Actor{}, "Olga", "csrf", "looked at the shop", now-reviewEvery))
	require.False(t, item("csrf").ReviewDue)
	require.NoError(t, i.Review(ctx, otp.Actor{}, "Olga", "csrf", "", now-reviewEvery-1))
	require.True(t, item("csrf").ReviewDue)
	require.Equal(t, "Olga", item("csrf").ReviewedBy)
	require.Equal(t, otp.NotFound, otp.KindOf(i.Review(ctx, otp.Actor{}, "Olga", "nothing", "", now)))
	require.NoError(t, i.Review(ctx, otp.Actor{}, "Olga", "csrf", strings.Repeat("é", 500), now-reviewEvery-1))
	for _, note := range []string{strings.Repeat("x", 501), strings.Repeat("é", 501), "\u202eabc", "\x1b[2J", "a\x00b",
		"\xff"} {
		require.Equal(t, otp.Invalid, otp.KindOf(i.Review(ctx, otp.Actor{}, "Olga", "csrf", note, now)), "%q", note)
	}
}
