package deliver

import (
	"context"
	"sync"
)

// Inbox is the sandbox's channel. The inbox is a view over committed sends: a message is in it once its transaction
// has committed, so there is nothing to hand over and a crash loses nothing. Send only wakes waiters.
type Inbox struct {
	mu      sync.Mutex
	arrived chan struct{} // nil while nobody waits
}

// NewInbox returns an inbox without waiters.
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

// Simulated reports whether a channel leads to the sandbox's inbox only, whatever is in front of it.
func Simulated(c Channel) bool {
	_, simulated := Innermost(c).(*Inbox)
	return simulated
}

// Innermost returns the channel behind all wrappers.
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

// Arrival returns a channel that the next message closes. Call it before reading the inbox; otherwise a message that
// comes between reading and waiting is missed.
func (i *Inbox) Arrival() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.arrived == nil {
		i.arrived = make(chan struct{})
	}
	return i.arrived
}
