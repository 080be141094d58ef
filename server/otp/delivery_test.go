package otp

import (
	"testing"

	"github.com/stretchr/testify/require"
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
	require.Equal(t, 1, send(&c, 50, 2+Hour), "it begins anew")

	used := Counter{Version: 1}
	require.Zero(t, send(&used, 49, 1))
	for range 5 {
		used.Verified(1)
	}
	require.Zero(t, send(&used, 51, 2), "5 of 100 is enough")
	require.Equal(t, 1, send(&used, 1, 2), "5 of 101 is not")

	old := Counter{Version: 1}
	require.Zero(t, send(&old, 49, 1))
	require.Zero(t, send(&old, 49, 1+Day), "counted anew after a day")
	rule.Unverified = 0
	require.Zero(t, send(&Counter{}, 1000, 1), "switched off")
}
