package insight

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

var (
	shopKey = otp.ID{1, 2, 3}
	home    = netip.MustParseAddr("1.1.1.1")      // AU
	abroad  = netip.MustParseAddr("2606:4700::1") // US
)

// pageOfAlerts is how many alerts raised reads.
const pageOfAlerts = 1000

// raised returns the alerts by rule.
func raised(t testing.TB, i *Insight) map[string][]sql.Alert {
	t.Helper()
	all, err := i.Alerts(ctx, nil, otp.ID{}, pageOfAlerts)
	require.NoError(t, err)
	of := map[string][]sql.Alert{}
	for _, a := range all {
		of[a.Rule] = append(of[a.Rule], a)
	}
	return of
}

// recorded counts the changes of a kind that are about a rule.
func recorded(t testing.TB, i *Insight, rule string, kind otp.ChangeKind) (n int) {
	t.Helper()
	all, err := i.store.People.Changes(ctx, otp.ID{}, 1000)
	require.NoError(t, err)
	for _, c := range all {
		if c.Kind == kind && c.Details["rule"] == rule {
			n++
		}
	}
	return n
}

// shop adds the account 1 with a key.
func shop(t testing.TB, i *Insight, change func(*otp.Account, *sql.Credential)) {
	t.Helper()
	account := otp.DefaultAccount("1")
	key := sql.Credential{ID: shopKey, Address: "1", Kind: "secret", Environment: otp.Live, Hash: [32]byte{1},
		Signing: "off", Enabled: true, CreatedAt: now - otp.Day, UsedAt: now}
	change(&account, &key)
	require.NoError(t, i.store.Change(ctx, func(tx *sql.Tx) error {
		seeded := sql.Seeded{Account: account, Credentials: []sql.Credential{key}}
		if err := i.store.Accounts.Insert(tx, []sql.Seeded{seeded}); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.AccountCreated})
	}))
}

func calling(i *Insight, times int, kind string, key otp.ID, peer netip.Addr, at otp.Millis) {
	for range times {
		i.Tally.Call(Call{Door: "v1", Kind: kind, Account: "1", Key: key, Peer: peer, Country: Country(peer)}, at)
	}
}

func sending(i *Insight, times, verified int, at otp.Millis) {
	for n := range times {
		e := sent("1", "919551")
		i.Tally.Events([]otp.Event{e}, at)
		if n < verified {
			e.Kind = otp.EventVerified
			i.Tally.Events([]otp.Event{e}, at)
		}
	}
}

