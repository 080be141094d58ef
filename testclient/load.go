package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"otpbridge/testclient/conform"
	"otpbridge/testclient/load"
)

type loadCommand struct {
	Target      string        `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server: http://host:port, on this machine or one of yours."`
	Door        string        `default:"servlet" enum:"servlet,v1" help:"What to ask: servlet, for generate and validate, or v1, for send and verify."`
	Path        string        `default:"/otpauthapi" help:"What stands before the names of the servlets."`
	Concurrency int           `short:"c" default:"64" help:"Requests in flight, each on a connection of its own."`
	Duration    time.Duration `short:"d" default:"10s" help:"How long; at most 10m."`
	Rate        int           `placeholder:"N" help:"Begin N cycles a second by a schedule that no answer changes, instead of -c; at most 20000, and on loopback unless --anywhere."`
	Calm        int           `placeholder:"N" help:"With --rate: begin N a second afterwards, for --calm-for, to see when the server recovers."`
	CalmFor     time.Duration `default:"5s" help:"How long --calm goes on; at most 1m."`
	Patience    time.Duration `default:"3s" help:"With --rate: how long a client waits before it hangs up; at most 1m."`
	Anywhere    bool          `help:"Let --rate ask a server that is not on this machine. It must be yours."`
	Code        string        `default:"123456" help:"The code that the server uses for everybody: start it with OTPBRIDGE_SANDBOX_FIXED_CODE."`
	AccessKey   string        `default:"ZGVtby1hY2Nlc3Mta2V5MQ==" placeholder:"KEY" env:"TESTCLIENT_ACCESS_KEY" help:"Access key of the account. A sandbox's first demo account is the default."`
	APIKey      string        `name:"api-key" placeholder:"KEY" env:"TESTCLIENT_API_KEY" help:"Key for --door v1, instead of the access key, which is good there too and has no limit of requests a minute."`
	CipherKey   string        `default:"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" placeholder:"KEY" env:"TESTCLIENT_CIPHER_KEY" help:"Its cipher key: base64 or hex."`
	CipherIV    string        `name:"cipher-iv" default:"8PHy8/T19vf4+fr7/P3+/w==" placeholder:"IV" env:"TESTCLIENT_CIPHER_IV" help:"Its cipher IV: base64 or hex."`
	JSON        bool          `name:"json" help:"Print the result as JSON."`
}

// Help is shown below the flags.
func (loadCommand) Help() string {
	return "A cycle is generate and validate, or send and verify at /v1, for a recipient that nobody asked about " +
		"before. Every answer is checked.\n\n" +
		"    OTPBRIDGE_SANDBOX_FIXED_CODE=123456 otpbridge &\n    testclient load -c 64 -d 10s\n\n" +
		"With -c each client asks again once it was answered, so a server that stalls is asked less and its latencies " +
		"look better " +
		"than those of independent callers (coordinated omission). With --rate cycles begin by a schedule, latency counts " +
		"from the " +
		"scheduled moment, and clients hang up when their patience ends:\n\n" +
		"    testclient load --rate 1000 -d 10s --calm 50 --json"
}

const longestLoad = 10 * time.Minute

