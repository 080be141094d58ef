//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
	"otpbridge/testclient/load"
)

// The overload experiment: a server with slow commits gets many times the requests that it can serve. They come on a
// fixed schedule, independent of the answers, from clients that give up after three seconds.

// slowCommit makes every COMMIT take that much longer.
func slowCommit(by time.Duration) sqltest.Mutation {
	return sqltest.Mutation{File: "writer.go", Change: func(t testing.TB, source string) string {
		t.Helper()
		return beforeCommit(t, source, fmt.Sprintf("time.Sleep(%d)", by))
	}}
}

// queueOf changes the queue's source: in each pair the first text is replaced by the second.
func queueOf(pairs ...string) sqltest.Mutation {
	return sqltest.Mutation{File: "queue.go", Change: func(t testing.TB, source string) string {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			source = sqltest.Replace(t, source, pairs[i], pairs[i+1], 1)
		}
		return source
	}}
}

var (
	// smallBatch limits the capacity: a commit takes 20 ms and has four operations.
	smallBatch = []string{"maxBatch    = 256 ", "maxBatch    = 4 "}
	// workedOff is a queue of 4,096 that is served in order, also for callers that have given up.
	workedOff = append([]string{
		"	if q.pace <= 0 {\n", "	if q.pace >= 0 {\n",
		"latest.After(op.deadline)", "latest.Before(time.Time{})",
	}, smallBatch...)
)

// overload has the results of an overloaded server.
type overload struct {
	capacity float64 // the most good answers a second at rates that rose until there were no more
	load     *load.OpenResult
	during   time.Duration   // how long the load lasted, without the calm
	sum      load.OpenResult // of all runs on the server
	rightOf  map[string]int  // good answers of all runs, by step
	probed   probed
}

// probed has the results of ten probes a second under load.
type probed struct {
	resident       int           // bytes, at most
	ready, unready int           // answers of /readyz
	sent           int           // sends that /v1 took
	busy, silent   int           // those that it refused with 503 and Retry-After, and without
	slowest        time.Duration // of these refusals
}

func (o *overload) goodput() float64   { return perSecond(o.load, o.during) }
func (o *overload) share() float64     { return o.goodput() / o.capacity }
func (o *overload) p99() time.Duration { return o.load.Latency.Quantile(0.99) }

// times returns how many times the capacity was offered, in requests.
func (o *overload) times() float64 {
	return float64(o.load.Offered-o.load.Calm.Count()) / o.during.Seconds() / o.capacity
}

func (o *overload) String() string {
	r, milli := o.load, time.Millisecond
	text := fmt.Sprintf("offered %d, good %d, refused %d, timed out %d, wrong %d, without a client %d; "+
		"p50 %v, p99 %v (%s %v, %s %v); resident %d MB; ready in %d of %d answers; "+
		"/v1 took %d and refused %d with Retry-After, within %v; each second %v",
		r.Offered, r.Good, r.Refused, r.TimedOut, r.Wrong, r.Skipped,
		r.Latency.Quantile(0.5).Round(milli), o.p99().Round(milli),
		r.Steps[0].Name, r.Steps[0].Latency.Quantile(0.99).Round(milli),
		r.Steps[1].Name, r.Steps[1].Latency.Quantile(0.99).Round(milli),
		o.probed.resident>>20, o.probed.ready, o.probed.ready+o.probed.unready,
		o.probed.sent, o.probed.busy, o.probed.slowest.Round(milli), r.Seconds)
	if o.capacity == 0 {
		return text
	}
	return fmt.Sprintf("capacity %.0f/s, offered %.1f times that, goodput %.0f/s, %.0f %%; recovery %v; ",
		o.capacity, o.times(), o.goodput(), 100*o.share(), r.Recovery.Round(milli)) + text
}

