package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"otpbridge/server/otp"
)

// ETag is the strong entity tag of a version of something.
func ETag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// IfMatch refuses a change of something that is at a version, unless the header If-Match names that version's
// entity tag (RFC 9110, section 13.1.1). It is 428 without the header, so that nobody overwrites by mistake what
// another changed meanwhile, and 412 for other tags, weak ones too.
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
