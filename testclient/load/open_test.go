package load

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func driveOpen(t *testing.T, s *target, o OpenOptions) *OpenResult {
	t.Helper()
	o.URL, o.Cycle = s.URL, servlets.Cycle()
	result, err := RunOpen(t.Context(), o)
	require.NoError(t, err)
	counted := result.Good + result.Refused + result.TimedOut + result.Wrong + result.Skipped
	require.Equal(t, result.Offered, counted, "each is counted once")
	require.Equal(t, result.Good, result.Latency.Count()+result.Calm.Count())
	require.Equal(t, result.Good, result.Steps[0].Right+result.Steps[1].Right)
	return result
}

func TestRunOpen_AsksByTheScheduleAndCountsWhatComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, n int64) bool
		count  func(r *OpenResult) int
	}{
		"503": {func(w http.ResponseWriter, _ int64) bool { w.WriteHeader(503); return true },
			func(r *OpenResult) int { return r.Refused }},
		"ERROR": {func(w http.ResponseWriter, _ int64) bool { io.WriteString(w, "ERROR\r\n"); return true },
			func(r *OpenResult) int { return r.Refused }},
		"another text": {func(w http.ResponseWriter, _ int64) bool { io.WriteString(w, "Wrong PIN"); return true },
			func(r *OpenResult) int { return r.Wrong }},
		"a connection that breaks": {func(http.ResponseWriter, int64) bool { panic(http.ErrAbortHandler) },
			func(r *OpenResult) int { return r.Wrong }},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			s := newTarget(t, func(w http.ResponseWriter, _ *http.Request) bool { return c.answer(w, asked.Add(1)) })
			result := driveOpen(t, s, OpenOptions{Rate: 200, Duration: 100 * time.Millisecond, Patience: time.Minute})
			require.Equal(t, 20, result.Offered, "what follows a bad answer is not asked")
			require.Equal(t, 20, c.count(result))
		})
	}
	s := newTarget(t, nil)
	result := driveOpen(t, s, OpenOptions{
		Rate: 200, Duration: 100 * time.Millisecond, Calm: 100, CalmFor: 100 * time.Millisecond, Patience: time.Minute,
	})
	require.Equal(t, 2*(20+10), result.Offered)
	require.Equal(t, result.Offered, result.Good)
	require.Zero(t, result.Recovery)
	sum := 0
	for _, good := range result.Seconds {
		sum += good
	}
	require.Equal(t, result.Good, sum)
}

// A server that stalls still gets requests, and its clients give up.
func TestRunOpen_AServerThatStallsCannotHideIt(t *testing.T) {
	release := make(chan struct{})
	s := newTarget(t, func(http.ResponseWriter, *http.Request) bool { <-release; return false })
	result := driveOpen(t, s, OpenOptions{
		Rate: 100, Duration: 100 * time.Millisecond, Patience: 50 * time.Millisecond, Clients: 4,
	})
	close(release)
	require.Equal(t, 10, result.Offered, "the schedule does not wait")
	require.Zero(t, result.Good)
	require.Equal(t, 10, result.TimedOut+result.Skipped)
	require.Positive(t, result.TimedOut)
	require.EqualValues(t, -1, result.Recovery)
}

// The i-th of rate cycles a second is due after i/rate seconds, however long the run.
func TestOpenOptions_KeepTheRate(t *testing.T) {
	for _, c := range []struct {
		o             OpenOptions
		loaded, calms int
	}{
		{OpenOptions{Rate: 1, Duration: time.Second}, 1, 0},
		{OpenOptions{Rate: 1, Duration: time.Second + 1}, 2, 0},
		{OpenOptions{Rate: 3, Duration: time.Second}, 3, 0},
		{OpenOptions{Rate: 7, Duration: 10 * time.Second}, 70, 0},
		{OpenOptions{Rate: 1000, Duration: 10 * time.Second}, 10_000, 0},
		{OpenOptions{Rate: 1750, Duration: 10 * time.Second}, 17_500, 0},
		{OpenOptions{Rate: 15_000, Duration: time.Minute}, 900_000, 0},
		{OpenOptions{Rate: 19_999, Duration: time.Minute}, 60 * 19_999, 0},
		{OpenOptions{Rate: 20_000, Duration: time.Minute}, 1_200_000, 0},
		{OpenOptions{Rate: 999, Duration: 33 * time.Millisecond}, 33, 0},
		{OpenOptions{Rate: 7, Duration: time.Second, Calm: 3, CalmFor: 2 * time.Second}, 7, 6},
		{OpenOptions{Rate: 1700, Duration: 10 * time.Second, Calm: 10, CalmFor: 5 * time.Second}, 17_000, 50},
		{OpenOptions{Rate: 10, Duration: time.Second, Calm: 3}, 10, 0},
		{OpenOptions{Rate: 10, Duration: time.Second, CalmFor: time.Second}, 10, 0},
		{OpenOptions{Rate: 3, Duration: 500 * time.Millisecond, Calm: 1, CalmFor: time.Millisecond}, 2, 1},
	} {
		for _, i := range []int{0, 1, c.loaded / 3, c.loaded / 2, c.loaded - 1} {
			if i >= c.loaded {
				continue
			}
			at, ok := c.o.moment(i)
			require.True(t, ok, "%+v", c.o)
			require.Less(t, at, c.o.Duration, "%+v", c.o)
			require.InDelta(t, float64(i)/float64(c.o.Rate), at.Seconds(), 1e-8, "%+v", c.o)
		}
		for i := range c.calms {
			at, ok := c.o.moment(c.loaded + i)
			require.True(t, ok, "%+v", c.o)
			require.InDelta(t, float64(i)/float64(c.o.Calm), (at - c.o.Duration).Seconds(), 1e-8, "%+v", c.o)
		}
		_, ok := c.o.moment(c.loaded + c.calms)
		require.False(t, ok, "%+v", c.o)
	}
}