// perSecond returns the good answers a second of a phase.
func perSecond(r *load.OpenResult, phase time.Duration) float64 {
	good := 0
	for _, n := range r.Seconds[:min(len(r.Seconds), int(phase/time.Second))] {
		good += n
	}
	return float64(good) / phase.Seconds()
}

// run sends requests on a schedule, for new recipients.
func (o *overload) run(t *testing.T, options load.OpenOptions) *load.OpenResult {
	t.Helper()
	options.Cycle = load.Servlets{
		Path: "/otpauthapi", AccessKey: documentedKey, IPAddress: "203.0.113.7",
		OTP: encrypted(t, sampleKey, sampleIV, benchCode),
	}.Cycle()
	options.First = o.sum.Offered
	r, err := load.RunOpen(t.Context(), options)
	require.NoError(t, err)
	o.sum.Offered += r.Offered
	o.sum.Good += r.Good
	o.sum.TimedOut += r.TimedOut
	o.sum.Wrong += r.Wrong
	for _, step := range r.Steps {
		o.rightOf[step.Name] += step.Right
	}
	return r
}

// measureCapacity raises the rate until there are no more good answers.
func (o *overload) measureCapacity(t *testing.T, url string) {
	t.Helper()
	const phase = 2 * time.Second
	for rate := 40; ; rate += rate / 4 {
		good := perSecond(o.run(t, load.OpenOptions{URL: url, Rate: rate, Duration: phase}), phase)
		if good < 1.03*o.capacity {
			return
		}
		o.capacity = good
	}
}

// overloaded runs the experiment on a separate server: it measures the capacity, offers ten times as much for a while,
// and then stops.
func overloaded(t *testing.T, l *ledger, program string, calm time.Duration) *overload {
	t.Helper()
	environ := variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=0", "OTPBRIDGE_SANDBOX_FIXED_CODE="+benchCode)
	c := startProgram(t, program, t.TempDir(), environ...)
	o := &overload{rightOf: map[string]int{}}
	o.measureCapacity(t, c.url)
	o.overload(t, l, c, load.OpenOptions{
		Rate: int(10*o.capacity) + 1, Duration: 10 * time.Second, Calm: 10, CalmFor: calm,
	})
	o.checkCharges(t, l, environ)
	l.note("%v", o)
	require.NoError(t, c.command.Process.Kill()) // so that the next one has the machine to itself
	return o
}

// overload offers too much load, and probes the server.
func (o *overload) overload(t *testing.T, l *ledger, c *child, options load.OpenOptions) {
	t.Helper()
	options.URL = c.url
	stop, watching := make(chan struct{}), sync.WaitGroup{}
	watching.Go(func() { o.probed.watch(c, stop) })
	o.load, o.during = o.run(t, options), options.Duration
	close(stop)
	watching.Wait()
	l.inject(1)
	l.acknowledge(o.sum.Good)
	l.equal(true, o.load.Good > 0 && o.load.Refused > 0, "some are answered, and some refused")
	l.equal(true, o.probed.ready > 0 && o.probed.unready == 0, "/readyz: %+v", o.probed)
	l.equal(0, o.probed.silent, "refusals at /v1 without Retry-After: %+v", o.probed)
}

// watch checks ten times a second whether the server is ready, sends through /v1, and measures its memory.
func (p *probed) watch(c *child, stop chan struct{}) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if a, err := c.try("GET", "/readyz", ""); err == nil && a.status == http.StatusOK {
			p.ready++
		} else {
			p.unready++
		}
		p.send(c, n)
		p.resident = max(p.resident, resident(c))
	}
}

func (p *probed) send(c *child, n int) {
	asked := time.Now()
	a, err := c.try("POST", "/v1/send", fmt.Sprintf(`{"to":"+9180%08d","method":"sms","type":"verification"}`, n),
		"Authorization", "Bearer "+documentedKey, "Content-Type", "application/json")
	switch {
	case err == nil && a.status == http.StatusCreated:
		p.sent++
	case err == nil && a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "1":
		p.busy++
		p.slowest = max(p.slowest, time.Since(asked))
	default:
		p.silent++
	}
}

