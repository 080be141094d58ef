package deliver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// BreakerOptions say when a provider counts as down. A zero field means the default.
type BreakerOptions struct {
	Failures int           // in a row that open the circuit; default 5
	Pause    time.Duration // before the first probe; default 5 s, doubled after each failed probe
	Longest  time.Duration // upper bound of the pause; default 2 min
}

func (o BreakerOptions) orDefaults() BreakerOptions {
	if o.Failures <= 0 {
		o.Failures = 5
	}
	if o.Pause <= 0 {
		o.Pause = 5 * time.Second
	}
	if o.Longest <= 0 {
		o.Longest = 2 * time.Minute
	}
	return o
}

// circuit is the state machine of a breaker: closed, open until a moment, or half open while one probe is in progress.
// The caller passes in the time and the random number.
type circuit struct {
	options  BreakerOptions
	failures int       // in a row while closed
	opened   int       // times in a row without a success
	until    time.Time // zero while closed
	probing  bool
	era      int // counts state changes; results from an earlier era are ignored
}

// ticket permits one hand-over.
type ticket struct {
	era   int
	probe bool
}

// admit reports whether a message may be handed over now. The ticket goes to settle.
func (c *circuit) admit(now time.Time) (ticket, bool) {
	if c.until.IsZero() {
		return ticket{era: c.era}, true
	}
	if c.probing || now.Before(c.until) {
		return ticket{}, false
	}
	c.probing = true
	return ticket{era: c.era, probe: true}, true
}

// settle records how an admitted hand-over ended. chance, at least 0 and below 1, shortens the pause by up to half, so
// that servers that lost a provider at the same time do not all return at the same time.
func (c *circuit) settle(t ticket, failed bool, now time.Time, chance float64) {
	if t.era != c.era {
		return
	}
	switch {
	case !failed && t.probe:
		*c = circuit{options: c.options, era: c.era + 1}
	case !failed:
		c.failures = 0
	case t.probe:
		c.open(now, chance)
	default:
		if c.failures++; c.failures >= c.options.Failures {
			c.open(now, chance)
		}
	}
}

func (c *circuit) open(now time.Time, chance float64) {
	pause := c.options.Pause
	for i := 0; i < c.opened && pause < c.options.Longest; i++ {
		pause *= 2
	}
	pause = min(pause, c.options.Longest)
	c.opened++
	c.failures, c.probing = 0, false
	c.until = now.Add(pause - time.Duration(chance*float64(pause)/2))
	c.era++
}

// Breaker is a channel that stops calling a provider that is down. After so many failures in a row every message is at
// once surely not sent, so that the next channel is tried without waiting; after a pause one message is sent as a
// probe. A refusal of the message itself is not a failure. Each server has its own state: it only saves time, and
// guards neither codes nor money.
type Breaker struct {
	channel Channel
	mu      sync.Mutex
	circuit circuit
}

// NewBreaker returns a closed breaker in front of a channel.
func NewBreaker(channel Channel, o BreakerOptions) *Breaker {
	return &Breaker{channel: channel, circuit: circuit{options: o.orDefaults()}}
}

// Name returns the name of the channel behind.
func (b *Breaker) Name() string { return b.channel.Name() }

// Waits reports whether the channel behind waits.
func (b *Breaker) Waits() bool { return b.channel.Waits() }

// Behind returns the channel behind.
func (b *Breaker) Behind() Channel { return b.channel }

// Open reports whether the circuit is open.
func (b *Breaker) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.circuit.until.IsZero()
}

// Breakers returns the breakers of channels, in their order.
func Breakers(channels ...Channel) (found []*Breaker) {
	for _, c := range channels {
		switch front := c.(type) {
		case Faulty:
			found = append(found, Breakers(front.Channel)...)
		case rehearsed:
			found = append(found, Breakers(front.Channel)...)
		case *Breaker:
			found = append(found, front)
		}
	}
	return found
}

// Send hands m to the channel behind if the circuit allows it.
func (b *Breaker) Send(ctx context.Context, m Message) (result Result) {
	admitted, ok := b.admit()
	if !ok {
		return Result{Outcome: NotSent, Retryable: true,
			Reason: fmt.Sprintf("%s failed again and again and is given a pause", b.Name())}
	}
	failed := true // also if the channel panics
	defer func() { b.settle(admitted, failed) }()
	result = b.channel.Send(ctx, m)
	failed = result.Down
	return result
}

func (b *Breaker) admit() (ticket, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.circuit.admit(time.Now())
}

func (b *Breaker) settle(t ticket, failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.circuit.settle(t, failed, time.Now(), rand.Float64())
}
