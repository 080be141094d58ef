package sql

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

func TestUpdateCredential_OneOfManyWithOneVersionWins(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		stores := [2]*Store{openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})}
		c := plainCredential(1)
		c.ExpiresAt = noon + otp.Day
		require.NoError(t, insertKey(stores[0], c))
		won := make([]bool, 64)
		var running sync.WaitGroup
		for i := range won {
			running.Go(func() {
				mine, s := *c, stores[i%2]
				mine.Name, mine.Permissions = fmt.Sprint(i), []string{"send:otp"}
				updated, err := changing(s, func(tx *Tx) (bool, error) { return s.Credentials.Update(tx, &mine) })
				won[i] = updated && err == nil
			})
		}
		running.Wait()
		winner := -1
		for i := range won {
			if won[i] {
				require.Equal(t, -1, winner, "two won")
				winner = i
			}
		}
		require.NotEqual(t, -1, winner)
		read, err := stores[1].Credentials.ByID(ctx, c.ID)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(winner), read.Name)
		require.EqualValues(t, 2, read.Version)
		require.Equal(t, c.ExpiresAt, read.ExpiresAt)
	})
}

func TestPage_EachStatusIsOneAndPagesFollowEachOther(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		for n, shape := range []func(*Credential){
			func(*Credential) {},
			func(c *Credential) { c.ExpiresAt = noon + 1 },
			func(c *Credential) { c.ExpiresAt = noon },
			func(c *Credential) { c.Enabled = false },
			func(c *Credential) { c.Enabled, c.ExpiresAt = false, noon },
			func(c *Credential) { c.RevokedAt, c.Enabled, c.Successor = noon, false, id(noon, 77) },
			func(c *Credential) { c.Successor = id(noon, 77) },
			func(c *Credential) { c.Successor, c.ExpiresAt = id(noon, 77), noon },
			func(c *Credential) { c.Address, c.Kind, c.Environment = "78", "client", otp.Dev },
		} {
			c := plainCredential(n)
			shape(c)
			require.NoError(t, insertKey(s, c))
		}
		page := func(q CredentialQuery) (found []int) {
			q.Limit, q.Now = 2, noon
			for {
				rows, err := s.Credentials.Page(ctx, q)
				require.NoError(t, err)
				for _, row := range rows {
					found, q.After = append(found, int(row.Hash[0])), row.ID
				}
				if len(rows) < q.Limit {
					return found
				}
			}
		}
		for status, want := range map[string][]int{
			"active": {0, 1, 8}, "expired": {2, 7}, "disabled": {3, 4}, "revoked": {5}, "rotated": {6},
			"": {0, 1, 2, 3, 4, 5, 6, 7, 8},
		} {
			require.Equal(t, want, page(CredentialQuery{Status: status}), status)
		}
		require.Equal(t, []int{8}, page(CredentialQuery{Accounts: []string{"78", "79"}, Status: "active"}))
		require.Equal(t, []int{8}, page(CredentialQuery{Kind: "client"}))
		require.Equal(t, []int{8}, page(CredentialQuery{Environment: "dev"}))
		require.Empty(t, page(CredentialQuery{Accounts: []string{}}))
		require.Empty(t, page(CredentialQuery{Environment: "test"}))
	})
}