// resident returns a child's resident memory in bytes; 0 if the system does not provide it.
func resident(c *child) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.command.Process.Pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	size, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, _ := strconv.Atoi(size)
	return kib << 10
}

// checkCharges compares the database with the answers. Every good answer has its event; of the others only calls
// without an answer may have one. A refused call has no event, recipient, challenge or count.
func (o *overload) checkCharges(t *testing.T, l *ledger, environ []string) {
	t.Helper()
	var stored struct{ Recipients, Sends, Challenges, Wrong, Used, Sent, Verified, Others int }
	require.NoError(t, sqltest.Connect(t, databaseOf(t, environ)).Get(&stored, `
		SELECT (SELECT COUNT(*) FROM recipients) AS recipients, (SELECT COALESCE(SUM(seq), 0) FROM recipients) AS sends,
			COUNT(*) AS challenges, SUM(wrong) AS wrong, COUNT(used_at) AS used,
			(SELECT COUNT(*) FROM events WHERE kind = 'sent') AS sent,
			(SELECT COUNT(*) FROM events WHERE kind = 'verified') AS verified,
			(SELECT COUNT(*) FROM events WHERE kind NOT IN ('sent', 'verified')) AS others
		FROM challenges`))
	sent, verified := o.rightOf["generate"]+o.probed.sent, o.rightOf["validate"]
	unanswered := o.sum.TimedOut + o.sum.Wrong
	for _, n := range []int{stored.Recipients, stored.Sends, stored.Challenges, stored.Sent} {
		l.equal(true, sent <= n && n <= sent+unanswered,
			"%d sends acknowledged, %d calls not answered, stored %+v", sent, unanswered, stored)
	}
	for _, n := range []int{stored.Used, stored.Verified} {
		l.equal(true, verified <= n && n <= verified+unanswered,
			"%d verifications acknowledged, %d calls not answered, stored %+v", verified, unanswered, stored)
	}
	l.equal([]int{0, 0}, []int{stored.Wrong, stored.Others}, "wrong guesses and other events, of which there was none")
}

