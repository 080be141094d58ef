package audit

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"otpbridge/server/otp"
)

// sweepEvery is the pause between two removals of expired content.
const sweepEvery = 10 * time.Minute

// kept returns how many days entries of a kind keep their content, and the setting that says so.
func (l *Log) kept(kind string) (days int, setting string) {
	if kind == CallEntry {
		return l.CallDays, "OTPBRIDGE_AUDIT_CALL_DAYS"
	}
	return l.ChangeDays, "OTPBRIDGE_AUDIT_CHANGE_DAYS"
}

// keptFrom returns the time since which entries of a kind keep their content.
func (l *Log) keptFrom(kind string, now otp.Millis) otp.Millis {
	days, _ := l.kept(kind)
	return now - otp.Millis(days)*otp.Day
}

// Sweep removes the content of entries whose time is over. Their stubs stay, so that the log still verifies.
func (l *Log) Sweep(ctx context.Context, now otp.Millis) error {
	limit := l.keptFrom(CallEntry, now)
	for from := int64(0); ; {
		pages, err := l.store.Audit.PagesWithCalls(ctx, from, limit, pagesAtOnce)
		if err != nil || len(pages) == 0 {
			if err != nil {
				return err
			}
			break
		}
		for _, page := range pages {
			calls, err := unpackCalls(page)
			if err != nil {
				return err
			}
			terms := map[otp.ID]bool{}
			for _, content := range calls {
				var e Entry
				if err := json.Unmarshal(content, &e); err != nil {
					return err
				}
				for _, pair := range e.pairs() {
					terms[term(pair)] = true
				}
			}
			if err := l.store.Audit.RemoveCalls(ctx, page.Place, slices.Collect(maps.Keys(terms))); err != nil {
				return err
			}
			from = page.Place + 1
		}
	}
	return l.store.Audit.RemoveChanges(ctx, l.keptFrom(ChangeEntry, now))
}
