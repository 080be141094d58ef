package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"otpbridge/sql"
)

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
