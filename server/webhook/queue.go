package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

const (
	// connections is how many requests are sent to an endpoint at once.
	connections = 2
	// chunk is how many notices of an endpoint are read at once.
	chunk = 64
	// gather is the least time between two distributions, each of which is a transaction. An event after a pause is
	// distributed at once.
	gather = 50 * time.Millisecond
	// settleEvery is how long an outcome may wait to be written together with others.
	settleEvery = 200 * time.Millisecond
	// linger is how long an empty queue waits for more.
	linger = 5 * time.Second
	// pauseAfter is how long all deliveries to an endpoint must fail before it is paused.
	pauseAfter = 3 * otp.Day
	// fresh is how long a round starts tries with what it has read. Within this time a change of the endpoint, its
	// deletion and an erasure reach it.
	fresh = time.Second
)

// queue delivers to one endpoint. Only this server does so while it has the lease.
type queue struct {
	*Webhooks
	id    otp.ID
	wake  chan struct{}
	until otp.Millis // of the lease; guarded by mu
}

// tend starts queues for endpoints with due notices, and renews the leases of the running ones.
func (w *Webhooks) tend() {
	look := time.NewTicker(w.Look)
	defer look.Stop()
	var last time.Time
	for {
		var due []otp.ID
		select {
		case <-w.closing.Done():
			return
		case <-w.Store.Webhooks.Happened():
			time.Sleep(gather - time.Since(last))
			due = w.distribute()
			last = time.Now()
		case <-look.C:
			// Notices that other servers left, and retries that are due now.
			left := w.distribute()
			found, err := w.Store.WebhookQueue.Due(w.closing, w.process, otp.At(time.Now()))
			if err != nil && w.closing.Err() == nil {
				w.Log.WarnContext(w.closing, "webhooks that are due could not be read", "error", err)
			}
			due = slices.Concat(left, found, w.ending())
		}
		if err := w.attend(due); err != nil && w.closing.Err() == nil {
			w.Log.WarnContext(w.closing, "webhooks could not be taken on", "error", err)
		}
	}
}

// distribute gives new notices to their endpoints, and returns the endpoints with something to send. While operations
// wait for a batch it uses at most a fifth of the time.
func (w *Webhooks) distribute() (due []otp.ID) {
	for more := true; more && w.closing.Err() == nil; {
		var awake []otp.ID
		var err error
		began := time.Now()
		more, awake, err = w.Store.Webhooks.Distribute(w.closing, otp.At(time.Now()))
		if err != nil && w.closing.Err() == nil {
			w.Log.WarnContext(w.closing, "what webhooks are to be told could not be given out", "error", err)
		}
		due = append(due, awake...)
		if waiting, _ := w.Store.Queued(); waiting > 0 {
			time.Sleep(4 * time.Since(began))
		}
	}
	return due
}

// ending returns the endpoints whose leases end soon.
func (w *Webhooks) ending() (ids []otp.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	soon := otp.At(time.Now()) + otp.Lease*2/3
	for id, q := range w.queues {
		if q.until < soon {
			ids = append(ids, id)
		}
	}
	return ids
}

// attend wakes the queues of endpoints, and claims and starts those that no server runs.
func (w *Webhooks) attend(ids []otp.ID) error {
	now := otp.At(time.Now())
	var unclaimed []otp.ID
	w.mu.Lock()
	for _, id := range ids {
		q := w.queues[id]
		if q != nil {
			select {
			case q.wake <- struct{}{}:
			default: // it is already awake
			}
		}
		if (q == nil || q.until < now+otp.Lease*2/3) && !slices.Contains(unclaimed, id) {
			unclaimed = append(unclaimed, id)
		}
	}
	w.mu.Unlock()
	if len(unclaimed) == 0 {
		return nil
	}
	claimed, err := w.Store.WebhookQueue.Claim(w.process, unclaimed, now, now+otp.Lease)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range claimed {
		q := w.queues[id]
		if q == nil {
			q = &queue{Webhooks: w, id: id, wake: make(chan struct{}, 1)}
			w.queues[id] = q
			w.busy.Go(q.run)
		}
		q.until = now + otp.Lease
	}
	return nil
}

// run delivers until the queue was empty for linger, or another server has the endpoint.
func (q *queue) run() {
	defer func() {
		q.mu.Lock()
		delete(q.queues, q.id)
		q.mu.Unlock()
	}()
	client := q.client()
	defer client.CloseIdleConnections()
	idle := time.NewTimer(linger)
	defer idle.Stop()
	for {
		sent, err := q.round(client)
		switch {
		case errors.Is(err, sql.ErrNotFound), q.closing.Err() != nil:
			return
		case err != nil:
			q.Log.WarnContext(q.closing, "webhook could not be served", "webhook", q.id.Text(EndpointPrefix), "error", err)
			return // tend starts it again
		case sent > 0:
			idle.Reset(linger)
			continue
		}
		select {
		case <-q.wake:
		case <-idle.C:
			return
		case <-q.closing.Done():
			return
		}
	}
}

