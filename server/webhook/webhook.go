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
