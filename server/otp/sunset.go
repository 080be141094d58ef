package otp

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxBrownOuts bounds an account's brown-outs, and maxBrownOut the length of each.
const (
	maxBrownOuts = 50
	maxBrownOut  = 24 * time.Hour
)

// servletsTimed reports whether a's servlets end or pause at some moment.
func (a *Account) servletsTimed() bool {
	return a.ServletsSunsetAt != nil || len(a.ServletsBrownOuts) > 0
}

// Timed reports whether the handling of an account's servlet calls depends on the time.
func (a *Account) Timed() bool { return a.CutOverAt != nil || a.servletsTimed() }

// ServletsOff reports whether the account's servlets have ended at now or are in a brown-out.
func (a *Account) ServletsOff(now Millis) bool {
	if a.ServletsSunsetAt != nil && now >= *a.ServletsSunsetAt && !a.ServletsGrace {
		return true
	}
	for _, text := range a.ServletsBrownOuts {
		if from, until, err := parseSpan(text); err == nil && now >= At(from) && now < At(until) {
			return true
		}
	}
	return false
}

// parseSpan reads a span of time: two moments (RFC 3339) separated by a slash.
func parseSpan(text string) (from, until time.Time, err error) {
	begin, end, found := strings.Cut(text, "/")
	if from, err = time.Parse(time.RFC3339, begin); err == nil {
		until, err = time.Parse(time.RFC3339, end)
	}
	if !found || err != nil || !from.Before(until) || until.Sub(from) > maxBrownOut {
		err = errors.New("must be two moments at most a day apart, such as 2026-12-01T06:00:00Z/2026-12-01T06:15:00Z")
	}
	return from, until, err
}

func (a *Account) validateSunset() error {
	for i, text := range a.ServletsBrownOuts {
		if _, _, err := parseSpan(text); err != nil {
			return fmt.Errorf("servlets_brown_outs: entry %d %w", i+1, err)
		}
	}
	if len(a.ServletsBrownOuts) > maxBrownOuts {
		return fmt.Errorf("servlets_brown_outs: must be at most %d", maxBrownOuts)
	}
	for _, m := range []struct {
		column string
		at     *Millis
	}{{"servlets_deprecated_at", a.ServletsDeprecatedAt}, {"servlets_sunset_at", a.ServletsSunsetAt}} {
		if at := ValueOr(m.at, 0); at < 0 || at > LastMoment {
			return fmt.Errorf("%s: must be milliseconds since 1970, up to the year 9999", m.column)
		}
	}
	// RFC 9745, section 4: the sunset must not be before the deprecation.
	if a.ServletsDeprecatedAt != nil && a.ServletsSunsetAt != nil && *a.ServletsSunsetAt < *a.ServletsDeprecatedAt {
		return errors.New("servlets_sunset_at: must not be before servlets_deprecated_at")
	}
	return nil
}
