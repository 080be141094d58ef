package conform

import "strconv"

// Text is the meaning of an answer. What it reads is the profile's.
type Text int

// The meanings. NoDepartment is the one answer of zero bytes.
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

// wording is typed from the protocol, not taken from a server: first as the article prints it,
// then as the service was seen to answer.
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

// String is the name of the meaning, as message_overrides knows it.
func (t Text) String() string { return wording[t].name }

// In is what t reads in a profile, without the line end.
func (t Text) In(p Profile) string {
	if p == Live {
		return wording[t].live
	}
	return wording[t].documented
}

// line is what t reads on the wire.
func (t Text) line(p Profile) string {
	if t == NoDepartment {
		return ""
	}
	return t.In(p) + lineEnd(p)
}

// wrongPIN is the text of a wrong code with n attempts left, without the line end.
func wrongPIN(p Profile, n int) string {
	if p == Live {
		return "Wrong PIN . No of Retries remaining # " + strconv.Itoa(n)
	}
	return "Wrong PIN. No of Retries remaining #" + strconv.Itoa(n)
}

// lineEnd is what ends every answer but the empty one.
func lineEnd(p Profile) string {
	if p == Live {
		return "\r\n"
	}
	return ""
}
