// Package load requests one-time codes from a server as fast as a given number of clients can, and reports cycles a
// second, latencies, and every wrong answer.
//
// A cycle is the work that one person causes: generate and validate, or send and verify at the JSON API, for a
// recipient that has not been used before. Each client keeps one connection and sends a request only after the answer
// to the last one, so the concurrency is the number of requests in flight. A server that stalls therefore gets fewer
// requests meanwhile: the latencies are those of these clients, not of independent arrivals.
//
// The status and text of every answer are checked, and wrong answers are counted by what they said. A quantile is
// never below the true one. The load takes less than 25 µs of CPU a request from the machine that it shares with the
// server: requests are prepared, answers are parsed in place, and nothing is allocated once the connections are open.
// It only speaks plain HTTP/1.1 with Content-Length.
//
// It does not read codes: the server must use one code for every challenge. Command line and output are elsewhere.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a run.
type Options struct {
	// URL is the server, http://host:port without a path.
	URL string
	// Cycle holds the steps that each client sends for each recipient, in order.
	Cycle []Step
	// Concurrency is the number of clients, at least 1.
	Concurrency int
	// Duration ends the run: no cycle begins after it. 0 means no limit.
	Duration time.Duration
	// Cycles also ends the run: at most this many cycles are begun. 0 means no limit; Duration or Cycles must be set.
	Cycles int
	// First is the index of the first recipient in the sequence of numbers; the run uses it and the following ones,
	// each once. For a second run against the same server, start at First + Result.Recipients.
	First int
	// Timeout is how long an answer may take before its connection counts as broken; the actual limit is between one
	// and two times this. 0 is ten seconds.
	Timeout time.Duration
	// Progress is called every second, one call at a time; may be nil.
	Progress func(Progress)
}

// Progress is the state of a run.
type Progress struct {
	Elapsed time.Duration
	Cycles  int     // completed so far
	Rate    float64 // cycles a second since the last call
	Failed  int     // wrong answers and broken or refused connections so far
	P50     time.Duration
	P99     time.Duration // of the right answers so far
}

// Result is the result of a run.
type Result struct {
	// Elapsed is from the first request to the last answer.
	Elapsed time.Duration
	// Cycles counts the cycles whose answers were all right.
	Cycles int
	// Recipients counts the numbers used: one for each cycle that was begun.
	Recipients int
	// Requests counts the requests sent, whatever the answers.
	Requests int
	// Connections counts the connections opened; more than the concurrency means that some were closed, by the server
	// or after a failure.
	Connections int
	// Steps are in the order of the cycle.
	Steps []StepResult
	// Latency is that of the right answers of all steps. Wrong ones are left out, because fast refusals would improve
	// the result.
	Latency *Histogram
	// Failures are the failures, most frequent first; empty if there were none.
	Failures []Failure
	// CPU is the CPU time of this whole process, 0 if the system cannot tell.
	CPU time.Duration
}

// StepResult is the result of one step of the cycle.
type StepResult struct {
	Name    string
	Right   int // answers with the right status and text
	Latency *Histogram
}

// CyclesPerSecond returns the throughput.
func (r *Result) CyclesPerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Cycles) / r.Elapsed.Seconds()
}

// CPUPerRequest returns the CPU time of this process per request, 0 if it is not known.
func (r *Result) CPUPerRequest() time.Duration {
	if r.Requests == 0 {
		return 0
	}
	return r.CPU / time.Duration(r.Requests)
}

// Failed returns the number of cycles that were not completed with right answers.
func (r *Result) Failed() int { return r.Recipients - r.Cycles }

// Run makes the load and returns when every cycle that was begun has ended. When ctx ends no further cycle begins.
//
// The error is for a run that could not begin: invalid options, or a server that accepts no connection. Everything
// that goes wrong later is counted in the result.
func Run(ctx context.Context, o Options) (*Result, error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	clients := make([]*client, o.Concurrency)
	defer func() {
		for _, c := range clients {
			c.close()
		}
	}()
	for i := range clients {
		clients[i] = r.newClient()
		if err := clients[i].connect(ctx); err != nil {
			return nil, fmt.Errorf("connect to %s: %w", r.address, err)
		}
	}

	r.begin(ctx, o.Duration)
	defer r.end()
	cpu := cpuTime()
	var working sync.WaitGroup
	for _, c := range clients {
		working.Go(c.work)
	}
	stopped := r.reportProgress(o.Progress)
	working.Wait()
	result := r.result()
	result.CPU = cpuTime() - cpu
	stopped()
	return result, nil
}

