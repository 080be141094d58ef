package load

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistogram_AQuantileIsNeverFlatteredAndWithinOneSixtyFourth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"a few nanoseconds": func() time.Duration { return time.Duration(random.IntN(200)) },
		"milliseconds":      func() time.Duration { return time.Duration(random.ExpFloat64() * float64(2*time.Millisecond)) },
		"every magnitude":   func() time.Duration { return time.Duration(1) << random.IntN(40) },
		"all the same":      func() time.Duration { return 1234567 },
		"minutes":           func() time.Duration { return time.Duration(random.Int64N(int64(18 * time.Minute))) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 99, 100, 101, 1000, 30_000} {
				h := new(Histogram)
				all := make([]time.Duration, n)
				for i := range all {
					all[i] = draw()
					h.Record(all[i])
				}
				slices.Sort(all)
				for _, permille := range []int{0, 1, 500, 900, 990, 999, 1000} {
					// The smallest value that so many of a thousand do not exceed, in whole numbers.
					exact := all[max(0, (n*permille+999)/1000-1)]
					got := h.Quantile(float64(permille) / 1000)
					require.GreaterOrEqual(t, got, exact, "%d of 1000 of %d", permille, n)
					require.LessOrEqual(t, got, exact+exact/64, "%d of 1000 of %d", permille, n)
				}
				require.Equal(t, n, h.Count())
				require.Equal(t, all[n-1], h.Max())
			}
		})
	}
}

func TestHistogram_BucketsFollowEachOtherWithoutGaps(t *testing.T) {
	next := uint64(0)
	for bucket := range bucketCount {
		require.Equal(t, bucket, bucketOf(next), "the first value of bucket %d", bucket)
		require.Equal(t, bucket, bucketOf(upperEnd(bucket)), "and the last")
		next = upperEnd(bucket) + 1
	}
	require.Equal(t, uint64(1)<<longestBits, next)
}

func TestHistogram_WhatIsOutOfRangeIsKept(t *testing.T) {
	h := new(Histogram)
	require.Zero(t, h.Quantile(0.5))
	require.Empty(t, h.Bands())
	h.Record(-time.Second)
	require.Zero(t, h.Quantile(1))
	h.Record(time.Hour)
	require.Equal(t, time.Hour, h.Quantile(1), "beyond the last bucket there is still the longest")
}

func TestHistogram_BandsAreDoublingsAndHoldEverything(t *testing.T) {
	h := new(Histogram)
	for _, d := range []time.Duration{3, 900, 1023, 1024, 2047, 2048, 5000, 1 << 20} {
		h.Record(d)
	}
	bands := h.Bands()
	require.Equal(t, []Band{{0, 1024, 3}, {1024, 2048, 2}, {2048, 4096, 1}, {4096, 8192, 1}}, bands[:4])
	require.Equal(t, Band{1 << 20, 1 << 21, 1}, bands[len(bands)-1])
	sum := 0
	for i, band := range bands {
		sum += band.Count
		require.True(t, i == 0 || bands[i-1].To == band.From)
	}
	require.Equal(t, h.Count(), sum)
}

func TestHistogram_CountsAllOfManyAtOnceRace(t *testing.T) {
	h := new(Histogram)
	var recording sync.WaitGroup
	for i := range 8 {
		recording.Go(func() {
			for j := range 1000 {
				h.Record(time.Duration(1000*i + j))
				if j%100 == 0 {
					h.Quantile(0.5)
				}
			}
		})
	}
	recording.Wait()
	require.Equal(t, 8000, h.Count())
	require.Equal(t, time.Duration(7999), h.Max())
}
