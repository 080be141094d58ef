package load

import (
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

// A server that stalls is asked all the same, and its clients give up.
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