// run is the state that the clients of one run share.
type run struct {
	address string
	steps   []preparedStep
	first   int
	limit   int64 // cycles that may be begun
	timeout time.Duration

	ctx     context.Context // ends when no further cycle may begin
	end     context.CancelFunc
	over    atomic.Bool // ctx has ended; read more often than a channel allows
	started time.Time

	begun       atomic.Int64
	cycles      atomic.Int64
	requests    atomic.Int64
	connections atomic.Int64
	latency     Histogram
	stepLatency []Histogram
	failures    failures
}

func newRun(o Options) (*run, error) {
	target, err := url.Parse(o.URL)
	switch {
	case err != nil || target.Host == "":
		return nil, fmt.Errorf("%q is no URL of a server; write http://host:port", o.URL)
	case target.Scheme != "http":
		return nil, fmt.Errorf("load speaks plain http only, and the URL says %s", target.Scheme)
	case target.Path != "" && target.Path != "/":
		return nil, fmt.Errorf("the URL %q has a path; the steps of the cycle bring theirs", o.URL)
	case o.Concurrency < 1:
		return nil, errors.New("concurrency must be at least 1")
	case o.Duration <= 0 && o.Cycles <= 0:
		return nil, errors.New("a duration or a number of cycles must end the run")
	case len(o.Cycle) == 0:
		return nil, errors.New("the cycle has no steps")
	case o.First < 0 || o.First >= numbers || o.Cycles > numbers:
		return nil, fmt.Errorf("there are %d numbers, from 0", numbers)
	}
	port := target.Port()
	if port == "" {
		port = "80"
	}
	r := &run{
		address:     net.JoinHostPort(target.Hostname(), port),
		first:       o.First,
		limit:       int64(numbers),
		timeout:     o.Timeout,
		stepLatency: make([]Histogram, len(o.Cycle)),
	}
	if o.Cycles > 0 {
		r.limit = int64(o.Cycles)
	}
	if r.timeout <= 0 {
		r.timeout = 10 * time.Second
	}
	for _, step := range o.Cycle {
		r.steps = append(r.steps, step.prepare(target.Host))
	}
	return r, nil
}

func (r *run) begin(ctx context.Context, duration time.Duration) {
	if duration > 0 {
		r.ctx, r.end = context.WithTimeout(ctx, duration)
	} else {
		r.ctx, r.end = context.WithCancel(ctx)
	}
	context.AfterFunc(r.ctx, func() { r.over.Store(true) })
	r.started = time.Now()
}

// now returns the time since the run began.
func (r *run) now() time.Duration { return time.Since(r.started) }

// nextRecipient returns the index of one more cycle's recipient, unless the run is over.
func (r *run) nextRecipient() (place int, ok bool) {
	if r.over.Load() {
		return 0, false
	}
	n := r.begun.Add(1)
	if n > r.limit {
		r.begun.Add(-1)
		return 0, false
	}
	return (r.first + int(n) - 1) % numbers, true
}

// reportProgress calls report every second until stop is called.
func (r *run) reportProgress(report func(Progress)) (stop func()) {
	if report == nil {
		return func() {}
	}
	ended := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		last := Progress{}
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
			now := Progress{
				Elapsed: r.now(), Cycles: int(r.cycles.Load()), Failed: r.failures.count(),
				P50: r.latency.Quantile(0.50), P99: r.latency.Quantile(0.99),
			}
			now.Rate = float64(now.Cycles-last.Cycles) / (now.Elapsed - last.Elapsed).Seconds()
			report(now)
			last = now
		}
	})
	return func() {
		close(ended)
		reporting.Wait()
	}
}

func (r *run) result() *Result {
	result := &Result{
		Elapsed:     r.now(),
		Cycles:      int(r.cycles.Load()),
		Recipients:  int(r.begun.Load()),
		Requests:    int(r.requests.Load()),
		Connections: int(r.connections.Load()),
		Latency:     &r.latency,
		Failures:    r.failures.list(),
	}
	for i := range r.steps {
		latency := &r.stepLatency[i]
		result.Steps = append(result.Steps, StepResult{Name: r.steps[i].name, Right: latency.Count(), Latency: latency})
	}
	return result
}
