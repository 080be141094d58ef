// Package webhook tells the servers of accounts what happened to their codes and keys.
//
// It promises that an endpoint is told of every event that it asked for and whose transaction began after the
// endpoint was made, at least once and with the same id on every try; that what is told of one challenge comes in
// order; that no endpoint delays another; and that requests go only where deliver.Guard lets them. No text holds a
// code, and a whole recipient only where a person with that right has asked for it.
//
// Which events are told, and that none is missed, is decided in sql, in the transaction of the event. A moment later
// they are given to the endpoints, with one text for all.
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
	// Look is the pause between two looks for what other servers left and what is to be tried again; with 0 nothing
	// is delivered.
	Look time.Duration
}

// Webhooks is safe for concurrent use.
type Webhooks struct {
	Options
	process otp.ID // names this process to others that deliver
	metrics *metrics
	client  func() *http.Client // makes what sends the requests of one endpoint

	closing context.Context // begin no try
	close   context.CancelFunc
	cut     context.Context // end those under way
	cutOff  context.CancelFunc
	busy    sync.WaitGroup

	mu     sync.Mutex
	queues map[otp.ID]*queue // of the endpoints that are this server's
}

// New starts delivering.
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

// grace is how long tries under way may take once the server stops.
const grace = 3 * time.Second

// Close lets tries that are under way come to their end for a moment, and gives the endpoints to other servers. It comes
// before the store's Close.
func (w *Webhooks) Close() {
	w.close()
	over := time.AfterFunc(grace, w.cutOff)
	w.busy.Wait()
	over.Stop()
	w.cutOff()
	if w.Look > 0 {
		// If this fails the leases run out.
		_ = w.Store.Webhooks.Release(w.process)
	}
}
