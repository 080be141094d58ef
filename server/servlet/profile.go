package servlet

import (
	"net/http"
	"strconv"
	"strings"

	"otpbridge/server/otp"
)

// Everything that decides the bytes of an answer is in this file: which text a refusal is
// answered with at which servlet and with which status, and how the profiles word each text.

// text names one answer, as an account's message_overrides do.
type text string

// The texts.
const (
	generated     text = "generated"
	unauthorised  text = "unauthorised"
	featureOff    text = "feature_off"
	invalid       text = "invalid"
	undelivered   text = "undelivered"
	failed        text = "error"
	verified      text = "verified"
	expired       text = "expired"
	wrong         text = "wrong" // {n} stands for the attempts that are left
	exhausted     text = "exhausted"
	regenerations text = "regenerations"

	// silence is zero bytes, without the profile's line end. No account can override it.
	silence text = ""
)

// profile is one way the vendor's servlets are known to word their answers.
type profile struct {
	lineEnd string
	texts   map[text]string
}

// profiles are the vendor's article, and the bytes that its production service was seen to
// send, completed by what its clients compare against.
var profiles = map[otp.Profile]profile{
	otp.Documented: {
		lineEnd: "",
		texts: map[text]string{
			generated:     "OTP Generated Successfully",
			unauthorised:  "UNAUTHERISED USER", // sic
			featureOff:    "The feature is not enabled",
			invalid:       "Invalid Parameters",
			undelivered:   "SMSEMAILFAIL",
			failed:        "ERROR",
			verified:      "Verified successfully",
			expired:       "OTPEXPIRED",
			wrong:         "Wrong PIN. No of Retries remaining #{n}",
			exhausted:     "Max no of tries for this pin been reached. Please generate other",
			regenerations: "Max no of tries to regeneration of pin has been reached. Please generate other",
		},
	},
	otp.LiveProfile: {
		lineEnd: "\r\n",
		texts: map[text]string{
			generated:     "OTP Generated Successfully",
			unauthorised:  "UNAUTHERISED USER", // sic
			featureOff:    "The feature is not enabled",
			invalid:       "Invalid Parameters",
			undelivered:   "SMSEMAILFAIL",
			failed:        "ERROR",
			verified:      "Verified successfully",
			expired:       "OTPEXPIRED",
			wrong:         "Wrong PIN . No of Retries remaining # {n}",
			exhausted:     "Max no of tries for this pin been reached. Please generate other",
			regenerations: "MAXREGEN",
		},
	},
}

// row is how one kind of refusal is answered: the text at each servlet, and the status of an
// account with strict_http.
type row struct {
	generate   text
	validate   text // the plain servlet too
	regenerate text
	status     int
}

// at is the row's text for one kind of servlet.
func (r row) at(s step) text {
	switch s {
	case generate:
		return r.generate
	case regenerate:
		return r.regenerate
	default:
		return r.validate
	}
}

