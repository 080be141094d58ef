package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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

// The experiment on overload: a server whose commits are slow is asked for many times what it can do,
// by a schedule that its answers do not change and by clients that give up after three seconds.

// slowCommit makes every COMMIT take that much longer.
func slowCommit(by time.Duration) sqltest.Mutation {
	return sqltest.Mutation{File: "writer.go", Change: func(t testing.TB, source string) string {
		t.Helper()
		const commit = "	if err := s.control(ctx, \"COMMIT\"); err != nil {\n"
		return sqltest.Replace(t, source, commit, fmt.Sprintf("\ttime.Sleep(%d)\n", by)+commit, 1)
	}}
}

// queueOf changes the queue: each pair is replaced by what stands behind it.
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
	// smallBatch holds the capacity down: commits of 20 ms and four operations in each.
	smallBatch = []string{"maxBatch    = 256 ", "maxBatch    = 4 "}
	// workedOff is a queue of 4,096 that is worked off in order, for callers who have left too.
	workedOff = append([]string{
		"	if q.pace <= 0 {\n", "	if q.pace >= 0 {\n",
		"latest.After(op.deadline)", "latest.Before(time.Time{})",
	}, smallBatch...)
)

// overload is what became of a server that was asked for too much.
type overload struct {
	capacity float64 // good answers a second to clients who wait for each other
	goodput  float64 // good answers a second under the schedule
	open     *load.OpenResult
	resident int // bytes, at most
	unready  int // answers of /readyz that were not 200
	asked    int // answers of /readyz
}

func (o *overload) share() float64     { return o.goodput / o.capacity }
func (o *overload) p99() time.Duration { return o.open.Latency.Quantile(0.99) }

func (o *overload) String() string {
	r := o.open
	return fmt.Sprintf("capacity %.0f/s; offered %d, good %d, refused %d, timed out %d, wrong %d, without a client %d; "+
		"goodput %.0f/s, %.0f %% of capacity; p99 %v; recovery %v; resident %d MB; ready in %d of %d answers; each second %v",
		o.capacity, r.Offered, r.Good, r.Refused, r.TimedOut, r.Wrong, r.Skipped, o.goodput, 100*o.share(),
		o.p99().Round(time.Millisecond), r.Recovery.Round(time.Millisecond), o.resident>>20,
		o.asked-o.unready, o.asked, r.Seconds)
}

// overloaded runs the experiment on a program: capacity, overload, calm.
// Sixteen clients fill every batch and are not yet refused.
func overloaded(t *testing.T, l *ledger, program string, closed, phase, calm time.Duration) *overload {
	t.Helper()
	environ := variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=0", "OTPBRIDGE_SANDBOX_FIXED_CODE="+benchCode)
	c := startProgram(t, program, t.TempDir(), environ...)
	cycle := load.Servlets{
		Path: "/otpauthapi", AccessKey: documentedKey, IPAddress: "203.0.113.7",
		OTP: encrypted(t, sampleKey, sampleIV, benchCode),
	}.Cycle()
	full, err := load.Run(t.Context(), load.Options{URL: c.url, Cycle: cycle, Concurrency: 16, Duration: closed})
	require.NoError(t, err)
	require.Empty(t, full.Failures)
	right := full.Steps[0].Right + full.Steps[1].Right
	o := &overload{capacity: float64(right) / full.Elapsed.Seconds()}

	stop, watching := make(chan struct{}), sync.WaitGroup{}
	watching.Go(func() { o.watch(c, stop) })
	o.open, err = load.RunOpen(t.Context(), load.OpenOptions{
		URL: c.url, Cycle: cycle, First: full.Recipients, Rate: 1000, Duration: phase, Calm: 10, CalmFor: calm,
	})
	close(stop)
	watching.Wait()
	require.NoError(t, err)
	seconds := o.open.Seconds[1:int(phase/time.Second)] // the first one fills the queue
	for _, good := range seconds {
		o.goodput += float64(good) / float64(len(seconds))
	}
	l.inject(1)
	l.acknowledge(o.open.Good)
	o.checkCharges(t, l, strings.TrimPrefix(environ[1], "OTPBRIDGE_DATABASE_URL=sqlite:"), full)
	return o
}

