package servlet

import (
	"net/http"
	"strconv"

	"otpbridge/server/otp"
)

// successors are the calls of the JSON API that do what a step does.
var successors = [...]string{generate: "/v1/send", validate: "/v1/verify", regenerate: "/v1/resend"}

// announce tells programs that the servlets end for the account, and what follows them: RFC 9745, RFC 8594, and
// RFC 5829 for the relation. It is for accounts that ask for it; the vendor's clients know no such headers.
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
