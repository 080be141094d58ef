package deliver

import (
	"strings"

	"otpbridge/server/otp"
)

// Mask shows enough of a recipient to recognise it and too little to use it.
func Mask(recipient string) string {
	if local, domain, isMail := strings.Cut(recipient, "@"); isMail {
		return otp.Cut(local, 1) + "•••@" + domain
	}
	shown := max(0, len(recipient)-4)
	return recipient[:min(3, shown)] + dots(max(0, shown-3)) + recipient[shown:]
}

// dots returns n bullets; for the length of a number it allocates nothing.
func dots(n int) string {
	const many = "••••••••••••••••"
	if n*len("•") <= len(many) {
		return many[:n*len("•")]
	}
	return strings.Repeat("•", n)
}
