package deliver

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// prefixDigits is how many digits after the country code make a prefix. That is about the range that a carrier is
// given at once, up to a million numbers, and that a fraudster can buy.
const prefixDigits = 4

// Prefix returns the range of numbers that a number in E.164 form belongs to.
func Prefix(number string) string {
	digits := strings.TrimPrefix(number, "+")
	return digits[:min(len(digits), CountryCode(digits)+prefixDigits)]
}

// PrefixOf returns the prefix of a recipient that is a number, empty for a mailbox.
func PrefixOf(recipient string) string {
	if !strings.HasPrefix(recipient, "+") {
		return ""
	}
	return Prefix(recipient)
}

// PrefixCountry returns the two-letter code of a prefix's country, ZZ if it is unknown and empty for no prefix. If
// several countries share a code, only a whole number tells which one, so digits are added until one is found. A few
// ranges are shared as well: 447911 is reported as Guernsey.
func PrefixCountry(prefix string) string {
	if prefix == "" {
		return ""
	}
	for n := range len(anyDigits) {
		parsed, err := phonenumbers.Parse("+"+prefix+anyDigits[:n], "ZZ")
		if err != nil {
			continue
		}
		if region := phonenumbers.GetRegionCodeForNumber(parsed); region != "" && region != "ZZ" {
			return region
		}
	}
	return Country("+" + prefix)
}

const anyDigits = "234567890"