// Run makes load. It ends by itself, or after an interrupt once the cycles in progress have ended.
func (c *loadCommand) Run(p process) error {
	if c.Concurrency < 1 || c.Concurrency > 4096 || c.Duration <= 0 || c.Duration > longestLoad {
		return &conform.Trouble{Tried: "-c must be 1 to 4096, and -d above 0 and at most 10m",
			Remedy: "For example: testclient load -c 64 -d 10s."}
	}
	cycle, err := c.cycle()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.Rate != 0 || c.Calm != 0 {
		return c.open(ctx, p, cycle)
	}
	result, err := load.Run(ctx, load.Options{
		URL: c.Target, Concurrency: c.Concurrency, Duration: c.Duration,
		// Each run starts with other numbers, so that it does not meet the limits of recipients of the run before.
		First: int(time.Now().Unix()%2000) * 500_000,
		Cycle: cycle,
		Progress: func(so load.Progress) {
			fmt.Fprintf(p.stderr, "%4.0fs  %8.0f cycles/s  p50 %-8v p99 %-8v failed %d\n",
				so.Elapsed.Seconds(), so.Rate, round(so.P50), round(so.P99), so.Failed)
		},
	})
	if err != nil {
		return &conform.Trouble{Tried: "make load on " + c.Target, Err: err,
			Remedy: "Start the server, or name it with --target http://host:port."}
	}
	if c.JSON {
		err = writeLoadJSON(p.stdout, result)
	} else {
		writeLoad(p.stdout, result)
		if result.Failed() > 0 {
			fmt.Fprintln(p.stdout, "\n\n"+c.hint())
		}
	}
	if err == nil && result.Failed() > 0 {
		return verdict(conform.ExitFail)
	}
	return err
}

// cycle returns the steps for the door.
func (c *loadCommand) cycle() ([]load.Step, error) {
	if c.Door == "v1" {
		key := c.APIKey
		if key == "" {
			key = c.AccessKey
		}
		return load.V1{Key: key, Code: c.Code}.Cycle(), nil
	}
	parameter, err := conform.Parameter(c.CipherKey, c.CipherIV, c.Code)
	if err != nil {
		return nil, &conform.Trouble{Tried: "encrypt the code", Err: err,
			Remedy: "Give --cipher-key and --cipher-iv as base64 or hex."}
	}
	return load.Servlets{Path: c.Path, AccessKey: c.AccessKey, OTP: parameter, IPAddress: "203.0.113.7"}.Cycle(), nil
}

// hint returns the usual cause of failures.
func (c *loadCommand) hint() string {
	text := "A wrong answer to a guess often means that the server has no fixed code: start it with " +
		"OTPBRIDGE_SANDBOX_FIXED_CODE."
	if c.Door == "v1" {
		text += "\nStatus 429 means that the key has a limit of requests a minute: an access key without one can go as " +
			"fast as the server."
	}
	return text
}

var loadQuantiles = []struct {
	name string
	at   float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}

func writeLoad(out io.Writer, r *load.Result) {
	fmt.Fprintf(out, "\n%.0f cycles/s: %d cycles of %s in %v, %d failed; %v of CPU a request for the load itself\n\n",
		r.CyclesPerSecond(), r.Cycles, r.Steps[0].Name+" "+
			"and "+r.Steps[1].Name, r.Elapsed.Round(time.Millisecond), r.Failed(), r.CPUPerRequest().Round(100*time.Nanosecond))
	for _, q := range loadQuantiles {
		fmt.Fprintf(out, "  %-6s %v\n", q.name, round(r.Latency.Quantile(q.at)))
	}
	fmt.Fprintf(out, "  %-6s %v\n\n", "max", round(r.Latency.Max()))
	for _, band := range r.Latency.Bands() {
		share := float64(band.Count) / float64(max(1, r.Latency.Count()))
		fmt.Fprintf(out, "  %8v – %-8v %8d  %s\n", round(band.From), round(band.To), band.Count,
			strings.Repeat("#", int(share*50+0.5)))
	}
	for _, failure := range r.Failures {
		fmt.Fprintf(out, "\n  failed: %s", failure)
	}
}

func writeLoadJSON(out io.Writer, r *load.Result) error {
	latency := map[string]float64{"max": r.Latency.Max().Seconds()}
	for _, q := range loadQuantiles {
		latency[q.name] = r.Latency.Quantile(q.at).Seconds()
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{
		"cycles": r.Cycles, "failed": r.Failed(), "requests": r.Requests, "seconds": r.Elapsed.Seconds(),
		"cycles_per_second": r.CyclesPerSecond(), "latency_seconds": latency, "histogram": r.Latency.Bands(),
		"failures": r.Failures, "cpu_seconds_per_request": r.CPUPerRequest().Seconds(),
	})
}

// round rounds a duration for display.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}
