package engine

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The times of the watermark.
const (
	// watermarkPause bounds how much later than the message was taken the database knows.
	watermarkPause = 50 * time.Millisecond
	// watchFor is how long a hand-over may hold the watermark up. A slower one gets a row of its own.
	watchFor = 2 * otp.Second
	// watermarkIdle is after how long without a send the watermark is given up, until the next one.
	watermarkIdle = 10 * otp.Second
	// watermarkChunk is for how many a keeper speaks at once.
	watermarkChunk = 256
)

// watermark is where this server's hand-overs stand of those that began with the transaction which
// made their send. Of these nothing is stored but the send's event, which names the watermark. While
// one of them is under way the database hears of none behind it that it has ended, and what the
// database has heard is never taken back. So if the process dies, whoever takes over knows of each
// that it was sent, or that nobody can tell.
//
// Of what did not simply end as sent there is more to say: that a provider gave a receipt, that a
// second channel is tried, that nothing was sent. Then the delivery gets a row, in a transaction that
// counts only if the watermark is this server's still, and is waited for no more.
type watermark struct {
	mu      sync.Mutex
	spoke   sync.Cond  // a keeper is through with speaking
	joined  bool       // the database has it, as far as is known
	keeping bool       // somebody tells the database
	used    otp.Millis // of the last send
	under   []handOver // in the order of their ids; the first one has not ended
	bound   otp.ID     // everything before it has ended
}

// handOver is one that a watermark waits for.
type handOver struct {
	id      otp.ID
	since   otp.Millis
	stage   stage
	send    *send         // once it is committed
	row     *otp.Delivery // the same; its carrier's, and read by others only while nobody speaks
	speaker speaker
}

// speaker is who gives a hand-over a row.
type speaker int

const (
	nobody  speaker = iota
	carrier         // who is at it
	keeper          // who tells the database how far the watermark has come
)

// stage is how far a hand-over has come.
type stage int

// The stages, in their order.
const (
	undecided stage = iota // its send is not committed
	carried                // somebody is at it
	left                   // somebody was, and could not record how it ended
	ended                  // or has a row
)

// begin takes hand-overs in, ahead of the transaction that makes their send, and gives the bound
// that this may carry. It is false if they cannot be watched.
func (w *watermark) begin(ids []otp.ID, now otp.Millis) (bound otp.ID, watched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used = now
	if !w.joined || slices.ContainsFunc(ids, func(id otp.ID) bool { return before(id, w.bound) }) {
		return bound, false // ids need not come in the order in which they were made
	}
	for _, id := range ids {
		at, _ := w.place(id)
		w.under = slices.Insert(w.under, at, handOver{id: id, since: now})
	}
	w.move()
	return w.bound, true
}

func before(a, b otp.ID) bool { return bytes.Compare(a[:], b[:]) < 0 }

// next is the smallest id behind another.
func next(id otp.ID) otp.ID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}

func (w *watermark) place(id otp.ID) (at int, found bool) {
	if n := len(w.under); n == 0 || before(w.under[n-1].id, id) {
		return n, false // as nearly always of a new one
	}
	return slices.BinarySearchFunc(w.under, id, func(h handOver, id otp.ID) int { return bytes.Compare(h.id[:], id[:]) })
}

// find is the hand-over with this id if it has not ended, else nil.
func (w *watermark) find(id otp.ID) *handOver {
	if at, found := w.place(id); found && w.under[at].stage != ended {
		return &w.under[at]
	}
	return nil
}

// carry notes that somebody is at a hand-over.
func (w *watermark) carry(s *send, row *otp.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.find(row.ID); h != nil {
		h.stage, h.send, h.row = carried, s, row
	}
}

// silent is find, once nobody but its carrier speaks for the hand-over: it may have a row then.
func (w *watermark) silent(id otp.ID) *handOver {
	for {
		h := w.find(id)
		if h == nil || h.speaker != keeper {
			return h
		}
		w.spoke.Wait()
	}
}

// claim tells its carrier whether a hand-over is without a row, and its own to give it one.
func (w *watermark) claim(id otp.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.silent(id)
	if h != nil {
		h.speaker = carrier
	}
	return h != nil
}

