package conform

// The flaws of the reference server that are only another word or number. The others stand where
// they change what it does.

var refWrongTexts = []struct {
	flaw, text, reads string
	profile           Profile
}{
	{"generated is spelt otherwise", "generated", "OTP generated successfully", Any},
	{"verified is spelt otherwise", "verified", "Verified Successfully", Any},
	{"expired is spelt otherwise", "expired", "OTP EXPIRED", Any},
	{"exhausted has two blanks", "exhausted", "Max no of  tries for this pin been reached. Please generate other", Any},
	{"documented says MAXREGEN", "regenerations", "MAXREGEN", Documented},
	{"live spells the regeneration limit out", "regenerations",
		"Max no of tries to regeneration of pin has been reached. Please generate other", Live},
	{"documented has live's blanks in the wrong PIN", "wrong", "Wrong PIN . No of Retries remaining # {n}", Documented},
	{"live has no blanks in the wrong PIN", "wrong", "Wrong PIN. No of Retries remaining #{n}", Live},
	{"undelivered is spelt otherwise", "undelivered", "SMS EMAIL FAIL", Any},
	{"error is spelt otherwise", "error", "Error", Any},
	{"invalid is spelt otherwise", "invalid", "Invalid Parameter", Any},
	{"feature off is spelt otherwise", "feature_off", "Feature not enabled", Any},
}

// refWrongStatuses are those of an account with strict_http.
var refWrongStatuses = []struct {
	flaw, outcome string
	status        int
}{
	{"strict: a bad parameter is 422", "invalid", 422},
	{"strict: the feature's absence is 404", "feature off", 404},
	{"strict: a missing department is 403", "no department", 403},
	{"strict: a wrong code is 401", "wrong", 401},
	{"strict: no code is 400", "nothing", 400},
	{"strict: an expired code is 400", "expired", 400},
	{"strict: a used code is 409", "used", 409},
	{"strict: no attempts is 403", "exhausted", 403},
	{"strict: a locked recipient is 423", "locked", 423},
	{"strict: no regenerations is 400", "regenerations", 400},
	{"strict: a send limit is 503", "over limit", 503},
	{"strict: no delivery is 503", "undelivered", 503},
	{"strict: a fault is 503", "fault", 503},
	{"strict: verified is 202", "verified", 202},
}

// refFifthTexts are what regenerate says instead of ERROR.
var refFifthTexts = []struct{ flaw, outcome string }{
	{"regenerate says Invalid Parameters", "invalid"},
	{"regenerate says Invalid Parameters to a missing department", "no department"},
	{"regenerate says that the feature is off", "feature off"},
	{"regenerate says SMSEMAILFAIL", "undelivered"},
	{"regenerate says OTPEXPIRED to an expired code", "expired"},
	{"regenerate says OTPEXPIRED to a used code", "used"},
	{"regenerate says the max text", "exhausted"},
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
