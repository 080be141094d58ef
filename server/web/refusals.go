package web

import (
	"net/http"

	"otpbridge/server/otp"
)

// Row is the answer of the JSON doors to a kind of refusal. The answer's title is the status in words.
type Row struct {
	Status int
	Code   string // upper case, never changes
}

// RowOf returns how the JSON doors answer a kind of refusal. It returns false for a kind without a row, which a test
// forbids.
func RowOf(kind otp.Kind) (Row, bool) {
	row, ok := refusals[kind]
	return row, ok
}

// refusals is the table of refusals for all JSON doors, so that a client can handle a refusal of any door the same
// way. The OpenAPI document shows it to people. On /v1 a wrong code is not a refusal: verify answers 200 with a
// reason. The two limits share a code because a client does the same for both: it waits for Retry-After.
var refusals = map[otp.Kind]Row{
	otp.MissingCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_003"},
	otp.UnknownCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_004"},
	otp.ExpiredCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_002"},
	otp.ForbiddenNetwork:       {Status: http.StatusForbidden, Code: "AUTH_005"},
	otp.BrokenAccount:          {Status: http.StatusInternalServerError, Code: "ACCOUNT_BROKEN"},
	otp.FeatureOff:             {Status: http.StatusForbidden, Code: "FEATURE_OFF"},
	otp.Invalid:                {Status: http.StatusBadRequest, Code: CodeInvalid},
	otp.MissingDepartment:      {Status: http.StatusBadRequest, Code: "DEPARTMENT_REQUIRED"},
	otp.NotFound:               {Status: http.StatusNotFound, Code: "NOT_FOUND"},
	otp.Canceled:               {Status: http.StatusConflict, Code: "CANCELED"},
	otp.Replaced:               {Status: http.StatusConflict, Code: "REPLACED"},
	otp.Locked:                 {Status: http.StatusTooManyRequests, Code: "RECIPIENT_LOCKED"},
	otp.AttemptsExhausted:      {Status: http.StatusConflict, Code: "MAX_ATTEMPTS"},
	otp.Used:                   {Status: http.StatusConflict, Code: "ALREADY_VERIFIED"},
	otp.Expired:                {Status: http.StatusConflict, Code: "EXPIRED"},
	otp.WrongCode:              {Status: http.StatusBadRequest, Code: "MISMATCH"},
	otp.RegenerationsExhausted: {Status: http.StatusConflict, Code: "MAX_RESENDS"},
	otp.OverLimit:              {Status: http.StatusTooManyRequests, Code: "RATE_LIMIT_EXCEEDED"},
	otp.Undelivered:            {Status: http.StatusBadGateway, Code: "UNDELIVERED"},
	otp.CostLimited:            {Status: http.StatusTooManyRequests, Code: "SPEND_LIMIT_EXCEEDED"},
	otp.Overloaded:             {Status: http.StatusServiceUnavailable, Code: "OVERLOADED"},
	otp.AccountExists:          {Status: http.StatusConflict, Code: "ACCOUNT_EXISTS"},
	otp.ClockBackwards:         {Status: http.StatusConflict, Code: "CLOCK_BACKWARDS"},
	otp.Forbidden:              {Status: http.StatusForbidden, Code: "PERMISSION_DENIED"},
	otp.ForbiddenOrigin:        {Status: http.StatusForbidden, Code: "ORIGIN_NOT_ALLOWED"},
	otp.BadSignature:           {Status: http.StatusUnauthorized, Code: "SIGNATURE_INVALID"},
	otp.RateLimited:            {Status: http.StatusTooManyRequests, Code: "RATE_LIMIT_EXCEEDED"},
	otp.IdempotencyMismatch:    {Status: http.StatusUnprocessableEntity, Code: "IDEMPOTENCY_MISMATCH"},
	otp.IdempotencyBusy:        {Status: http.StatusConflict, Code: "IDEMPOTENCY_BUSY"},

	otp.WrongPassword:            {Status: http.StatusUnauthorized, Code: "AUTH_001"},
	otp.FactorRequired:           {Status: http.StatusUnauthorized, Code: "AUTH_006"},
	otp.PersonLocked:             {Status: http.StatusLocked, Code: "AUTH_007"},
	otp.ReauthenticationRequired: {Status: http.StatusForbidden, Code: "REAUTHENTICATION_REQUIRED"},
	otp.RegistrationClosed:       {Status: http.StatusForbidden, Code: "REGISTRATION_CLOSED"},
	otp.PersonExists:             {Status: http.StatusConflict, Code: "PERSON_EXISTS"},
	otp.LastOwner:                {Status: http.StatusConflict, Code: "LAST_OWNER"},
	otp.Outdated:                 {Status: http.StatusPreconditionFailed, Code: "PRECONDITION_FAILED"},
}
