package deliver

import (
	"context"
	"sync"
)

// Inbox is the sandbox's channel. A message is in the inbox once the transaction that made it
// has committed: the inbox is a view over committed sends, so there is nothing to hand over and
// nothing that a crash could lose. Send only wakes whoever waits for a message.
type Inbox struct {
	mu      sync.Mutex
	arrived chan struct{} // nil while nobody waits
}

// NewInbox is an inbox that nobody waits for yet.
func NewInbox() *Inbox { return new(Inbox) }

// Name is the channel's name in settings and logs.
func (i *Inbox) Name() string { return "inbox" }

// Waits is false: a committed message is in the inbox.
func (i *Inbox) Waits() bool { return false }

// Send wakes the waiters. It cannot fail.
func (i *Inbox) Send(context.Context, Message) Result {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.arrived != nil {
		close(i.arrived)
		i.arrived = nil
	}
	return Result{Outcome: Sent}
}

// Simulated reports whether a channel leads nowhere but into the sandbox's inbox: a message is there
// once its transaction has committed, whatever is in front of the inbox.
func Simulated(c Channel) bool {
	_, simulated := Innermost(c).(*Inbox)
	return simulated
}

// Innermost is the channel behind everything that stands in front of it.
func Innermost(c Channel) Channel {
	switch front := c.(type) {
	case Faulty:
		return Innermost(front.Channel)
	case rehearsed:
		return Innermost(front.Channel)
	case *Breaker:
		return Innermost(front.channel)
	}
	return c
}

// Arrival is closed by the next message. Take it before reading the inbox, or the message that
// comes between reading and waiting is missed.
func (i *Inbox) Arrival() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.arrived == nil {
		i.arrived = make(chan struct{})
	}
	return i.arrived
}