// round sends the notices that are due, and returns their number with those it postponed. The error is sql.ErrNotFound
// if the endpoint is off or deleted, or another server has it now.
func (q *queue) round(client *http.Client) (int, error) {
	ctx, began := q.closing, time.Now()
	e, err := q.Store.WebhookQueue.Mine(ctx, q.id, q.process, otp.At(began))
	if err != nil {
		return 0, err
	}
	due, held, err := q.Store.WebhookQueue.Next(ctx, q.id, otp.At(time.Now()), chunk)
	if err == nil && len(held) > 0 {
		err = q.Store.WebhookQueue.Postpone(held)
	}
	if err != nil || len(due) == 0 {
		return len(held), err
	}
	texts, err := q.Store.Webhooks.Texts(ctx, due)
	if err != nil {
		return 0, err
	}
	tried := make(chan outcome)
	var taken atomic.Int64
	var gone atomic.Bool
	var senders sync.WaitGroup
	for range min(connections, len(due)) {
		senders.Go(func() {
			for may := true; may; may = !gone.Load() && ctx.Err() == nil && q.held() && time.Since(began) < fresh {
				i := int(taken.Add(1)) - 1
				if i >= len(due) {
					return
				}
				n := &due[i]
				err := q.attempt(q.cut, client, &e, n, texts[n.ID])
				if err == nil && n.Status == http.StatusGone {
					gone.Store(true)
				}
				tried <- outcome{n, err}
			}
		})
	}
	go func() {
		senders.Wait()
		close(tried)
	}()
	return len(due) + len(held), q.settle(&e, tried)
}

// outcome is the result of one try.
type outcome struct {
	notice *sql.Notice
	err    error
}

// held reports whether this server still has the lease. After it, another server may send the next notices.
func (q *queue) held() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return otp.At(time.Now()) < q.until
}

// settle writes outcomes as they come, several at once.
func (q *queue) settle(e *sql.Endpoint, tried <-chan outcome) (failure error) {
	var done, untrue []sql.Notice
	written := time.Now()
	write := func() {
		if len(done) > 0 {
			failure = errors.Join(failure, q.Store.WebhookQueue.Settle(done), q.judge(e, done))
		}
		if len(untrue) > 0 {
			failure = errors.Join(failure, q.Store.WebhookQueue.Drop(untrue))
		}
		done, untrue, written = done[:0], untrue[:0], time.Now()
	}
	for o := range tried {
		switch {
		case errors.Is(o.err, errUntrue):
			untrue = append(untrue, *o.notice)
		case o.err != nil:
			failure = errors.Join(failure, o.err)
		default:
			done = append(done, *o.notice)
		}
		if time.Since(written) > settleEvery {
			write()
		}
	}
	write()
	return failure
}

// judge records whether an endpoint works, and switches off one that answered 410 or has failed for pauseAfter.
func (q *queue) judge(e *sql.Endpoint, tried []sql.Notice) error {
	now := otp.At(time.Now())
	switch {
	case slices.ContainsFunc(tried, func(n sql.Notice) bool { return n.Status == http.StatusGone }):
		return q.switchOff(e, offGone, otp.WebhookGone, now)
	case slices.ContainsFunc(tried, func(n sql.Notice) bool { return n.State == sql.NoticeDelivered }):
		if e.FailingSince == 0 {
			return nil
		}
		e.FailingSince = 0
		return q.Store.Webhooks.SetFailing(e.ID, 0)
	case e.FailingSince == 0:
		e.FailingSince = now
		return q.Store.Webhooks.SetFailing(e.ID, now)
	case now-e.FailingSince >= pauseAfter:
		return q.switchOff(e, offPaused, otp.WebhookPaused, now)
	}
	return nil
}

// errChanged ends a transaction about an endpoint that is another by now.
var errChanged = errors.New("webhook: the endpoint was changed meanwhile")

// switchOff stops deliveries to an endpoint, unless it was changed or deleted since e was read. If it is paused, the
// account's other endpoints are told once.
func (w *Webhooks) switchOff(e *sql.Endpoint, why string, kind otp.ChangeKind, now otp.Millis) error {
	err := w.Store.Change(context.Background(), func(tx *sql.Tx) error {
		latest, found, err := w.Store.Webhooks.Lock(tx, e.Account, e.ID)
		if err == nil && (!found || latest.Off != "" || latest.Version != e.Version) {
			err = errChanged
		}
		if err != nil {
			return err
		}
		latest.Off, latest.OffAt = why, now
		if err := w.update(tx, &latest, now); err != nil {
			return err
		}
		change := Asker{Account: e.Account, Actor: otp.Actor{Kind: "server"}}.change(kind, e, now)
		if why == offPaused {
			told := sql.Notice{Account: e.Account, Type: string(otp.NoticePaused), Event: change.ID, At: now}
			if _, err := w.Store.Webhooks.Tell(tx, told, now); err != nil {
				return err
			}
		}
		return tx.Record(change)
	})
	if err == nil {
		w.Log.Warn("webhook switched off", "webhook", e.ID.Text(EndpointPrefix), "account", e.Account, "why", why)
		w.metrics.off.WithLabelValues(why).Inc()
	}
	if errors.Is(err, errChanged) {
		err = nil
	}
	return err
}

// failed records a failed try in a notice: it sets when the next try is due, or that there is none.
func failed(n *sql.Notice, wait time.Duration, now otp.Millis) {
	if n.Attempts > len(delays) || n.Status == http.StatusGone {
		n.State, n.DueAt = sql.NoticeDead, 0
		return
	}
	pause := delays[n.Attempts-1]
	// Jitter spreads the retries of notices that failed together.
	pause += time.Duration(rand.Int64N(int64(pause / 10)))
	n.DueAt = now + otp.Span(max(pause, wait))
}
