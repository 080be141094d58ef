// Package load asks a server for one-time codes as fast as a given number of clients can, and
// says how that went: cycles a second, how long answers took, and every answer that was not the
// right one.
//
// A cycle is what one person costs a server: generate and validate, or send and verify at the JSON
// API, for a recipient that nobody asked about before. Each client has a connection of its own that it keeps, and
// sends a request only after the last one was answered, so the concurrency is the number of requests in flight. That
// also means that a server which stalls is asked less while it does: the latencies are what these clients saw, not
// what independent arrivals would have seen.
//
// It promises that every answer's status and text is checked and each wrong one counted under
// what it said, that a quantile is never flattered, and that it takes little of the machine it
// shares with the server, less than 25 µs of CPU a request: requests are laid out beforehand,
// answers are parsed where they were read, and nothing is allocated once the connections are
// open. It speaks no more HTTP than that takes: plain HTTP/1.1, answers with a Content-Length.
//
// The code is not read from anywhere: the server is told to use one code for everybody, or the
// target is not a servlet server at all. Printing and the command line are left to others.
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

// Options say what is asked, by how many and for how long.
type Options struct {
	// URL is the server, http://host:port without a path.
	URL string
	// Cycle is what each client sends for each recipient, in this order.
	Cycle []Step
	// Concurrency is the number of clients, at least 1.
	Concurrency int
	// Duration ends the run: no cycle begins after it. 0 sets no end.
	Duration time.Duration
	// Cycles ends the run too: no more than these are begun. 0 sets no end; one of both must.
	Cycles int
	// First is the place of the first recipient in the sequence of numbers; the run uses this one
	// and the following, each once. Whoever runs twice against one server begins where the first
	// run ended, at First + Result.Recipients.
	First int
	// Timeout is how long an answer may take before its connection counts as broken; it strikes
	// between this and twice this. 0 is ten seconds.
	Timeout time.Duration
	// Progress is told every second how far the run is, one call at a time; nil for nobody.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Elapsed time.Duration
	Cycles  int     // whole ones so far
	Rate    float64 // cycles a second since the last time
	Failed  int     // wrong answers and broken or refused connections so far
	P50     time.Duration
	P99     time.Duration // of the right answers so far
}

// Result is how a run went.
type Result struct {
	// Elapsed is from the first request to the last answer.
	Elapsed time.Duration
	// Cycles counts those whose every answer was right.
	Cycles int
	// Recipients counts the numbers that were used: one for each cycle that was begun.
	Recipients int
	// Requests counts those that were sent, whatever came back.
	Requests int
	// Connections counts those that were opened; more than the concurrency means that some were
	// closed, by the server or after a failure.
	Connections int
	// Steps are in the order of the cycle.
	Steps []StepResult
	// Latency is of the right answers of all steps. Wrong ones are left out: a refusal that
	// comes quickly would flatter the rest.
	Latency *Histogram
	// Failures are what went wrong, the most frequent first; empty if nothing did.
	Failures []Failure
	// CPU is what this whole process used meanwhile, 0 where the system cannot tell.
	CPU time.Duration
}

// StepResult is how one step of the cycle went.
type StepResult struct {
	Name    string
	Right   int // answers with the right status and text
	Latency *Histogram
}

// CyclesPerSecond is the throughput.
func (r *Result) CyclesPerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Cycles) / r.Elapsed.Seconds()
}

// CPUPerRequest is what the load itself cost this process, 0 where that is not known.
func (r *Result) CPUPerRequest() time.Duration {
	if r.Requests == 0 {
		return 0
	}
	return r.CPU / time.Duration(r.Requests)
}

// Failed counts the cycles that did not end well.
func (r *Result) Failed() int { return r.Recipients - r.Cycles }

// Run drives the load and returns when every cycle that was begun has ended. When ctx ends no
// further cycle begins.
//
// The error is for a run that could not begin: options that make no sense, or a server that
// takes no connection. Whatever goes wrong after that is counted in the result.
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

// run is what the clients of one run share.
type run struct {
	address string
	steps   []preparedStep
	first   int
	limit   int64 // cycles that may be begun
	timeout time.Duration

	ctx     context.Context // ends when no further cycle may begin
	end     context.CancelFunc
	over    atomic.Bool // ctx has ended; looked at far more often than a channel allows
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

// now is the time since the run began.
func (r *run) now() time.Duration { return time.Since(r.started) }

// nextRecipient hands out the number of one more cycle, unless the run is over.
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

// reportProgress calls report every second until the function it returns is called.
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
