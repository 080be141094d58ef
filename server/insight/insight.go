package insight

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Options are what an Insight needs.
type Options struct {
	Store *sql.Store
	Tally *Tally
	Log   *slog.Logger
	// Acting are the names of the rules that take their action. The others only say what they would do.
	Acting []string
	// Circuits returns the names of the providers that are paused after failures; it may be nil.
	Circuits func() []string
	Settings Settings
	// Unsealed returns how long this server could not seal the audit log or push its checkpoints; it may be nil.
	Unsealed func() time.Duration
	// Mail sends an alert to operators; nil if nobody is mailed. It must not block.
	Mail func(subject, text string)
}

// Insight has the statistics, alerts and checklist of one database. It is safe for concurrent use. Every server of a
// database has one.
type Insight struct {
	Options
	store  *sql.Store
	stop   chan struct{}
	done   sync.WaitGroup
	raised *prometheus.CounterVec
	skew   func(context.Context) (time.Duration, error) // of the database's clock

	blocks atomic.Pointer[map[netip.Prefix]otp.Millis] // until when networks are refused

	// What an evaluation remembers for the next.
	evaluating  sync.Mutex
	hourly      map[string]looked
	countriesOf otp.Millis      // the day of usual
	usual       map[string]bool // known pairs of key and country
}

// Open returns an Insight. Without Start it writes nothing.
func Open(o Options) *Insight {
	return &Insight{Options: o, store: o.Store, stop: make(chan struct{}), skew: o.Store.ClockSkew,
		hourly: map[string]looked{},
		raised: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "otpbridge", Name: "alerts_total",
			Help: "Alerts that this server raised, by rule."}, []string{"rule"})}
}

// Collectors returns the metrics, for a registry.
func (i *Insight) Collectors() []prometheus.Collector { return []prometheus.Collector{i.raised} }

// Start writes the counts and evaluates the rules in the background until Close.
func (i *Insight) Start() {
	i.done.Go(func() {
		ticker, looks := time.NewTicker(writeEvery), time.NewTicker(evaluateEvery)
		defer ticker.Stop()
		defer looks.Stop()
		for {
			select {
			case <-i.stop:
				i.write()
				return
			case <-ticker.C:
				i.write()
			case <-looks.C:
				i.evaluate()
			}
		}
	})
}

// Close stops what Start started, and writes the remaining counts.
func (i *Insight) Close() {
	close(i.stop)
	i.done.Wait()
}

func (i *Insight) evaluate() {
	ctx, cancel := context.WithTimeout(context.Background(), evaluateEvery)
	defer cancel()
	if err := i.Evaluate(ctx, otp.At(time.Now())); err != nil {
		i.Log.Warn("alerts were not all looked at", "error", err)
	}
}

func (i *Insight) write() {
	ctx, cancel := context.WithTimeout(context.Background(), writeEvery)
	defer cancel()
	if err := i.Write(ctx, otp.At(time.Now())); err != nil {
		i.Log.Warn("statistics were not written, and are kept for the next time", "error", err)
	}
}

// Write adds the counts since the last time to the database. It keeps counts that cannot be written.
func (i *Insight) Write(ctx context.Context, now otp.Millis) error {
	left, err := i.store.Statistics.Add(ctx, i.Tally.take(), now)
	i.Tally.giveBack(left)
	return err
}