// causes has for each rule a function that causes an alert at now.
var causes = map[string]func(testing.TB, *Insight){
	"key_usage": func(_ testing.TB, i *Insight) {
		calling(i, 100, "ok", shopKey, home, now-7*otp.Day)
		calling(i, 501, "ok", shopKey, home, now)
	},
	"key_country": func(_ testing.TB, i *Insight) {
		calling(i, 1, "ok", shopKey, home, now-otp.Day)
		calling(i, 1, "ok", shopKey, abroad, now)
	},
	"failed_authentications": func(_ testing.TB, i *Insight) {
		for n := range 100 {
			i.Tally.Call(Call{Door: "api", Kind: "wrong_password", Peer: netip.AddrFrom4([4]byte{1, 1, 1, byte(n)})}, now)
		}
	},
	"limit_violations": func(_ testing.TB, i *Insight) { calling(i, 100, "rate_limited", otp.ID{}, home, now) },
	"address_failures": func(_ testing.TB, i *Insight) {
		for range 50 {
			i.Tally.Call(Call{Door: "v1", Kind: "unknown_credential", Peer: home}, now)
		}
	},
	"address_keys": func(_ testing.TB, i *Insight) {
		for n := range 10 {
			calling(i, 1, "ok", otp.ID{byte(n + 1)}, home, now)
		}
	},
	"address_recipients": func(_ testing.TB, i *Insight) {
		for n := range 30 {
			e := sent("1", "919551")
			e.Recipient, e.Sending.Peer = otp.ID{byte(n + 1)}, abroad
			i.Tally.Events([]otp.Event{e}, now)
		}
	},
	"conversion": func(_ testing.TB, i *Insight) {
		sending(i, 600, 540, now-2*otp.Day)
		sending(i, 100, 40, now-2*otp.Hour)
	},
	"spend": func(t testing.TB, i *Insight) {
		most := 1000
		shop(t, i, func(a *otp.Account, _ *sql.Credential) { a.SpendCapPerDay, a.Prices = &most, map[string]int64{"*": 10} })
		sending(i, 85, 85, now) // of 10 millionths each
	},
	"prefix_stopped": func(_ testing.TB, i *Insight) {
		e := sent("1", "919551")
		e.Kind = otp.EventPrefixStop
		i.Tally.Events([]otp.Event{e}, now)
	},
	"key_expiring": func(t testing.TB, i *Insight) {
		shop(t, i, func(_ *otp.Account, key *sql.Credential) { key.ExpiresAt = now + 3*otp.Day })
	},
	"key_unused": func(t testing.TB, i *Insight) {
		shop(t, i, func(_ *otp.Account, key *sql.Credential) { key.CreatedAt, key.UsedAt = now-100*otp.Day, 0 })
	},
	"circuit_open": func(_ testing.TB, i *Insight) { i.Circuits = func() []string { return []string{"gateway"} } },
	"clock": func(_ testing.TB, i *Insight) {
		i.skew = func(context.Context) (time.Duration, error) { return -600 * time.Millisecond, nil }
	},
	"audit_unsealed": func(_ testing.TB, i *Insight) {
		i.Unsealed = func() time.Duration { return 2 * time.Minute }
	},
	"webhook_paused": func(t testing.TB, i *Insight) {
		require.NoError(t, i.store.Change(ctx, func(tx *sql.Tx) error {
			if err := i.store.Webhooks.Insert(tx, sql.Endpoint{ID: otp.ID{9}, Account: "1", Off: "paused", OffAt: now,
				Events: []string{"*"}, CreatedAt: now, UpdatedAt: now, Secret: []byte("sealed")}); err != nil {
				return err
			}
			return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.WebhookPaused})
		}))
	},
}

func TestAlerts_EachIsRaisedOnceForItsCause(t *testing.T) {
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			url := migrated.SQLite(t)
			i, other := open(t, url), open(t, url)
			cause := causes[rule.Name]
			require.NotNil(t, cause, "every rule has a cause")
			cause(t, i)
			require.NoError(t, i.Write(ctx, now))
			for at := now; at < now+30*otp.Second; at += 10 * otp.Second {
				require.NoError(t, i.Evaluate(ctx, at))
				require.NoError(t, other.Evaluate(ctx, at))
			}
			all := raised(t, i)
			require.Len(t, all[rule.Name], 1)
			require.Len(t, all, 1, "and no other: %v", all)
			require.Equal(t, 1, recorded(t, i, rule.Name, otp.AlertRaised))
			a := all[rule.Name][0]
			require.NotEmpty(t, a.Says)
			require.NotEmpty(t, rule.Remedy)
			if rule.Action != "" {
				require.Equal(t, "would_be_"+rule.Action, a.Action, "nothing is done that nobody switched on")
			}
			require.Zero(t, a.ActsUntil)
			require.Zero(t, i.Block(home, now))
		})
	}
}

// The server that raises an alert sends one mail about it.
func TestAlerts_AreMailedOnce(t *testing.T) {
	t.Parallel()
	url := migrated.SQLite(t)
	var mails []string
	for _, i := range []*Insight{open(t, url), open(t, url)} {
		i.Unsealed = func() time.Duration { return time.Minute }
		i.Mail = func(subject, text string) { mails = append(mails, subject+"\n"+text) }
		for at := now; at < now+30*otp.Second; at += 10 * otp.Second {
			require.NoError(t, i.Evaluate(ctx, at))
		}
	}
	require.Len(t, mails, 1)
	require.Contains(t, mails[0], "audit_unsealed")
	require.Contains(t, mails[0], "nothing could be sealed for 60 seconds")
	require.Contains(t, mails[0], "What to do: look at the server's log")
}

