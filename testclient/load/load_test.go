package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var servlets = Servlets{Path: "/otpauthapi", AccessKey: "a key", OTP: "Xrgn4bpX/4iYytICyC1wNg==",
	IPAddress: "203.0.113.7"}

// target is a server that records what it was asked.
type target struct {
	*httptest.Server
	mu        sync.Mutex
	generated map[string]int // by mobile
	validated map[string]int
}

// newTarget answers as the servlets do, unless wrong writes another answer and returns true.
func newTarget(t *testing.T, wrong func(w http.ResponseWriter, r *http.Request) bool) *target {
	s := &target{generated: map[string]int{}, validated: map[string]int{}}
	handle := func(seen map[string]int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			s.mu.Lock()
			seen[query.Get("mobile")]++
			s.mu.Unlock()
			switch {
			case r.Header.Get("access_key") != "a key", query.Get("ipaddress") != "203.0.113.7":
				http.Error(w, "UNAUTHERISED USER", 200)
			case query.Has("otp") && query.Get("otp") != servlets.OTP:
				io.WriteString(w, "Wrong PIN")
			case wrong == nil || !wrong(w, r):
				io.WriteString(w, text)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /otpauthapi/otpgenservlet", handle(s.generated, "OTP Generated Successfully"))
	mux.HandleFunc("GET /otpauthapi/otpvalidationservlet", handle(s.validated, "Verified successfully\r\n"))
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *target) options() Options {
	return Options{URL: s.URL, Cycle: servlets.Cycle(), Concurrency: 4, Cycles: 200}
}

func drive(t *testing.T, o Options) *Result {
	t.Helper()
	result, err := Run(t.Context(), o)
	require.NoError(t, err)
	return result
}

func TestRun_AsksForEachRecipientOnceAndCountsWhatItWasAnswered(t *testing.T) {
	s := newTarget(t, nil)
	o := s.options()
	result := drive(t, o)
	require.Empty(t, result.Failures)
	require.Equal(t, 200, result.Cycles)
	require.Equal(t, 200, result.Recipients)
	require.Equal(t, 400, result.Requests)
	require.Equal(t, 4, result.Connections)
	require.Equal(t, 400, result.Latency.Count())
	require.Zero(t, result.Failed())
	require.Equal(t, []string{"generate", "validate"}, []string{result.Steps[0].Name, result.Steps[1].Name})
	require.Equal(t, 200, result.Steps[0].Right)
	require.Equal(t, 200, result.Steps[1].Right)
	require.Positive(t, result.CyclesPerSecond())
	require.Positive(t, result.CPUPerRequest())

	o.First += result.Recipients
	require.Equal(t, 200, drive(t, o).Cycles)
	for _, seen := range []map[string]int{s.generated, s.validated} {
		require.Len(t, seen, 400, "a second run that begins where the first ended meets nobody again")
		for i := range 400 {
			require.Equal(t, 1, seen[fmt.Sprintf("919%09d", i)])
		}
	}
}

func TestRun_EndsByTimeWithWholeCycles(t *testing.T) {
	s := newTarget(t, nil)
	o := s.options()
	o.Cycles, o.Duration = 0, 100*time.Millisecond
	result := drive(t, o)
	require.GreaterOrEqual(t, result.Elapsed, 100*time.Millisecond)
	require.Equal(t, result.Cycles, result.Recipients)
	require.Len(t, s.generated, result.Cycles)
	require.Len(t, s.validated, result.Cycles)
}

func TestRun_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	s := newTarget(t, func(http.ResponseWriter, *http.Request) bool {
		if asked.Add(1) == 100 {
			cancel()
		}
		return false
	})
	o := s.options()
	o.Cycles, o.Duration = 0, time.Minute
	result, err := Run(ctx, o)
	require.NoError(t, err)
	require.Empty(t, result.Failures)
	require.GreaterOrEqual(t, result.Cycles, 48)
}

func TestRun_CountsEveryWrongAnswerUnderWhatItSaid(t *testing.T) {
	var asked atomic.Int64
	s := newTarget(t, func(w http.ResponseWriter, _ *http.Request) bool {
		switch asked.Add(1) {
		case 1, 2:
			io.WriteString(w, "ERROR")
		case 3:
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, "come back\nlater")
		case 4:
			panic(http.ErrAbortHandler)
		case 5:
			w.(http.Flusher).Flush() // chunks
		case 6:
			w.Header().Set("Connection", "close")
			return false
		default:
			return false
		}
		return true
	})
	o := s.options()
	o.Concurrency = 1
	result := drive(t, o)
	require.Equal(t, []Failure{
		{"generate", Text, `"ERROR"`, 2},
		{"generate", Status, `503 "come back\nlater"`, 1},
		{"generate", Connection, "the answer has a Transfer-Encoding; only a Content-Length is understood here", 1},
		{"generate", Connection, "the connection was closed before the answer was whole", 1},
	}, result.Failures)
	require.Equal(t, 195, result.Cycles)
	require.Equal(t, 200, result.Recipients)
	require.Equal(t, 5, result.Failed())
	require.Equal(t, 4, result.Connections, "one, and one after each that broke or was closed in order")
	require.Equal(t, 390, result.Latency.Count(), "wrong answers do not count")
	require.Equal(t, 395, result.Requests)
	require.Equal(t, "2 × generate: text: \"ERROR\"", result.Failures[0].String())
}

