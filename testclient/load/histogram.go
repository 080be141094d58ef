package load

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram counts durations in buckets whose width grows with the value: 64 per doubling, so a duration is known to
// within 1/64 (1.6 %) of itself, from a nanosecond to the eighteen minutes of the last bucket, in 18 KB whatever the
// count. The layout is that of Gil Tene's HdrHistogram.
//
// The zero value is ready to use. It is safe for concurrent use and must not be copied.
type Histogram struct {
	buckets [bucketCount]atomic.Uint64
	count   atomic.Uint64
	highest atomic.Uint64
}

const (
	precisionBits = 6 // 64 buckets per doubling
	longestBits   = 40
	bucketCount   = (longestBits - precisionBits + 1) << precisionBits
)

// Record counts one duration. A negative one counts as 0, and one beyond the last bucket counts in that bucket.
func (h *Histogram) Record(d time.Duration) {
	nanos := uint64(max(0, d))
	h.buckets[bucketOf(nanos)].Add(1)
	h.count.Add(1)
	for {
		highest := h.highest.Load()
		if nanos <= highest || h.highest.CompareAndSwap(highest, nanos) {
			return
		}
	}
}

// bucketOf returns the index of a value's bucket. Values below 128 have one each; above, the bucket is the value's
// exponent and the six bits after its first.
func bucketOf(nanos uint64) int {
	nanos = min(nanos, 1<<longestBits-1)
	shift := max(0, bits.Len64(nanos)-precisionBits-1)
	return shift<<precisionBits + int(nanos>>shift)
}

// upperEnd returns the largest value of a bucket.
func upperEnd(bucket int) uint64 {
	shift := max(0, bucket>>precisionBits-1)
	first := uint64(bucket - shift<<precisionBits)
	return (first+1)<<shift - 1
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() int { return int(h.count.Load()) }

// Max returns the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.highest.Load()) }

// Quantile returns a duration that the fraction q of all did not exceed, 0 if nothing was recorded. It is at least the
// true quantile and at most 1/64 above it. During concurrent recording it is that of some moment within the call.
func (h *Histogram) Quantile(q float64) time.Duration {
	// The rank counts from 1: of 1000, the 990th smallest is the 0.99 quantile. 1e-6 is subtracted because 0.99 has no
	// exact binary form, and times 1000 may be slightly more than 990.
	rank := uint64(math.Ceil(q*float64(h.count.Load()) - 1e-6))
	rank = max(rank, 1)
	seen := uint64(0)
	for bucket := range h.buckets {
		seen += h.buckets[bucket].Load()
		if seen >= rank && bucket < bucketCount-1 {
			return time.Duration(min(upperEnd(bucket), h.highest.Load()))
		}
	}
	return h.Max()
}

// Band is a part of a histogram.
type Band struct {
	From, To time.Duration // From is inclusive, To is not
	Count    int
}

// Bands sums the histogram up by doublings of a microsecond, from the first non-empty band to the last; durations
// below a microsecond are in one band.
func (h *Histogram) Bands() []Band {
	var bands []Band
	for bucket := range h.buckets {
		n := int(h.buckets[bucket].Load())
		upper := upperEnd(bucket)
		if len(bands) == 0 && n == 0 {
			continue
		}
		if len(bands) == 0 || time.Duration(upper) >= bands[len(bands)-1].To {
			bands = append(bands, bandOf(upper))
		}
		bands[len(bands)-1].Count += n
	}
	for len(bands) > 0 && bands[len(bands)-1].Count == 0 {
		bands = bands[:len(bands)-1]
	}
	return bands
}

// bandOf returns the empty band of a value. Its ends are powers of two of nanoseconds, so that no bucket is in two
// bands; 1024 ns count as a microsecond.
func bandOf(nanos uint64) Band {
	const first = 10 // 1024 ns
	exponent := bits.Len64(nanos)
	if exponent <= first {
		return Band{From: 0, To: 1 << first}
	}
	return Band{From: 1 << (exponent - 1), To: 1 << exponent}
}
