package sql

import (
	"errors"
	"slices"
	"time"

	"otpbridge/server/otp"
)

// Operation is one decision about one recipient: what it needs loaded, and the rule that decides. It is used for one
// Do.
type Operation struct {
	// Event is made once, before the first try. The event that Decide records has this id, so after a COMMIT with an
	// unknown outcome the next try can see whether it happened.
	Event otp.ID
	// Account is the account whose sandbox clock moves Now.
	Account string
	// Recipient is the hash of the recipient that the decision is written through; its row need not exist yet. Zero if
	// only Challenge is known and Found sets it.
	Recipient otp.ID
	// Mailbox is the hash of a second recipient, for the send window of an e-mail address; zero for none.
	Mailbox otp.ID
	// Slot asks for the slot's newest challenge, Challenge for the one with this id; exactly one is set.
	Slot      otp.ID
	Challenge otp.ID
	// Found completes an operation that has a Challenge and no Recipient. It is called with the challenge and its
	// recipient before anything is locked, and may use only what never changes: the ids, the channels, the sealed
	// mailbox and the recipient's account and environment. If they are the caller's it sets Recipient, and Mailbox and
	// Counters if needed; if not, it leaves the operation unchanged, and Decide finds no challenge. An error is the
	// operation's result, and Decide does not run. Like Decide it must be quick, and may be called again.
	Found func(*otp.Challenge, *otp.Recipient) error
	// Delivery and Sibling are two deliveries of one send to load, Counters the ids of counters to load; zero and nil
	// for none.
	Delivery otp.ID
	Sibling  otp.ID
	Counters []otp.ID
	// Rank is the operation's priority in the queue.
	Rank Rank
	// Now is read once by the caller.
	Now otp.Millis
	// Repeats says that an operation with the same Event may already have been committed, by a server that died or is
	// slow. Decide then finds State.Happened set.
	Repeats bool
	// Decide applies a pure rule to what was loaded. It may run several times, each time on fresh rows; the result of
	// the last run is the committed one. A non-nil error is returned to the caller of Do; Decide's changes are kept
	// only if it recorded an event. It runs while every other operation waits: no I/O, no locks, no clock.
	Decide func(*State) error

	mark     *Mark         // instead of Decide
	aside    func(*script) // the same
	failed   error         // of Found
	deadline time.Time     // when its batch must have ended; zero for none
	err      error
	happened bool
	done     chan struct{}
}

// State is what one operation decides on. Decide may change the rows through the pointers. It is valid until Decide
// returns: the next operation gets the same State.
type State struct {
	// Now is the operation's time: moved by its account's clock, and never before the last write of a row it uses.
	Now       otp.Millis
	Recipient *otp.Recipient // Version 0 if there is no row yet, else without the columns that never change
	Mailbox   *otp.Recipient // nil for none
	Challenge *otp.Challenge // nil for none
	Delivery  *otp.Delivery  // nil for none
	Sibling   *otp.Delivery  // the same
	Counters  []*otp.Counter // in the operation's order; Version 0 if not stored yet
	// Happened says that this decision was already committed. Only an operation with Repeats can find it set, and must
	// then change nothing.
	Happened bool

	inserted *otp.Challenge
	event    *otp.Event // nil, or what is in recorded
	recorded otp.Event
	also     []otp.Event
	changes  []otp.Change
	outbox   []otp.Delivery
	marked   bool
}

// Insert adds the slot's new challenge.
func (s *State) Insert(c *otp.Challenge) { s.inserted = c }

// Record appends an event and so makes the decision count.
func (s *State) Record(e otp.Event) {
	s.recorded = e
	s.event = &s.recorded
}

// Also appends a second event with its own id. It only counts together with Record.
func (s *State) Also(e otp.Event) { s.also = append(s.also, e) }

// Change records a person's change, for the history of people, keys and accounts. It only counts together with Record.
func (s *State) Change(c otp.Change) { s.changes = append(s.changes, c) }

// Deliver sets the send's deliveries, leased to their owner. They only count together with Record. The caller must not
// change them until Decide has returned.
func (s *State) Deliver(outbox []otp.Delivery) { s.outbox = outbox }

// Mark makes the decision count without an event. The rule must give the same result on rows that it has already
// changed, because after a COMMIT that was not answered nothing shows whether it happened.
func (s *State) Mark() { s.marked = true }

// decidesNothing reports whether op only adds writes to a batch.
func (op *Operation) decidesNothing() bool { return op.mark != nil || op.aside != nil }

// ErrClosed is returned by Do once the store is closing.
var ErrClosed = errors.New("the store is closed")

// Do queues op and returns when its transaction has committed: nil or Decide's error. Once queued, the operation does
// not depend on its caller, so a client that hangs up after a wrong guess is still charged.
//
// An operation that cannot be answered in time is refused as Overloaded, before anything is charged: at once if too
// many wait, or later when its time has passed. Any other error is a fault, and nothing of the operation was
// committed, as far as the database could tell: if it failed during a COMMIT and did not come back in time, it could
// not.
func (s *Store) Do(op *Operation) error {
	op.done = s.waiters.Get().(chan struct{})
	defer s.waiters.Put(op.done)
	if err := s.queue.put(op); err != nil {
		return err
	}
	<-op.done
	return op.err
}

// recipientRow is a recipient in a batch.
type recipientRow struct {
	otp.Recipient
	dirty bool
}

// challengeRow is a challenge in a batch.
type challengeRow struct {
	otp.Challenge
	dirty  bool
	loaded otp.Challenge // as loaded; zero for a new one
}

// used reports whether the only change is that the code was used.
func (c *challengeRow) used() bool {
	was := &c.loaded
	return c.UsedAt != was.UsedAt && c.Wrong == was.Wrong && c.Sends == was.Sends &&
		c.Regenerations == was.Regenerations &&
		c.CanceledAt == was.CanceledAt && c.ReplacedAt == was.ReplacedAt
}

// changed reports whether a rule changed the row since the snapshot. Every rule that changes a row changes one of the
// fields below.
func (r *recipientRow) changed(before *otp.Recipient) bool {
	return r.Seq != before.Seq || r.Run != before.Run || r.RunAt != before.RunAt ||
		r.LockedUntil != before.LockedUntil || r.UpdatedAt != before.UpdatedAt ||
		!slices.Equal(r.Sends, before.Sends) || !slices.Equal(r.Failures, before.Failures)
}

func (c *challengeRow) changed(before *otp.Challenge) bool {
	return c.Wrong != before.Wrong || c.Sends != before.Sends || c.Regenerations != before.Regenerations ||
		c.UpdatedAt != before.UpdatedAt || c.UsedAt != before.UsedAt ||
		c.CanceledAt != before.CanceledAt || c.ReplacedAt != before.ReplacedAt
}
