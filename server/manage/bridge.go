package manage

import (
	"context"
	"fmt"
	"time"

	"otpbridge/server/otp"
)

// bridgeColumns decide who answers an account's servlet calls.
var bridgeColumns = []string{"bridge_mode", "bridge_before", "cut_over_at", "cut_over_before"}

// maxAhead is how far in the future a cut-over can be.
const maxAhead = 366 * 24 * time.Hour

// CutOver sets the mode that an account has from a time on, by the account's clock. The zero time means as early as
// every server can know of it: ten seconds from now. It replaces a change that was set for later, and returns the
// changed account. Refusals: NotFound; Invalid for a time that is too near or more than a year away, for a mode
// without an upstream_url, and shortly before another change; those of match, which may be nil.
func (c Accounts) CutOver(ctx context.Context, by otp.Actor, account string, mode otp.BridgeMode, at time.Time,
	match func(version int64) error) (ManagedAccount, error) {
	ahead := time.Duration(0)
	if c.sandbox {
		var err error
		if _, ahead, err = c.store.Sandbox.Clock(ctx, account); err != nil {
			return ManagedAccount{}, err
		}
	}
	edit := Edit{Account: account, By: by, Columns: bridgeColumns, Match: match}
	edit.Set = func(n *Imported) error {
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
		case n.CutOverAt != nil && *n.CutOverAt > now && *n.CutOverAt <= now+otp.CutOverLead:
			return otp.Refuse(otp.Invalid, fmt.Sprintf("a change is about to happen, in %v; ask again after it",
				(*n.CutOverAt-now).Duration().Round(time.Second)))
		}
		before := n.Handling(now).Mode
		if n.CutOverAt != nil && *n.CutOverAt <= now && n.ChangesSides() {
			n.CutOverBefore = n.CutOverAt
		}
		n.BridgeBefore, n.Bridge, n.CutOverAt = &before, mode, &moment
		return nil
	}
	return c.change(ctx, edit, otp.AccountCutOver)
}
