package deliver

import "strings"

// prefixDigits is how many digits behind the country code make a prefix. It is about what a
// carrier is given at once, up to a million numbers, and what a fraud buys.
const prefixDigits = 4

// Prefix is the range of numbers that a number in E.164 form belongs to.
func Prefix(number string) string {
	digits := strings.TrimPrefix(number, "+")
	return digits[:min(len(digits), CountryCode(digits)+prefixDigits)]
}
