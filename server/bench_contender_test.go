//go:build unix

package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
	"otpbridge/testclient/load"
)

// contender is one of the servers that are compared, and its requests so far.
type contender struct {
	*measured
	t      *testing.T
	name   string
	cycle  []load.Step
	url    string          // of the database, for a restart
	home   string          // folder of the server
	more   []string        // settings beside the defaults
	db     *sql.DB         // nil where there is none
	pids   []int           // whose CPU a cycle costs beside the server's own
	server *sqltest.Server // of the database; nil where it is embedded
	renew  func()          // before each turn, where each is to begin with an empty database; or nil

	stored rows // what the database must hold
	asked  int  // recipients that were used
	rest   int  // bytes resident before anybody asked
	turns  []turn
}

// turn is one run of one contender.
type turn struct {
	rate     float64       // cycles a second
	p50, p99 time.Duration // of a request
	cpu      time.Duration // of server and database, a cycle
	own      time.Duration // of the load generator, a request
	others   float64       // share of the machine that went to anything else
}

func benchServlets(t testing.TB) load.Servlets {
	return load.Servlets{
		Path: "/otpauthapi", AccessKey: documentedKey, IPAddress: "203.0.113.7",
		OTP: encrypted(t, sampleKey, sampleIV, benchCode),
	}
}

// benchV1 is the JSON API, by an access key, which has no limit of requests.
var benchV1 = load.V1{Key: documentedKey, Code: benchCode, ByID: true}

func newBareContender(t *testing.T) *contender {
	return &contender{t: t, name: "bare Gin", cycle: benchServlets(t).Bare(bareText), measured: startBare(t)}
}

func newContender(t *testing.T, name string) *contender {
	return &contender{t: t, name: name, cycle: benchServlets(t).Cycle(), home: t.TempDir()}
}

// onSQLite starts the program on a new database, and opens a second connection to it.
func (c *contender) onSQLite() {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "otp.db")
	c.on("sqlite:" + path)
}

// onMariaDB does the same on a new schema. The program reaches it over TCP, as it would reach
// another machine.
func (c *contender) onMariaDB(server *sqltest.Server) {
	c.t.Helper()
	c.server, c.pids = server, []int{server.PID()}
	c.on(server.SchemaTCP(c.t))
}

func (c *contender) on(databaseURL string) {
	c.t.Helper()
	c.db, c.url, c.stored = sqltest.Connect(c.t, databaseURL).DB, databaseURL, rows{}
	c.start()
}

func (c *contender) start() { c.measured = startMeasured(c.t, c.home, c.url, c.more...) }

// throughTheOutbox makes c send through the outbox, to a channel that drops messages. All numbers are of one range,
// which the cost guard would soon stop without right codes. The guard stays on because it is part of a send's cost.
func (c *contender) throughTheOutbox() {
	c.more = []string{"OTPBRIDGE_SMS_CHANNELS=discard:", "OTPBRIDGE_PREFIX_UNVERIFIED=1000"}
}

// turn runs the load and keeps the figures.
func (c *contender) turn(concurrency int, duration time.Duration) {
	c.t.Helper()
	if c.renew != nil {
		c.renew()
	}
	c.resume(c.t)
	defer c.pause(c.t)
	cpu, machine := c.cpu(), machineCPU()
	result := c.load(concurrency, duration)
	cpu, machine = c.cpu()-cpu, machineCPU()-machine
	c.hold(result)
	made := turn{
		rate: result.CyclesPerSecond(), p50: result.Latency.Quantile(0.50), p99: result.Latency.Quantile(0.99),
		cpu: cpu / time.Duration(max(1, result.Cycles)), own: result.CPUPerRequest(),
		others: max(0, (machine-cpu-result.CPU).Seconds()) / (result.Elapsed.Seconds() * float64(runtime.NumCPU())),
	}
	c.turns = append(c.turns, made)
	fmt.Printf("  %-22s %8.0f cycles/s   p50 %-8v p99 %-8v CPU a cycle %-8v others %2.0f %%\n",
		c.name, made.rate, short(made.p50), short(made.p99), short(made.cpu), 100*made.others)
}

func (c *contender) cpu() time.Duration {
	used := cpuOf(c.pid())
	for _, pid := range c.pids {
		used += cpuOf(pid)
	}
	return used
}

// drive runs the load without keeping figures.
func (c *contender) drive(concurrency int, duration time.Duration) {
	c.t.Helper()
	c.hold(c.load(concurrency, duration))
}

func (c *contender) load(concurrency int, duration time.Duration) *load.Result {
	c.t.Helper()
	result, err := load.Run(context.Background(), load.Options{
		URL: c.measured.url, Cycle: c.cycle, Concurrency: concurrency, Duration: duration, First: c.asked,
	})
	require.NoError(c.t, err)
	c.asked += result.Recipients
	return result
}

