package sql

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"otpbridge/server/otp"
)

// The limits of the tries of one batch; after them it fails.
const (
	maxTries  = 10
	maxTrying = 3 * time.Second
)

// commitBatches is the store's one consumer. Everything queued when it looks, up to maxBatch, shares the next
// transaction. It never waits for more: while one batch waits for its fsync, the next one gathers.
func (s *Store) commitBatches() {
	defer s.done.Done()
	operations := make([]*Operation, 0, maxBatch)
	for s.queue.wait() {
		s.letGather()
		operations = s.queue.cut(operations[:0])
		if len(operations) == 0 {
			continue // none could be answered in time
		}
		began := time.Now()
		s.commit(operations)
		took := time.Since(began)
		s.queue.measure(took)
		s.metrics.decided(operations, took)
		for _, op := range operations {
			op.done <- struct{}{}
		}
	}
}

// letGather yields the processor as long as that brings more operations into the queue. After a COMMIT every caller
// that was answered is ready to run; without the yield, their next operations would miss this batch by microseconds
// and cost another fsync. With nothing else to run it returns at once.
func (s *Store) letGather() {
	for before := -1; before < maxBatch; {
		now := s.queue.len()
		if now <= before {
			return
		}
		before = now
		runtime.Gosched()
	}
}

// commit decides a batch and sets every operation's err.
func (s *Store) commit(operations []*Operation) {
	s.writing.Lock()
	err := s.tryCommit(operations)
	s.writing.Unlock()
	if err == nil {
		s.metrics.happened(s.batch.events)
		if s.options.Committed != nil && len(s.batch.events) > 0 {
			s.options.Committed(s.batch.events)
		}
		if len(s.batch.tellings) > 0 {
			s.Webhooks.wake()
		}
		if len(s.batch.events) > 0 {
			s.readiness.committed()
		}
		return
	}
	s.readiness.gaveUp()
	// A lost connection concerns all operations. Any other error may be caused by one operation, and the others must
	// not fail with it.
	if len(operations) > 1 && s.fate(err) == faulty && !errors.Is(err, errUnknown) {
		for i := range operations {
			s.commit(operations[i : i+1])
		}
		return
	}
	s.metrics.faults.Inc()
	for _, op := range operations {
		op.err = fmt.Errorf("commit operation: %w", err)
	}
}

// errUnknown ends a batch whose COMMIT was sent and not answered. The COMMIT may have happened, so the operations must
// not be decided again one by one, where their events are not looked up.
var errUnknown = errors.New("an earlier commit was not answered")

// tryCommit runs the batch until it commits, up to maxTries times.
func (s *Store) tryCommit(operations []*Operation) error {
	started := time.Now()
	unknown := false // a COMMIT was sent and not answered
	for try := 1; ; try++ {
		s.metrics.tries.Inc()
		err := s.transact(context.Background(), func(w *session) error {
			return s.runBatch(w, operations, try > 1)
		})
		if err == nil {
			return nil
		}
		fate := s.fate(err)
		if fate == lost && errors.Is(err, errCommit) && !unknown {
			// Waiting for the answer may have used all the time, but the events must still be looked up: if the COMMIT
			// happened, its callers must not get an error.
			unknown, started = true, time.Now()
		}
		switch over := try >= maxTries || time.Since(started) > maxTrying; {
		case over && unknown:
			return fmt.Errorf("%w: %w", errUnknown, err)
		case over:
			return err
		case fate == again:
			time.Sleep(jitter(try))
		case unknown:
			// The database may or may not have it: the next try looks the events up. Until one has, no other error
			// tells what happened.
			time.Sleep(maxTrying / maxTries)
		default:
			return err
		}
	}
}

// batch is the state of one transaction in memory.
type batch struct {
	order      []otp.ID                 // hashes of recipients, in the order in which every server locks and writes them
	recipients map[otp.ID]*recipientRow // by hash
	challenges map[otp.ID]*challengeRow // by id, including those to insert
	newest     map[otp.ID]*challengeRow // by slot

	deliveries map[otp.ID]*deliveryRow // by id, those that operations name
	counters   map[otp.ID]*counterRow  // by id, including those not yet stored

	inserts  []*challengeRow
	outbox   []otp.Delivery // to insert
	marks    []*Mark
	asides   []func(*script)
	events   []otp.Event
	tellings []tellingRow
	changes  []otp.Change
	state    State // of the operation being decided
	rows     struct {
		recipients chunk[recipientRow]
		challenges chunk[challengeRow]
	}
	reader  reader // of the rows that are loaded, one after the other
	values  values
	layouts struct{ recipients, challenges, events, changes, deliveries, counters, tellings, notices, texts *layout }

	listening map[string][]Endpoint // by account
}