// aims checks what a server at ten times its capacity has to reach. The median run counts, because the figures depend
// on time and something else may use the machine in one run.
func aims(l *ledger, runs ...*overload) {
	middle := func(of func(o *overload) float64) float64 {
		all := make([]float64, len(runs))
		for i, o := range runs {
			all[i] = of(o)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	for _, aim := range []struct {
		name        string
		least, most float64
		of          func(o *overload) float64
	}{
		{"requests offered, in capacities", 10, 100, (*overload).times},
		{"goodput, in capacities", 0.8, 10, (*overload).share},
		{"p99 of good answers, in seconds", 0, 1, func(o *overload) float64 { return o.p99().Seconds() }},
		{"recovery, in seconds", 0, 3, func(o *overload) float64 { return o.load.Recovery.Seconds() }},
		// Codes that were sent can be verified, because guesses go before sends.
		{"verified of the codes that were sent", 0.95, 1, func(o *overload) float64 {
			return float64(o.load.Steps[1].Right) / float64(max(1, o.load.Steps[0].Right))
		}},
		{"refusals with Retry-After at /v1", 1, 1e6, func(o *overload) float64 { return float64(o.probed.busy) }},
		{"the slowest refusal, in seconds", 0, 1, func(o *overload) float64 { return o.probed.slowest.Seconds() }},
		{"resident memory, in MB", 0, 300, func(o *overload) float64 { return float64(o.probed.resident >> 20) }},
	} {
		got := middle(aim.of)
		l.equal(true, aim.least <= got && got <= aim.most,
			"%s: %.2f, at least %v and at most %v", aim.name, got, aim.least, aim.most)
	}
}

// Three servers, one after the other, each get ten times their measured capacity. The limits on time are for normal
// builds: under the race detector the load's own clients are too slow.
func TestServer_AtTenTimesItsCapacityTiming(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("this runs with FULL=1; TestServer_OverloadIsRefusedAndNotChargedFault says what needs no time")
	}
	slow, l := mutant(t, slowCommit(20*time.Millisecond), queueOf(smallBatch...)), new(ledger)
	var runs []*overload
	for range 3 {
		runs = append(runs, overloaded(t, l, slow, 5*time.Second))
	}
	aims(l, runs...)
	l.report(t)
}

// A server whose commits are too slow for the load: refused calls are not counted, /v1 says when to retry, and the
// server stays ready.
func TestServer_OverloadIsRefusedAndNotChargedFault(t *testing.T) {
	t.Parallel()
	environ := variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=0", "OTPBRIDGE_SANDBOX_FIXED_CODE="+benchCode)
	c := startProgram(t, mutant(t, slowCommits), t.TempDir(), environ...)
	o, l := &overload{rightOf: map[string]int{}}, new(ledger)
	o.overload(t, l, c, load.OpenOptions{Rate: 2000, Duration: time.Second, Patience: 20 * time.Second})
	o.checkCharges(t, l, environ)
	l.note("%v", o)
	l.report(t)
}

// The experiment must fail for a server that serves its queue also for callers that have given up.
func TestHarness_CatchesAQueueWithoutDeadlinesTiming(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("this runs with FULL=1")
	}
	l, found := new(ledger), new(ledger)
	o := overloaded(t, found, mutant(t, slowCommit(20*time.Millisecond), queueOf(workedOff...)), 25*time.Second)
	aims(found, o)
	l.inject(1)
	l.acknowledge(o.load.Good)
	l.equal(true, o.share() < 0.8, "goodput falls: %v", found)
	l.note("%v", o)
	l.report(t)
	t.Logf("for example: %s", found.violations[0])
}

// A server's memory is bounded by the connections and calls that it accepts.
func TestServer_MemoryUnderOverloadFault(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("this runs with FULL=1")
	}
	// Every call waits for its commit, which takes two seconds; the queue does not adapt to that.
	slow := mutant(t, slowCommit(2*time.Second), queueOf("	if q.pace <= 0 {\n", "	if q.pace >= 0 {\n"))
	c := startProgram(t, slow, t.TempDir(), variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=0")...)
	atRest := resident(c)
	if atRest == 0 {
		t.Skip("this system does not tell what a process holds")
	}
	idle := hold(t, c, maxConnections)
	l := new(ledger)
	cycle := load.Servlets{Path: "/otpauthapi", AccessKey: documentedKey, OTP: "x", IPAddress: "203.0.113.7"}.Cycle()[:1]
	most, ended, answered := 0, make(chan struct{}), atomic.Int64{}
	go func() {
		defer close(ended)
		result, err := load.Run(t.Context(), load.Options{
			URL: c.url, Cycle: cycle, Concurrency: 2048, Cycles: 4096, Timeout: 10 * time.Second,
		})
		if err == nil {
			answered.Store(int64(result.Steps[0].Right))
		}
	}()
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-time.After(20 * time.Millisecond):
			most = max(most, resident(c))
		}
	}
	l.inject(maxConnections)
	l.acknowledge(int(answered.Load()))
	l.note("resident %d MB at rest, %d MB with %d idle connections, %d MB at most with 2,048 calls asked at once",
		atRest>>20, idle>>20, maxConnections, most>>20)
	l.equal(true, most < 300<<20, "%d MB are below 300", most>>20)
	l.report(t)
}

// hold opens connections, makes one request on each, keeps them until the test ends, and returns the server's memory.
func hold(t *testing.T, c *child, n int) int {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		require.NoError(t, err)
		_, err = conn.Read(make([]byte, 1024))
		require.NoError(t, err)
	}
	return resident(c)
}
