package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest/migrated"
)

func onMariaDB(t testing.TB) string { return migrated.MariaDB(t) }

func guarded(t testing.TB, at place, next deliver.Channel) house {
	return through(t, at, func(o *engine.Options) { o.Cost.PrefixUnverified = 50 }, next)
}

func TestCost_APrefixThatNobodyVerifiesIsStoppedAfterFiftySends(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		next := &provider{name: "next"}
		h := guarded(t, at, next)
		caller := throwaway(t, h, nil)
		refused := tally(atOnce(full(10_000, 300), func(i int) error {
			_, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("919551%06d", i), "x"))
			return err
		}))
		require.Equal(t, 50, next.called(), refused)
		require.Equal(t, 1, ask(t, h, `SELECT COUNT(*) FROM events WHERE kind = 'prefix_stop'`))
		_, err := h.Generate(background, caller, target(t, h, caller, "919552000000", "x"))
		require.NoError(t, err, "the next prefix")
	})
}

func TestCost_APrefixThatIsVerifiedGoesOnAndAStoppedOneAfterAnHour(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			next := &provider{name: "next"}
			h := guarded(t, at, next)
			caller := throwaway(t, h, nil)
			send := func(i int) error {
				_, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("919551%06d", i), "x"))
				return err
			}
			for i := range 200 { // one in ten is verified
				require.NoError(t, send(i), i)
				if i%10 == 0 {
					require.NoError(t, h.Verify(background, caller, target(t, h, caller, fmt.Sprintf("919551%06d", i), "x"),
						next.codes[len(next.codes)-1]))
				}
			}
			i := 1000
			for ; otp.KindOf(send(i)) != otp.CostLimited; i++ {
				require.Less(t, i, 2000)
			}
			require.Equal(t, otp.CostLimited, otp.KindOf(send(i)))
			time.Sleep(time.Hour)
			require.NoError(t, send(i))
		})
	})
}

// An attacker who is paid for each message to a prefix uses numbers of their own. Each row is one strategy; the loss
// never exceeds the bound that otp.Conversion states.
func TestCost_OwnNumbersKeepNoPrefixOpen(t *testing.T) {
	for _, way := range []struct {
		name   string
		own    int // numbers of the attacker's, each verified in turn
		every  int // sends between two of them
		sends  int
		pause  time.Duration // before each send
		byID   bool          // verified at the JSON door
		resend bool          // others are resent repeatedly
	}{
		{name: "one number every 15 sends", own: 1, every: 15, sends: 160},
		{name: "one number every second send", own: 1, every: 2, sends: 160},
		{name: "two in turn", own: 2, every: 7, sends: 160},
		{name: "three in turn", own: 3, every: 4, sends: 200},
		{name: "four in turn", own: 4, every: 10, sends: 250},
		{name: "five, as fast as it goes", own: 5, every: 2, sends: 400},
		{name: "spread over a day", own: 1, every: 12, sends: 150, pause: 9 * time.Minute},
		{name: "one after each pause", own: 1, every: 2, sends: 120, pause: 20 * time.Minute},
		{name: "by id at the JSON door", own: 1, every: 15, sends: 160, byID: true},
		{name: "two by id", own: 2, every: 5, sends: 160, byID: true},
		{name: "resends", own: 1, every: 15, sends: 160, resend: true},
	} {
		t.Run(way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next := &provider{name: "next"}
				h := guarded(t, place(migrated.SQLite(t)), next)
				caller := throwaway(t, h, func(a *otp.Account) {
					a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = 0, 0, 0
				})
				begun, verified, attempted, days := time.Now(), map[int]bool{}, 0, 1
				for i := range way.sends {
					time.Sleep(way.pause)
					own := i%way.every == 0
					number := fmt.Sprintf("919551%06d", 1000+i)
					one := i / way.every % way.own
					if own {
						number = fmt.Sprintf("919551%06d", one)
					}
					to := target(t, h, caller, number, "x")
					attempted++
					sent, err := h.Generate(background, caller, to)
					if err != nil {
						require.Equal(t, otp.CostLimited, otp.KindOf(err), "%v", err)
						continue
					}
					switch {
					case own && way.byID:
						_, err = h.VerifyNamed(background, caller, engine.Proof{ID: sent.Challenge, Code: next.codes[len(next.codes)-1]})
					case own:
						err = h.Verify(background, caller, to, next.codes[len(next.codes)-1])
					case way.resend:
						_, err = h.Resend(background, caller, to)
						if otp.KindOf(err) == otp.CostLimited {
							err = nil
						}
					}
					require.NoError(t, err)
					verified[one] = verified[one] || own
				}
				spent := time.Since(begun)
				days += int(spent / (24 * time.Hour))
				bound := days*(max(50, 1+19*way.own)) + int(spent/time.Hour)
				require.LessOrEqual(t, next.called()-len(verified)*days, bound)
				require.Less(t, next.called(), attempted, "some were refused")
			})
		})
	}
}

// priced returns an account that may spend so many messages a day.
func priced(t testing.TB, h house, messages int, guards otp.Guards) *engine.Caller {
	return throwaway(t, h, func(a *otp.Account) {
		spend := messages*2000 + 1999 // not enough for one more
		a.SpendCapPerDay, a.CostGuards, a.Prices = &spend, &guards, map[string]int64{"IN": 2000, "*": 90_000}
	})
}

