package deliver

import (
	"context"
	"errors"
	"net/url"
)

// Discard accepts every message and drops it. It is for measuring what a send costs on the way to a provider,
// including outbox and breaker, with a provider that costs nothing. So it counts as a channel that leaves the process
// and may wait.
type Discard struct{}

// Name is the channel's name in settings and logs.
func (Discard) Name() string { return "discard" }

// Waits is true, as for the real channels that it replaces.
func (Discard) Waits() bool { return true }

// Send drops the message. It cannot fail.
func (Discard) Send(context.Context, Message) Result { return Result{Outcome: Sent} }

func openDiscard(u *url.URL, o Options) (Channel, error) {
	switch {
	case !o.Sandbox:
		return nil, errors.New("discard drops every message and belongs to the sandbox: in production name the gateway " +
			"that really sends")
	case u.Opaque+u.Host+u.Path+u.RawQuery+u.Fragment != "":
		return nil, errors.New("discard has nothing to be told")
	}
	return Discard{}, nil
}
