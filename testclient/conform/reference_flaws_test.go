package conform

// The flaws of the reference server that only change a word or number. The others are in the code that they change.

var refWrongTexts = []struct {
	flaw, text, reads string
	profile           Profile
}{
	{"generate: generated is spelt otherwise", "generated", "OTP generated successfully", Any},
	{"validate: verified is spelt otherwise", "verified", "Verified Successfully", Any},
	{"validate: expired is spelt otherwise", "expired", "OTP EXPIRED", Any},
	{"validate: exhausted has two blanks", "exhausted",
		"Max no of  tries for this pin been reached. Please generate other", Any},
	{"regenerate: documented says MAXREGEN", "regenerations", "MAXREGEN", Documented},
	{"regenerate: live spells the regeneration limit out", "regenerations",
		"Max no of tries to regeneration of pin has been reached. Please generate other", Live},
	{"validate: documented has live's blanks in the wrong PIN", "wrong", "Wrong PIN . No of Retries remaining # {n}",
		Documented},
	{"validate: live has no blanks in the wrong PIN", "wrong", "Wrong PIN. No of Retries remaining #{n}", Live},
	{"generate: undelivered is spelt otherwise", "undelivered", "SMS EMAIL FAIL", Any},
	{"regenerate: error is spelt otherwise", "error", "Error", Any},
	{"generate: invalid is spelt otherwise", "invalid", "Invalid Parameter", Any},
	{"accounts: feature off is spelt otherwise", "feature_off", "Feature not enabled", Any},
}

// refWrongStatuses are the flaws in statuses of an account with strict_http.
var refWrongStatuses = []struct {
	flaw, outcome string
	status        int
}{
	{"answers: a bad parameter is 422", "invalid", 422},
	{"answers: the feature's absence is 404", "feature off", 404},
	{"answers: a missing department is 403", "no department", 403},
	{"answers: a wrong code is 401", "wrong", 401},
	{"answers: no code is 400", "nothing", 400},
	{"answers: an expired code is 400", "expired", 400},
	{"answers: a used code is 409", "used", 409},
	{"answers: no attempts is 403", "exhausted", 403},
	{"answers: a locked recipient is 423", "locked", 423},
	{"answers: no regenerations is 400", "regenerations", 400},
	{"answers: a send limit is 503", "over limit", 503},
	{"answers: no delivery is 503", "undelivered", 503},
	{"answers: a fault is 503", "fault", 503},
	{"answers: verified is 202", "verified", 202},
}

// refFifthTexts are the flaws in which regenerate answers something other than ERROR.
var refFifthTexts = []struct{ flaw, outcome string }{
	{"regenerate: regenerate says Invalid Parameters", "invalid"},
	{"regenerate: regenerate says Invalid Parameters to a missing department", "no department"},
	{"regenerate: regenerate says that the feature is off", "feature off"},
	{"regenerate: regenerate says SMSEMAILFAIL", "undelivered"},
	{"regenerate: regenerate says OTPEXPIRED to an expired code", "expired"},
	{"regenerate: regenerate says OTPEXPIRED to a used code", "used"},
	{"regenerate: regenerate says the max text", "exhausted"},
}

// refNamedFlaws are the flaws of the calls that find a challenge by its recipient.
var refNamedFlaws = []string{
	"v1/resend: any code of the recipient is found", "v1/resend: by the recipient the type is ignored",
	"v1/resend: the oldest code of the recipient is found",
	"v1/cancel: any code of the recipient is found", "v1/cancel: by the recipient the type is ignored",
	"v1/status: any code of the recipient is found", "v1/status: by the recipient the type is ignored",
	"v1/status: the oldest code of the recipient is found",
}

func (f *reference) flawedTexts(texts map[string]string, p Profile) {
	for _, wrong := range refWrongTexts {
		if f.has(wrong.flaw) && (wrong.profile == Any || wrong.profile == p) {
			texts[wrong.text] = wrong.reads
		}
	}
}

func (f *reference) flawedStatus(outcome string, status int, strict bool) int {
	for _, wrong := range refWrongStatuses {
		if strict && f.has(wrong.flaw) && wrong.outcome == outcome {
			return wrong.status
		}
	}
	return status
}

func (f *reference) fifthText(outcome string) bool {
	for _, wrong := range refFifthTexts {
		if f.has(wrong.flaw) && wrong.outcome == outcome {
			return true
		}
	}
	return false
}
