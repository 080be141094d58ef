package otp

import (
	"fmt"
	"slices"
)

// BridgeMode says who answers an account's calls of the servlets.
type BridgeMode string

// The modes. In all but the first the account's upstream makes and judges the codes.
const (
	BridgeLocal   BridgeMode = "local"   // this server
	BridgeForward BridgeMode = "forward" // the upstream
	BridgeShadow  BridgeMode = "shadow"  // the upstream, and this server's rules are compared with what it answers
)

// BridgeModes lists all.
func BridgeModes() []BridgeMode { return []BridgeMode{BridgeLocal, BridgeForward, BridgeShadow} }

// upstream reports whether calls go to the upstream.
func (m BridgeMode) upstream() bool { return m == BridgeForward || m == BridgeShadow }

const (
	// CutOverLead is how far ahead a change of the mode has to be set. A server goes by settings that are up to
	// five seconds old, so with this every server knows of the moment before it comes.
	CutOverLead = 10 * Second
	// CutOverSkew is how far two servers' clocks may differ at that moment. Servers whose clock is more than a
	// second off the database's are not ready.
	CutOverSkew = 5 * Second
	// UpstreamDeadline bounds one call of the upstream.
	UpstreamDeadline = 10 * Second
)

// Handling says how a call of the servlets is to be handled at a moment.
type Handling struct {
	Mode BridgeMode
	// HandOver says that codes of both sides may be alive: the mode has changed less than a code's lifetime
	// ago, or has in the eyes of a server whose clock is ahead.
	HandOver bool
	since    Millis // when the mode changed, or will
	back     bool   // to the upstream
}

// Handling returns how calls of a are handled at now, by the account's clock.
func (a *Account) Handling(now Millis) Handling {
	h := Handling{Mode: a.Bridge}
	if a.CutOverAt == nil || a.BridgeBefore == nil {
		return h
	}
	if now < *a.CutOverAt {
		h.Mode = *a.BridgeBefore
	}
	// A call that was passed on just before the moment may make its code only as late as its deadline.
	span := Millis(a.TTLSeconds)*Second + UpstreamDeadline + CutOverSkew
	h.since, h.back = *a.CutOverAt, a.Bridge.upstream()
	h.HandOver = a.ChangesSides() && now >= h.since-CutOverSkew && now < h.since+span
	if !h.HandOver && a.CutOverBefore != nil && now < *a.CutOverBefore+span {
		h.HandOver, h.since, h.back = true, *a.CutOverBefore, a.BridgeBefore.upstream()
	}
	return h
}

// ChangesSides reports whether calls go from this server to the upstream at CutOverAt, or the other way.
func (a *Account) ChangesSides() bool {
	return a.CutOverAt != nil && a.BridgeBefore != nil && a.Bridge.upstream() != a.BridgeBefore.upstream()
}

// Stands reports whether c, a slot's newest challenge, is newer than any code that the upstream may have made
// for the slot, in a hand-over. What was made here since the mode changed is, and so is what lived here when
// calls went back to the upstream: whenever the upstream makes a code in a hand-over, the challenge that
// stands is replaced.
func (h Handling) Stands(c *Challenge, now Millis) bool {
	if c == nil || c.CreatedAt >= h.since {
		return c != nil
	}
	// From an earlier turn. If it is over, the upstream may have made others since, which nobody noted here; one
	// of the JSON API says nothing about what the servlets did.
	return now < c.ExpiresAt && (h.back || c.Details == nil)
}

func (a *Account) validateBridge() error {
	modes := []BridgeMode{a.Bridge, valueOr(a.BridgeBefore, BridgeLocal)}
	for i, column := range []string{"bridge_mode", "bridge_before"} {
		switch m := modes[i]; {
		case !slices.Contains(BridgeModes(), m):
			return fmt.Errorf("%s: must be one of local, forward, shadow", column)
		case m.upstream() && a.UpstreamURL == nil:
			return fmt.Errorf("%s: needs an upstream_url where it is not local", column)
		}
	}
	if (a.CutOverAt == nil) != (a.BridgeBefore == nil) {
		return fmt.Errorf("cut_over_at: must be set where bridge_before is, and NULL where it is NULL")
	}
	return nil
}
