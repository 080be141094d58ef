package sql

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// delivered stores a delivery of a new challenge, leased to owner.
func delivered(t testing.TB, s *Store, n int, owner otp.ID, until otp.Millis) otp.Delivery {
	t.Helper()
	d := otp.Delivery{
		ID: id(noon, n), Challenge: id(noon, n), Recipient: id(1,
			n), Account: "1", Environment: otp.Live, Door: otp.ServletDoor,
		Medium: otp.SMS, Channels: otp.SMS, Send: 1, SentAt: noon, ExpiresAt: noon +
			otp.Minute, Owner: owner, LeasedUntil: until, CreatedAt: noon,
	}
	op := &Operation{Event: nextID(), Account: "1", Recipient: d.Recipient, Slot: id(2, n), Now: noon}
	op.Decide = func(state *State) error {
		state.Deliver([]otp.Delivery{d})
		state.Record(otp.Event{ID: op.Event, At: noon, Account: "1", Environment: otp.Live, Kind: otp.EventSent,
			Door: otp.ServletDoor})
		return nil
	}
	require.NoError(t, s.Do(op))
	return d
}

func TestMark_CountsForTheOwnerOfAnOpenDeliveryAlone(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		owner, other := id(3, 1), id(3, 2)
		d := delivered(t, s, 1, owner, noon+otp.Lease)
		mark := func(m Mark) bool {
			m.ID = d.ID
			held, err := s.Deliveries.Mark(&m)
			require.NoError(t, err)
			return held
		}
		require.False(t, mark(Mark{Owner: other, Step: Started, At: noon, Channel: "a"}))
		require.True(t, mark(Mark{Owner: owner, Step: Started, At: noon, Channel: "a"}))
		require.True(t, mark(Mark{Owner: owner, Step: Started, At: noon, Channel: "a"}), "the same again")
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM deliveries WHERE started_at IS NOT NULL AND channel = 'a'`))
		require.True(t, mark(Mark{Owner: owner, Step: Rested, At: noon}))
		require.Equal(t, 0, count(t, s, `SELECT COUNT(*) FROM deliveries WHERE started_at IS NOT NULL`))
		require.True(t, mark(Mark{Owner: owner, Step: Ended, At: noon, Outcome: otp.OutcomeSent, Receipt: id(4, 1)}))
		for _, step := range []Step{Started, Rested, Ended} {
			require.False(t, mark(Mark{Owner: owner, Step: step, At: noon}), "it has ended")
		}
		found, err := s.Deliveries.ByReceipt(ctx, id(4, 1))
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, otp.OutcomeSent, found[0].Outcome)
		require.Equal(t, d.Challenge, found[0].Challenge)
	})
}

// Deliveries that ended alike share an UPDATE, which must check each of them as a separate one would.
func TestMark_ManyThatEndAlikeCountForTheOwnerOfOpenDeliveriesAlone(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		const many = 150 // more than one statement holds
		owner, other := id(3, 1), id(3, 2)
		b := newBatch(s.dialect.insert)
		for n := 1; n <= many; n++ {
			d := delivered(t, s, n, owner, noon+otp.Lease)
			m := &Mark{ID: d.ID, Owner: owner, Step: Ended, At: noon + otp.Millis(n), Outcome: otp.OutcomeSent}
			switch n {
			case 10: // ended before, and differently
				_, err := s.Deliveries.Mark(&Mark{ID: d.ID, Owner: owner, Step: Ended, At: noon, Outcome: otp.OutcomeUnsent,
					Receipt: id(4, n)})
				require.NoError(t, err)
			case 20:
				m.Owner = other
			case 30:
				m.Outcome = otp.OutcomeUnknown
			case 40:
				continue
			}
			b.marks = append(b.marks, m)
		}
		var writes script
		b.writeMarks(&writes)
		require.Len(t, writes.writes, 3+1+1, "for the many, for the other owner, for the other outcome")
		require.NoError(t, s.write(ctx, func(w *session) error { return w.play(ctx, &writes) }))
		for outcome, n := range map[string]int{"sent": many - 4, "unsent": 1, "unknown": 1, "": 2} {
			require.Equal(t, n, count(t, s, `SELECT COUNT(*) FROM deliveries WHERE outcome = '`+outcome+`'`), outcome)
		}
		require.Equal(t, 2,
			count(t, s, `SELECT COUNT(*) FROM deliveries WHERE leased_until IS NOT NULL AND finished_at IS NULL`))
		require.Equal(t, 0,
			count(t, s, fmt.Sprintf(`SELECT COUNT(*) FROM deliveries WHERE finished_at < created_at OR finished_at > %d`,
				noon+many)))
	})
}

func TestRenewLeases_KeepsWhatIsOwnedAndOpenFromBeingFoundExpired(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		owner, other := id(3, 1), id(3, 2)
		mine, gone, done := delivered(t, s, 1, owner, noon), delivered(t, s, 2, other, noon+1), delivered(t, s, 3, owner,
			noon)
		_, err := s.Deliveries.Mark(&Mark{ID: done.ID, Owner: owner, Step: Ended, At: noon, Outcome: otp.OutcomeSent})
		require.NoError(t, err)
		expired := func(at otp.Millis) (ids []otp.ID) {
			found, err := s.Deliveries.Expired(ctx, at, 10)
			require.NoError(t, err)
			for _, d := range found {
				ids = append(ids, d.ID)
			}
			return ids
		}
		require.Empty(t, expired(noon-1))
		require.Equal(t, []otp.ID{mine.ID, gone.ID}, expired(noon+1), "the longest ago first")
		require.NoError(t, s.Deliveries.RenewLeases(ctx, owner, []otp.ID{mine.ID, gone.ID, done.ID}, noon+otp.Lease))
		require.Equal(t, []otp.ID{gone.ID}, expired(noon+1))
	})
}

func TestDo_CountersAreDecidedInTheirBatchAndARefusalLeavesThem(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		counter := id(5, 1)
		spend := func(n int) error {
			op := &Operation{Event: nextID(), Account: "1", Recipient: id(1, n), Slot: id(2, n), Counters: []otp.ID{counter},
				Now: noon}
			op.Decide = func(state *State) error {
				if !state.Counters[0].Spend(10, 35, false, state.Now) {
					state.Counters[0].Total = 1000 // a refusal's changes do not count
					return otp.Refuse(otp.CostLimited, "")
				}
				state.Record(otp.Event{ID: op.Event, At: noon, Account: "1", Environment: otp.Live, Kind: otp.EventSent,
					Door: otp.ServletDoor})
				return nil
			}
			return s.Do(op)
		}
		granted := 0
		for n := range 10 {
			if err := spend(n); err == nil {
				granted++
			} else {
				require.Equal(t, otp.CostLimited, otp.KindOf(err))
			}
		}
		require.Equal(t, 3, granted)
		require.Equal(t, 30, count(t, s, `SELECT total FROM counters`))
	})
}

func TestSweep_RemovesDeliveriesADayAfterTheyEnded(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		owner := id(3, 1)
		ended := delivered(t, s, 1, owner, noon+otp.Lease)
		delivered(t, s, 2, owner, noon+otp.Lease) // never ended
		_, err := s.Deliveries.Mark(&Mark{ID: ended.ID, Owner: owner, Step: Ended, At: noon, Outcome: otp.OutcomeSent})
		require.NoError(t, err)
		_, err = s.Sweep(ctx, noon+otp.Day)
		require.NoError(t, err)
		require.Equal(t, 2, count(t, s, `SELECT COUNT(*) FROM deliveries`))
		swept, err := s.Sweep(ctx, noon+otp.Day+2)
		require.NoError(t, err)
		require.Equal(t, 1, swept.Deliveries)
	})
}

// The indexes of deliveries hold few of them, and their queries must still use them. The sweeper walks the table
// itself.
func TestDeliveries_AreFoundByTheirIndexesOnSQLite(t *testing.T) {
	s := openTest(t, migrated.SQLite(t), Options{})
	walk := s.walks[slices.IndexFunc(s.walks, func(w *walk) bool { return w.table == "deliveries" })]
	receipt := id(4, 1)
	b, writes := newBatch(s.dialect.insert), script{}
	b.marks = []*Mark{{Step: Ended}, {Step: Ended}}
	b.writeMarks(&writes)
	var ending []any
	for _, arg := range writes.writes[0].args {
		ending = append(ending, arg)
	}
	for _, tt := range []struct {
		query, plan string
		args        []any
	}{
		{deliveryFields.selects() + expiredDeliveries, "USING INDEX deliveries_lease (leased_until<?)",
			[]any{int64(noon), 10}},
		{deliveryFields.selects() + deliveriesOf, "USING INDEX deliveries_receipt (receipt=?)", []any{receipt[:]}},
		{walk.query, "SEARCH deliveries USING PRIMARY KEY (id>?)", []any{receipt[:], 10}},
		{writes.writes[0].text, "SEARCH deliveries USING PRIMARY KEY (id=?)", ending},
	} {
		var steps []struct {
			ID, Parent, NotUsed int
			Detail              string
		}
		require.NoError(t, s.reads.Select(&steps, `EXPLAIN QUERY PLAN `+tt.query, tt.args...))
		require.Len(t, steps, 1, "nothing is sorted: %v", steps)
		require.Contains(t, steps[0].Detail, tt.plan)
	}
	require.Equal(t, 2,
		count(t, s,
			`SELECT COUNT(*) FROM sqlite_master WHERE tbl_name = 'deliveries' AND sql LIKE 'CREATE INDEX % IS NOT NULL'`))
}
