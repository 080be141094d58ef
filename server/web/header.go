package web

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/server/otp"
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

// HideLimit undoes ShowLimit.
func HideLimit(h http.Header) {
	for _, part := range []string{"Limit", "Remaining", "Reset", "Window"} {
		h.Del("X-RateLimit-" + part)
	}
}

// ETag returns the strong entity tag of a version.
func ETag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// IfMatch refuses a change unless the header If-Match has the entity tag of version, the current one (RFC 9110,
// section 13.1.1). The status is 428 without the header, so that nobody overwrites another's change by mistake, and
// 412 for other tags, weak ones included.
func IfMatch(h http.Header, version int64) error {
	given := h.Values("If-Match")
	if len(given) == 0 {
		return &Problem{Status: http.StatusPreconditionRequired, Code: "PRECONDITION_REQUIRED",
			Detail: "a change needs the header If-Match with the ETag of what is changed; read it with GET"}
	}
	tags := strings.Split(strings.Join(given, ","), ",")
	if slices.ContainsFunc(tags, func(tag string) bool {
		tag = strings.Trim(tag, " \t")
		return tag == "*" && len(tags) == 1 || tag == ETag(version)
	}) {
		return nil
	}
	return otp.Refuse(otp.Outdated, "it was changed meanwhile; read it again, and send its ETag in If-Match")
}