func TestCost_TheSpendCapIsNeverExceededByOneMessageRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		next := &provider{name: "next"}
		free := func(o *engine.Options) { o.Cost.PrefixUnverified = 0 }
		servers := [2]house{through(t, at, free, next), through(t, at, free, next)}
		for round := range full(50, 4) {
			caller, before := priced(t, servers[0], 7, otp.GuardsEnforce), next.called()
			answers := atOnce(64, func(i int) error {
				h := servers[i%2]
				_, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("9195514%05d", i), "x"))
				return err
			})
			sent := 0
			for _, err := range answers {
				if err == nil {
					sent++
				} else {
					require.Equal(t, otp.CostLimited, otp.KindOf(err), "%v", err)
				}
			}
			require.Equal(t, 7, sent, "round %d", round)
			require.Equal(t, 7, next.called()-before)
		}
		require.Equal(t, full(50, 4), ask(t, servers[0], `SELECT COUNT(*) FROM events WHERE kind = 'spend_cap'`),
			"one event a day")
	})
}

func TestCost_WhatWasNotSentIsNotSpentAndRecordOnlyRefusesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := through(t, at, func(o *engine.Options) { o.DeliveryWait = 100 * time.Millisecond }, down("next"))
		caller := priced(t, h, 2, otp.GuardsEnforce)
		for i := range 5 {
			_, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("91955149230%d", i), "x"))
			require.Equal(t, otp.Undelivered, otp.KindOf(err))
		}
		require.Equal(t, 0, ask(t, h, `SELECT COALESCE(SUM(total), 0) FROM counters`))

		h = through(t, at, nil, &provider{name: "next"})
		caller = priced(t, h, 2, otp.GuardsRecord)
		for i := range 5 {
			_, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("91955149230%d", i), "x"))
			require.NoError(t, err)
		}
		require.Equal(t, 1, ask(t, h, `SELECT COUNT(*) FROM events WHERE kind = 'spend_cap'`))
	})
}

func TestNormalNumber_RefusesSatellitesAndServicesWhateverTheCountries(t *testing.T) {
	for _, number := range []string{"8816 3150 0000", "8821 6500 00000", "883510000000001", "870773000000",
		"979123456789", "80012345678", "447911123456000"} {
		_, err := deliver.NormalNumber(number, []string{"IN", "AE", "GB", "US"})
		require.Equal(t, otp.Invalid, otp.KindOf(err), number)
	}
}

func TestGuards_AStoppedPrefixIsShownAndLifted(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		next := &provider{name: "next"}
		h := guarded(t, at, next)
		caller := throwaway(t, h, func(a *otp.Account) { a.Prices = map[string]int64{"*": 2000} })
		account := caller.Account.Address
		send := func(i int) error {
			_, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("919551%06d", i), "x"))
			return err
		}
		i := 0
		for ; send(i) == nil; i++ {
			require.Less(t, i, 60)
		}
		stopped, spent, err := h.Guards.Stopped(background, account)
		require.NoError(t, err)
		require.Nil(t, spent, "without a cap nothing is counted")
		require.Len(t, stopped, 1)
		require.Equal(t, "+919551", stopped[0].Prefix)
		require.Equal(t, []int64{50, 0, 100_000, 100_000}, []int64{stopped[0].Sends, stopped[0].Verified, stopped[0].Spend,
			stopped[0].Loss})
		require.Equal(t, stopped[0].StoppedAt+otp.Hour, stopped[0].StoppedUntil)

		require.Equal(t, otp.NotFound, otp.KindOf(h.Guards.Lift(background, otp.Actor{}, account, "+919552")))
		require.Equal(t, otp.NotFound, otp.KindOf(h.Guards.Lift(background, otp.Actor{}, "10000000000001", "+919551")))
		require.NoError(t, h.Guards.Lift(background, otp.Actor{}, account, "+919551"))
		require.NoError(t, send(i))
		stopped, _, err = h.Guards.Stopped(background, account)
		require.NoError(t, err)
		require.Empty(t, stopped)
		require.Equal(t, otp.NotFound, otp.KindOf(h.Guards.Lift(background, otp.Actor{}, account, "919551")))
		require.Equal(t, 1, ask(t, h, `SELECT COUNT(*) FROM changes WHERE kind = 'guard.prefix_lifted'`))
	})
}

func TestGuards_TheSafeListIsNeverStopped(t *testing.T) {
	h := guarded(t, sqlite(t), &provider{name: "next"})
	caller := throwaway(t, h, func(a *otp.Account) { a.SafeList = []string{"+9195510000", "+919552000001"} })
	for i := range 80 {
		_, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("919551%06d", i), "x"))
		require.NoError(t, err, i)
	}
	stopped := 0
	for i := range 80 {
		if _, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("919552%06d", 100+i), "x")); err != nil {
			stopped++
		}
	}
	require.Equal(t, 30, stopped)
	_, err := h.Generate(background, caller, target(t, h, caller, "919552000001", "x"))
	require.NoError(t, err)
}

func TestAccount_TheSafeListHoldsNumbersAndTheirBeginnings(t *testing.T) {
	for entry, fits := range map[string]bool{
		"+919551492394": true, "+91955": true, "+9": true, "": false, "+": false, "91955": false, "+91 955": false,
		"+91955x": false, "+1234567890123456": false, "*": false, "+९१": false,
	} {
		account := otp.DefaultAccount("1")
		account.SafeList = []string{entry}
		require.Equal(t, fits, account.Validate() == nil, entry)
	}
}
