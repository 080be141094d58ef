package otp

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDelivery_ATakeOverDependsOnWhetherAHandOverHadBegun(t *testing.T) {
	dead, heir := ID{1}, ID{2}
	for _, row := range []struct {
		name        string
		delivery    Delivery
		taken, lost bool
	}{
		{"its lease still runs", Delivery{Owner: dead, LeasedUntil: 101}, false, false},
		{"it is finished", Delivery{Owner: dead, Outcome: OutcomeSent}, false, false},
		{"it had not begun", Delivery{Owner: dead, LeasedUntil: 100}, true, false},
		{"it had begun", Delivery{Owner: dead, LeasedUntil: 100, StartedAt: 50}, false, true},
		{"an earlier try took it", Delivery{Owner: heir, LeasedUntil: 100 + Lease}, true, false},
	} {
		taken, lost := row.delivery.TakeOver(heir, 100)
		require.Equal(t, row.taken, taken, row.name)
		require.Equal(t, row.lost, lost, row.name)
		require.Equal(t, taken, row.delivery.Open(heir), row.name)
		if lost {
			require.Equal(t, OutcomeUnknown, row.delivery.Outcome)
			require.Zero(t, row.delivery.LeasedUntil)
		}
	}
	taken, lost := (*Delivery)(nil).TakeOver(heir, 100)
	require.False(t, taken || lost)
}

func TestDelivery_ReportsNeverTakeBackWhatIsKnown(t *testing.T) {
	for _, row := range []struct {
		from    Outcome
		arrived bool
		to      Outcome
	}{
		{OutcomeSent, true, OutcomeDelivered}, {OutcomeSent, false, OutcomeUndelivered},
		{OutcomeUnknown, true, OutcomeDelivered}, {OutcomeUndelivered, true, OutcomeDelivered},
		{OutcomeDelivered, false, OutcomeDelivered}, {OutcomeUnsent, true, OutcomeUnsent},
	} {
		d := Delivery{Outcome: row.from}
		require.Equal(t, row.from != row.to, d.Report(row.arrived), "%v", row)
		require.Equal(t, row.to, d.Outcome)
		require.False(t, d.Report(row.arrived), "the second time")
	}
	open := Delivery{LeasedUntil: 1}
	require.False(t, open.Report(true), "it is still on its way")
}

func TestDeliveryID_TheDeliveriesOfASendFindEachOther(t *testing.T) {
	event := ID{15: 0xff}
	sms := Delivery{ID: DeliveryID(event, SMS), Medium: SMS, Channels: SMS | Email}
	email := Delivery{ID: DeliveryID(event, Email), Medium: Email, Channels: SMS | Email}
	require.NotEqual(t, sms.ID, email.ID)
	require.Equal(t, email.ID, sms.Sibling())
	require.Equal(t, sms.ID, email.Sibling())
	alone := Delivery{ID: sms.ID, Medium: SMS, Channels: SMS}
	require.True(t, alone.Sibling().IsZero())
}

func TestCounter_SpendsUpToItsCapAndTakesBackWhatWasNotSent(t *testing.T) {
	c := Counter{Version: 1}
	require.True(t, c.Spend(60, 100, false, 1))
	require.False(t, c.Spend(60, 100, false, 2))
	require.Equal(t, int64(60), c.Total, "a refusal spends nothing")
	require.True(t, c.Spend(40, 100, false, 3), "exactly the cap")
	c.Release(40, 4)
	require.Equal(t, int64(60), c.Total)
	require.False(t, c.Spend(60, 100, true, 5))
	require.Equal(t, int64(120), c.Total, "recorded beyond it")
	c.Release(1000, 6)
	require.Zero(t, c.Total)
	(*Counter)(nil).Release(1, 7)
}

