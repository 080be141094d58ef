package insight

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Options are what an insight needs.
type Options struct {
	Store *sql.Store
	Tally *Tally
	Log   *slog.Logger
}

// Insight is the statistics of one database. It is safe for concurrent use, and several servers may have one each.
type Insight struct {
	Options
	store *sql.Store
	stop  chan struct{}
	done  sync.WaitGroup
}

// Open returns an insight that writes nothing yet.
func Open(o Options) *Insight {
	return &Insight{Options: o, store: o.Store, stop: make(chan struct{})}
}

// Start writes what is counted until Close.
func (i *Insight) Start() {
	i.done.Go(func() {
		ticker := time.NewTicker(writeEvery)
		defer ticker.Stop()
		for {
			select {
			case <-i.stop:
				i.write()
				return
			case <-ticker.C:
				i.write()
			}
		}
	})
}

// Close writes what is left.
func (i *Insight) Close() {
	close(i.stop)
	i.done.Wait()
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