// Latency counts from the scheduled moment. Of 25 requests, 10 ms apart, the first is answered only after the last has
// come: each has waited for the rest of the schedule.
func TestRunOpen_LatencyCountsFromTheScheduledMoment(t *testing.T) {
	const requests, apart = 25, 10 * time.Millisecond
	var arrived atomic.Int64
	all := make(chan struct{})
	s := newTarget(t, func(http.ResponseWriter, *http.Request) bool {
		if arrived.Add(1) == requests {
			close(all)
		}
		<-all
		return false
	})
	result, err := RunOpen(t.Context(), OpenOptions{
		URL: s.URL, Cycle: servlets.Cycle()[:1], Rate: int(time.Second / apart), Duration: requests * apart,
		Patience: time.Minute,
	})
	require.NoError(t, err)
	require.Equal(t, requests, result.Good)
	for i := 1; i < requests; i++ {
		least := time.Duration(i) * apart // only i of them were scheduled less than that before the last
		require.GreaterOrEqual(t, result.Latency.Quantile(float64(i+1)/requests), least)
	}
}

// A request that is sent late has been waiting since its scheduled moment, and so has its client's patience.
func TestRunOpen_ALateStartIsPartOfTheLatency(t *testing.T) {
	s := newTarget(t, nil)
	for late, good := range map[time.Duration]int64{
		0: 1, time.Second: 1, time.Minute: 1, 59 * time.Minute: 1, time.Hour + time.Second: 0, 24 * time.Hour: 0,
	} {
		o := OpenOptions{URL: s.URL, Cycle: servlets.Cycle()[:1], Rate: 1, Duration: time.Second, Patience: time.Hour}
		shared, err := newRun(Options{URL: o.URL, Cycle: o.Cycle, Concurrency: 1, Duration: o.Duration, Timeout: o.Patience})
		require.NoError(t, err)
		r := &openRun{run: shared, options: o, seconds: make([]atomic.Int64, 1)}
		r.begin(t.Context(), 0)
		r.started = r.started.Add(-late)
		c := r.newClient()
		require.NoError(t, c.connect(t.Context()))
		r.cycle(c, 0)
		c.close()
		r.end()
		require.Equal(t, good, r.good.Load(), late)
		require.Equal(t, 1-good, r.timedOut.Load(), late)
		if good == 1 {
			require.GreaterOrEqual(t, r.latency.Max(), late)
		}
	}
}

// No more clients wait at once than allowed, and the run ends with its context.
func TestRunOpen_Bounds(t *testing.T) {
	for _, clients := range []int{1, 2, 3, 8} {
		var within, most atomic.Int64
		s := newTarget(t, func(http.ResponseWriter, *http.Request) bool {
			now := within.Add(1)
			defer within.Add(-1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			time.Sleep(5 * time.Millisecond)
			return false
		})
		result := driveOpen(t, s, OpenOptions{
			Rate: 2000, Duration: 50 * time.Millisecond, Clients: clients, Patience: time.Minute,
		})
		require.LessOrEqual(t, most.Load(), int64(clients))
		require.LessOrEqual(t, len(s.generated), 100, "as many as were scheduled")
		require.Positive(t, result.Skipped)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := newTarget(t, func(http.ResponseWriter, *http.Request) bool { cancel(); return false })
	result, err := RunOpen(ctx, OpenOptions{URL: s.URL, Cycle: servlets.Cycle(), Rate: 10, Duration: time.Hour})
	require.NoError(t, err)
	require.Equal(t, result.Offered, result.Good, "what was begun is ended")
	for _, o := range []OpenOptions{{}, {Rate: 1}, {Rate: -1, Duration: 1}, {Duration: 1}, {Rate: 1, Duration: -1}} {
		o.URL, o.Cycle = s.URL, servlets.Cycle()
		_, err := RunOpen(t.Context(), o)
		require.Error(t, err)
	}
}