func TestCounter_StopsWhatNobodyVerifies(t *testing.T) {
	rule := Conversion{Unverified: 50, Percent: 5, Window: Day, Pause: Hour}
	send := func(c *Counter, n int, now Millis) (stops int) {
		for range n {
			if c.Send(rule, now) {
				stops++
			}
		}
		return stops
	}
	c := Counter{Version: 1}
	require.Zero(t, send(&c, 49, 1))
	require.Zero(t, c.Stopped(1))
	require.Equal(t, 1, send(&c, 1, 2))
	require.Equal(t, Hour, c.Stopped(2))
	require.Zero(t, send(&c, 100, 3), "recorded only, it is stopped once")
	require.Zero(t, c.Stopped(2+Hour))
	require.Equal(t, 1, send(&c, 1, 2+Hour), "one is let through to try, and not fifty more")
	require.Equal(t, Hour, c.Stopped(2+Hour))
	for range 3 {
		c.Verified(&Counter{}, 2+Hour)
	}
	require.Zero(t, send(&c, 0, 2+2*Hour))
	require.Equal(t, 1, send(&c, 1, 2+2*Hour), "3 of 152 is not enough")
	for range 5 {
		c.Verified(&Counter{}, 3+2*Hour)
	}
	require.Zero(t, send(&c, 7, 2+3*Hour), "8 of 159 is enough")

	used := Counter{Version: 1}
	require.Zero(t, send(&used, 49, 1))
	for range 5 {
		used.Verified(&Counter{}, 1)
	}
	require.Zero(t, send(&used, 51, 2), "5 of 100 is enough")
	require.Equal(t, 1, send(&used, 1, 2), "5 of 101 is not")

	old := Counter{Version: 1}
	require.Zero(t, send(&old, 49, 1))
	require.Zero(t, send(&old, 49, 1+Day), "counted anew after a day")
	rule.Unverified = 0
	require.Zero(t, send(&Counter{}, 1000, 1), "switched off")
}

func TestCounter_ARecipientCountsOnceInAWindow(t *testing.T) {
	rule := Conversion{Unverified: 50, Percent: 5, Window: Day, Pause: Hour}
	prefix, recipient := Counter{Version: 1}, Counter{}
	for _, step := range []struct {
		name      string
		at        Millis
		converted int64
	}{
		{"the first", 10, 1}, {"at once again", 10, 1}, {"an hour later", 10 + Hour, 1},
		{"at the end of the window", 10 + Day - 1, 1}, {"in the next window", 10 + Day, 1}, {"twice there", 20 + Day, 1},
	} {
		prefix.Send(rule, step.at)
		prefix.Send(rule, step.at)
		prefix.Verified(&recipient, step.at)
		require.Equal(t, step.converted, prefix.Converted, step.name)
	}
	require.Equal(t, 10+Day, recipient.Since)
	prefix.Verified(&Counter{}, 30+Day)
	require.EqualValues(t, 2, prefix.Converted, "another recipient")

	unsent := Counter{}
	unsent.Verified(&Counter{}, 1)
	require.Zero(t, unsent.Converted, "verified before any send was counted")
}

// Whatever is sent and verified, in any order, the loss in one window stays within the bound that Conversion states.
func TestCounter_TheLossOfAWindowIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := Conversion{
			Unverified: rapid.Int64Range(1, 60).Draw(t, "unverified"),
			Percent:    rapid.Int64Range(1, 100).Draw(t, "percent"),
			Window:     Day, Pause: Hour,
		}
		prefix := Counter{Version: 1}
		recipients := make([]Counter, rapid.IntRange(1, 12).Draw(t, "own numbers"))
		now, sent, verified, pauses := Millis(1), int64(0), map[int]bool{}, int64(0)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now += Millis(rapid.SampledFrom([]int64{0, 0, 0, 1, int64(Minute), int64(Hour)}).Draw(t, "pause"))
			if now >= Day {
				break
			}
			if prefix.Stopped(now) == 0 {
				sent++
				if prefix.Send(rule, now) {
					pauses++
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "verify") == 0 {
				one := rapid.IntRange(0, len(recipients)-1).Draw(t, "which")
				prefix.Verified(&recipients[one], now)
				verified[one] = true
			}
		}
		own := int64(len(verified))
		bound := max(rule.Unverified, 1+own*(100-rule.Percent)/rule.Percent) + max(0, pauses-1)
		require.LessOrEqual(t, sent-own, bound, "sent %d, verified by %d, pauses %d", sent, own, pauses)
	})
}
