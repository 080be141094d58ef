package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/testclient/conform"
)

// busy answers every third request with 503, and counts requests and connections.
type busy struct {
	*httptest.Server
	asked atomic.Int64
}

func newBusy(t *testing.T) *busy {
	s := new(busy)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := s.asked.Add(1); {
		case n%3 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case strings.Contains(r.URL.Path, "gen"):
			_, _ = io.WriteString(w, "OTP Generated Successfully")
		default:
			_, _ = io.WriteString(w, "Verified successfully")
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// openReport is the output of load --rate --json.
type openReport struct {
	Offered  int                `json:"offered"`
	Good     int                `json:"answered_well"`
	Refused  int                `json:"refused"`
	TimedOut int                `json:"timed_out"`
	Wrong    int                `json:"wrong"`
	Skipped  int                `json:"skipped"`
	Seconds  float64            `json:"seconds"`
	Each     []int              `json:"good_each_second"`
	Latency  map[string]float64 `json:"latency_seconds"`
	Recovery *float64           `json:"recovery_seconds"`
}

// The figures add up, and match the server's.
func TestLoadOpen_ItsReportAddsUp(t *testing.T) {
	for _, c := range []struct {
		flags     string
		scheduled int // cycles
		calm      bool
	}{
		{"--rate 1 -d 1s", 1, false},
		{"--rate 7 -d 1s", 7, false},
		{"--rate 300 -d 100ms", 30, false},
		{"--rate 1999 -d 50ms", 100, false},
		{"--rate 200 -d 100ms --calm 20 --calm-for 200ms", 20 + 4, true},
		{"--rate 200 -d 100ms --calm-for 200ms", 20, false},
		{"--rate 20000 -d 10ms", 200, false},
	} {
		t.Run(c.flags, func(t *testing.T) {
			t.Parallel()
			s := newBusy(t)
			out := say(t, strings.Fields("load --json --patience 1m --target "+s.URL+" "+c.flags)...)
			require.Zero(t, out.code, out.stderr)
			var r openReport
			require.NoError(t, json.Unmarshal([]byte(out.stdout), &r), out.stdout)
			require.EqualValues(t, s.asked.Load(), r.Offered, "each request is counted")
			require.Equal(t, r.Offered, r.Good+r.Refused)
			require.Zero(t, r.TimedOut+r.Wrong+r.Skipped)
			require.Equal(t, r.Offered/3, r.Refused)
			// A cycle sends a second request after a good answer, and then ends.
			require.GreaterOrEqual(t, r.Offered, c.scheduled)
			require.LessOrEqual(t, r.Offered, c.scheduled+r.Good)
			sum := 0
			for _, good := range r.Each {
				sum += good
			}
			require.Equal(t, r.Good, sum)
			require.LessOrEqual(t, r.Latency["p50"], r.Latency["p99"])
			require.LessOrEqual(t, r.Latency["p99"], r.Latency["max"])
			require.Equal(t, c.calm, r.Recovery != nil)
			text := say(t, strings.Fields("load --patience 1m --target "+s.URL+" --rate 50 -d 20ms")...)
			require.Zero(t, text.code, text.stderr)
			require.Contains(t, text.stdout, "requests offered")
		})
	}
}

// Requests beyond the bounds are refused with the bounds.
func TestLoadOpen_ItsBounds(t *testing.T) {
	s := newBusy(t)
	for _, flags := range []string{
		"--rate 20001", "--rate=-1", "--rate 999999999", "--calm 5", "--rate 10 --calm=-1", "--rate 10 --calm 20001",
		"--rate 10 -d 61s", "--rate 10 -d 0s", "--rate 10 --duration=-1s", "--rate 10 -d 11m",
		"--rate 10 --calm 1 --calm-for 0s", "--rate 10 --calm 1 --calm-for 2m", "--rate 10 --patience 0s",
		"--rate 10 --patience=-1s", "--rate 10 --patience 2m",
	} {
		out := say(t, strings.Fields("load --target "+s.URL+" "+flags)...)
		require.Equal(t, conform.ExitCouldNot, out.code, flags)
		require.Contains(t, out.stderr, "at most", flags)
	}
	require.Zero(t, s.asked.Load())
}

func TestLoadOpen_AsksThisMachineOnly(t *testing.T) {
	for target, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://127.9.8.7": true, "http://[::1]:80": true, "http://localhost:8080": true,
		"http://LOCALHOST": true, "http://[::ffff:127.0.0.1]:1": true,
		"http://192.0.2.1:8080": false, "http://0.0.0.0:80": false, "http://[::]:80": false,
		"http://[2001:db8::1]:80": false,
		"http://example.org":      false, "http://localhost.example.org": false, "http://127.0.0.1.example.org": false,
		"http://127.0.0.1@example.org": false, "http://localhost:80@example.org:80": false, "http://2130706433": false,
		"http://example.org/127.0.0.1": false, "http://example.org#localhost": false, "127.0.0.1:8080": false, "": false,
		"http://[::1": false, "localhost": false,
	} {
		require.Equal(t, want, onLoopback(target), target)
	}
	out := say(t, "load", "--rate", "1", "--target", "http://192.0.2.1:8080")
	require.Equal(t, conform.ExitCouldNot, out.code)
	require.Contains(t, out.stderr, "--anywhere")
}

// An open load is meant to measure a server that refuses everything; a missing server is an error.
func TestLoadOpen_ItsExitCode(t *testing.T) {
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	out := say(t, strings.Fields("load --rate 10 -d 100ms --target "+down.URL)...)
	require.Equal(t, conform.ExitCouldNot, out.code)
	require.Contains(t, out.stderr, "Start the server")
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusInternalServerError} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		out := say(t, strings.Fields("load --rate 10 -d 100ms --target "+s.URL)...)
		s.Close()
		require.Zero(t, out.code, out.stderr)
		require.Contains(t, out.stdout, "1 requests offered in")
	}
}