func TestAddUses_AddUpOverServers(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		stores := [2]*Store{openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})}
		c, gone := plainCredential(1), plainCredential(2)
		require.NoError(t, insertKey(stores[0], c))
		today := DayOf(noon)
		add := func(s *Store, at otp.Millis, permissions int64, network string) {
			require.NoError(t, s.Credentials.AddUses(ctx, []KeyUse{
				{KeyDay{c.ID, DayOf(at), 3, permissions, network}, at, network[:1]},
				{KeyDay{gone.ID, DayOf(at), 1, 1, network}, at, ""},
			}))
		}
		add(stores[0], noon+otp.Minute, 1, "192.0.2.0/24")
		add(stores[1], noon, 4, "192.0.2.0/24")
		add(stores[1], noon+otp.Day, 2, "a")
		add(stores[0], noon+otp.Day+1, 2, "b")
		add(stores[1], noon+otp.Day+2, 2, "a")
		days, err := stores[0].Credentials.Days(ctx, []otp.ID{c.ID}, today)
		require.NoError(t, err)
		require.ElementsMatch(t, []KeyDay{{c.ID, today, 6, 5, "192.0.2.0/24"}, {c.ID, today + 1, 9, 2, ManyNetworks}}, days)
		read, err := stores[0].Credentials.ByID(ctx, c.ID)
		require.NoError(t, err)
		require.Equal(t, noon+otp.Day+2, read.UsedAt)
		require.Equal(t, "a", read.UsedAddress)
		require.EqualValues(t, 1, read.Version, "a use changes no ETag")

		_, err = stores[0].Sweep(ctx, noon+33*otp.Day)
		require.NoError(t, err)
		days, err = stores[0].Credentials.Days(ctx, []otp.ID{c.ID}, 0)
		require.NoError(t, err)
		require.Len(t, days, 1, "the first day is forgotten")
	})
}

// Two servers sweep side by side, every twelve hours, for longer than the keys live.
func TestNotices_AreRecordedOnceEach(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		stores := [2]*Store{openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})}
		wants := map[string]string{}
		for n, row := range []struct {
			what  string
			shape func(*Credential)
			want  string
		}{
			{"for ever", func(*Credential) {}, " due90"},
			{"a year", func(c *Credential) { c.ExpiresAt = noon + 365*otp.Day }, " due90"},
			{"100 days", func(c *Credential) { c.ExpiresAt = noon + 100*otp.Day }, " 30@70 due90 7@93 1@99"},
			{"60 days", func(c *Credential) { c.ExpiresAt = noon + 60*otp.Day }, " 30@30 7@53 1@59"},
			{"30 days", func(c *Credential) { c.ExpiresAt = noon + 30*otp.Day }, " 7@23 1@29"},
			{"two days", func(c *Credential) { c.ExpiresAt = noon + 2*otp.Day }, " 1@1"},
			{"a day", func(c *Credential) { c.ExpiresAt = noon + otp.Day }, ""},
			{"over", func(c *Credential) { c.CreatedAt, c.ExpiresAt = noon-otp.Day, noon }, ""},
			{"old, found late", func(c *Credential) { c.CreatedAt, c.ExpiresAt = noon-300*otp.Day, noon+5*otp.Day },
				" 7@0 due300 1@4"},
			{"revoked", func(c *Credential) { c.ExpiresAt, c.RevokedAt = noon+100*otp.Day, noon }, ""},
			{"off", func(c *Credential) { c.ExpiresAt, c.Enabled = noon+100*otp.Day, false }, ""},
			{"rotated", func(c *Credential) { c.ExpiresAt, c.Successor = noon+100*otp.Day, id(noon, 99) }, ""},
		} {
			c := plainCredential(n)
			c.Name = row.what
			row.shape(c)
			require.NoError(t, insertKey(stores[0], c))
			wants[row.what] = row.want
		}
		for half := range otp.Millis(220) {
			var sweeping sync.WaitGroup
			for _, s := range stores {
				sweeping.Go(func() {
					if err := s.noticeKeys(ctx, noon+half*otp.Day/2); err != nil {
						t.Error(err)
					}
				})
			}
			sweeping.Wait()
		}
		all, err := stores[0].People.Changes(ctx, otp.ID{}, 1000)
		require.NoError(t, err)
		got := map[string]string{}
		for what := range wants {
			got[what] = ""
		}
		for i := len(all) - 1; i >= 0; i-- {
			c, days := all[i], int64((all[i].At-noon)/otp.Day)
			switch c.Kind {
			case otp.KeyExpiring:
				got[c.Details["name"]] += fmt.Sprintf(" %s@%d", c.Details["days"], days)
			case otp.KeyRotationDue:
				got[c.Details["name"]] += " due" + c.Details["age_days"]
			default:
				continue
			}
			require.Equal(t, "77", c.Account)
			require.Equal(t, "server", c.Actor.Kind)
			require.Equal(t, c.Details["key"], c.Credential.Text("key"))
		}
		require.Equal(t, wants, got)
	})
}