// watch asks ten times a second whether the server is ready, and what it holds.
func (o *overload) watch(c *child, stop chan struct{}) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if a, err := c.try("GET", "/readyz", ""); err == nil {
			o.asked++
			if a.status != http.StatusOK {
				o.unready++
			}
		}
		o.resident = max(o.resident, resident(c))
	}
}

// resident is how much memory a child holds, in bytes; 0 where the system does not tell.
func resident(c *child) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.command.Process.Pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	size, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, _ := strconv.Atoi(size)
	return kib << 10
}

// checkCharges compares what the database holds with what was acknowledged: every good answer has its
// event, and only calls whose answer did not come may have one besides. A refused call has none, no
// recipient, no challenge and no count.
func (o *overload) checkCharges(t *testing.T, l *ledger, file string, full *load.Result) {
	t.Helper()
	var stored struct{ Recipients, Sends, Challenges, Wrong, Used, Sent, Verified, Others int }
	require.NoError(t, byHand(t, "sqlite", file).Get(&stored, `
		SELECT (SELECT COUNT(*) FROM recipients) AS recipients, (SELECT COALESCE(SUM(seq), 0) FROM recipients) AS sends,
			COUNT(*) AS challenges, SUM(wrong) AS wrong, COUNT(used_at) AS used,
			(SELECT COUNT(*) FROM events WHERE kind = 'sent') AS sent,
			(SELECT COUNT(*) FROM events WHERE kind = 'verified') AS verified,
			(SELECT COUNT(*) FROM events WHERE kind NOT IN ('sent', 'verified')) AS others
		FROM challenges`))
	sent := full.Steps[0].Right + o.open.Steps[0].Right
	verified := full.Steps[1].Right + o.open.Steps[1].Right
	unanswered := o.open.TimedOut + o.open.Wrong
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

// aims are what a server that is asked for ten times its capacity has to reach. They depend on time.
func (o *overload) aims(l *ledger) {
	l.equal(true, o.share() >= 0.8, "goodput is %.0f %% of capacity, at least 80", 100*o.share())
	l.equal(true, o.p99() < time.Second, "p99 of good answers is %v, below 1 s", o.p99())
	l.equal(true, o.open.Recovery < 3*time.Second, "recovery took %v, less than 3 s", o.open.Recovery)
}

func TestServer_OverloadIsRefusedAndNotChargedFault(t *testing.T) {
	phase := time.Duration(times(10, 3)) * time.Second
	closed, calm := time.Duration(times(5, 1))*time.Second, time.Duration(times(10, 1))*time.Second
	l := new(ledger)
	o := overloaded(t, l, mutant(t, slowCommit(20*time.Millisecond), queueOf(smallBatch...)), closed, phase, calm)
	l.note("%v", o)
	l.equal(true, o.open.Good > 0 && o.open.Refused > 0, "some are answered, and some refused")
	l.equal(true, o.asked > 0 && o.unready == 0, "/readyz said not ready %d times of %d", o.unready, o.asked)
	if os.Getenv("FULL") == "1" {
		o.aims(l)
	}
	l.report(t)
}

// The same on a server that works its queue off for callers who have left must be found bad.
func TestHarness_CatchesAQueueWithoutDeadlinesFault(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("this runs with FULL=1")
	}
	l, found := new(ledger), new(ledger)
	slow := mutant(t, slowCommit(20*time.Millisecond), queueOf(workedOff...))
	o := overloaded(t, found, slow, 5*time.Second, 10*time.Second, 25*time.Second)
	o.aims(found)
	l.inject(1)
	l.acknowledge(o.open.Good)
	l.equal(true, o.share() < 0.8, "goodput falls: %v", found)
	l.note("%v", o)
	l.report(t)
	t.Logf("for example: %s", found.violations[0])
}

// What a server holds is bounded by the connections and calls that it lets in.
func TestServer_MemoryUnderOverloadFault(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("this runs with FULL=1")
	}
	// Every call waits for its commit, which takes two seconds; the queue does not learn that.
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

// hold opens connections that have each asked once, keeps them until the test ends and returns what
// the server holds then.
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
