package conform

import (
	"slices"
	"time"
)

// The reference server's send limits and failure budget.

func within(times []time.Time, span time.Duration, now time.Time) int {
	n := 0
	for _, t := range times {
		if now.Sub(t) < span {
			n++
		}
	}
	return n
}

func (f *reference) overLimit(a *refAccount, r *refRecipient, now time.Time) bool {
	minute := a.PerMinute
	switch {
	case f.has("limits: 9 sends a minute"):
		minute--
	case f.has("limits: 11 sends a minute"):
		minute++
	case f.has("limits: a lifted limit is none to send") && minute == 0:
		return true
	}
	sends := r.sends
	if f.has("limits: a minute's sends are counted from its first") && len(sends) > 0 {
		first := sends[0]
		sends = slices.DeleteFunc(slices.Clone(sends), func(t time.Time) bool {
			return now.Sub(first)/time.Minute != t.Sub(first)/time.Minute
		})
	}
	if f.has("limits: sends leak out of a bucket") && minute > 0 && len(sends) > 0 {
		leaked := int(now.Sub(sends[0]) * time.Duration(minute) / time.Minute)
		return len(sends)-leaked >= minute
	}
	hour, day := a.PerHour, a.PerDay
	if f.has("limits: no limit an hour") {
		hour = 0
	}
	if f.has("limits: no limit a day") {
		day = 0
	}
	return minute > 0 && within(sends, time.Minute, now) >= minute ||
		hour > 0 && within(r.sends, time.Hour, now) >= hour ||
		day > 0 && within(r.sends, 24*time.Hour, now) >= day
}

func (f *reference) locked(r *refRecipient, now time.Time) bool {
	budget := 20
	switch {
	case f.has("limits: a budget of 19"):
		budget--
	case f.has("limits: a budget of 21"):
		budget++
	case f.has("limits: no budget"):
		return false
	}
	hour := time.Hour
	if f.has("limits: the lock lasts until the newest guess leaves the hour") && len(r.failures) > 0 &&
		len(r.failures) >= budget {
		return now.Sub(r.failures[len(r.failures)-1]) < hour
	}
	if f.has("limits: the lock lasts ten minutes") {
		hour = 10 * time.Minute
	}
	return within(r.failures, hour, now) >= budget || now.Before(r.lockedUntil)
}
