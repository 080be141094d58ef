package otp

import (
	"fmt"
	"slices"
)

// BridgeMode says who answers an account's servlet calls.
type BridgeMode string

// The modes. In all but the first, the account's upstream makes and checks the codes.
const (
	BridgeLocal   BridgeMode = "local"   // this server
	BridgeForward BridgeMode = "forward" // the upstream
	BridgeShadow  BridgeMode = "shadow"  // the upstream; this server compares its own rules with the answers
)

// BridgeModes lists all modes.
func BridgeModes() []BridgeMode { return []BridgeMode{BridgeLocal, BridgeForward, BridgeShadow} }

// upstream reports whether calls go to the upstream.
func (m BridgeMode) upstream() bool { return m == BridgeForward || m == BridgeShadow }

const (
	// CutOverLead is how far ahead a change of the mode must be set. A server's settings are up to five seconds old,
	// so every server knows about the change before it happens.
	CutOverLead = 10 * Second
	// CutOverSkew is the largest difference between two servers' clocks at that moment. A server whose clock differs
	// from the database's by more than a second is not ready.
	CutOverSkew = 5 * Second
	// UpstreamDeadline bounds one call to the upstream.
	UpstreamDeadline = 10 * Second
)

// Handling says how a servlet call is handled at one moment.
type Handling struct {
	Mode BridgeMode
	// HandOver says that codes of both sides may be live: the mode changed less than a code's lifetime ago, or has
	// already changed for a server whose clock is ahead.
	HandOver bool
	since    Millis // when the mode changed, or will
	back     bool   // the change goes back to the upstream
}

// Handling returns how a's servlet calls are handled at now, by the account's clock.
func (a *Account) Handling(now Millis) Handling {
	h := Handling{Mode: a.Bridge}
	if a.CutOverAt == nil || a.BridgeBefore == nil {
		return h
	}
	if now < *a.CutOverAt {
		h.Mode = *a.BridgeBefore
	}
	// An upstream call that began just before the change can make its code until its deadline.
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

// Stands reports whether c, a slot's newest challenge, is newer than every code that the upstream may have made for
// the slot during a hand-over. That holds for a challenge made here since the mode changed. It also holds for one that
// was live here when calls went back to the upstream: each code that the upstream makes during a hand-over replaces
// the slot's challenge.
func (h Handling) Stands(c *Challenge, now Millis) bool {
	if c == nil || c.CreatedAt >= h.since {
		return c != nil
	}
	// c is older than the change. If it has ended, the upstream may have made later codes that were not recorded here.
	// A challenge of the JSON API says nothing about what the servlets did.
	return now < c.ExpiresAt && (h.back || c.Details == nil)
}

func (a *Account) validateBridge() error {
	modes := []BridgeMode{a.Bridge, ValueOr(a.BridgeBefore, BridgeLocal)}
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
