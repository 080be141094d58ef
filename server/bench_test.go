//go:build unix

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"otpbridge/sql/sqltest"
)

// The benchmarks compare servers in one run and check only ratios, because absolute numbers depend on the machine.

var (
	benchTurns    = flag.Int("turns", 5, "benchmarks: how often each server has its turn")
	benchDuration = flag.Duration("turn", 5*time.Second, "benchmarks: how long a turn takes")
)

const benchConcurrency = 64

// TestBench is make bench. It fails for wrong answers, for rows that do not match the answers, and for a ratio that is
// too low: to bare Gin, of the outbox to the inbox, or of /v1 to the servlets. It never fails for a time.
func TestBench(t *testing.T) {
	folder := bench(t)
	began := time.Now()
	bare, products, remark := contenders(t)
	all := append([]*contender{bare}, products...)

	time.Sleep(time.Second) // at rest: started, and nobody asks
	for _, c := range products {
		c.rest = residentOf(c.pid())
	}
	syncMedian, syncP99 := fsyncProbe(t, folder)
	fmt.Println("warming up, then in turn:")
	for _, c := range all {
		c.drive(benchConcurrency, time.Second)
	}
	inTurn(all, *benchTurns, benchConcurrency, *benchDuration)
	pairs := besides(t, products)
	var promises []promise
	for _, p := range pairs {
		promises = append(promises, p.promises()...)
	}
	for _, c := range products {
		promises = append(promises, c.promises(bare, syncMedian)...)
	}

	fmt.Printf("\nmachine    %s; it runs the servers, the database and the load\n", machineFacts())
	fmt.Printf("disk       %s in %s; 4 KiB written and synced in %v (median), %v (p99)\n",
		fileSystemOf(folder), os.TempDir(), short(syncMedian), short(syncP99))
	own := of(bare, func(t turn) time.Duration { return t.own })
	fmt.Printf("load       %d connections; a cycle is generate and validate for a fresh recipient; %d turns of %v each\n",
		benchConcurrency, *benchTurns, *benchDuration)
	fmt.Printf("           the load generator itself takes %v of CPU a request\n", short(own))
	fmt.Printf("others     what else ran took %.0f %% of the machine (median of all turns); above a tenth the ratios "+
		"come out too low\n",
		100*othersOf(all))
	fmt.Println("servers    a process each, limits and events as by default, codes derived, log of level info to a file")
	fmt.Printf("           %s\n\n", remark)
	printContenders(all)
	fmt.Printf("\nThe outbox and /v1 beside servlets and inbox, on new databases, in turns of %v each:\n",
		besideDuration())
	for _, p := range pairs {
		fmt.Println()
		printContenders(p.contenders())
		products = append(products, p.contenders()...)
	}
	fmt.Println()
	missed := printPromises(promises)
	fmt.Println()
	for _, c := range products {
		fmt.Printf("rows       %s holds what was answered: %+v\n", c.name, c.stored)
	}
	fmt.Printf("took       %v\n\n", time.Since(began).Round(time.Second))
	for _, what := range missed {
		t.Error("missed what must be:", what)
	}
}

// contenders starts all servers. remark says why MariaDB is missing, if it is.
func contenders(t *testing.T) (bare *contender, products []*contender, remark string) {
	bare = newBareContender(t)
	onSQLite := newContender(t, "SQLite")
	onSQLite.onSQLite()
	products = []*contender{onSQLite}
	if _, err := exec.LookPath("mariadbd"); err != nil {
		return bare, products, withoutMariaDB
	}
	onMariaDB := newContender(t, "MariaDB")
	onMariaDB.onMariaDB(sqltest.Own(t))
	return bare, append(products, onMariaDB), "mariadbd over TCP, innodb_flush_log_at_trx_commit=1"
}

// beside is a set of servers with the same product that differ in one thing. Each has a new database, and these grow
// alike.
type beside struct{ inbox, outbox, v1 *contender }

// besides measures the cost of the outbox and of /v1 for each product, in turns that no other server interrupts. All
// three servers do the common work: HTTP, limits and events.
func besides(t *testing.T, products []*contender) (all []beside) {
	for _, c := range products {
		p := beside{newContender(t, c.name+", inbox"), newContender(t, c.name+", outbox"), newContender(t, c.name+", /v1")}
		p.outbox.throughTheOutbox()
		p.v1.cycle = benchV1.Cycle()
		for _, one := range p.contenders() {
			if c.server == nil {
				one.onSQLite()
			} else {
				one.onMariaDB(c.server)
			}
			one.drive(benchConcurrency, time.Second)
			one.pause(t)
		}
		inTurn(p.contenders(), *benchTurns, benchConcurrency, besideDuration())
		all = append(all, p)
	}
	return all
}

func (p beside) contenders() []*contender { return []*contender{p.inbox, p.outbox, p.v1} }

// besideDuration returns the length of a turn of these servers: shorter, because there are more turns.
func besideDuration() time.Duration { return *benchDuration * 3 / 5 }