// sent notes that a hand-over has ended as most do, and tells whether the watermark says so.
func (w *watermark) sent(id otp.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.silent(id)
	if h != nil {
		h.stage = ended
		w.move()
	}
	return h != nil
}

// reach notes how far a hand-over has come.
func (w *watermark) reach(id otp.ID, to stage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.find(id); h != nil {
		h.stage = to
		w.move()
	}
}

// move lets go of what has ended. The bound stands between sends, whose ids those of their deliveries
// are, but for the medium.
func (w *watermark) move() {
	for len(w.under) > 0 && w.under[0].stage == ended {
		w.bound = next(otp.DeliveryID(w.under[0].id, otp.SMS|otp.Email))
		w.under[0] = handOver{} // its send may be forgotten
		w.under = w.under[1:]
	}
	if len(w.under) > 0 {
		w.bound = otp.DeliveryID(w.under[0].id, 0)
	}
}

// abandoned are the hand-overs that nobody is at any more, up to a limit.
func (w *watermark) abandoned(limit int) (some []handOver) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.under {
		if w.under[i].stage == left && len(some) < limit {
			some = append(some, w.under[i])
		}
	}
	return some
}

// slow gives the deliveries that hold the watermark up, up to a limit, to a keeper who speaks for them
// until heard.
func (w *watermark) slow(now otp.Millis, limit int) (rows []otp.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.under {
		h := &w.under[i]
		if h.stage == carried && h.speaker == nobody && now-h.since >= watchFor && len(rows) < limit {
			h.speaker = keeper
			rows = append(rows, *h.row)
		}
	}
	return rows
}

// heard notes that the keeper has given a delivery a row with a lease, or could not. As long as somebody
// is at it the lease is held.
func (w *watermark) heard(row *otp.Delivery, leased bool, leases *leases) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.spoke.Broadcast()
	h := w.find(row.ID)
	switch {
	case h == nil:
	case !leased:
		h.speaker = nobody
	default:
		if h.stage == carried {
			leases.hold(row.ID, row.LeasedUntil)
		}
		h.stage = ended
		w.move()
	}
}

// standing is how far the watermark has come.
func (w *watermark) standing() (bound otp.ID, joined bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bound, w.joined
}

// join notes that the database has the watermark from now on, from bound.
func (w *watermark) join(bound otp.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.joined, w.bound = true, bound
}

// lose notes that it no longer has. Whoever took it over has ended what was under way.
func (w *watermark) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.joined, w.under = false, nil
	w.spoke.Broadcast()
}

// keep tells whether somebody has to begin to keep the watermark.
func (w *watermark) keep(now otp.Millis) (begins bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	begins = !w.keeping
	w.keeping, w.used = true, now
	return begins
}

// part tells whether nothing is under way and nothing has been sent since a moment. Then nothing is
// watched any more until join.
func (w *watermark) part(since otp.Millis) (idle bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.under) > 0 || w.used > since {
		return false
	}
	w.joined = false
	return true
}

// rest tells whether there is still nothing to keep, and its keeper may go.
func (w *watermark) rest(since otp.Millis) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keeping = w.used > since
	return !w.keeping
}

// watch puts the hand-overs that begin with op under the watermark, if somebody will wait for them.
func (e *Engine) watch(op *sql.Operation, c *Caller, channels otp.Channels) {
	if !e.awaited(c) || !e.outbound(c, channels) {
		return
	}
	var room [2]otp.ID
	ids := room[:0]
	for _, medium := range channels.Each() {
		ids = append(ids, otp.DeliveryID(op.Event, medium))
	}
	bound, watched := e.watermark.begin(ids, op.Now)
	switch {
	case watched:
		op.Watch = e.watermarkAt(bound, op.Now)
	case e.watermark.keep(op.Now):
		e.sending.Go(e.keepWatermark)
	}
}