func TestRun_AServerThatSaysSomethingNewEachTimeFillsNoMemory(t *testing.T) {
	var asked atomic.Int64
	s := newTarget(t, func(w http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprintf(w, "ERROR %d %s", asked.Add(1), bytes.Repeat([]byte("x"), 1000))
		return true
	})
	result := drive(t, s.options())
	require.LessOrEqual(t, len(result.Failures), maxWays+1)
	require.Equal(t, Failure{"generate", Text, "others", 200 - maxWays}, result.Failures[0])
	require.Less(t, len(result.Failures[1].Detail), 210)
}

func TestRun_AnAnswerThatDoesNotComeBreaksItsConnection(t *testing.T) {
	var asked atomic.Int64
	s := newTarget(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if asked.Add(1) == 3 {
			<-r.Context().Done()
			return true
		}
		return false
	})
	o := s.options()
	o.Cycles, o.Timeout = 20, 50*time.Millisecond
	result := drive(t, o)
	require.Equal(t, []Failure{{result.Failures[0].Step, Connection, "read: i/o timeout", 1}}, result.Failures)
	require.Equal(t, 19, result.Cycles)
}

// If a server restarts during the run, only the cycles of that time fail.
func TestRun_ComesBackToAServerThatWasAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	serve := func(l net.Listener) (stop func()) {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter,
			_ *http.Request) {
			io.WriteString(w, "same")
		})}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(l) })
		return func() { server.Close(); serving.Wait() }
	}
	stop := serve(listener)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan *Result)
	reports := make(chan Progress, 100)
	go func() {
		result, err := Run(ctx, Options{URL: "http://" + address, Cycle: servlets.Bare("same"), Concurrency: 2,
			Duration: time.Minute,
			Progress: func(p Progress) { reports <- p }})
		if err != nil {
			panic(err)
		}
		ended <- result
	}()
	report := <-reports
	require.Positive(t, report.Cycles)
	require.Positive(t, report.Rate)
	require.Positive(t, report.P99)
	require.Zero(t, report.Failed)
	stop()
	for report.Failed < 4 {
		report = <-reports
	}
	listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	stop = serve(listener)
	for before := report.Cycles; report.Cycles <= before; {
		report = <-reports
	}
	cancel()
	result := <-ended
	stop()
	require.NotEmpty(t, result.Failures)
	for _, failure := range result.Failures {
		require.Equal(t, Connection, failure.Kind)
	}
	require.LessOrEqual(t, result.Failed(), 2, "what was in flight when it went")
}

func TestRun_RefusesWhatMakesNoSense(t *testing.T) {
	good := Options{URL: "http://127.0.0.1:1", Cycle: servlets.Cycle(), Concurrency: 1, Cycles: 1}
	for says, change := range map[string]func(*Options){
		"no URL of a server":         func(o *Options) { o.URL = "localhost" },
		"plain http only":            func(o *Options) { o.URL = "https://localhost" },
		"has a path":                 func(o *Options) { o.URL += "/otpauthapi" },
		"at least 1":                 func(o *Options) { o.Concurrency = 0 },
		"must end the run":           func(o *Options) { o.Cycles = 0 },
		"no steps":                   func(o *Options) { o.Cycle = nil },
		"there are 1000000000":       func(o *Options) { o.First = -1 },
		"connect to 127.0.0.1:1: ":   func(*Options) {},
		"connect to 127.0.0.1:80: ":  func(o *Options) { o.URL = "http://127.0.0.1"; o.Timeout = time.Nanosecond },
		"there are 1000000000 numbe": func(o *Options) { o.Cycles = numbers + 1 },
	} {
		o := good
		change(&o)
		_, err := Run(t.Context(), o)
		require.ErrorContains(t, err, says)
	}
}

