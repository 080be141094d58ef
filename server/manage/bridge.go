package manage

import (
	"context"
	"fmt"
	"time"

	"otpbridge/server/otp"
)

// bridgeColumns say who answers an account's calls of the servlets.
var bridgeColumns = []string{"bridge_mode", "bridge_before", "cut_over_at", "cut_over_before"}

// maxAhead bounds how far ahead a cut-over can be set.
const maxAhead = 366 * 24 * time.Hour

// CutOver has mode hold for an account from a moment on, by the account's clock; the zero time is the earliest
// moment that every server knows of in time, ten seconds from now. A change that was set for later gives way to it. It
// returns the account as it is then. Refusals: NotFound; Invalid for a moment that is too near or over a year away, for
// a mode without an upstream_url, and while another change is about to happen; what match refuses, if it is not nil.
func (c Accounts) CutOver(ctx context.Context, by otp.Actor, account string, mode otp.BridgeMode, at time.Time,
	match func(version int64) error) (ManagedAccount, error) {
	ahead := time.Duration(0)
	if c.sandbox {
		var err error
		if _, ahead, err = c.store.Sandbox.Clock(ctx, account); err != nil {
			return ManagedAccount{}, err
		}
	}
	return c.change(ctx, Edit{Account: account, By: by, Columns: bridgeColumns, Match: match, Set: func(n *Imported) error {
		now := otp.At(time.Now().Add(ahead))
		moment := now + otp.CutOverLead
		if !at.IsZero() {
			moment = otp.At(at)
		}
		switch {
		case moment < now+otp.CutOverLead:
			return otp.RefuseField("at", fmt.Sprintf("must be at least %v ahead, so that every server knows of it; without it "+
				"the change comes as soon as it can", otp.CutOverLead.Duration()))
		case moment > now+otp.Millis(maxAhead.Milliseconds()):
			return otp.RefuseField("at", "must be within a year")
		case n.CutOverAt != nil && *n.CutOverAt > now && *n.CutOverAt < now+otp.CutOverLead:
			return otp.Refuse(otp.Invalid, fmt.Sprintf("a change is about to happen, in %v; ask again after it",
				(*n.CutOverAt-now).Duration().Round(time.Second)))
		}
		before := n.Handling(now).Mode
		if n.CutOverAt != nil && *n.CutOverAt <= now && n.ChangesSides() {
			n.CutOverBefore = n.CutOverAt
		}
		n.BridgeBefore, n.Bridge, n.CutOverAt = &before, mode, &moment
		return nil
	}}, otp.AccountCutOver)
}