// commit is Do for a send. What was not made is not waited for; where nobody can tell whether it
// was, it ends as unknown if so.
func (e *Engine) commit(op *sql.Operation, s *send) error {
	err := e.store.Do(op)
	if err == nil || op.Watch.Owner.IsZero() {
		return err
	}
	if refusal := (*otp.Error)(nil); !errors.As(err, &refusal) {
		for i := range s.rows {
			e.watermark.carry(s, &s.rows[i])
			e.watermark.reach(s.rows[i].ID, left)
		}
		if s.rows != nil {
			return err
		}
	}
	for _, medium := range []otp.Channels{otp.SMS, otp.Email} {
		e.watermark.reach(otp.DeliveryID(op.Event, medium), ended)
	}
	return err
}

// watermarkAt is this server's watermark at a bound, as the database has it from now on.
func (e *Engine) watermarkAt(bound otp.ID, now otp.Millis) sql.Watermark {
	return sql.Watermark{Owner: e.process, EndedBefore: bound, LeasedUntil: now + otp.Lease}
}

// joinWatermark puts the watermark into the database.
func (e *Engine) joinWatermark(ctx context.Context, now otp.Millis) error {
	bound := sql.NewID()
	err := e.store.Watch(ctx, e.watermarkAt(bound, now))
	if err == nil {
		e.watermark.join(bound)
	}
	return err
}

// keepWatermark tells the database how far the watermark has come, when no send does, and sees to it
// that nothing holds it up. It returns when there is nothing to keep, and gives the watermark up; or
// when the engine closes, with what was under way ended, or left to be taken over.
func (e *Engine) keepWatermark() {
	var told told
	pause := time.NewTicker(watermarkPause)
	defer pause.Stop()
	stop := e.closing.Done()
	for {
		now := otp.At(time.Now())
		err := e.tellWatermark(&told, now)
		if err != nil && !told.failed {
			e.log.WarnContext(e.closing, "how far deliveries have ended could not be recorded", "error", err)
		}
		told.failed = err != nil
		closing, since := e.closing.Err() != nil, now-watermarkIdle
		if closing {
			since = now
		}
		if e.watermark.part(since) {
			e.forgetWatermark(now)
			if e.watermark.rest(since) {
				return
			}
		}
		if closing && err != nil {
			return
		}
		select {
		case <-pause.C:
		case <-stop:
			stop = nil
		}
	}
}

// told is what the database was told last.
type told struct {
	bound  otp.ID
	at     otp.Millis
	failed bool // the last time
}

// tellWatermark makes one round of what keepWatermark does.
func (e *Engine) tellWatermark(told *told, now otp.Millis) error {
	if err := e.endAbandoned(); err != nil {
		return err
	}
	if err := e.leaseSlow(now); err != nil {
		return err
	}
	bound, joined := e.watermark.standing()
	switch {
	case !joined && e.closing.Err() != nil:
		return nil
	case !joined:
		// It fails while another server, which found this one standing still, is not through with it.
		return e.joinWatermark(e.closing, now)
	case bound == told.bound && now-told.at < otp.Lease/3:
		return nil
	}
	held, err := e.store.Mark(&sql.Mark{Owner: e.process, Step: sql.Advanced, ID: bound, At: now + otp.Lease})
	if err != nil {
		return err
	}
	if told.bound, told.at = bound, now; !held {
		e.watermark.lose()
	}
	return nil
}

// endAbandoned ends as unknown what nobody is at any more.
func (e *Engine) endAbandoned() error {
	return eachAtOnce(e.watermark.abandoned(watermarkChunk), func(h *handOver) error {
		err := e.tryFinish(h.send, h.row, otp.OutcomeUnknown, otp.ID{})
		if err == nil {
			e.watermark.reach(h.id, ended)
		}
		return err
	})
}

// leaseSlow gives rows with leases to what holds the watermark up.
func (e *Engine) leaseSlow(now otp.Millis) error {
	var lost atomic.Bool
	err := eachAtOnce(e.watermark.slow(now, watermarkChunk), func(row *otp.Delivery) error {
		row.LeasedUntil = now + otp.Lease
		held, err := e.store.Mark(&sql.Mark{Owner: row.Owner, Step: sql.Stored, Delivery: row, At: now + otp.Lease})
		e.watermark.heard(row, held, &e.leases)
		if err == nil && !held {
			lost.Store(true)
		}
		return err
	})
	if lost.Load() {
		e.watermark.lose()
	}
	return err
}