// The alert and the metric of unsealed entries have the log's own number. The time of a change comes from its writer's
// clock, and says nothing about the log.
func TestAlerts_UnsealedIsWhatTheLogSays(t *testing.T) {
	for _, behind := range []time.Duration{0, time.Second, 59 * time.Second, 59*time.Second + 999*time.Millisecond,
		time.Minute, time.Minute + time.Millisecond, 2 * time.Minute, time.Hour, 24 * time.Hour, 100 * 24 * time.Hour} {
		t.Run(behind.String(), func(t *testing.T) {
			t.Parallel()
			i := open(t, migrated.SQLite(t))
			i.Unsealed = func() time.Duration { return behind }
			require.NoError(t, i.store.Change(ctx, func(tx *sql.Tx) error {
				return tx.Record(otp.Change{ID: sql.NewID(), At: now - otp.Hour, Kind: otp.PersonChanged})
			}))
			require.NoError(t, i.Evaluate(ctx, now))
			found := raised(t, i)["audit_unsealed"]
			if behind < time.Minute {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, int64(behind/time.Second), found[0].Value)
		})
	}
}

func TestAlerts_AreAcknowledgedResolvedAndRaisedAgain(t *testing.T) {
	i := open(t, migrated.SQLite(t))
	open := true
	i.Circuits = func() []string {
		if open {
			return []string{"gateway"}
		}
		return nil
	}
	state := func(at otp.Millis) string {
		require.NoError(t, i.Evaluate(ctx, at))
		return raised(t, i)["circuit_open"][0].State
	}
	require.Equal(t, sql.AlertRaised, state(now))
	first := raised(t, i)["circuit_open"][0]
	id := first.ID.Text(AlertPrefix)
	require.Equal(t, otp.NotFound, otp.KindOf(i.Acknowledge(ctx, otp.Actor{}, "Sam", []string{"1"}, id, now)),
		"it is of no account")
	for range 2 {
		require.NoError(t, i.Acknowledge(ctx, otp.Actor{Kind: "person"}, "Olga", nil, id, now))
	}
	require.Equal(t, 1, recorded(t, i, "circuit_open", otp.AlertAcknowledged))
	require.Equal(t, sql.AlertAcknowledged, state(now+otp.Hour), "it stays while its cause is there")
	open = false
	require.Equal(t, sql.AlertAcknowledged, state(now+otp.Hour+10*otp.Minute), "and for its quiet time")
	require.Equal(t, sql.AlertResolved, state(now+otp.Hour+16*otp.Minute))
	open = true
	require.Equal(t, sql.AlertResolved, state(now+otp.Hour+20*otp.Minute), "too soon")
	require.Equal(t, sql.AlertRaised, state(now+otp.Hour+40*otp.Minute))
	require.Equal(t, 2, recorded(t, i, "circuit_open", otp.AlertRaised))
	require.Equal(t, 1, recorded(t, i, "circuit_open", otp.AlertResolved))
	require.Equal(t, otp.NotFound, otp.KindOf(i.Acknowledge(ctx, otp.Actor{}, "Olga", nil, id, now)), "it is another one")
}

// A stranger with many addresses can have more alerts raised than a page lists.
func TestAlerts_AnOldOneIsResolvedBehindManyNewOnes(t *testing.T) {
	url := migrated.SQLite(t)
	i := open(t, url)
	broken := []string{"gateway"}
	i.Circuits = func() []string { return broken }
	require.NoError(t, i.Evaluate(ctx, now))
	id := raised(t, i)["circuit_open"][0].ID
	sqltest.Connect(t, url).MustExec(`
		WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT ?)
		INSERT INTO alerts (rule, esme_address, subject, id, state, value, says, raised_at, seen_at, acknowledged_by, action)
		SELECT 'many_keys', '', n, CAST(printf('%016d', n) AS BLOB), ?, 0, '', ?, ?, '', '' FROM n`,
		pageOfAlerts+1, sql.AlertRaised, int64(now-2*otp.Day), int64(now+otp.Day))
	require.NotContains(t, raised(t, i), "circuit_open", "it is not on the first page")
	broken = nil
	require.NoError(t, i.Evaluate(ctx, now+otp.Hour))
	found, err := i.store.Alerts.ByID(ctx, id)
	require.NoError(t, err)
	require.Equal(t, sql.AlertResolved, found.State)
	require.Contains(t, reasonOf(t, i, "monitoring", nil), "nobody acknowledged: 1001")
	require.Empty(t, reasonOf(t, i, "monitoring", []string{"1"}), "they are not the account's")
}

