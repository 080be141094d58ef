// Package bridge passes servlet calls on to an account's upstream: the service that the account is moving from. It
// also counts calls and reports how far accounts have moved.
//
// It promises that a call is sent at most once and with its exact bytes; that it ends within a deadline; that an
// upstream which hangs holds only a bounded number of calls; and that only the class, time and size of a call are
// recorded, never a number, a code or a key. Requests pass deliver.Guard, because customers set the addresses.
//
// The servlets decide which calls are passed on, and what an answer means.
package bridge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
)

const (
	// perAccount and inAll bound the calls in flight to upstreams. A server has 4,096 connections. If its upstream
	// hangs, one account leaves half of them to others, and all such accounts together leave a quarter.
	perAccount = 2048
	inAll      = 3072
	// maxAnswer is how many bytes of an answer are read: the servlets answer with one line.
	maxAnswer = 4 << 10
	// idle is how long a connection waits for its next call. It is shorter than servers wait, so that a call does
	// not use a connection that the upstream is closing.
	idle = 3 * time.Second
	// maxIdle is how many idle connections to a host are kept.
	maxIdle = 256
)

// Upstreams passes calls on. It is safe for concurrent use.
type Upstreams struct {
	guard     *deliver.Guard
	transport deliver.Transport
	deadline  time.Duration

	mu       sync.Mutex
	underWay map[string]int // by account
	all      int

	calls   *prometheus.CounterVec
	seconds prometheus.Histogram
}

// New returns an Upstreams whose requests pass the guard and end within deadline, which is at most
// otp.UpstreamDeadline.
func New(guard *deliver.Guard, deadline time.Duration) *Upstreams {
	u := &Upstreams{
		guard: guard, deadline: deadline, transport: guard.Transport(inAll), underWay: map[string]int{},
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "otpbridge", Name: "upstream_calls_total",
			Help: "Servlet calls passed on to upstreams, by servlet and by what was answered: a text's name, or why none came.",
		}, []string{"servlet", "class"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "otpbridge", Name: "upstream_seconds", Help: "Time that upstreams took to answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), // to 8 s
		}),
	}
	u.transport.IdleConnTimeout, u.transport.MaxIdleConnsPerHost = idle, maxIdle
	return u
}

// Collectors returns the metrics, for a registry.
func (u *Upstreams) Collectors() []prometheus.Collector {
	return []prometheus.Collector{u.calls, u.seconds}
}

// Close closes the idle connections.
func (u *Upstreams) Close() { u.transport.CloseIdleConnections() }

// Count counts a call in the metrics: the servlet, the class of its answer, and how long it took.
func (u *Upstreams) Count(servlet, class string, took time.Duration) {
	u.calls.WithLabelValues(servlet, class).Inc()
	u.seconds.Observe(took.Seconds())
}

// Call is a servlet call as the client sent it.
type Call struct {
	Method string
	URL    *url.URL // the last segment and the query are passed on, with their original escapes
	Header http.Header
	Body   []byte
}

// Answer is an upstream's answer. Status, header and body are returned to the client unchanged.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Failure says why there is no answer. Class is busy, timeout, unreachable or nonsense.
type Failure struct {
	Class string
	Err   error // for the log; it contains neither the call nor the answer
}

// Error implements error.
func (f *Failure) Error() string { return "the upstream failed (" + f.Class + "): " + f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// requested and answered are the headers that are passed on. The others concern one connection or name proxies, and
// the servlets do not use them.
var (
	requested = map[string]string{"Access_key": "access_key", "Department-Id": "department-id",
		"Content-Type": "Content-Type", "User-Agent": "User-Agent", "Accept": "Accept",
		"Accept-Language": "Accept-Language", "Cookie": "Cookie"}
	answered = []string{"Content-Type", "Cache-Control", "Pragma", "Expires", "Set-Cookie"}
)

// Do passes a call of an account on and returns the answer. It does not end with ctx, because the upstream acts on a
// call that it has received. The error is a *Failure.
func (u *Upstreams) Do(ctx context.Context, a *otp.Account, c Call) (Answer, error) {
	if !u.enter(a.Address) {
		return Answer{}, &Failure{"busy", errors.New("as many calls are under way as may be")}
	}
	defer u.leave(a.Address)
	request, err := u.request(a, c)
	if err != nil {
		return Answer{}, &Failure{"unreachable", err}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.deadline)
	defer cancel()
	response, err := u.transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return Answer{}, u.failure(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, u.failure(ctx, err)
	case len(body) > maxAnswer:
		return Answer{}, &Failure{"nonsense", errors.New("the answer is longer than a servlet's")}
	}
	answer := Answer{Status: response.StatusCode, Header: http.Header{"Content-Type": nil}, Body: body}
	for _, name := range answered {
		if values := response.Header[name]; values != nil {
			answer.Header[name] = values
		}
	}
	return answer, nil
}

func (u *Upstreams) failure(ctx context.Context, err error) *Failure {
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		return &Failure{"timeout", errors.New("no answer within " + u.deadline.String())}
	}
	return &Failure{"unreachable", errors.New(deliver.Phrase(err))}
}

// request returns the request for a call.
func (u *Upstreams) request(a *otp.Account, c Call) (*http.Request, error) {
	if a.UpstreamURL == nil {
		return nil, errors.New("the account has no upstream_url")
	}
	base, err := u.guard.ParseBase(*a.UpstreamURL)
	if err != nil {
		return nil, err
	}
	name := c.URL.EscapedPath()
	name = name[strings.LastIndexByte(name, '/'):]
	plain, err := url.PathUnescape(name)
	if err != nil {
		return nil, err
	}
	to := *base
	to.Path, to.RawPath = strings.TrimSuffix(base.Path, "/")+plain, strings.TrimSuffix(base.EscapedPath(), "/")+name
	to.RawQuery, to.ForceQuery = c.URL.RawQuery, c.URL.ForceQuery
	request := &http.Request{Method: c.Method, URL: &to, Host: to.Host, Header: http.Header{"User-Agent": nil},
		ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, ContentLength: int64(len(c.Body))}
	for came, goes := range requested {
		if values := c.Header[came]; values != nil {
			request.Header[goes] = values
		}
	}
	// net/http repeats a GET when its connection breaks, unless it has a body that cannot be read again. A code must
	// not be made or tried twice, so a GET gets an empty body.
	if len(c.Body) > 0 || c.Method == http.MethodGet {
		request.Body = io.NopCloser(bytes.NewReader(c.Body))
	}
	return request, nil
}

func (u *Upstreams) enter(account string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all >= inAll || u.underWay[account] >= perAccount {
		return false
	}
	u.all++
	u.underWay[account]++
	return true
}

func (u *Upstreams) leave(account string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all--
	if u.underWay[account]--; u.underWay[account] == 0 {
		delete(u.underWay, account)
	}
}
