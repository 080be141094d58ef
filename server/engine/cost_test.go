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
	"otpbridge/sql/sqltest"
)

func onMariaDB(t testing.TB) string { return sqltest.Shared(t).Schema(t) }

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
					require.NoError(t, h.Verify(background, caller, target(t, h, caller, fmt.Sprintf("919551%06d", i), "x"), next.codes[len(next.codes)-1]))
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

// priced is an account that may spend so many messages a day.
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
		require.Equal(t, full(50, 4), ask(t, servers[0], `SELECT COUNT(*) FROM events WHERE kind = 'spend_cap'`), "one event a day")
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
	for _, number := range []string{"8816 3150 0000", "8821 6500 00000", "883510000000001", "870773000000", "979123456789", "80012345678", "447911123456000"} {
		_, err := engine.NormalNumber(number, []string{"IN", "AE", "GB", "US"})
		require.Equal(t, otp.Invalid, otp.KindOf(err), number)
	}
}
