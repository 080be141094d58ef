package engine

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"otpbridge/server/otp"
)

// Whatever comes in which order: what has not ended and has no row is never before the bound, which
// never goes back, and nothing stays in its way once it has ended.
func TestWatermark_NeverPassesWhatIsUnderWayNorGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w watermark
		w.spoke.L = &w.mu
		leases := leases{held: map[otp.ID]otp.Millis{}}
		w.join(otp.ID{0: 1})
		under := map[otp.ID]*otp.Delivery{}
		now := otp.Millis(0)
		anyOf := func(t *rapid.T) otp.ID {
			if len(under) == 0 {
				t.Skip()
			}
			ids := make([]otp.ID, 0, len(under))
			for id := range under {
				ids = append(ids, id)
			}
			slices.SortFunc(ids, func(a, b otp.ID) int { return slices.Compare(a[:], b[:]) })
			return rapid.SampledFrom(ids).Draw(t, "which")
		}
		bound := w.bound
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				event := otp.ID{0: 1, 1: byte(rapid.IntRange(0, 255).Draw(t, "event")), 15: 0xff}
				var ids []otp.ID
				for _, medium := range rapid.SampledFrom([]otp.Channels{otp.SMS, otp.Email, otp.SMS | otp.Email}).Draw(t, "media").Each() {
					id := otp.DeliveryID(event, medium)
					if under[id] != nil {
						t.Skip()
					}
					ids = append(ids, id)
				}
				passed := before(otp.DeliveryID(event, 0), w.bound)
				told, watched := w.begin(ids, now)
				require.Equal(t, !passed, watched)
				for _, id := range ids {
					if watched {
						under[id] = &otp.Delivery{ID: id}
						require.False(t, before(id, told))
					}
				}
			},
			"carry": func(t *rapid.T) { id := anyOf(t); w.carry(&send{}, under[id]) },
			"abandon": func(t *rapid.T) {
				id := anyOf(t)
				w.carry(&send{}, under[id])
				w.reach(id, left)
				require.NotEmpty(t, w.abandoned(1000))
			},
			"end": func(t *rapid.T) {
				id := anyOf(t)
				require.True(t, w.sent(id))
				require.False(t, w.sent(id), "once")
				require.False(t, w.claim(id))
				delete(under, id)
			},
			"speak": func(t *rapid.T) {
				id := anyOf(t)
				require.True(t, w.claim(id))
				w.reach(id, ended)
				delete(under, id)
			},
			"slow": func(t *rapid.T) {
				now += otp.Millis(rapid.Int64Range(0, int64(watchFor)).Draw(t, "pause"))
				for _, row := range w.slow(now, 1000) {
					leased := rapid.Bool().Draw(t, "leased")
					row.LeasedUntil = now + otp.Lease
					w.heard(&row, leased, &leases)
					require.Equal(t, leased, leases.held[row.ID] != 0)
					if leased {
						delete(under, row.ID)
					}
				}
			},
			"": func(t *rapid.T) {
				require.False(t, before(w.bound, bound), "it goes back")
				bound = w.bound
				for id := range under {
					require.False(t, before(id, w.bound), "it has passed what is under way")
				}
				if len(under) == 0 {
					require.Empty(t, w.under)
					require.True(t, w.part(now))
					w.join(next(w.bound))
				}
			},
		})
	})
}

func TestNext_IsTheSmallestIDBehindAnother(t *testing.T) {
	require.Equal(t, otp.ID{15: 1}, next(otp.ID{}))
	require.Equal(t, otp.ID{14: 1}, next(otp.ID{15: 0xff}))
	id := otp.ID{3: 7, 14: 0xff, 15: 0xff}
	require.True(t, before(id, next(id)))
	require.Equal(t, otp.ID{3: 7, 13: 1}, next(id))
}
