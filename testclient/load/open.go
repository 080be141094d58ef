package load

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// OpenOptions configure a run in which requests come by a schedule, whatever the server does.
type OpenOptions struct {
	// URL, Cycle and First are those of Options.
	URL   string
	Cycle []Step
	First int
	// Rate is how many cycles begin per second, and Duration for how long.
	Rate     int
	Duration time.Duration
	// Calm is how many begin per second afterwards, for CalmFor: it shows when the server recovers. If either is 0
	// there is no such phase.
	Calm    int
	CalmFor time.Duration
	// Patience is how long a client waits for an answer before it hangs up. 0 is 3 s.
	Patience time.Duration
	// Clients is how many clients may wait at once; a cycle for which none is free is counted as Skipped. 0 is 4096.
	Clients int
}

// moment returns when the i-th cycle is scheduled, counted from 0; false after the last one.
func (o *OpenOptions) moment(i int) (at time.Duration, ok bool) {
	if at = every(i, o.Rate); at < o.Duration {
		return at, true
	}
	if o.Calm < 1 {
		return 0, false
	}
	loaded := int((o.Duration*time.Duration(o.Rate) + time.Second - 1) / time.Second)
	at = every(i-loaded, o.Calm)
	return o.Duration + at, at < o.CalmFor
}

// every returns when the i-th cycle of rate cycles per second is due. It is computed from the start each time, because
// the rounding of a pause would add up.
func every(i, rate int) time.Duration { return time.Duration(i) * time.Second / time.Duration(rate) }

// OpenResult is the result of an open run. It counts requests, not cycles.
type OpenResult struct {
	Elapsed  time.Duration
	Offered  int // scheduled cycles, and the steps after a good answer
	Good     int // right answers within Patience
	Refused  int // answers that the server is busy: 503, or ERROR
	TimedOut int
	Wrong    int // every other answer, and broken connections
	Skipped  int // scheduled when no client was free
	// Steps are in the order of the cycle, with their good answers.
	Steps []StepResult
	// Latency is that of the good answers to what was scheduled under load, from the scheduled moment of the request
	// and not from when it could be sent, so that a server which stalls cannot hide it. Calm is the same for what was
	// scheduled afterwards.
	Latency, Calm *Histogram
	// Seconds are the good answers of each second of the run.
	Seconds []int
	// Recovery is from the end of the load to the last request scheduled after it that had no good answer, 0 if all
	// had; negative without a calm phase.
	Recovery time.Duration
}

// openRun is the state that the clients of an open run share.
type openRun struct {
	*run
	options                                          OpenOptions
	offered, good, refused, timedOut, wrong, skipped atomic.Int64
	calm                                             Histogram
	seconds                                          []atomic.Int64
	// lastBad is the scheduled moment of the last request without a good answer, in nanoseconds.
	lastBad atomic.Int64
	free    chan *client
	clients []*client
}

// RunOpen begins cycles by a schedule that does not depend on the answers, and returns when all have ended. So an
// overloaded server gets the load that it would get in production. A closed loop would send less to a slow server and
// report better latencies.
func RunOpen(ctx context.Context, o OpenOptions) (*OpenResult, error) {
	if o.Rate < 1 || o.Duration <= 0 {
		return nil, errors.New("an open run needs a rate of at least 1 and a duration")
	}
	if o.Patience <= 0 {
		o.Patience = 3 * time.Second
	}
	if o.Clients <= 0 {
		o.Clients = 4096
	}
	shared, err := newRun(Options{
		URL: o.URL, Cycle: o.Cycle, First: o.First, Concurrency: 1, Duration: o.Duration, Timeout: o.Patience,
	})
	if err != nil {
		return nil, err
	}
	r := &openRun{run: shared, options: o, free: make(chan *client, o.Clients)}
	r.seconds = make([]atomic.Int64, int((o.Duration+o.CalmFor+2*o.Patience)/time.Second)+2)
	first := r.newClient()
	if err := first.connect(ctx); err != nil {
		return nil, err
	}
	r.free <- first
	r.clients = append(r.clients, first)
	r.begin(ctx, 0) // the schedule ends it, however late it is served
	defer r.end()
	var working sync.WaitGroup
	for i := 0; ; i++ {
		scheduled, more := o.moment(i)
		if !more || r.wait(scheduled) {
			break
		}
		r.offered.Add(1)
		if c := r.client(); c != nil {
			working.Go(func() {
				r.cycle(c, scheduled)
				r.free <- c
			})
		} else {
			r.skipped.Add(1)
			r.bad(scheduled)
		}
	}
	working.Wait()
	for _, c := range r.clients {
		c.close()
	}
	return r.outcome(), nil
}

