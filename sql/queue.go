package sql

import (
	"sync"
	"time"

	"otpbridge/server/otp"
)

// Rank is the priority of an operation while more wait than fit in one batch.
type Rank uint8

// The ranks, lowest priority first.
const (
	// Sending begins something new. An overloaded server refuses these first.
	Sending Rank = iota
	// Verifying is for a person who already has a code.
	Verifying
	// Settling records the outcome of what was committed: outcomes of deliveries, refunds. These are never refused,
	// because the server owes them; there are a few for each send at most.
	Settling
	ranks
)

// The limits of the queue.
const (
	QueueLength = 4096 // operations of a rank that may wait, however fast the database is
	maxBatch    = 256  // operations that share a transaction

	// patience is how long after it was queued an operation may be answered. Clients of the servlets give up after a
	// few seconds; a later decision would only use a code up or send a second one.
	patience = 2 * time.Second
	// aim is the wait that a queue is cut to, so that under steady overload answers come well within a second, with
	// time left for a batch that takes longer than usual.
	aim = patience / 4
	// guaranteed is the number of sends that a batch has room for, however many guesses wait.
	guaranteed = max(1, maxBatch/4)
	// leastWrites is how many single writes may wait, however slow the database is.
	leastWrites = 64
)

// queue holds the operations that wait for their batch. Nothing in it is decided or charged.
//
// It refuses an operation that cannot be answered in time: on arrival, if as many wait as the database can commit in
// the available time, by the measured time of a batch; and when a batch is cut, if its time has passed. So the queue
// of a slow database becomes short, and what is committed is for callers who still listen.
type queue struct {
	mu     sync.Mutex
	lanes  [ranks]lane
	pace   time.Duration  // of a batch, averaged over the last few
	first  [ranks]float64 // operations per batch, by rank, that come before sends, averaged over more batches
	closed bool
	filled chan struct{} // receives when something was put into an empty queue, and when it is closed
	refuse func(*otp.Error)
}

// lane holds the operations of one rank in order.
type lane struct {
	operations []*Operation
	next       int
}

func (l *lane) len() int { return len(l.operations) - l.next }

func (l *lane) put(op *Operation) { l.operations = append(l.operations, op) }

func (l *lane) take() *Operation {
	op := l.operations[l.next]
	l.operations[l.next] = nil
	if l.next++; l.next == len(l.operations) {
		l.operations, l.next = l.operations[:0], 0
	} else if l.next >= QueueLength {
		l.operations = l.operations[:copy(l.operations, l.operations[l.next:])]
		l.next = 0
	}
	return op
}

func newQueue(refuse func(*otp.Error)) *queue {
	return &queue{filled: make(chan struct{}, 1), refuse: refuse}
}

// len returns how many operations wait.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting()
}

func (q *queue) waiting() int {
	n := 0
	for rank := range q.lanes {
		n += q.lanes[rank].len()
	}
	return n
}

// length returns how many operations of a rank may wait: as many as the next batches have room for in the available
// time, and at least those of one batch.
func (q *queue) length(rank Rank) int {
	if q.pace <= 0 {
		return QueueLength
	}
	batches := max(1, float64(aim)/float64(q.pace))
	return int(min(batches*q.room(rank), QueueLength))
}

// room returns how many operations of a rank to expect in each of the next batches. It uses the averages of the last
// batches: what waits right now says more about the batch in progress.
func (q *queue) room(rank Rank) float64 {
	room := maxBatch - q.first[Settling]
	switch {
	case rank == Verifying:
		room -= float64(min(guaranteed, q.lanes[Sending].len()))
	case q.lanes[Verifying].len() > maxBatch:
		room = guaranteed // guesses fill whole batches, whatever the average is
	default:
		room -= q.first[Verifying]
	}
	return max(guaranteed, room)
}

// Admits returns the refusal that an operation of this rank would get now, nil for none. A door calls it before it
// does anything that costs.
func (s *Store) Admits(rank Rank) error {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	refusal := s.queue.admits(rank)
	if refusal == nil {
		return nil
	}
	s.queue.refuse(refusal)
	return refusal
}

// admitsWrite returns the refusal of one more single write, nil while there is time for it. Each takes about as long
// as a batch, and lets a batch go first.
func (s *Store) admitsWrite() error {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if ahead := time.Duration(s.alone.Load()); ahead < leastWrites || 2*ahead*s.queue.pace < patience {
		return nil
	}
	refusal := overloaded()
	s.queue.refuse(refusal)
	return refusal
}

// admits returns the refusal of one more operation, nil while there is time for it.
func (q *queue) admits(rank Rank) *otp.Error {
	if rank == Settling || q.lanes[rank].len() < q.length(rank) {
		return nil
	}
	return overloaded()
}

func overloaded() *otp.Error {
	return &otp.Error{Kind: otp.Overloaded, Message: "the server is busy; try again", RetryAfter: otp.Second.Duration()}
}

// put queues op, or refuses it at once.
func (q *queue) put(op *Operation) error {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	if refusal := q.admits(op.Rank); refusal != nil {
		q.refuse(refusal)
		return refusal
	}
	if op.Rank != Settling {
		op.deadline = now.Add(patience)
	}
	q.lanes[op.Rank].put(op)
	q.tell()
	return nil
}

func (q *queue) tell() {
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// wait returns when something is queued; false when the queue is closed and empty.
func (q *queue) wait() bool {
	for {
		q.mu.Lock()
		waiting, closed := q.waiting(), q.closed
		q.mu.Unlock()
		if waiting > 0 || closed {
			return waiting > 0
		}
		<-q.filled
	}
}

// close admits nothing more. What waits stays.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.tell()
}

// cut takes a batch out of the queue. Operations that cannot be answered in time any more are refused here and are in
// no batch.
func (q *queue) cut(batch []*Operation) []*Operation {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	// Half of the time is left for waiting even if a batch takes longer than the whole. Otherwise nothing would be
	// tried any more, and the queue would not notice that the database is fast again.
	latest := now.Add(min(q.pace, patience/2))
	fill := func(rank Rank, upTo int) {
		for len(batch) < upTo && q.lanes[rank].len() > 0 {
			op := q.lanes[rank].take()
			if rank != Settling && latest.After(op.deadline) {
				refusal := overloaded()
				q.refuse(refusal)
				op.err = refusal
				op.done <- struct{}{}
				continue
			}
			batch = append(batch, op)
		}
	}
	fill(Settling, maxBatch)
	owed := len(batch)
	fill(Verifying, maxBatch-min(guaranteed, q.lanes[Sending].len(), maxBatch-len(batch)))
	average(&q.first[Settling], float64(owed), 16)
	average(&q.first[Verifying], float64(len(batch)-owed), 16)
	fill(Sending, maxBatch)
	fill(Verifying, maxBatch)
	return batch
}

// measure records how long a batch took.
func (q *queue) measure(took time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pace == 0 {
		q.pace = took
		return
	}
	average(&q.pace, took, 4)
}

// average moves a number towards its latest value, so that it averages over about count values.
func average[N time.Duration | float64](number *N, latest, count N) {
	*number += (latest - *number) / count
}
