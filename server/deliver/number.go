package deliver

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"otpbridge/server/otp"
)

// NormalNumber reads a number with its country code in digits, optionally with "+" or "00" in front and blanks and
// dashes inside, and returns its E.164 form. It must be possible in one of the countries, and not of a type that costs
// the caller money or reaches no person. "Possible" instead of "valid": a library's numbering plans age, and refusing
// a newly allotted range would lock people out.
//
// Refusal: Invalid.
func NormalNumber(number string, countries []string) (string, error) {
	digits := number
	if strings.ContainsAny(digits, " -") {
		digits = strings.NewReplacer(" ", "", "-", "").Replace(digits)
	}
	if plain, found := strings.CutPrefix(digits, "+"); found {
		digits = plain
	} else {
		digits = strings.TrimPrefix(digits, "00")
	}
	if len(digits) > 15 || !otp.Digits(digits) {
		return "", otp.Refuse(otp.Invalid, "mobile must be digits with the country code, such as 919551492394")
	}
	if indianMobile(digits) && slices.Contains(countries, "IN") {
		return "+" + digits, nil
	}
	return parsedNumber(digits, countries)
}

// indianMobile is the fast path: 91, then 6–9, then nine digits. It accepts only what the library accepts, which a
// fuzzer checks. A parse by the library costs 34 allocations.
func indianMobile(digits string) bool {
	return len(digits) == 12 && digits[0] == '9' && digits[1] == '1' && digits[2] >= '6'
}

// refusedTypes cost the caller money or reach no phone.
var refusedTypes = []phonenumbers.PhoneNumberType{
	phonenumbers.PREMIUM_RATE, phonenumbers.SHARED_COST, phonenumbers.TOLL_FREE, phonenumbers.PAGER,
	phonenumbers.VOICEMAIL,
}

// parsedNumber asks the library, always with a plus: with a default region the library turns 971501234567 into
// +91971501234567.
func parsedNumber(digits string, countries []string) (string, error) {
	parsed, number, ok := normal(digits)
	if !ok {
		return "", otp.Refuse(otp.Invalid, "mobile is no possible number; write it with its country code, such as "+
			"919551492394")
	}
	if err := refusedRange(int(parsed.GetCountryCode())); err != nil {
		return "", err
	}
	if slices.Contains(refusedTypes, phonenumbers.GetNumberType(parsed)) {
		return "", otp.Refuse(otp.Invalid, "mobile is of a kind that is not sent to")
	}
	// A possible number that is not allotted has no region; then one of its calling code's countries must be on the
	// list.
	regions := phonenumbers.GetRegionCodesForCountryCode(int(parsed.GetCountryCode()))
	if region := phonenumbers.GetRegionCodeForNumber(parsed); region != "" && region != "ZZ" {
		regions = []string{region}
	}
	for _, region := range regions {
		if slices.Contains(countries, region) {
			return number, nil
		}
	}
	return "", otp.Refuse(otp.Invalid, "mobile belongs to a country that the account does not send to")
}

// normal returns the E.164 form of digits with a country code, and reports whether it is a possible number. The library
// drops trunk prefixes and the like. Its result must itself be a normal form; otherwise one person would have two
// recipients, with a budget each.
func normal(digits string) (*phonenumbers.PhoneNumber, string, bool) {
	parsed, number, ok := possible("+" + digits)
	if ok && number != "+"+digits {
		var again string
		parsed, again, ok = possible(number)
		ok = ok && again == number
	}
	return parsed, number, ok
}

// AnyNumber returns the form under which a number is known, of whatever country and kind: that of NormalNumber for what
// an account sends to, or once did. digits begin with the country code.
func AnyNumber(digits string) string {
	if _, number, ok := normal(digits); ok {
		return number
	}
	return "+" + digits
}

// PossibleNumber reports whether number is in E.164 form, with its plus, and possible.
func PossibleNumber(number string) bool {
	_, normal, ok := possible(number)
	return ok && normal == number
}

// possible parses a number, returns its E.164 form, and reports whether it is a possible number.
func possible(number string) (*phonenumbers.PhoneNumber, string, bool) {
	parsed, err := phonenumbers.Parse(number, "ZZ")
	if err != nil || phonenumbers.IsPossibleNumberWithReason(parsed) != phonenumbers.IS_POSSIBLE {
		return nil, "", false
	}
	return parsed, phonenumbers.Format(parsed, phonenumbers.E164), true
}

// refusedCodes are calling codes without a country: satellites, international networks, premium and shared-cost
// services. Messages to them cost most, and no list of countries can allow them (ITU-T E.164, list of assigned country
// codes).
var refusedCodes = []int{800, 808, 870, 878, 881, 882, 883, 888, 979}

// refusedRange returns the refusal of a calling code that is never sent to.
func refusedRange(code int) error {
	if slices.Contains(refusedCodes, code) {
		return otp.Refuse(otp.Invalid, fmt.Sprintf("mobile begins with %d, which no message is sent to: it belongs to "+
			"satellites or to services that charge for it", code))
	}
	return nil
}

// CountryCode returns the length of the country code that digits begin with. No code is the beginning of another
// (ITU-T E.164, section 6.2.1).
func CountryCode(digits string) int {
	for n := 1; n <= min(3, len(digits)); n++ {
		code, err := strconv.Atoi(digits[:n])
		if err == nil && len(phonenumbers.GetRegionCodesForCountryCode(code)) > 0 {
			return n
		}
	}
	return min(3, len(digits))
}

// Country returns the two-letter code of a number's country, ZZ if it is unknown.
func Country(number string) string {
	if indianMobile(strings.TrimPrefix(number, "+")) {
		return "IN"
	}
	parsed, err := phonenumbers.Parse(number, "ZZ")
	if err != nil {
		return "ZZ"
	}
	if region := phonenumbers.GetRegionCodeForNumber(parsed); region != "" {
		return region
	}
	regions := phonenumbers.GetRegionCodesForCountryCode(int(parsed.GetCountryCode()))
	if len(regions) > 0 {
		return regions[0]
	}
	return "ZZ"
}

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
