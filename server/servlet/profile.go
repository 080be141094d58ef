package servlet

import (
	"net/http"
	"strconv"
	"strings"

	"otpbridge/server/otp"
)

// Everything that decides the bytes of an answer is in this file: the text and status of each refusal at each servlet,
// and the wording of each text in each profile.

// text names one answer, as in an account's message_overrides.
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
	wrong         text = "wrong" // {n} stands for the attempts left
	exhausted     text = "exhausted"
	regenerations text = "regenerations"

	// silence is zero bytes, without the profile's line end. Accounts cannot override it.
	silence text = ""
)

// profile is one known wording of the vendor's answers.
type profile struct {
	lineEnd string
	texts   map[text]string
}

// profiles are the vendor's article, and the bytes that its production service sends, completed with the texts that
// its clients compare with.
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

// row is the answer to one kind of refusal: the text at each servlet, and the status for an account with strict_http.
type row struct {
	generate   text
	validate   text // also at the plain servlet
	regenerate text
	status     int
}

// at returns the row's text for one kind of servlet.
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

// rows has one row per kind. Two of the vendor's clients take every unknown text for success. So generate answers only
// texts in the vendor's table, whatever goes wrong, and regenerate has four texts: generated, unauthorised,
// regenerations, and error for the rest. Kinds that cannot occur at a servlet are answered like faults.
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

// success and fault are the rows of outcomes that are not refusals.
var (
	success = row{generated, verified, generated, http.StatusOK}
	fault   = row{failed, failed, failed, http.StatusInternalServerError}
)

// voice holds the wording of answers for one account, or for requests without an account.
type voice struct {
	profile    profile
	overrides  map[string]string
	strictHTTP bool
}

// voiceOf returns the voice for an account; processWide supplies what the account does not set.
func voiceOf(a *otp.Account, processWide voice) voice {
	v := voice{profile: processWide.profile, overrides: a.Overrides, strictHTTP: a.StrictHTTP}
	if a.Profile != nil {
		if own, known := profiles[*a.Profile]; known {
			v.profile = own
		}
	}
	return v
}

// status returns the status of an answer: always 200 unless the account has strict_http, because clients take any
// other status for an outage.
func (v voice) status(strict int) int {
	if v.strictHTTP {
		return strict
	}
	return http.StatusOK
}

// body returns the bytes of an answer. An empty override is ignored, because zero bytes mean a missing department
// only.
func (v voice) body(t text, remaining int) string {
	if t == wrong {
		return v.bytes(t, strconv.Itoa(remaining))
	}
	return v.bytes(t, "")
}

// bytes is body with the text that stands for the attempts left.
func (v voice) bytes(t text, remaining string) string {
	if t == silence {
		return ""
	}
	line := v.overrides[string(t)]
	if line == "" {
		line = v.profile.texts[t]
	}
	if t == wrong {
		line = strings.ReplaceAll(line, "{n}", remaining)
	}
	return line + v.profile.lineEnd
}
