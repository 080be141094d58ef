package deliver

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Fault is one failure that the sandbox injects, to test an integration against failures of a provider or of this
// server.
type Fault struct {
	// Target is "inbox" for the simulated channel, "servlet" or "v1" for a door.
	Target string
	// Kind is not_sent, unknown or delay for the inbox, error or panic for a door.
	Kind string
	// Account limits the fault to one esme_address; empty means every account.
	Account string
	// Probability of the fault, above 0 up to 1; 0 means 1.
	Probability float64
	// Count is how often it happens before it is removed; 0 means until it is deleted.
	Count int
	// Delay is the duration of a delay.
	Delay time.Duration
}

// Faults is the table of current faults. The zero value is empty and ready to use; it is kept in memory and ends with
// the process.
type Faults struct {
	mu    sync.Mutex
	rules []Fault
}

// Set replaces the whole table.
func (f *Faults) Set(rules []Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append([]Fault(nil), rules...)
}

// List returns the table, with the counts that are left.
func (f *Faults) List() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Fault{}, f.rules...)
}

// any reports whether there are faults.
func (f *Faults) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rules) > 0
}

// Strike returns the first fault that applies to target and account, if one happens this time.
func (f *Faults) Strike(target, account string) (Fault, bool) {
	if f == nil {
		return Fault{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, rule := range f.rules {
		applies := rule.Target == target && (rule.Account == "" || rule.Account == account)
		if !applies || (rule.Probability > 0 && rand.Float64() >= rule.Probability) {
			continue
		}
		if rule.Count > 0 {
			f.rules[i].Count--
			if f.rules[i].Count == 0 {
				f.rules = append(f.rules[:i:i], f.rules[i+1:]...)
			}
		}
		return rule, true
	}
	return Fault{}, false
}

// Inject is called by a door for a request of an account. If a fault strikes it returns an error or panics, else it
// returns nil, as it does for nil Faults.
func (f *Faults) Inject(door, account string) error {
	fault, strikes := f.Strike(door, account)
	switch {
	case !strikes:
		return nil
	case fault.Kind == "panic":
		panic(ErrInjected)
	}
	return ErrInjected
}

// ErrInjected is the cause of every outcome that a fault made.
var ErrInjected = errors.New("fault injected by the sandbox")

// Faulty is a channel behind the faults of the target "inbox".
type Faulty struct {
	Channel Channel
	Faults  *Faults
}

// Name returns the name of the channel behind.
func (f Faulty) Name() string { return f.Channel.Name() }

// Waits reports whether a fault may delay a message, or the channel behind waits.
func (f Faulty) Waits() bool { return f.Faults.any() || f.Channel.Waits() }

// Send hands m to the channel unless a fault strikes. A delayed message is handed over after the delay, even if no
// caller waits for it any more.
func (f Faulty) Send(ctx context.Context, m Message) Result {
	fault, strikes := f.Faults.Strike("inbox", m.Account)
	if !strikes {
		return f.Channel.Send(ctx, m)
	}
	switch fault.Kind {
	case "not_sent":
		return Result{Outcome: NotSent, Retryable: true, Reason: ErrInjected.Error()}
	case "unknown":
		return Result{Outcome: Unknown, Reason: ErrInjected.Error()}
	}
	select {
	case <-time.After(fault.Delay):
	case <-ctx.Done():
		return Result{Outcome: Unknown, Reason: "the wait for a delayed message was ended"}
	}
	return f.Channel.Send(ctx, m)
}
