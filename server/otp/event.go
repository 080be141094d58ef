package otp

import "net/netip"

// EventKind says what happened.
type EventKind string

// The events of a challenge. Each is appended in the transaction that made it true.
const (
	EventSent     EventKind = "sent"     // a challenge was generated and handed to its channels
	EventResent   EventKind = "resent"   // its code was sent again
	EventUnsent   EventKind = "unsent"   // a send surely reached no channel and was refunded
	EventVerified EventKind = "verified" // the right code, once
	EventWrong    EventKind = "wrong"    // an evaluated wrong guess
	EventCanceled EventKind = "canceled" // the challenge was called off
	EventReplaced EventKind = "replaced" // a newer challenge took the slot of one that has Details
	EventTaken    EventKind = "taken"    // a send that was asked for through the JSON API was taken by its next hop
	EventUnknown  EventKind = "unknown"  // a send may have been taken; nobody will ever know

	EventDelivered   EventKind = "delivered"   // the provider reported that a send arrived
	EventUndelivered EventKind = "undelivered" // the provider reported that it did not
	EventPrefixStop  EventKind = "prefix_stop" // the send after which its range of numbers is stopped
	EventSpendCap    EventKind = "spend_cap"   // the send that spent what may be spent in a day
)

// Door names the surface that a request came through.
type Door string

// The doors that decide something.
const (
	ServletDoor Door = "servlet"
	V1Door      Door = "v1"
	APIDoor     Door = "api"
)

// Event is one line of history. It outlives its challenge, so it names the recipient by hash
// and mask only. Its id is made before the first try to write it and is the receipt of the
// commit: whoever finds it knows that the whole operation happened.
type Event struct {
	ID          ID
	At          Millis
	Account     string
	Environment Environment
	Kind        EventKind
	Door        Door
	Recipient   ID // its hash: the row may be swept and made anew
	Challenge   ID
	Send        int      // the send it speaks of, from 1; 0 for guesses
	Channels    Channels // the channels of a send
	Mailbox     []byte   // sealed address of an e-mail send, nil without one
	User        ID       // keyed hash of the user_id in a send's metadata; zero without one
	MailboxHash ID       // of the mailbox of a send or its fallback, where it is not the recipient; zero for none
	Remaining   int      // after a wrong guess
	Summary     *Summary // of a send that was asked for through the JSON API, else nil
	Sending     Sending
}

// Sending is what statistics count a send, and guesses at its code, by. The history does not keep it.
type Sending struct {
	Channels Channels // of the send, or of the challenge that is guessed at
	Prefix   string   // the range of numbers that it goes to, without the plus; empty for a mailbox
	Price    int64    // of an SMS that leaves the process, in millionths
	// Peer is who asked for it with a key that is in web pages; not valid for other keys, whose peer is an application.
	Peer netip.Addr
}

// Summary is what the history keeps of a challenge for those who ask after its row is gone. With
// a resend it says Taken alone, and with a provider's receipt ProviderError alone.
type Summary struct {
	Mask        string // of the recipient
	Type        string
	MaxAttempts int
	ExpiresAt   Millis
	Metadata    []byte // sealed
	Taken       bool   // the COMMIT was the hand-over; no event of its own tells the outcome

	ProviderError string // the provider's code for why a send arrived or did not
}
