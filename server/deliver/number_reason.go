package deliver

import (
	"errors"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"otpbridge/server/otp"
)

// NumberReason says why NormalNumber refuses number. It quotes nothing of the input.
func NumberReason(number string, countries []string) string {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(number)
	digits, plus := strings.CutPrefix(digits, "+")
	if !plus {
		digits = strings.TrimPrefix(digits, "00")
	}
	switch {
	case digits == "":
		return "missing"
	case strings.ContainsAny(digits, "%"):
		return "url-encoded twice"
	case !otp.Digits(digits):
		return characterReason(digits)
	case strings.HasPrefix(digits, "0"):
		if withoutCountry(strings.TrimLeft(digits, "0"), countries) {
			return "no country code, and a 0 in front that belongs to calls within the country"
		}
		return "begins with 0, which no country code does"
	case !reaches(digits, countries) && withoutCountry(digits, countries):
		return "no country code"
	case len(digits) > 15:
		return "too long: more than 15 digits"
	}
	return possibleReason(digits)
}

// characterReason says which characters a number must not have.
func characterReason(number string) string {
	switch {
	case strings.ContainsAny(number, ",;/"):
		return "several numbers, or an extension"
	case strings.ContainsAny(number, "()."):
		return "brackets or dots; give digits"
	case strings.ContainsAny(number, "+"):
		return "a plus that is not in front"
	case strings.ContainsAny(number, "@"):
		return "a mailbox, not a number"
	}
	for _, r := range number {
		if r >= 0x80 {
			return "digits or characters that are not ASCII"
		}
	}
	return "other characters than digits"
}

// possibleReason says why a number with a country code is refused.
func possibleReason(digits string) string {
	parsed, err := phonenumbers.Parse("+"+digits, "ZZ")
	if err != nil {
		switch {
		case len(digits) < 7:
			return "too short"
		case errors.Is(err, phonenumbers.ErrInvalidCountryCode):
			return "begins with no known country code"
		}
		return "no possible number"
	}
	switch phonenumbers.IsPossibleNumberWithReason(parsed) {
	case phonenumbers.TOO_SHORT, phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		return "too short for its country code"
	case phonenumbers.TOO_LONG:
		return "too long for its country code"
	case phonenumbers.INVALID_LENGTH:
		return "a wrong number of digits for its country code"
	case phonenumbers.INVALID_COUNTRY_CODE:
		return "begins with no known country code"
	}
	if refusedRange(int(parsed.GetCountryCode())) != nil {
		return "belongs to satellites, or to services that charge for it"
	}
	for _, refused := range refusedTypes {
		if phonenumbers.GetNumberType(parsed) == refused {
			return "of a kind that is not sent to: premium, shared cost, toll free, pager or voicemail"
		}
	}
	return "its country is not in the account's countries"
}

// triedCountries bounds the countries that a number without a country code is tried with.
const triedCountries = 10

// withoutCountry reports whether digits are a valid number of one of the countries if its code is put in front.
func withoutCountry(digits string, countries []string) bool {
	for _, country := range countries[:min(len(countries), triedCountries)] {
		parsed, err := phonenumbers.Parse(digits, country)
		if err == nil && phonenumbers.IsValidNumberForRegion(parsed, country) {
			return true
		}
	}
	return false
}

// reaches reports whether digits are, unchanged, a valid number of one of the countries.
func reaches(digits string, countries []string) bool {
	parsed, err := phonenumbers.Parse("+"+digits, "ZZ")
	if err != nil {
		return false
	}
	for _, country := range countries {
		if phonenumbers.IsValidNumberForRegion(parsed, country) {
			return true
		}
	}
	return false
}
