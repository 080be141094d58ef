package deliver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Each row is a story: what happens to a circuit second by second.
func TestCircuit_TellsTheStory(t *testing.T) {
	type step struct {
		at     time.Duration
		do     string // ok, fail: admit and settle; begin N, ok N, fail N: separately; no: not admitted
		ticket int
	}
	options := BreakerOptions{Failures: 3, Pause: 10 * time.Second, Longest: 30 * time.Second}
	s := time.Second
	for name, steps := range map[string][]step{
		"failures that are not in a row open nothing": {
			{0, "fail", 0}, {0, "fail", 0}, {0, "ok", 0}, {0, "fail", 0}, {0, "fail", 0}, {0, "ok", 0},
		},
		"the third in a row opens, and the pause is kept to the millisecond": {
			{0, "fail", 0}, {0, "fail", 0}, {1 * s, "fail", 0}, {1 * s, "no", 0}, {11*s - 1, "no", 0}, {11 * s, "ok",
				0}, {11 * s, "ok", 0},
		},
		"a probe that fails doubles the pause, up to the longest": {
			{0, "fail", 0}, {0, "fail", 0}, {0, "fail", 0},
			{10 * s, "fail", 0}, {30*s - 1, "no", 0},
			{30 * s, "fail", 0}, {60*s - 1, "no", 0},
			{60 * s, "fail", 0}, {90*s - 1, "no", 0},
			{90 * s, "ok", 0}, {90 * s, "fail", 0}, {90 * s, "fail", 0}, {90 * s, "fail", 0}, {100*s - 1, "no", 0}, {100 * s,
				"ok", 0},
		},
		"one probe at a time": {
			{0, "fail", 0}, {0, "fail", 0}, {0, "fail", 0},
			{10 * s, "begin", 1}, {10 * s, "no", 0}, {99 * s, "no", 0}, {99 * s, "ok", 1}, {99 * s, "ok", 0},
		},
		"what began before it opened says nothing about afterwards": {
			{0, "begin", 1}, {0, "begin", 2}, {0, "fail", 0}, {0, "fail", 0}, {0, "fail", 0},
			{5 * s, "ok", 1}, {5 * s, "no", 0}, {10 * s, "begin", 3}, {11 * s, "fail", 2}, {12 * s, "ok", 3}, {12 * s, "ok", 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := circuit{options: options}
			start := time.Unix(1_800_000_000, 0)
			tickets := make(map[int]ticket)
			for i, step := range steps {
				now := start.Add(step.at)
				switch {
				case step.do == "no":
					_, admitted := c.admit(now)
					require.False(t, admitted, "step %d", i)
				case step.do == "begin" || step.ticket == 0:
					given, admitted := c.admit(now)
					require.True(t, admitted, "step %d", i)
					if step.do == "begin" {
						tickets[step.ticket] = given
					} else {
						c.settle(given, step.do == "fail", now, 0)
					}
				default:
					c.settle(tickets[step.ticket], step.do == "fail", now, 0)
				}
			}
		})
	}
}

func TestCircuit_ChanceShortensThePauseByUpToHalf(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for chance, pause := range map[float64]time.Duration{0: 10 * time.Second, 0.5: 7500 * time.Millisecond,
		1: 5 * time.Second} {
		c := circuit{options: BreakerOptions{Failures: 1, Pause: 10 * time.Second, Longest: time.Minute}}
		given, _ := c.admit(now)
		c.settle(given, true, now, chance)
		_, early := c.admit(now.Add(pause - 1))
		require.False(t, early)
		_, admitted := c.admit(now.Add(pause))
		require.True(t, admitted)
	}
}

// flaky is a channel with given results; the last one repeats.
type flaky struct {
	results []Result
	calls   int
	hangs   time.Duration
}

func (f *flaky) Name() string { return "flaky" }
func (f *flaky) Waits() bool  { return true }
func (f *flaky) Send(context.Context, Message) Result {
	time.Sleep(f.hangs)
	result := f.results[min(f.calls, len(f.results)-1)]
	f.calls++
	if result.Outcome == 0 {
		panic("broken")
	}
	return result
}

func TestBreaker_StopsAskingAProviderThatIsDown(t *testing.T) {
	for name, tt := range map[string]struct {
		result Result
		opens  bool
	}{
		"not reached":              {unreachable("the connection was refused"), true},
		"nobody knows":             {doubtful("the time is over"), true},
		"a panic":                  {Result{}, true},
		"refused for the message":  {refused("refused RCPT with reply 550"), false},
		"put off for the message":  {Result{Outcome: NotSent, Retryable: true}, false},
		"refused for the provider": {Result{Outcome: NotSent, Down: true}, true},
		"sent":                     {Result{Outcome: Sent}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				behind := &flaky{results: []Result{tt.result}, hangs: time.Second}
				breaker := NewBreaker(behind, BreakerOptions{})
				send := func() (result Result) {
					defer func() { _ = recover() }()
					return breaker.Send(t.Context(), Message{})
				}
				for range 5 {
					require.Equal(t, tt.result, send())
				}
				began := time.Now()
				result := send()
				if !tt.opens {
					require.Equal(t, tt.result, result)
					require.Equal(t, 6, behind.calls)
					return
				}
				require.Equal(t, Result{Outcome: NotSent, Retryable: true,
					Reason: "flaky failed again and again and is given a pause"}, result)
				require.Zero(t, time.Since(began), "the next channel is tried at once")
				require.Equal(t, 5, behind.calls)

				behind.results = []Result{{Outcome: Sent}}
				time.Sleep(5 * time.Second)
				require.Equal(t, Result{Outcome: Sent}, send())
				require.Equal(t, Result{Outcome: Sent}, send())
			})
		})
	}
}
