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
	EventTaken    EventKind = "taken"    // the next hop accepted a send that was requested through the JSON API
	EventUnknown  EventKind = "unknown"  // a send may have been accepted; its outcome can never be known

	EventDelivered   EventKind = "delivered"   // the provider reported that a send arrived
	EventUndelivered EventKind = "undelivered" // the provider reported that a send did not arrive
	EventPrefixStop  EventKind = "prefix_stop" // the send after which its range of numbers is stopped
	EventSpendCap    EventKind = "spend_cap"   // the send that reached the daily cap
)

// Door names the interface that a request came through.
type Door string

// The doors that decide something.
const (
	ServletDoor Door = "servlet"
	V1Door      Door = "v1"
	APIDoor     Door = "api"
)

// Event is one line of history. It outlives its challenge, so it names the recipient by hash and mask only. Its id is
// made before the first try to write it. It serves as the receipt of the COMMIT: if the id is found, the whole
// operation was committed.
type Event struct {
	ID          ID
	At          Millis
	Account     string
	Environment Environment
	Kind        EventKind
	Door        Door
	Recipient   ID // its hash: the row may be swept and created again
	Challenge   ID
	Send        int      // the number of the send, from 1; 0 for guesses
	Channels    Channels // the channels of a send
	Mailbox     []byte   // sealed address of an e-mail send, nil without one
	User        ID       // keyed hash of the user_id in a send's metadata; zero without one
	MailboxHash ID       // of the mailbox of a send or its fallback, where it is not the recipient; zero for none
	Remaining   int      // attempts left after a wrong guess
	Summary     *Summary // of a send that was requested through the JSON API, else nil
	Sending     Sending
}

// Sending holds what statistics need to count a send and the guesses at its code. The history does not keep it.
type Sending struct {
	Channels Channels // of the send, or of the challenge that is guessed at
	Prefix   string   // the range of numbers it goes to, without the plus; empty for a mailbox
	Price    int64    // of an SMS that leaves the process, in millionths
	// Peer is the peer that asked with a key used in web pages; invalid for other keys, whose peer is an application.
	Peer netip.Addr
}

// Summary is what the history keeps of a challenge after its row is gone. For a resend only Taken is set, and for a
// provider's receipt only ProviderError.
type Summary struct {
	Mask        string // of the recipient
	Type        string
	MaxAttempts int
	ExpiresAt   Millis
	Metadata    []byte // sealed
	Taken       bool   // the COMMIT was the hand-over; no separate event records the outcome

	ProviderError string // the provider's reason code
}

// Commands on the server's machine are recorded in the history too.
const (
	// EventUnlocked: an operator lifted the recipient's locks. It refers to no challenge.
	EventUnlocked EventKind = "unlocked"
	// CommandLine is the door of commands on the server's machine.
	CommandLine Door = "command"
)