func TestStep_IsARequestThatServersRead(t *testing.T) {
	p := Step{Name: "x", Target: "/a/{number}?to={number}",
		Header: []string{"access_key: k", "department-id: 7"}}.prepare("example.test:81")
	mine := p.own()
	mine.address(987654321)
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(mine.request)))
	require.NoError(t, err)
	require.Equal(t, "/a/919987654321?to=919987654321", r.URL.String())
	require.Equal(t, "example.test:81", r.Host)
	require.Equal(t, http.Header{"Access_key": {"k"}, "Department-Id": {"7"}}, r.Header)
	mine.address(7)
	require.Contains(t, string(mine.request), "to=919000000007 ")
	require.NotContains(t, string(p.request), "987654321", "each client writes into its own copy")
}

// The JSON API: POSTs with a body, another status, and an answer that differs every time.
func TestRun_SendsAndVerifiesAtV1(t *testing.T) {
	var asked atomic.Int64
	var mu sync.Mutex
	seen := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ To, Method, Type, Code string }
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if r.Method != "POST" || r.Header.Get("Authorization") != "Bearer a key" || decoder.Decode(&body) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		seen[r.URL.Path+" "+body.To]++
		mu.Unlock()
		n := asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/v1/send" && body.Method == "sms" && body.Type == "verification":
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "{\n  \"id\": \"otp_%d\"\n}\n", n)
		case r.URL.Path == "/v1/verify" && body.Code == "123456" && n != 10:
			fmt.Fprintf(w, `{"valid":true,"id":"otp_%d"}`, n)
		default:
			fmt.Fprint(w, `{"valid":false,"reason":"MISMATCH","attempts_remaining":4}`)
		}
	}))
	t.Cleanup(server.Close)
	o := Options{URL: server.URL, Cycle: V1{Key: "a key", Code: "123456"}.Cycle(), Concurrency: 1, Cycles: 20}
	result := drive(t, o)
	require.Equal(t, []Failure{{"verify", Text, `"{\"valid\":false,\"reason\":\"MISMATCH\",\"attempts_remaining\":4}"`,
		1}}, result.Failures)
	require.Equal(t, 19, result.Cycles)
	require.Equal(t, 40, result.Requests)
	require.Len(t, seen, 40)
	for i := range 20 {
		require.Equal(t, 1, seen[fmt.Sprintf("/v1/send +919%09d", i)])
		require.Equal(t, 1, seen[fmt.Sprintf("/v1/verify +919%09d", i)])
	}
}

// By its id each challenge is verified once, with any blanks in the answer; an answer without an id is a wrong one.
func TestRun_VerifiesAtV1ByTheIDThatWasAnswered(t *testing.T) {
	var asked atomic.Int64
	var mu sync.Mutex
	verified := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/send" {
			w.WriteHeader(http.StatusCreated)
			n := asked.Add(1)
			form := [...]string{"{\"id\":\"%s\"}", "{\n  \"id\" : \"%s\", \"to\":\"\"}",
				"{ \"to\":\"+9\", \"id\": \"%s\" }"}[n%3]
			id := fmt.Sprintf("otp_%026d", n)
			if n == 10 {
				id = "otp_10"
			}
			fmt.Fprintf(w, form, id)
			return
		}
		var body struct{ ID, Code string }
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		verified[body.ID]++
		mu.Unlock()
		fmt.Fprint(w, `{"valid":true}`)
	}))
	t.Cleanup(server.Close)
	cycle := V1{Key: "a key", Code: "123456", ByID: true}.Cycle()
	result := drive(t, Options{URL: server.URL, Cycle: cycle, Concurrency: 2, Cycles: 30})
	require.Len(t, result.Failures, 1)
	require.Equal(t, "send", result.Failures[0].Step)
	require.Equal(t, 29, result.Cycles)
	require.Len(t, verified, 29)
	for id, times := range verified {
		require.Equal(t, 1, times, id)
	}
}

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		body string
		want bool
	}{
		{`{"valid":true}`, true}, {`{"valid": true}`, true}, {"{\n \"valid\" :\n true }", true}, {`"valid":true`, true},
		{`{"valid":false}`, false}, {``, false}, {`"valid":tru`, false}, {`"valid":"true"`, false}, {`"va"valid":true`, true},
	} {
		require.Equal(t, c.want, holds([]byte(c.body), []byte(`"valid":true`)), c.body)
	}
}
