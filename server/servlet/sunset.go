package servlet

import (
	"net/http"
	"strconv"

	"otpbridge/server/otp"
)

// successors are the calls of the JSON API that replace each step.
var successors = [...]string{generate: "/v1/send", validate: "/v1/verify", regenerate: "/v1/resend"}

// announce announces the end of the account's servlets and their replacement in headers: RFC 9745, RFC 8594, and RFC
// 5829 for the relation. It applies to accounts that set it; the vendor's clients do not know these headers.
func announce(header http.Header, a *otp.Account, s step) {
	if a.ServletsDeprecatedAt == nil {
		return
	}
	header.Set("Deprecation", "@"+strconv.FormatInt(int64(*a.ServletsDeprecatedAt)/1000, 10))
	header.Set("Link", "<"+successors[s]+`>; rel="successor-version"`)
	if a.ServletsSunsetAt != nil {
		header.Set("Sunset", a.ServletsSunsetAt.Time().UTC().Format(http.TimeFormat))
	}
}