// rows has one row for every kind. Two clients of the vendor take every text they do not know
// for success, so generate says nothing outside the vendor's table whatever goes wrong, and
// regenerate has four texts: generated, unauthorised, regenerations, and error for the rest.
// Kinds that no servlet can meet are answered like faults, which they would be.
var rows = map[otp.Kind]row{
	otp.MissingCredential: {unauthorised, unauthorised, unauthorised, http.StatusUnauthorized},
	otp.UnknownCredential: {unauthorised, unauthorised, unauthorised, http.StatusUnauthorized},
	otp.ExpiredCredential: {unauthorised, unauthorised, unauthorised, http.StatusUnauthorized},
	otp.ForbiddenNetwork:  {unauthorised, unauthorised, unauthorised, http.StatusUnauthorized},
	otp.Forbidden:         {unauthorised, unauthorised, unauthorised, http.StatusUnauthorized},
	otp.ForbiddenOrigin:   {unauthorised, unauthorised, unauthorised, http.StatusUnauthorized},
	otp.BadSignature:      {unauthorised, unauthorised, unauthorised, http.StatusUnauthorized},

	otp.BrokenAccount:     {failed, failed, failed, http.StatusInternalServerError},
	otp.FeatureOff:        {featureOff, featureOff, failed, http.StatusForbidden},
	otp.Invalid:           {invalid, invalid, failed, http.StatusBadRequest},
	otp.MissingDepartment: {invalid, silence, failed, http.StatusBadRequest},

	otp.NotFound:               {failed, failed, failed, http.StatusNotFound},
	otp.Canceled:               {failed, failed, failed, http.StatusNotFound},
	otp.Replaced:               {failed, failed, failed, http.StatusNotFound},
	otp.Locked:                 {failed, exhausted, failed, http.StatusTooManyRequests},
	otp.AttemptsExhausted:      {failed, exhausted, failed, http.StatusTooManyRequests},
	otp.Used:                   {failed, expired, failed, http.StatusGone},
	otp.Expired:                {failed, expired, failed, http.StatusGone},
	otp.WrongCode:              {failed, wrong, failed, http.StatusBadRequest},
	otp.RegenerationsExhausted: {failed, failed, regenerations, http.StatusTooManyRequests},
	otp.OverLimit:              {failed, failed, failed, http.StatusTooManyRequests},
	otp.Undelivered:            {undelivered, failed, failed, http.StatusBadGateway},
	otp.CostLimited:            {failed, failed, failed, http.StatusTooManyRequests},
	otp.Overloaded:             {failed, failed, failed, http.StatusServiceUnavailable},
	otp.RateLimited:            {failed, failed, failed, http.StatusTooManyRequests},

	otp.AccountExists:  {failed, failed, failed, http.StatusInternalServerError},
	otp.ClockBackwards: {failed, failed, failed, http.StatusInternalServerError},

	otp.IdempotencyMismatch: {failed, failed, failed, http.StatusInternalServerError},
	otp.IdempotencyBusy:     {failed, failed, failed, http.StatusInternalServerError},

	otp.WrongPassword:            {failed, failed, failed, http.StatusInternalServerError},
	otp.FactorRequired:           {failed, failed, failed, http.StatusInternalServerError},
	otp.PersonLocked:             {failed, failed, failed, http.StatusInternalServerError},
	otp.ReauthenticationRequired: {failed, failed, failed, http.StatusInternalServerError},
	otp.RegistrationClosed:       {failed, failed, failed, http.StatusInternalServerError},
	otp.PersonExists:             {failed, failed, failed, http.StatusInternalServerError},
	otp.LastOwner:                {failed, failed, failed, http.StatusInternalServerError},
	otp.Outdated:                 {failed, failed, failed, http.StatusInternalServerError},
}

// success and fault are what is no refusal.
var (
	success = row{generated, verified, generated, http.StatusOK}
	fault   = row{failed, failed, failed, http.StatusInternalServerError}
)

// voice is how answers are worded for one account, or for those who have none.
type voice struct {
	profile    profile
	overrides  map[string]string
	strictHTTP bool
}

// voiceOf is the voice for an account: what it does not decide is processWide.
func voiceOf(a *otp.Account, processWide voice) voice {
	v := voice{profile: processWide.profile, overrides: a.Overrides, strictHTTP: a.StrictHTTP}
	if a.Profile != nil {
		if own, known := profiles[*a.Profile]; known {
			v.profile = own
		}
	}
	return v
}

// status is that of an answer, which is 200 for every one unless the account asked for more:
// clients in the field take any other status for an outage.
func (v voice) status(strict int) int {
	if v.strictHTTP {
		return strict
	}
	return http.StatusOK
}

// body is the bytes of an answer. An override that is empty is none, because zero bytes mean
// a missing department and nothing else.
func (v voice) body(t text, remaining int) string {
	if t == silence {
		return ""
	}
	line := v.overrides[string(t)]
	if line == "" {
		line = v.profile.texts[t]
	}
	if t == wrong {
		line = strings.ReplaceAll(line, "{n}", strconv.Itoa(remaining))
	}
	return line + v.profile.lineEnd
}
