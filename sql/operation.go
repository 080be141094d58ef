package sql

import (
	"errors"
	"slices"
	"time"

	"otpbridge/server/otp"
)

// Operation is one decision about one recipient: what it needs to be loaded, and the rule that
// decides. It is used for one Do and then thrown away.
type Operation struct {
	// Event is made once, before the first try. The event that Decide records carries it, so
	// that after a COMMIT with an unknown outcome the next try can see whether it happened.
	Event otp.ID
	// Account is whose sandbox clock moves Now.
	Account string
	// Recipient is the hash of the one that the decision is written through; its row need not
	// exist yet. Zero where only Challenge tells, through Found.
	Recipient otp.ID
	// Mailbox is a second one's, for the send window of an e-mail address; zero for none.
	Mailbox otp.ID
	// Slot asks for the slot's newest challenge, Challenge for the one with this id; one is set.
	Slot      otp.ID
	Challenge otp.ID
	// Found completes an operation that has a Challenge and no Recipient. It is called with the challenge
	// and its recipient before anything is locked, and may use of them what never changes. Of these it
	// gets the ids, the channels, the sealed mailbox and whom the recipient belongs to. If they are the
	// caller's it sets Recipient, and Mailbox and Counters where these are needed; if not, it leaves
	// the operation as it is, and Decide finds no challenge. An error is the operation's answer, and
	// Decide does not run. Like Decide it must be quick, and may be called again.
	Found func(*otp.Challenge, *otp.Recipient) error
	// Delivery and Sibling are two deliveries of one send to load, Counters what is counted beside
	// the recipient; zero and nil for none.
	Delivery otp.ID
	Sibling  otp.ID
	Counters []otp.ID
	// Rank says what it waits behind.
	Rank Rank
	// Now is read once by the caller.
	Now otp.Millis
	// Repeats says that an operation with this very Event may have been committed before, by a
	// server that died or by one that is slow. Decide then finds State.Happened.
	Repeats bool
	// Decide applies a pure rule to what was loaded. It may run several times, each time on
	// fresh rows, and the outcome of the last run is the one that was committed. A non-nil error
	// is handed to the caller of Do; what Decide changed is kept only if it recorded an event.
	// It runs while every other operation waits: no I/O, no locks, no clock.
	Decide func(*State) error

	mark     *Mark         // instead of Decide
	aside    func(*script) // the same
	failed   error         // of Found
	deadline time.Time     // by when its batch must have ended; zero for none
	err      error
	happened bool
	done     chan struct{}
}

// State is what one operation decides on. Decide may change the rows through the pointers. It is
// good until Decide returns: the next operation decides on the same one.
type State struct {
	// Now is the operation's moment: moved by its account's clock, and never before a row it
	// touches was last written.
	Now       otp.Millis
	Recipient *otp.Recipient // Version 0 if there is no row yet, else without what never changes
	Mailbox   *otp.Recipient // nil without one
	Challenge *otp.Challenge // nil for none
	Delivery  *otp.Delivery  // nil without one
	Sibling   *otp.Delivery  // the same
	Counters  []*otp.Counter // as the operation names them; Version 0 if not stored yet
	// Happened tells that what Decide is about to decide was decided and committed before. Only
	// an operation that Repeats another can find it set, and must then leave everything alone.
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

// Record appends what happened and thereby makes the decision count.
func (s *State) Record(e otp.Event) {
	s.recorded = e
	s.event = &s.recorded
}

// Also appends a second thing that happened, with an id of its own. It counts only beside Record.
func (s *State) Also(e otp.Event) { s.also = append(s.also, e) }

// Change records that a person changed something, for the history of people, keys and accounts. It counts only
// beside Record.
func (s *State) Change(c otp.Change) { s.changes = append(s.changes, c) }

// Deliver sets the send's deliveries, leased to their owner. They count only beside Record, and stay
// the caller's, to be left alone until Decide has returned.
func (s *State) Deliver(outbox []otp.Delivery) { s.outbox = outbox }

// Mark makes the decision count although nothing happened that history tells. The rule must come
// to the same answer on rows that it has already changed: after a COMMIT that was not answered
// nothing reports whether it happened.
func (s *State) Mark() { s.marked = true }

// decidesNothing reports whether op only has something written along.
func (op *Operation) decidesNothing() bool { return op.mark != nil || op.aside != nil }

// ErrClosed is what Do answers once the store is closing.
var ErrClosed = errors.New("the store is closed")

// Do queues op and returns when its transaction has committed: with nil or with what Decide
// returned. From the moment it is queued the operation no longer depends on its caller, so a
// client that hangs up after a wrong guess is charged all the same.
//
// An operation that cannot be answered in time is refused as Overloaded, before anything is charged:
// at once if too many wait, and else when its time has passed. Any other error is a fault;
// then nothing of the operation was committed, as far as the database could tell: where it went
// away in the middle of a COMMIT and did not come back in time, it could not.
func (s *Store) Do(op *Operation) error {
	op.done = s.waiters.Get().(chan struct{})
	defer s.waiters.Put(op.done)
	if err := s.queue.put(op); err != nil {
		return err
	}
	<-op.done
	return op.err
}

// recipientRow is a recipient as a batch works on it.
type recipientRow struct {
	otp.Recipient
	dirty bool
}

// challengeRow is a challenge as a batch works on it.
type challengeRow struct {
	otp.Challenge
	dirty  bool
	loaded otp.Challenge // as it was; zero for a new one
}

// used reports whether all that happened to the row is that its code was used.
func (c *challengeRow) used() bool {
	was := &c.loaded
	return c.UsedAt != was.UsedAt && c.Wrong == was.Wrong && c.Sends == was.Sends &&
		c.Regenerations == was.Regenerations &&
		c.CanceledAt == was.CanceledAt && c.ReplacedAt == was.ReplacedAt
}

// changed reports whether a rule wrote to the row since the snapshot. Every rule that changes a
// row moves UpdatedAt or one of the facts below; windows are never changed in place, so a
// window's length and newest entry tell it from its predecessor.
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
