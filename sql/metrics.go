package sql

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"otpbridge/server/otp"
)

// metrics count what the store does. No label holds text that a caller chose.
type metrics struct {
	operations prometheus.Histogram // of a batch
	seconds    prometheus.Histogram // of a batch, from begin to the end of its last try
	tries      prometheus.Counter
	faults     prometheus.Counter
	events     *prometheus.CounterVec
	notices    prometheus.Counter
	refusals   *prometheus.CounterVec
	sweeps     *prometheus.CounterVec
	swept      *prometheus.CounterVec
	queued     prometheus.GaugeFunc
	capacity   prometheus.GaugeFunc
	sweptAt    prometheus.Gauge

	counters map[[2]string]prometheus.Counter // of events; used by the batch loop only
}

func newMetrics(s *Store) *metrics {
	const namespace = "otpbridge"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	m := &metrics{
		operations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "batch_operations", Help: "Operations that shared a transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9), // to 256, the maximum
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "batch_seconds", Help: "Time from the begin of a batch to its commit, further tries " +
				"included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13), // to 2 s
		}),
		tries: counter("batch_tries_total",
			"Transactions begun for batches; more than batches are tries after a conflict."),
		faults: counter("batch_faults_total", "Batches that failed for good, whose callers got an error."),
		events: vector("events_total", "Decisions committed, by what happened and the door they came through.", "event",
			"door"),
		notices:  counter("webhook_notices_total", "What was given to webhooks to be told of codes."),
		refusals: vector("refusals_total", "Operations refused by a rule, by kind.", "kind"),
		sweeps:   vector("sweeps_total", "Sweeps, by result.", "result"),
		swept:    vector("swept_rows_total", "Rows removed because no rule looks at them any more.", "table"),
		queued: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "queue_operations", Help: "Operations that wait for their batch.",
		}, func() float64 { waiting, _ := s.Queued(); return float64(waiting) }),
		capacity: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "queue_capacity",
			Help: "Guesses that may wait, by the time that a batch takes now; sends may be fewer. One more is refused as " +
				"overloaded.",
		}, func() float64 { _, length := s.Queued(); return float64(length) }),
		sweptAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "last_sweep_timestamp_seconds", Help: "When the last sweep succeeded.",
		}),
		counters: map[[2]string]prometheus.Counter{},
	}
	return m
}

// Collectors returns the store's metrics, for a registry.
func (s *Store) Collectors() []prometheus.Collector {
	m := s.metrics
	return []prometheus.Collector{
		m.operations, m.seconds, m.tries, m.faults, m.events, m.notices, m.refusals, m.sweeps, m.swept, m.queued, m.capacity,
		m.sweptAt,
	}
}

// decided counts a batch after its last try.
func (m *metrics) decided(operations []*Operation, took time.Duration) {
	m.operations.Observe(float64(len(operations)))
	m.seconds.Observe(took.Seconds())
	for _, op := range operations {
		if kind := otp.KindOf(op.err); kind != 0 {
			m.refusals.WithLabelValues(kind.String()).Inc()
		}
	}
}

// refused counts a refusal before a decision.
func (m *metrics) refused(refusal *otp.Error) {
	m.refusals.WithLabelValues(refusal.Kind.String()).Inc()
}

// happened counts the events of a committed transaction.
func (m *metrics) happened(events []otp.Event) {
	for i := range events {
		label := [2]string{string(events[i].Kind), string(events[i].Door)}
		counter := m.counters[label]
		if counter == nil {
			counter = m.events.WithLabelValues(label[0], label[1])
			m.counters[label] = counter
		}
		counter.Inc()
	}
}

func (m *metrics) sweep(s Swept, err error) {
	m.swept.WithLabelValues("challenges").Add(float64(s.Challenges))
	m.swept.WithLabelValues("recipients").Add(float64(s.Recipients))
	m.swept.WithLabelValues("events").Add(float64(s.Events))
	m.swept.WithLabelValues("deliveries").Add(float64(s.Deliveries))
	m.swept.WithLabelValues("counters").Add(float64(s.Counters))
	m.swept.WithLabelValues("shadows").Add(float64(s.Shadows))
	m.swept.WithLabelValues("webhook_deliveries").Add(float64(s.Notices))
	if err != nil {
		m.sweeps.WithLabelValues("failed").Inc()
		return
	}
	m.sweeps.WithLabelValues("done").Inc()
	m.sweptAt.SetToCurrentTime()
}
