package otp

// The numbers of the outbox.
const (
	// Lease is how long a delivery belongs to the server that works on it, which renews it. After
	// that another one takes it over. It goes by the unmoved clock.
	Lease = 15 * Second
	// DeliveryMemory is how long a finished delivery is kept, for receipts that come late.
	DeliveryMemory = Day
)

// Outcome is how a delivery ended.
type Outcome string

// The outcomes, in the order in which more is known: a receipt never takes one back.
const (
	OutcomeUnsent      Outcome = "unsent"      // it surely went nowhere
	OutcomeUnknown     Outcome = "unknown"     // it may have been taken; never sent again
	OutcomeSent        Outcome = "sent"        // the next hop has taken it
	OutcomeUndelivered Outcome = "undelivered" // the provider reported that it did not arrive
	OutcomeDelivered   Outcome = "delivered"   // the provider reported that it did
)

// Delivery is one send of one challenge on one medium, on its way to a provider. It belongs to
// one server at a time, and every step of it is a guarded write, so that of two servers which
// believe that it is theirs only one hands it over.
type Delivery struct {
	ID          ID // see DeliveryID
	Version     int64
	Challenge   ID
	Recipient   ID // its hash
	Account     string
	Environment Environment
	Door        Door
	Medium      Channels // one
	Channels    Channels // of the whole send
	Send        int      // of the challenge's, from 1
	Mailbox     []byte   // sealed; nil where no e-mail belongs to the send
	Department  string   // that asked; empty for none
	Price       int64    // what it counted against the cap, in millionths
	SentAt      Millis   // as the rules count it
	ExpiresAt   Millis   // of the code, as the rules count it

	Owner       ID     // the server process
	LeasedUntil Millis // 0 = finished
	StartedAt   Millis // of the hand-over under way; 0 = surely none is
	Channel     string // tried last
	Outcome     Outcome
	Receipt     ID // keyed hash of what the provider calls it; zero if it did not say
	CreatedAt   Millis
	FinishedAt  Millis
}

// DeliveryID is the id of the delivery on a medium of the send that an event recorded. That makes
// the deliveries of one send find each other.
func DeliveryID(event ID, medium Channels) ID {
	event[15] = event[15]&^3 | byte(medium)
	return event
}

// Sibling is the id of the delivery on the other medium of the same send, zero if it has one only.
func (d *Delivery) Sibling() ID {
	if other := d.Channels &^ d.Medium; other != 0 {
		return DeliveryID(d.ID, other)
	}
	return ID{}
}

// Open reports whether d is still owner's to work on.
func (d *Delivery) Open(owner ID) bool {
	return d != nil && d.LeasedUntil != 0 && d.Owner == owner
}

// Finish ends owner's work on d, and reports whether it was still owner's.
func (d *Delivery) Finish(owner ID, outcome Outcome, receipt ID, at Millis) bool {
	if !d.Open(owner) {
		return false
	}
	d.Outcome, d.Receipt, d.LeasedUntil, d.FinishedAt = outcome, receipt, 0, at
	return true
}

// TakeOver gives d, whose lease has run out, to another server. If a hand-over had begun nobody
// will ever know how it ended, and d is finished as unknown.
func (d *Delivery) TakeOver(owner ID, at Millis) (taken, lost bool) {
	switch {
	case d.Open(owner) && d.StartedAt == 0 && d.LeasedUntil == at+Lease:
		return true, false // by an earlier try, whose COMMIT was not answered
	case d == nil || d.LeasedUntil == 0 || d.LeasedUntil > at:
		return false, false
	case d.StartedAt != 0:
		d.Outcome, d.LeasedUntil, d.FinishedAt = OutcomeUnknown, 0, at
		return false, true
	}
	d.Owner, d.LeasedUntil = owner, at+Lease
	return true, false
}

// Report takes what the provider says about d later, and reports whether that is news. Receipts
// come twice, late and in any order: what is known is never taken back.
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
