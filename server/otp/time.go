package otp

import "time"

// Millis is a moment in UTC milliseconds since the Unix epoch. Zero means "has not happened",
// which the store writes as NULL.
type Millis int64

// Durations the rules count in, in milliseconds.
const (
	Second Millis = 1000
	Minute        = 60 * Second
	Hour          = 60 * Minute
	Day           = 24 * Hour
)

// At is t as the rules see it.
func At(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time is m for the doors and the log, in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// Duration reads m as a length of time rather than a moment.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Span is d in the unit of the rules.
func Span(d time.Duration) Millis { return Millis(d.Milliseconds()) }
