package web

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// Twice is the detail of the fault that a header is given more than once.
const Twice = "is given twice; send it once"

// Single returns the value of a header, empty if there is none. It refuses a header that is given twice, also with the
// same value, because a proxy may have checked the other one.
//
// Refusal: a Problem with status 400.
func Single(header http.Header, name string) (string, error) {
	values := header.Values(name)
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", Invalid(Fault{Header: name, Detail: Twice})
}

// ShowLimit tells a client the state of the limit that counted, or refused, its request: how many requests may come at
// once, how many are left, when all are available again, and in which time. A limit of 0 is none, and is not shown.
func ShowLimit(h http.Header, limit, remaining int, reset time.Time, window time.Duration) {
	if limit <= 0 {
		return
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	// Rounded up, so that a client that returns at that second is not refused again.
	h.Set("X-RateLimit-Reset", strconv.FormatInt(int64(math.Ceil(float64(reset.UnixMilli())/1000)), 10))
	h.Set("X-RateLimit-Window", Seconds(window))
}