// hold checks that every answer was right, and that the database contains exactly what was answered.
func (c *contender) hold(result *load.Result) {
	c.t.Helper()
	for _, failure := range result.Failures {
		c.t.Errorf("%s: %v", c.name, failure)
	}
	if c.db == nil {
		return
	}
	generated, verified := result.Steps[0].Right, result.Steps[1].Right
	c.stored.Recipients += result.Recipients
	c.stored.Charged += generated
	c.stored.Challenges += generated
	c.stored.Sent += generated
	c.stored.Used += verified
	c.stored.Verified += verified
	if c.more != nil {
		c.stored.Delivered += generated
		// A send is answered when its channel has accepted it, a moment before the outbox records that.
		eventually(c.t, "every delivery has ended", func() bool {
			var open int
			require.NoError(c.t, c.db.QueryRow(`SELECT COUNT(*) FROM deliveries WHERE leased_until IS NOT NULL`).Scan(&open))
			return open == 0
		})
	}
	require.Equal(c.t, c.stored, rowsOf(c.t, c.db), "%s: the rows are not what was answered", c.name)
}

// rows counts the rows of a database.
type rows struct {
	Recipients int
	Charged    int // recipients with a send in their window
	Challenges int
	Used       int // challenges whose code was given
	Sent       int // events
	Verified   int
	Other      int // events of any other kind
	Delivered  int // deliveries that ended as sent
	Open       int // deliveries that did not end yet
	Failed     int // deliveries that ended in any other way
}

func rowsOf(t *testing.T, db *sql.DB) (r rows) {
	t.Helper()
	read := func(query string, into ...any) {
		require.NoError(t, db.QueryRow(query).Scan(into...), query)
	}
	read(`SELECT COUNT(*), COUNT(sends) FROM recipients`, &r.Recipients, &r.Charged)
	read(`SELECT COUNT(*), COUNT(used_at) FROM challenges`, &r.Challenges, &r.Used)
	events := 0
	read(`
		SELECT COUNT(*), COUNT(CASE WHEN kind = 'sent' THEN 1 END), COUNT(CASE WHEN kind = 'verified' THEN 1 END)
		FROM events`, &events, &r.Sent, &r.Verified)
	r.Other = events - r.Sent - r.Verified
	deliveries := 0
	read(`
		SELECT COUNT(*), COUNT(leased_until), COUNT(CASE WHEN outcome = 'sent' AND leased_until IS NULL THEN 1 END)
		FROM deliveries`, &deliveries, &r.Open, &r.Delivered)
	r.Failed = deliveries - r.Open - r.Delivered
	return r
}

func (c *contender) rates() (rates []float64) {
	for _, turn := range c.turns {
		rates = append(rates, turn.rate)
	}
	return rates
}

// of returns the median of a figure over all turns.
func of(c *contender, figure func(turn) time.Duration) time.Duration {
	var values []time.Duration
	for _, turn := range c.turns {
		values = append(values, figure(turn))
	}
	return median(values)
}

func (c *contender) p50() time.Duration { return of(c, func(t turn) time.Duration { return t.p50 }) }
func (c *contender) p99() time.Duration { return of(c, func(t turn) time.Duration { return t.p99 }) }
func (c *contender) cpuACycle() time.Duration {
	return of(c, func(t turn) time.Duration { return t.cpu })
}

// inTurn runs the contenders one after the other, turns times, and the first once more at the end, so that each turn
// of another is between two turns of the first.
func inTurn(contenders []*contender, turns, concurrency int, duration time.Duration) {
	for range turns {
		for _, c := range contenders {
			c.turn(concurrency, duration)
		}
	}
	contenders[0].turn(concurrency, duration)
}

// ratios returns for each turn of c its rate divided by the mean rate of first before and after it. Something that
// slows the machine for a while slows both, so the ratios count and not the rates.
func (c *contender) ratios(first *contender) (ratios []float64) {
	for i, turn := range c.turns {
		ratios = append(ratios, turn.rate/((first.turns[i].rate+first.turns[i+1].rate)/2))
	}
	return ratios
}

// peakResident returns the server's peak of resident memory under load.
func (c *contender) peakResident(concurrency int, duration time.Duration) (peak int) {
	c.t.Helper()
	ended := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			peak = max(peak, residentOf(c.pid()))
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
		}
	}()
	c.drive(concurrency, duration)
	close(ended)
	<-watched
	return peak
}

// restart stops the server and starts it again, several times, and returns how long each start took until it was
// ready.
func (c *contender) restart(times int) (ready []time.Duration) {
	c.t.Helper()
	for range times {
		c.measured.stop(c.t)
		c.start()
		ready = append(ready, c.ready)
	}
	return ready
}

// bench skips a benchmark unless it was asked for, and returns a folder for its databases.
func bench(t *testing.T) (folder string) {
	t.Helper()
	if os.Getenv("BENCH") == "" {
		t.Skip("takes minutes; make bench and make bench-large run it")
	}
	buildMeasured(t)
	return filepath.Clean(t.TempDir())
}

// short formats a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d >= 100*time.Microsecond:
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}