// newBatch returns the one batch that a store uses for all its transactions, one after the other: new maps and lists
// each time would be a tenth of a server's allocations.
func newBatch(insert string) *batch {
	b := &batch{
		recipients: make(map[otp.ID]*recipientRow, maxBatch),
		challenges: make(map[otp.ID]*challengeRow, maxBatch),
		newest:     make(map[otp.ID]*challengeRow, maxBatch),
		deliveries: make(map[otp.ID]*deliveryRow, maxBatch),
		counters:   make(map[otp.ID]*counterRow, maxBatch),
		values:     newValues(),
	}
	b.layouts.recipients = recipientFields.layout(insert)
	b.layouts.challenges = challengeFields.layout(insert)
	b.layouts.events = eventFields.layout(insert)
	b.layouts.changes = changes.layout(insert)
	b.layouts.deliveries = deliveryFields.layout(insert)
	b.layouts.counters = counters.layout(insert)
	b.layouts.tellings = newLayout(insert, "webhook_events", tellingColumns)
	b.layouts.notices = notices.layout(insert)
	b.layouts.texts = newLayout(insert, "webhook_texts", textColumns)
	return b
}

// reset empties the batch for the next transaction.
func (b *batch) reset() {
	clear(b.recipients)
	clear(b.challenges)
	clear(b.newest)
	clear(b.deliveries)
	clear(b.counters)
	clear(b.inserts)
	clear(b.outbox)
	clear(b.marks)
	clear(b.asides)
	clear(b.events)
	clear(b.tellings)
	b.order, b.inserts, b.outbox, b.marks, b.events = b.order[:0], b.inserts[:0], b.outbox[:0], b.marks[:0], b.events[:0]
	b.asides, b.tellings = b.asides[:0], b.tellings[:0]
	b.changes = nil
	b.values.reset()
}

// runBatch loads what the operations need, applies their rules in queue order and writes each changed row once.
func (s *Store) runBatch(w *session, operations []*Operation, retry bool) error {
	ctx := context.Background()
	b := s.batch
	b.reset()
	if err := s.load(ctx, w, b, operations); err != nil {
		return err
	}
	if retry {
		// Only after the locks: a COMMIT that was still running when its connection broke is invisible until its locks
		// are released.
		happened, err := s.happened(ctx, w, operations)
		if err != nil || happened {
			return err
		}
	}
	offsets, err := s.clockOffsets(ctx, w, operations)
	if err != nil {
		return err
	}
	for _, op := range operations {
		b.apply(op, offsets.of(op.Account))
	}
	return s.writeBatch(ctx, w, b)
}

// load reads and locks the rows that the operations decide on.
func (s *Store) load(ctx context.Context, w *session, b *batch, operations []*Operation) error {
	if err := s.find(ctx, w, b, operations); err != nil {
		return err
	}
	b.order = appendHashes(b.order, operations)
	if err := s.loadRecipients(ctx, w, b); err != nil {
		return err
	}
	// These only need the recipients, so they are sent together.
	lookups := s.challengesOf(b, operations)
	lookups = append(lookups, s.namedDeliveries(b, operations)...)
	lookups = append(lookups, s.countersOf(b, operations)...)
	if err := w.queryAll(ctx, lookups); err != nil {
		return err
	}
	return s.loadRepeated(ctx, w, operations)
}

