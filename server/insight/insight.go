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

// Options are what an insight needs.
type Options struct {
	Store *sql.Store
	Tally *Tally
	Log   *slog.Logger
	// Acting are the names of the rules that act and do not only say what they would do.
	Acting []string
	// Circuits names the providers that are given a pause; nil where there are none.
	Circuits func() []string
	Settings Settings
	// Unsealed is for how long this server could not seal the audit log or push its checkpoints; nil where there is none.
	Unsealed func() time.Duration
	// Mail tells operators of an alert; nil where nobody is mailed. It must not block.
	Mail func(subject, text string)
}

// Insight is the statistics of one database. It is safe for concurrent use, and several servers may have one each.
type Insight struct {
	Options
	store  *sql.Store
	stop   chan struct{}
	done   sync.WaitGroup
	raised *prometheus.CounterVec
	skew   func(context.Context) (time.Duration, error) // of the database's clock

	blocks atomic.Pointer[map[netip.Prefix]otp.Millis] // until when networks are refused

	// What evaluations remember of each other.
	evaluating  sync.Mutex
	hourly      map[string]looked
	countriesOf otp.Millis      // the day of usual
	usual       map[string]bool // keys and countries that were found to be usual
}

// Open returns an insight that writes nothing yet.
func Open(o Options) *Insight {
	return &Insight{Options: o, store: o.Store, stop: make(chan struct{}), skew: o.Store.ClockSkew,
		hourly: map[string]looked{},
		raised: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "otpbridge", Name: "alerts_total",
			Help: "Alerts that this server raised, by rule."}, []string{"rule"})}
}

// Collectors are the insight's metrics, for a registry.
func (i *Insight) Collectors() []prometheus.Collector { return []prometheus.Collector{i.raised} }

// Start writes what is counted, and looks at the rules, until Close.
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

// Close writes what is left.
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

// Write adds what was counted since the last time to the database. What cannot be written is kept.
func (i *Insight) Write(ctx context.Context, now otp.Millis) error {
	left, err := i.store.Statistics.Add(ctx, i.Tally.take(), now)
	i.Tally.giveBack(left)
	return err
}
