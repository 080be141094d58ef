// Package webhook tells the servers of accounts what happened to their codes and keys.
//
// It promises:
//   - An endpoint is told at least once of every event that it asked for and whose transaction began after the
//     endpoint was made. Every try has the same id.
//   - The events of one challenge come in order.
//   - No endpoint delays another.
//   - Requests go only to addresses that deliver.Guard allows.
//   - No text contains a code. It contains a whole recipient only if a person with that right has asked for it.
//
// Package sql decides which events are told, in the event's transaction, so that none is missed. A moment later they
// are distributed to the endpoints, with one text for all.
package webhook

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Options are what Webhooks works with.
type Options struct {
	Store *sql.Store
	Vault *vault.Vault
	Guard *deliver.Guard
	Log   *slog.Logger
	// Look is the pause between two searches for notices that other servers left and for due retries; 0 delivers
	// nothing.
	Look time.Duration
}

// Webhooks manages endpoints and delivers to them. It is safe for concurrent use.
type Webhooks struct {
	Options
	process otp.ID // identifies this process to other servers
	metrics *metrics
	client  func() *http.Client // makes the client for one endpoint

	closing context.Context // its end: start no more tries
	close   context.CancelFunc
	cut     context.Context // its end: cut off tries in flight
	cutOff  context.CancelFunc
	busy    sync.WaitGroup

	mu     sync.Mutex
	queues map[otp.ID]*queue // of the endpoints that this server has claimed
}

// New returns a Webhooks that delivers in the background until Close.
func New(o Options) *Webhooks {
	w := prepared(o)
	w.start()
	return w
}

func prepared(o Options) *Webhooks {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	w := &Webhooks{Options: o, process: sql.NewID(), metrics: newMetrics(), queues: map[otp.ID]*queue{}}
	w.closing, w.close = context.WithCancel(context.Background())
	w.cut, w.cutOff = context.WithCancel(context.Background())
	o.Store.Webhooks.Text = w.describe
	w.client = func() *http.Client { return o.Guard.Client(patience) }
	return w
}

func (w *Webhooks) start() {
	if w.Look > 0 {
		w.busy.Go(w.tend)
	}
}

// grace is how long tries in flight may take when the server stops.
const grace = 3 * time.Second

// Close waits for tries in flight, for grace at most, and releases the endpoints to other servers. Call it before the
// store's Close.
func (w *Webhooks) Close() {
	w.close()
	over := time.AfterFunc(grace, w.cutOff)
	w.busy.Wait()
	over.Stop()
	w.cutOff()
	if w.Look > 0 {
		// If this fails, the leases expire.
		_ = w.Store.WebhookQueue.Release(w.process)
	}
}

// metrics count tries and endpoints that were switched off. No label has a value that a customer chose.
type metrics struct {
	tries   *prometheus.CounterVec
	seconds prometheus.Histogram
	off     *prometheus.CounterVec
}

func newMetrics() *metrics {
	const namespace = "otpbridge"
	m := &metrics{
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_tries_total",
			Help: "Tries to deliver to webhooks, by what the notice is after it: " +
				"delivered, pending (to be tried again) or dead.",
		}, []string{"state"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_try_seconds", Help: "Time of a try, to the end of the answer.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		off: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_off_total",
			Help: "Webhooks that the server switched off, by why: gone or paused.",
		}, []string{"why"}),
	}
	for _, state := range []string{sql.NoticeDelivered, sql.NoticePending, sql.NoticeDead} {
		m.tries.WithLabelValues(state)
	}
	for _, why := range []string{offGone, offPaused} {
		m.off.WithLabelValues(why)
	}
	return m
}

func (m *metrics) tried(state string, took time.Duration) {
	m.tries.WithLabelValues(state).Inc()
	m.seconds.Observe(took.Seconds())
}

// Collectors returns the metrics, for a registry.
func (w *Webhooks) Collectors() []prometheus.Collector {
	return []prometheus.Collector{w.metrics.tries, w.metrics.seconds, w.metrics.off}
}
