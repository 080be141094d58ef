package sandbox

import (
	"net/http"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// wireOf is how refusals look on this door. Most kinds never get here, but a kind that suddenly
// does must not come out as a fault of the server.
var wireOf = web.Refusals{
	otp.MissingCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_003"},
	otp.UnknownCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_004"},
	otp.ExpiredCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_002"},
	otp.ForbiddenNetwork:       {Status: http.StatusForbidden, Code: "AUTH_005"},
	otp.BrokenAccount:          {Status: http.StatusConflict, Code: "ACCOUNT_BROKEN"},
	otp.FeatureOff:             {Status: http.StatusForbidden, Code: "FEATURE_OFF"},
	otp.Invalid:                {Status: http.StatusBadRequest, Code: web.CodeInvalid},
	otp.MissingDepartment:      {Status: http.StatusBadRequest, Code: "DEPARTMENT_REQUIRED"},
	otp.NotFound:               {Status: http.StatusNotFound, Code: "NOT_FOUND"},
	otp.Canceled:               {Status: http.StatusConflict, Code: "CANCELED"},
	otp.Replaced:               {Status: http.StatusConflict, Code: "REPLACED"},
	otp.Locked:                 {Status: http.StatusTooManyRequests, Code: "RECIPIENT_LOCKED"},
	otp.AttemptsExhausted:      {Status: http.StatusTooManyRequests, Code: "MAX_ATTEMPTS"},
	otp.Used:                   {Status: http.StatusConflict, Code: "ALREADY_VERIFIED"},
	otp.Expired:                {Status: http.StatusGone, Code: "EXPIRED"},
	otp.WrongCode:              {Status: http.StatusBadRequest, Code: "MISMATCH"},
	otp.RegenerationsExhausted: {Status: http.StatusTooManyRequests, Code: "MAX_REGENERATIONS"},
	otp.OverLimit:              {Status: http.StatusTooManyRequests, Code: "RATE_LIMIT_EXCEEDED"},
	otp.Undelivered:            {Status: http.StatusBadGateway, Code: "UNDELIVERED"},
	otp.CostLimited:            {Status: http.StatusTooManyRequests, Code: "SPEND_LIMIT_EXCEEDED"},
	otp.Overloaded:             {Status: http.StatusServiceUnavailable, Code: "OVERLOADED"},
	otp.AccountExists:          {Status: http.StatusConflict, Code: "ACCOUNT_EXISTS"},
	otp.ClockBackwards:         {Status: http.StatusConflict, Code: "CLOCK_BACKWARDS"},
	otp.Forbidden:              {Status: http.StatusForbidden, Code: "FORBIDDEN"},
	otp.ForbiddenOrigin:        {Status: http.StatusForbidden, Code: "ORIGIN_FORBIDDEN"},
	otp.BadSignature:           {Status: http.StatusUnauthorized, Code: "SIGNATURE_INVALID"},
	otp.RateLimited:            {Status: http.StatusTooManyRequests, Code: "TOO_MANY_REQUESTS"},
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