// promises returns the limits on the cost of the outbox and of /v1. Their turns are shorter than those of the
// products, so compare rates only among these servers.
func (p beside) promises() []promise {
	show := func(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }
	return []promise{
		{
			what: p.outbox.name + ", of the inbox's cycles/s", value: median(p.outbox.ratios(p.inbox)),
			must: 0.78, goal: 0.90, atLeast: true, show: show, fails: true,
		},
		{
			what: p.v1.name + " by id, of the servlets' cycles/s", value: median(p.v1.ratios(p.inbox)),
			must: 0.75, goal: 0.90, atLeast: true, show: show, fails: true,
		},
	}
}

const withoutMariaDB = "without MariaDB: mariadbd is not on PATH (Debian: apt-get install mariadb-server-core)"

// promises returns the limits on a server's turns, its memory and its start.
func (c *contender) promises(bare *contender, sync time.Duration) []promise {
	c.t.Helper()
	c.resume(c.t)
	limits := promised[c.name]
	return []promise{
		{
			what: c.name + ", of bare Gin", value: median(c.ratios(bare)), must: limits.must, goal: limits.goal, atLeast: true,
			show: func(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }, fails: true,
		},
		longest(c.name+", p99 of a request (must: 3 × bare + 2 fsyncs)", c.p99(), 3*bare.p99()+2*sync, limits.p99),
		largest(c.name+", memory at rest", c.rest, 40<<20),
		largest(c.name+", memory at c = 256", c.peakResident(256, 3*time.Second), 120<<20),
		longest(c.name+", start to ready with these rows", median(c.restart(3)), time.Second, 300*time.Millisecond),
	}
}

// promised are the project's own goals: the ratios to bare Gin and the latency.
var promised = map[string]struct {
	must, goal float64
	p99        time.Duration
}{
	"SQLite":  {must: 0.27, goal: 0.40, p99: 5 * time.Millisecond},
	"MariaDB": {must: 0.13, goal: 0.22, p99: 8 * time.Millisecond},
}

// promise is one measured figure, its limit and its goal.
type promise struct {
	what              string
	value, must, goal float64 // a must or goal of 0 is none
	atLeast           bool    // else at most
	show              func(float64) string
	fails             bool // the benchmark, if it is missed
}

func longest(what string, value, must, goal time.Duration) promise {
	return promise{what: what, value: float64(value), must: float64(must), goal: float64(goal),
		show: func(nanos float64) string { return short(time.Duration(nanos)) }}
}

func largest(what string, bytes, goal int) promise {
	return promise{what: what, value: float64(bytes), goal: float64(goal),
		show: func(bytes float64) string { return fmt.Sprintf("%.0f MB", bytes/(1<<20)) }}
}

func (p promise) keeps(bound float64) bool {
	if p.atLeast {
		return p.value >= bound
	}
	return p.value <= bound
}

func (p promise) verdict() string {
	switch {
	case p.must != 0 && !p.keeps(p.must):
		return "MISSED"
	case p.goal != 0 && p.keeps(p.goal):
		return "PASS, goal reached"
	case p.must != 0:
		return "PASS"
	case p.goal != 0:
		return "goal missed"
	}
	return ""
}

// bound formats a must or a goal.
func (p promise) bound(value float64) string {
	switch {
	case value == 0:
		return ""
	case p.atLeast:
		return "≥ " + p.show(value)
	}
	return "≤ " + p.show(value)
}

func printPromises(promises []promise) (missed []string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "promise\tmeasured\tmust\tgoal\t")
	for _, p := range promises {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.what, p.show(p.value), p.bound(p.must), p.bound(p.goal), p.verdict())
		if p.fails && !p.keeps(p.must) {
			missed = append(missed, fmt.Sprintf("%s is %s, and must be %s", p.what, p.show(p.value), p.bound(p.must)))
		}
	}
	w.Flush()
	return missed
}

func printContenders(contenders []*contender) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "server\tcycles/s\tp50\tp99\tCPU a cycle\tof "+contenders[0].name+"\tturn by turn")
	for i, c := range contenders {
		ratio, turns := "1", spelled("%.0f", c.rates())
		if i > 0 {
			ratios := c.ratios(contenders[0])
			ratio, turns = fmt.Sprintf("%.2f", median(ratios)), spelled("%.2f", ratios)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%v\t%v\t%v\t%s\t%s\n",
			c.name, median(c.rates()), short(c.p50()), short(c.p99()), short(c.cpuACycle()), ratio, turns)
	}
	w.Flush()
}

// othersOf returns the share of the machine that neither contenders nor load used.
func othersOf(all []*contender) float64 {
	var shares []float64
	for _, c := range all {
		for _, turn := range c.turns {
			shares = append(shares, turn.others)
		}
	}
	return median(shares)
}

func spelled(format string, values []float64) string {
	var words []string
	for _, value := range values {
		words = append(words, fmt.Sprintf(format, value))
	}
	return strings.Join(words, " ")
}
