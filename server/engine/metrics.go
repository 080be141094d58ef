package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"otpbridge/server/deliver"
)

// metrics count hand-overs, receipts and sends. Labels are the names of channels and countries.
type metrics struct {
	handOvers *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	receipts  *prometheus.CounterVec
	takeOvers *prometheus.CounterVec
	sends     *prometheus.CounterVec
	verified  *prometheus.CounterVec

	rehearsals prometheus.Counter
}

func newMetrics() *metrics {
	const namespace = "otpbridge"
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	return &metrics{
		handOvers: vector("hand_overs_total", "Messages given to providers, by outcome: sent, not_sent, unknown.",
			"channel", "medium", "outcome"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "hand_over_seconds", Help: "Time that a provider took to take a message, or not to.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13), // to 20 s
		}, []string{"channel"}),
		receipts: vector("receipts_total", "Reports of providers about messages, by what came of them.", "channel",
			"result"),
		takeOvers: vector("take_overs_total", "Deliveries of servers that are gone: continued, or of unknown outcome.",
			"result"),
		sends:    vector("sms_total", "Codes sent by SMS that left the process, by country.", "country"),
		verified: vector("sms_verified_total", "Codes sent by SMS that were verified, by country.", "country"),
		rehearsals: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "test_recipient_sends_total",
			Help: "Sends to test recipients of production, which reached nobody."}),
	}
}

// Collectors returns the engine's metrics, for a registry.
func (e *Engine) Collectors() []prometheus.Collector {
	m := e.metrics
	return []prometheus.Collector{m.handOvers, m.seconds, m.receipts, m.takeOvers, m.sends, m.verified, m.rehearsals}
}

func (m *metrics) handedOver(channel, medium string, outcome deliver.Outcome, took time.Duration) {
	m.handOvers.WithLabelValues(channel, medium, outcome.String()).Inc()
	m.seconds.WithLabelValues(channel).Observe(took.Seconds())
}

func (m *metrics) takenOver(result string) { m.takeOvers.WithLabelValues(result).Inc() }