func TestAlerts_ActOnlyWhereThatIsSwitchedOn(t *testing.T) {
	url := migrated.SQLite(t)
	i, other := open(t, url), open(t, url)
	i.Acting = []string{"address_failures", "key_country"}
	shop(t, i, func(*otp.Account, *sql.Credential) {})
	causes["key_country"](t, i)
	causes["address_failures"](t, i)
	causes["address_recipients"](t, i)
	require.NoError(t, i.Write(ctx, now))
	require.NoError(t, i.Evaluate(ctx, now))
	require.NoError(t, other.Evaluate(ctx, now))
	for _, server := range []*Insight{i, other} {
		require.Equal(t, blockFor.Duration(), server.Block(home, now))
		require.Zero(t, server.Block(netip.MustParseAddr("1.1.1.2"), now), "its neighbour is not blocked")
		require.Zero(t, server.Block(abroad, now), "its rule only records")
		require.Zero(t, server.Block(home, now+blockFor))
	}
	key, err := i.store.Credentials.ByID(ctx, shopKey)
	require.NoError(t, err)
	require.False(t, key.Enabled)
	id := raised(t, i)["address_failures"][0].ID.Text(AlertPrefix)
	require.NoError(t, i.Acknowledge(ctx, otp.Actor{}, "Olga", nil, id, now))
	require.NoError(t, other.Evaluate(ctx, now+otp.Minute))
	require.Zero(t, other.Block(home, now+otp.Minute), "who acknowledges ends the block")
}

// An alert names as its action only what it did: somebody may have switched the key off before.
func TestAlerts_AKeyThatIsOffIsNotSwitchedOffAgain(t *testing.T) {
	i := open(t, migrated.SQLite(t))
	i.Acting = []string{"key_country"}
	shop(t, i, func(_ *otp.Account, key *sql.Credential) { key.Enabled = false })
	causes["key_country"](t, i)
	require.NoError(t, i.Write(ctx, now))
	require.NoError(t, i.Evaluate(ctx, now))
	alerts := raised(t, i)["key_country"]
	require.Len(t, alerts, 1)
	require.Empty(t, alerts[0].Action)
	by, err := i.PausedBy(ctx, alerts[0].Account, shopKey)
	require.NoError(t, err)
	require.Nil(t, by)
}

// A week of a shop whose customers sleep at night, mistype and sometimes give up, raises nothing.
func TestAlerts_AQuietWeekRaisesNone(t *testing.T) {
	i := open(t, migrated.SQLite(t))
	random := rand.New(rand.NewPCG(1, 2))
	events, days := 0, otp.Millis(2)
	if os.Getenv("FULL") != "" {
		days = 8 // the last one has a week before to be compared with
	}
	for at := now; at < now+days*otp.Day; at += otp.Hour {
		hour := int(at / otp.Hour % 24)
		busy := 20 + 240*max(0, 12-abs(hour-14))/12
		for range busy {
			e := sent("1", fmt.Sprint(919_550+random.IntN(20)))
			i.Tally.Events([]otp.Event{e}, at)
			calling(i, 1, "ok", shopKey, home, at)
			calls := []string{"ok", "ok", "ok", "ok", "ok", "ok", "wrong_code", "expired", "invalid", "over_limit"}
			kind := calls[random.IntN(len(calls))]
			calling(i, 1, kind, shopKey, home, at)
			if e.Kind = otp.EventWrong; kind == "ok" {
				e.Kind = otp.EventVerified
			}
			i.Tally.Events([]otp.Event{e}, at)
			if random.IntN(100) == 0 {
				i.Tally.Call(Call{Door: "v1", Kind: "unknown_credential", Peer: home}, at)
			}
			events += 4
		}
		require.NoError(t, i.Write(ctx, at))
		require.NoError(t, i.Evaluate(ctx, at+otp.Minute))
	}
	require.Greater(t, events, 10_000*int(days))
	require.Empty(t, raised(t, i))
}

func abs(n int) int { return max(n, -n) }