// wait sleeps until a moment of the run; true if the run ended meanwhile.
func (r *openRun) wait(until time.Duration) (ended bool) {
	if pause := until - r.now(); pause > 0 {
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
		}
	}
	return r.ctx.Err() != nil
}

// client returns a free client, nil if there is none.
func (r *openRun) client() *client {
	select {
	case c := <-r.free:
		return c
	default:
	}
	if len(r.clients) == r.options.Clients {
		return nil
	}
	c := r.newClient()
	r.clients = append(r.clients, c)
	return c
}

// cycle sends the steps one after the other until one has no good answer.
func (r *openRun) cycle(c *client, scheduled time.Duration) {
	place := (r.first + int(r.begun.Add(1)) - 1) % numbers
	for i := range c.steps {
		if i > 0 {
			r.offered.Add(1)
			scheduled = r.now()
		}
		if !r.ask(c, i, place, scheduled) {
			r.bad(scheduled)
			return
		}
	}
}

// ask sends one step's request and counts the result; true for a good answer.
func (r *openRun) ask(c *client, i, place int, scheduled time.Duration) bool {
	step := &c.steps[i]
	step.address(place)
	a, err := r.exchange(c, step, scheduled)
	answered := r.now()
	if err != nil || a.closes {
		defer c.close()
	}
	network := net.Error(nil)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		r.timedOut.Add(1)
	case err != nil:
		r.wrong.Add(1)
	case a.status == 503, string(trimmed(a.body)) == "ERROR":
		r.refused.Add(1)
	case a.status != step.status, !step.answeredBy(a.body):
		r.wrong.Add(1)
	default:
		r.good.Add(1)
		latency := &r.latency
		if scheduled >= r.options.Duration {
			latency = &r.calm
		}
		latency.Record(answered - scheduled)
		r.stepLatency[i].Record(answered - scheduled)
		r.seconds[min(int(answered/time.Second), len(r.seconds)-1)].Add(1)
		return true
	}
	return false
}

// exchange is client.exchange with a deadline Patience after the scheduled moment.
func (r *openRun) exchange(c *client, step *preparedStep, scheduled time.Duration) (answer, error) {
	deadline := r.started.Add(scheduled + r.options.Patience)
	if c.conn == nil {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		if err := c.connect(ctx); err != nil {
			return answer{}, err
		}
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return answer{}, err
	}
	c.deadline = 1 << 62 // it is set
	return c.exchange(step.request, 0)
}

func (r *openRun) bad(scheduled time.Duration) {
	for last := r.lastBad.Load(); last < int64(scheduled); last = r.lastBad.Load() {
		if r.lastBad.CompareAndSwap(last, int64(scheduled)) {
			return
		}
	}
}

func trimmed(body []byte) []byte {
	for len(body) > 0 && (body[len(body)-1] == '\n' || body[len(body)-1] == '\r') {
		body = body[:len(body)-1]
	}
	return body
}

func (r *openRun) outcome() *OpenResult {
	result := &OpenResult{
		Elapsed: r.now(), Offered: int(r.offered.Load()), Good: int(r.good.Load()), Refused: int(r.refused.Load()),
		TimedOut: int(r.timedOut.Load()), Wrong: int(r.wrong.Load()), Skipped: int(r.skipped.Load()),
		Latency: &r.latency, Calm: &r.calm, Recovery: -1,
	}
	for i := range r.steps {
		latency := &r.stepLatency[i]
		result.Steps = append(result.Steps, StepResult{Name: r.steps[i].name, Right: latency.Count(), Latency: latency})
	}
	for i := range r.seconds {
		if time.Duration(i)*time.Second < result.Elapsed {
			result.Seconds = append(result.Seconds, int(r.seconds[i].Load()))
		}
	}
	if r.options.Calm > 0 && r.options.CalmFor > 0 {
		result.Recovery = max(0, time.Duration(r.lastBad.Load())-r.options.Duration)
	}
	return result
}
