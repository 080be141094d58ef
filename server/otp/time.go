package otp

import "time"

// Millis is a moment in UTC milliseconds since the Unix epoch. Zero means "has not happened"; the store writes it as
// NULL.
type Millis int64

// Durations, in milliseconds.
const (
	Second Millis = 1000
	Minute        = 60 * Second
	Hour          = 60 * Minute
	Day           = 24 * Hour
)

// LastMoment is the end of the year 9999: what comes after it has no form in HTTP, JSON or RFC 3339.
const LastMoment Millis = 253_402_300_799_999

// At returns t in milliseconds since the epoch.
func At(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time returns m as a time.Time in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// Duration converts m, a length of time, to a time.Duration.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Span converts d to milliseconds.
func Span(d time.Duration) Millis { return Millis(d.Milliseconds()) }