// apply runs one operation's rule on the batch's rows. A rule that panics, or neither records an event nor marks a
// delivery, changes no row.
func (b *batch) apply(op *Operation, offset otp.Millis) {
	if op.mark != nil {
		b.marks = append(b.marks, op.mark)
		return
	}
	if op.aside != nil {
		b.asides = append(b.asides, op.aside)
		return
	}
	if op.failed != nil {
		op.err = op.failed
		return
	}
	recipient := b.recipient(op.Recipient)
	state := &b.state
	*state = State{Recipient: &recipient.Recipient}
	written := recipient.UpdatedAt
	beforeRecipient := recipient.Recipient

	var mailbox *recipientRow
	var beforeMailbox otp.Recipient
	if !op.Mailbox.IsZero() {
		mailbox = b.recipient(op.Mailbox)
		state.Mailbox, beforeMailbox = &mailbox.Recipient, mailbox.Recipient
		written = max(written, mailbox.UpdatedAt)
	}
	challenge := b.challenge(op, recipient.ID)
	var beforeChallenge otp.Challenge
	if challenge != nil {
		state.Challenge, beforeChallenge = &challenge.Challenge, challenge.Challenge
		written = max(written, challenge.UpdatedAt)
	}
	state.Now = otp.Moment(op.Now+offset, written)
	touched := b.touch(op, state)
	state.Happened = op.happened || op.Repeats && b.recorded(op)

	op.err = decide(op, state)

	if state.event == nil && !state.marked {
		touched.restore()
		recipient.Recipient = beforeRecipient
		if mailbox != nil {
			mailbox.Recipient = beforeMailbox
		}
		if challenge != nil {
			challenge.Challenge = beforeChallenge
		}
		return
	}
	touched.keep()
	recipient.dirty = recipient.dirty || recipient.changed(&beforeRecipient)
	if mailbox != nil {
		mailbox.dirty = mailbox.dirty || mailbox.changed(&beforeMailbox)
	}
	if challenge != nil {
		challenge.dirty = challenge.dirty || challenge.changed(&beforeChallenge)
	}
	b.collect(op, state, &recipient.Recipient, decidedOf(challenge))
}

// collect takes the rows that a decision adds: its new challenge, deliveries, events and changes.
func (b *batch) collect(op *Operation, state *State, recipient *otp.Recipient, decided *otp.Challenge) {
	if state.inserted != nil {
		row := b.rows.challenges.next()
		row.Challenge = *state.inserted
		b.inserts = append(b.inserts, row)
		b.challenges[row.ID], b.newest[row.Slot] = row, row
	}
	b.outbox = append(b.outbox, state.outbox...)
	if state.event != nil {
		b.events = append(b.events, *state.event)
		b.events = append(b.events, state.also...)
		b.tell(op, state, recipient, decided)
		b.changes = append(b.changes, state.changes...)
	}
}

// decidedOf returns the challenge that a decision was about, nil for none.
func decidedOf(row *challengeRow) *otp.Challenge {
	if row == nil {
		return nil
	}
	return &row.Challenge
}

// decide runs op's rule.
func decide(op *Operation, state *State) error {
	err, panicked := contain(func() error { return op.Decide(state) })
	if panicked {
		state.event, state.also, state.changes, state.inserted, state.outbox, state.marked = nil, nil, nil, nil, nil, false
	}
	return err
}

// contain turns a panic of one operation's function into a fault of that operation only.
func contain(do func() error) (err error, panicked bool) {
	defer func() {
		if cause := recover(); cause != nil {
			err, panicked = fmt.Errorf("panic while deciding: %v\n%s", cause, debug.Stack()), true
		}
	}()
	return do(), false
}

// recipient returns the row with this hash, an empty one if the database has none.
func (b *batch) recipient(hash otp.ID) *recipientRow {
	row := b.recipients[hash]
	if row == nil {
		row = b.rows.recipients.next()
		row.ID, row.Hash = NewID(), hash
		b.recipients[hash] = row
	}
	return row
}

func (b *batch) challenge(op *Operation, recipient otp.ID) *challengeRow {
	row := b.newest[op.Slot]
	if !op.Challenge.IsZero() {
		row = b.challenges[op.Challenge]
	}
	if row == nil || row.Recipient != recipient {
		return nil
	}
	return row
}

// appendHashes appends the hashes of the recipients that a batch uses, sorted, so that two servers that need the same
// rows wait for each other instead of deadlocking.
func appendHashes(ids []otp.ID, operations []*Operation) []otp.ID {
	for _, op := range operations {
		if op.decidesNothing() || op.Found != nil && op.Recipient.IsZero() { // a challenge that was not found
			continue
		}
		ids = append(ids, op.Recipient)
		if !op.Mailbox.IsZero() {
			ids = append(ids, op.Mailbox)
		}
	}
	return sortIDs(ids)
}

func sortIDs(ids []otp.ID) []otp.ID {
	slices.SortFunc(ids, func(a, b otp.ID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
