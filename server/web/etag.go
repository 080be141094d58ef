package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"otpbridge/server/otp"
)

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
