package otp

// The times of the outbox.
const (
	// Lease is how long a delivery belongs to the server that works on it and renews the lease. After that another
	// server takes it over. It is counted by the real clock, not the sandbox's.
	Lease = 15 * Second
	// DeliveryMemory is how long a finished delivery is kept, for late receipts.
	DeliveryMemory = Day
)

// Outcome is how a delivery ended.
type Outcome string

// The outcomes, ordered by how much is known. A receipt never changes one to an earlier outcome.
const (
	OutcomeUnsent      Outcome = "unsent"      // surely not sent
	OutcomeUnknown     Outcome = "unknown"     // may have been accepted; never sent again
	OutcomeSent        Outcome = "sent"        // accepted by the next hop
	OutcomeUndelivered Outcome = "undelivered" // the provider reported that it did not arrive
	OutcomeDelivered   Outcome = "delivered"   // the provider reported that it arrived
)

// Delivery is one send of one challenge on one medium, on its way to a provider. One server owns it at a time. Every
// step is a guarded write, so if two servers believe that they own it, only one hands it over.
type Delivery struct {
	ID          ID // see DeliveryID
	Version     int64
	Challenge   ID
	Recipient   ID // its hash
	Account     string
	Environment Environment
	Door        Door
	Medium      Channels // exactly one
	Channels    Channels // of the whole send
	Send        int      // of the challenge's, from 1
	Mailbox     []byte   // sealed; nil where no e-mail belongs to the send
	Department  string   // that asked for the send; empty for none
	Price       int64    // counted against the cap, in millionths
	SentAt      Millis   // as the rules count it
	ExpiresAt   Millis   // of the code, as the rules count it

	Owner       ID     // the server process
	LeasedUntil Millis // 0: finished
	StartedAt   Millis // of the hand-over in progress; 0: surely none is
	Channel     string // the last one tried
	Outcome     Outcome
	Receipt     ID // keyed hash of the provider's message id; zero if it gave none
	CreatedAt   Millis
	FinishedAt  Millis
}

// DeliveryID returns the id of a send's delivery on a medium: the id of the send's event plus the bits of the medium.
// So each delivery of a send can find the other.
func DeliveryID(event ID, medium Channels) ID {
	event[15] = event[15]&^3 | byte(medium)
	return event
}

// Sibling returns the id of the send's delivery on the other medium, zero if it has only one.
func (d *Delivery) Sibling() ID {
	if other := d.Channels &^ d.Medium; other != 0 {
		return DeliveryID(d.ID, other)
	}
	return ID{}
}

// Open reports whether owner still has to work on d.
func (d *Delivery) Open(owner ID) bool {
	return d != nil && d.LeasedUntil != 0 && d.Owner == owner
}

// Finish ends owner's work on d. It reports false if d did not belong to owner any more.
func (d *Delivery) Finish(owner ID, outcome Outcome, receipt ID, at Millis) bool {
	if !d.Open(owner) {
		return false
	}
	d.Outcome, d.Receipt, d.LeasedUntil, d.FinishedAt = outcome, receipt, 0, at
	return true
}

// TakeOver gives d, whose lease has run out, to another server. If a hand-over had begun, its outcome can never be
// known, and d is finished as unknown.
func (d *Delivery) TakeOver(owner ID, at Millis) (taken, lost bool) {
	switch {
	case d.Open(owner) && d.StartedAt == 0 && d.LeasedUntil == at+Lease:
		return true, false // taken by an earlier try whose COMMIT was not answered
	case d == nil || d.LeasedUntil == 0 || d.LeasedUntil > at:
		return false, false
	case d.StartedAt != 0:
		d.Outcome, d.LeasedUntil, d.FinishedAt = OutcomeUnknown, 0, at
		return false, true
	}
	d.Owner, d.LeasedUntil = owner, at+Lease
	return true, false
}

// Report applies a provider's later receipt to d and reports whether it changed anything. Receipts come twice, late
// and in any order: a known outcome is never taken back.
func (d *Delivery) Report(arrived bool) bool {
	switch {
	case d == nil || d.LeasedUntil != 0 || d.Outcome == OutcomeUnsent || d.Outcome == OutcomeDelivered:
		return false
	case arrived:
		d.Outcome = OutcomeDelivered
		return true
	case d.Outcome == OutcomeUndelivered:
		return false
	}
	d.Outcome = OutcomeUndelivered
	return true
}
