package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"otpbridge/testclient/conform"
	"otpbridge/testclient/load"
)

// The bounds of an open load, which does not slow down for an overloaded server.
const (
	highestRate  = 20_000
	longestPhase = time.Minute
)

// open makes load by a schedule. Refusals and clients that give up are what it measures, so they are not failures of
// the run.
func (c *loadCommand) open(ctx context.Context, p process, cycle []load.Step) error {
	switch {
	case c.Rate < 1 || c.Rate > highestRate || c.Calm < 0 || c.Calm > highestRate:
		return &conform.Trouble{
			Tried: "--rate is 1 to 20000 and --calm at most 20000", Remedy: "For example: --rate 1000 --calm 50.",
		}
	case c.Duration > longestPhase, c.CalmFor <= 0, c.CalmFor > longestPhase, c.Patience <= 0, c.Patience > longestPhase:
		return &conform.Trouble{
			Tried: "with --rate, -d, --calm-for and --patience are above 0 and at most 1m", Remedy: "For example: -d 10s.",
		}
	case !c.Anywhere && !onLoopback(c.Target):
		return &conform.Trouble{
			Tried: "--rate asks servers on this machine only", Remedy: "Add --anywhere if the server is yours.",
		}
	}
	o := load.OpenOptions{
		URL: c.Target, Cycle: cycle, First: int(time.Now().Unix()%2000) * 500_000,
		Rate: c.Rate, Duration: c.Duration, Patience: c.Patience,
	}
	if c.Calm > 0 {
		o.Calm, o.CalmFor = c.Calm, c.CalmFor
	}
	r, err := load.RunOpen(ctx, o)
	if err != nil {
		return &conform.Trouble{
			Tried: "make load on " + c.Target, Err: err,
			Remedy: "Start the server, or name it with --target http://host:port.",
		}
	}
	p50, p99 := r.Latency.Quantile(0.5), r.Latency.Quantile(0.99)
	if !c.JSON {
		fmt.Fprintf(p.stdout, "%d requests offered in %v: "+
			"%d answered well, %d refused, %d timed out, %d wrong, %d without a free client\n",
			r.Offered, r.Elapsed.Round(time.Millisecond), r.Good, r.Refused, r.TimedOut, r.Wrong, r.Skipped)
		fmt.Fprintf(p.stdout, "good answers under the load: p50 %v, p99 %v from the scheduled moment; each second %v\n",
			round(p50), round(p99), r.Seconds)
		if r.Recovery >= 0 {
			fmt.Fprintf(p.stdout, "recovered %v after the load\n", round(r.Recovery))
		}
		return nil
	}
	encoder := json.NewEncoder(p.stdout)
	encoder.SetIndent("", "  ")
	report := map[string]any{
		"offered": r.Offered, "answered_well": r.Good, "refused": r.Refused, "timed_out": r.TimedOut, "wrong": r.Wrong,
		"skipped": r.Skipped, "seconds": r.Elapsed.Seconds(), "good_each_second": r.Seconds,
		"latency_seconds": map[string]float64{"p50": p50.Seconds(), "p99": p99.Seconds(), "max": r.Latency.Max().Seconds()},
	}
	if r.Recovery >= 0 {
		report["recovery_seconds"] = r.Recovery.Seconds()
	}
	return encoder.Encode(report)
}

// onLoopback reports whether a target's host is this machine, by name or address.
func onLoopback(target string) bool {
	parsed, err := url.Parse(target)
	if err != nil {
		return false
	}
	host := parsed.Hostname()
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}
