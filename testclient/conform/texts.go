package conform

import "strconv"

// Text is the meaning of an answer. The profile decides its wording.
type Text int

// The meanings. NoDepartment is the only answer of zero bytes.
const (
	Generated Text = iota
	Unauthorised
	FeatureOff
	Invalid
	Undelivered
	ErrorText
	Verified
	Expired
	Exhausted
	Regenerations
	NoDepartment
)

// wording is copied from the protocol, not from a server: first the article's text, then the one that the service
// sends.
var wording = [...]struct{ name, documented, live string }{
	Generated:    {"generated", "OTP Generated Successfully", "OTP Generated Successfully"},
	Unauthorised: {"unauthorised", "UNAUTHERISED USER", "UNAUTHERISED USER"},
	FeatureOff:   {"feature_off", "The feature is not enabled", "The feature is not enabled"},
	Invalid:      {"invalid", "Invalid Parameters", "Invalid Parameters"},
	Undelivered:  {"undelivered", "SMSEMAILFAIL", "SMSEMAILFAIL"},
	ErrorText:    {"error", "ERROR", "ERROR"},
	Verified:     {"verified", "Verified successfully", "Verified successfully"},
	Expired:      {"expired", "OTPEXPIRED", "OTPEXPIRED"},
	Exhausted: {
		"exhausted",
		"Max no of tries for this pin been reached. Please generate other",
		"Max no of tries for this pin been reached. Please generate other",
	},
	Regenerations: {
		"regenerations",
		"Max no of tries to regeneration of pin has been reached. Please generate other",
		"MAXREGEN",
	},
	NoDepartment: {"no_department", "", ""},
}

// String returns the name of the meaning in message_overrides.
func (t Text) String() string { return wording[t].name }

// In returns t's text in a profile, without the line end.
func (t Text) In(p Profile) string {
	if p == Live {
		return wording[t].live
	}
	return wording[t].documented
}

// line returns t's text on the wire.
func (t Text) line(p Profile) string {
	if t == NoDepartment {
		return ""
	}
	return t.In(p) + lineEnd(p)
}

// wrongPIN returns the text of a wrong code with n attempts left, without the line end.
func wrongPIN(p Profile, n int) string {
	if p == Live {
		return "Wrong PIN . No of Retries remaining # " + strconv.Itoa(n)
	}
	return "Wrong PIN. No of Retries remaining #" + strconv.Itoa(n)
}

// lineEnd returns what ends every answer except the empty one.
func lineEnd(p Profile) string {
	if p == Live {
		return "\r\n"
	}
	return ""
}