func (e *Engine) forgetWatermark(now otp.Millis) {
	ctx, cancel := context.WithTimeout(context.Background(), handOverGrace)
	defer cancel()
	if err := e.store.ForgetWatermark(ctx, sql.Watermark{Owner: e.process, LeasedUntil: now}); err != nil {
		e.log.WarnContext(e.closing, "where deliveries ended is left to be taken over", "error", err)
	}
}

// takeOverWatermarks takes over what servers that are gone were watching, and tells how many
// deliveries of theirs nobody knows the end of.
func (e *Engine) takeOverWatermarks(ctx context.Context) (doubtful int, err error) {
	expired, err := e.store.ExpiredWatermarks(ctx, otp.At(time.Now()))
	if err != nil {
		return 0, err
	}
	for _, w := range expired {
		if w.Owner == e.process {
			continue // it has stood still for a while
		}
		n, err := e.takeOverWatermark(ctx, w)
		if doubtful += n; err != nil {
			return doubtful, err
		}
	}
	return doubtful, nil
}

func (e *Engine) takeOverWatermark(ctx context.Context, w sql.Watermark) (doubtful int, err error) {
	closed, err := e.store.CloseWatermark(ctx, w.Owner, otp.At(time.Now()))
	if err != nil || !closed {
		return 0, err // it is alive after all, or somebody else is through with it
	}
	w.LeasedUntil = 0
	for from := w.EndedBefore; ; {
		sends, err := e.store.Watched(ctx, w.Owner, from, takeOverChunk)
		if err != nil {
			return doubtful, err
		}
		if len(sends) == 0 {
			return doubtful, e.store.ForgetWatermark(ctx, w)
		}
		var rows []otp.Delivery
		for i := range sends {
			rows = append(rows, watchedDeliveries(&sends[i])...)
		}
		var found atomic.Int64
		err = eachAtOnce(rows, func(row *otp.Delivery) error {
			ends, err := e.endWatched(ctx, row)
			if ends {
				found.Add(1)
			}
			return err
		})
		if doubtful += int(found.Load()); err != nil {
			return doubtful, err
		}
		from = next(sends[len(sends)-1].ID)
	}
}

// watchedDeliveries are the deliveries of a send as they are if nothing more is known of them.
func watchedDeliveries(sent *otp.Event) (rows []otp.Delivery) {
	for _, medium := range sent.Channels.Each() {
		rows = append(rows, otp.Delivery{
			ID: otp.DeliveryID(sent.ID, medium), Challenge: sent.Challenge, Recipient: sent.Recipient, Account: sent.Account,
			Environment: sent.Environment, Door: sent.Door, Medium: medium, Channels: sent.Channels, Send: sent.Send,
			SentAt: sent.At, ExpiresAt: sent.At, Owner: sent.Watcher, StartedAt: sent.At, CreatedAt: sent.At,
		})
	}
	return rows
}

// endWatched ends as unknown a delivery that a server watched which is gone, unless it has a row. It
// tells whether it did.
func (e *Engine) endWatched(ctx context.Context, row *otp.Delivery) (ends bool, err error) {
	s := send{
		caller:    &Caller{Account: &otp.Account{Address: row.Account}, Environment: row.Environment, Door: row.Door},
		challenge: otp.Challenge{ID: row.Challenge}, channels: row.Channels, number: row.Send, at: row.SentAt, recipient: row.Recipient,
	}
	op := s.operation()
	op.Event, op.Repeats, op.Delivery = row.ID, true, row.ID
	op.Decide = func(state *sql.State) error {
		if ends = state.Delivery == nil; !ends {
			return nil
		}
		row.End(otp.OutcomeUnknown, otp.ID{}, op.Now)
		state.Deliver([]otp.Delivery{*row})
		state.Mark()
		e.tell(op, &s, state, otp.OutcomeUnknown, nil)
		return nil
	}
	if err := e.store.Do(op); err != nil || !ends {
		return false, err
	}
	e.metrics.takenOver("unknown")
	e.log.WarnContext(ctx, "delivery whose server is gone may have been sent", "account", row.Account,
		"challenge", row.Challenge.Text("otp"), "send", row.Send)
	return true, nil
}
