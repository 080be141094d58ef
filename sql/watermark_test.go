package sql

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// under makes a send under owner's watermark up to bound, and tells whether that was held.
func under(t testing.TB, s *Store, owner, event, bound otp.ID) (watched bool) {
	t.Helper()
	op := &Operation{
		Event: event, Account: "1", Recipient: id(1, 1), Slot: id(2, 1), Now: noon,
		Watch: Watermark{Owner: owner, EndedBefore: bound, LeasedUntil: noon + otp.Lease},
	}
	op.Decide = func(state *State) error {
		watched = state.Watched
		sent := otp.Event{ID: op.Event, At: noon, Account: "1", Environment: otp.Live, Kind: otp.EventSent, Door: otp.ServletDoor, Challenge: id(6, 1), Channels: otp.SMS}
		if watched {
			sent.Watcher = owner
		}
		state.Record(sent)
		return nil
	}
	require.NoError(t, s.Do(op))
	return watched
}

func standing(t testing.TB, s *Store) (marks []Watermark) {
	t.Helper()
	found, err := s.ExpiredWatermarks(ctx, 1<<60)
	require.NoError(t, err)
	return found
}

func TestWatermark_MovesWithSendsAndMarksAndNeverBack(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		owner := id(3, 1)
		at := func(n int, until otp.Millis) []Watermark { return []Watermark{{owner, id(noon, n), until}} }
		require.NoError(t, s.Watch(ctx, Watermark{owner, id(noon, 10), noon}))
		require.NoError(t, s.Watch(ctx, Watermark{owner, id(noon, 10), noon}), "in place of the other")
		require.True(t, under(t, s, owner, id(noon, 20), id(noon, 16)))
		require.Equal(t, at(16, noon+otp.Lease), standing(t, s))
		require.True(t, under(t, s, owner, id(noon, 24), id(noon, 12)), "its bound was taken earlier")
		require.Equal(t, at(16, noon+otp.Lease), standing(t, s))
		held, err := s.Mark(&Mark{Owner: owner, Step: Advanced, ID: id(noon, 28), At: noon + 2*otp.Lease})
		require.NoError(t, err)
		require.True(t, held)
		require.Equal(t, at(28, noon+2*otp.Lease), standing(t, s))
		require.False(t, under(t, s, owner, id(noon, 25), id(noon, 12)), "it has passed that one")
		require.Equal(t, at(28, noon+2*otp.Lease), standing(t, s))
	})
}

// The guard of the write finds that a watermark is gone; then the same operation is decided without.
func TestWatermark_NothingComesUnderOneThatIsClosed(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		owner, other := id(3, 1), id(3, 2)
		require.False(t, under(t, s, owner, id(noon, 1), otp.ID{}), "there is none")
		require.NoError(t, s.Watch(ctx, Watermark{owner, id(noon, 4), noon}))
		require.NoError(t, s.Watch(ctx, Watermark{other, id(noon, 4), noon}))
		require.True(t, under(t, s, owner, id(noon, 8), id(noon, 8)))
		require.True(t, under(t, s, owner, id(noon, 12), id(noon, 8)))

		closed, err := s.CloseWatermark(ctx, owner, noon+otp.Lease-1)
		require.NoError(t, err)
		require.False(t, closed, "its lease still runs")
		closed, err = s.CloseWatermark(ctx, owner, noon+otp.Lease)
		require.NoError(t, err)
		require.True(t, closed)
		require.Error(t, s.Watch(ctx, Watermark{owner, id(noon, 16), noon}), "it is being taken over")
		before := count(t, s, `SELECT COUNT(*) FROM events`)
		require.False(t, under(t, s, owner, id(noon, 16), id(noon, 8)))
		require.True(t, under(t, s, other, id(noon, 20), id(noon, 8)), "each has its own")
		require.Equal(t, before+2, count(t, s, `SELECT COUNT(*) FROM events`), "they are made all the same")
		for _, m := range []*Mark{
			{Step: Advanced, ID: id(noon, 100)},
			{Step: Stored, Delivery: &otp.Delivery{ID: id(noon, 12), Owner: owner, SentAt: noon, ExpiresAt: noon, CreatedAt: noon, LeasedUntil: noon}},
		} {
			m.Owner, m.At = owner, noon+otp.Hour
			held, err := s.Mark(m)
			require.NoError(t, err)
			require.False(t, held)
		}
		require.Zero(t, count(t, s, `SELECT COUNT(*) FROM deliveries`))

		watched, err := s.Watched(ctx, owner, id(noon, 8), 10)
		require.NoError(t, err)
		require.Len(t, watched, 2)
		require.Equal(t, id(noon, 8), watched[0].ID)
		require.Equal(t, owner, watched[1].Watcher)
		require.NoError(t, s.ForgetWatermark(ctx, Watermark{Owner: owner, LeasedUntil: noon}))
		require.Len(t, standing(t, s), 2, "its owner may not remove what is being taken over")
		require.NoError(t, s.ForgetWatermark(ctx, Watermark{Owner: other}))
		require.Len(t, standing(t, s), 2, "nobody else may remove one that is not closed")
		require.NoError(t, s.ForgetWatermark(ctx, Watermark{Owner: owner}))
		require.NoError(t, s.ForgetWatermark(ctx, Watermark{Owner: other, LeasedUntil: noon}))
		require.Empty(t, standing(t, s))
	})
}

// A COMMIT that is not answered makes whoever asked for it store a row again.
func TestWatermark_ARowIsStoredOnce(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		owner := id(3, 1)
		require.NoError(t, s.Watch(ctx, Watermark{owner, id(noon, 4), noon}))
		for range 2 {
			d := otp.Delivery{ID: id(noon, 8), Owner: owner, SentAt: noon, ExpiresAt: noon, CreatedAt: noon, LeasedUntil: noon + otp.Lease}
			held, err := s.Mark(&Mark{Owner: owner, Step: Stored, Delivery: &d, At: noon + otp.Lease})
			require.NoError(t, err)
			require.True(t, held)
		}
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM deliveries WHERE version = 1`))
		held, err := s.Mark(&Mark{ID: id(noon, 8), Owner: owner, Step: Ended, At: noon, Outcome: otp.OutcomeSent, Receipt: id(4, 1)})
		require.NoError(t, err)
		require.True(t, held)
	})
}

// Whoever takes over reads on from the watermark, and not all that was ever sent.
func TestWatermark_WhatIsBehindItIsFoundByItsIDOnSQLite(t *testing.T) {
	s := openTest(t, "sqlite:"+filepath.Join(t.TempDir(), "otp.db"), Options{})
	var steps []struct {
		ID, Parent, NotUsed int
		Detail              string
	}
	require.NoError(t, s.reads.Select(&steps, `EXPLAIN QUERY PLAN SELECT id FROM events `+watchedEvents, make([]byte, 16), make([]byte, 16), 10))
	require.Len(t, steps, 1, "nothing is sorted: %v", steps)
	require.Contains(t, steps[0].Detail, "SEARCH events USING PRIMARY KEY (id>?)")
}
