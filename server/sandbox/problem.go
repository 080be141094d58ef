package sandbox

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
)

// problem is a refusal of the door itself: a request that cannot be read or may not be made.
type problem struct {
	status int
	code   string
	detail string
	faults []inputFault
}

func (p *problem) Error() string { return p.code + ": " + p.detail }

// inputFault is one thing that is wrong with a request: where, and what to write instead.
type inputFault struct {
	Pointer   string `json:"pointer,omitempty"`   // RFC 6901, into the body
	Parameter string `json:"parameter,omitempty"` // of the query
	Detail    string `json:"detail"`
}

func (f inputFault) String() string {
	if f.Parameter != "" {
		return "parameter " + f.Parameter + " " + f.Detail
	}
	if f.Pointer != "" {
		return f.Pointer + " " + f.Detail
	}
	return "the body " + f.Detail
}

// invalid refuses a request for faults in its input, of which there is at least one.
func invalid(faults ...inputFault) error {
	detail := faults[0].String()
	if more := len(faults) - 1; more > 0 {
		detail += " (and " + strconv.Itoa(more) + " more, see errors)"
	}
	return &problem{status: http.StatusBadRequest, code: codeInvalid, detail: detail, faults: faults}
}

const codeInvalid = "INVALID_REQUEST"

// wire is how a kind of refusal looks on this door. Most kinds never get here, but a kind that
// suddenly does must not come out as a fault of the server.
type wire struct {
	status int
	code   string
}

var wireOf = map[otp.Kind]wire{
	otp.MissingCredential:      {http.StatusUnauthorized, "AUTH_003"},
	otp.UnknownCredential:      {http.StatusUnauthorized, "AUTH_004"},
	otp.ExpiredCredential:      {http.StatusUnauthorized, "AUTH_002"},
	otp.ForbiddenNetwork:       {http.StatusForbidden, "AUTH_005"},
	otp.BrokenAccount:          {http.StatusConflict, "ACCOUNT_BROKEN"},
	otp.FeatureOff:             {http.StatusForbidden, "FEATURE_OFF"},
	otp.Invalid:                {http.StatusBadRequest, codeInvalid},
	otp.MissingDepartment:      {http.StatusBadRequest, "DEPARTMENT_REQUIRED"},
	otp.NotFound:               {http.StatusNotFound, "NOT_FOUND"},
	otp.Canceled:               {http.StatusConflict, "CANCELED"},
	otp.Replaced:               {http.StatusConflict, "REPLACED"},
	otp.Locked:                 {http.StatusTooManyRequests, "RECIPIENT_LOCKED"},
	otp.AttemptsExhausted:      {http.StatusTooManyRequests, "MAX_ATTEMPTS"},
	otp.Used:                   {http.StatusConflict, "ALREADY_VERIFIED"},
	otp.Expired:                {http.StatusGone, "EXPIRED"},
	otp.WrongCode:              {http.StatusBadRequest, "MISMATCH"},
	otp.RegenerationsExhausted: {http.StatusTooManyRequests, "MAX_REGENERATIONS"},
	otp.OverLimit:              {http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED"},
	otp.Undelivered:            {http.StatusBadGateway, "UNDELIVERED"},
	otp.CostLimited:            {http.StatusTooManyRequests, "SPEND_LIMIT_EXCEEDED"},
	otp.Overloaded:             {http.StatusServiceUnavailable, "OVERLOADED"},
	otp.AccountExists:          {http.StatusConflict, "ACCOUNT_EXISTS"},
	otp.ClockBackwards:         {http.StatusConflict, "CLOCK_BACKWARDS"},
	otp.Forbidden:              {http.StatusForbidden, "FORBIDDEN"},
	otp.ForbiddenOrigin:        {http.StatusForbidden, "ORIGIN_FORBIDDEN"},
	otp.BadSignature:           {http.StatusUnauthorized, "SIGNATURE_INVALID"},
	otp.RateLimited:            {http.StatusTooManyRequests, "TOO_MANY_REQUESTS"},
	otp.IdempotencyMismatch:    {http.StatusUnprocessableEntity, "IDEMPOTENCY_MISMATCH"},
	otp.IdempotencyBusy:        {http.StatusConflict, "IDEMPOTENCY_BUSY"},
}

// details is application/problem+json (RFC 9457). Its type is about:blank, for which the title
// is the status in words; the code tells problems apart and does not change.
type details struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Code      string       `json:"code"`
	Message   string       `json:"message"`
	RequestID string       `json:"request_id"`
	Errors    []inputFault `json:"errors,omitempty"`
}

// statusClientGone is nginx's number for a client that did not wait. Nobody receives it; it is
// what the access log shows.
const statusClientGone = 499

// refuse is the one writer of errors: refusals as they are, faults logged in full and answered
// neutrally.
func (d *door) refuse(c *gin.Context, err error) {
	if c.Request.Context().Err() != nil {
		c.Status(statusClientGone)
		return
	}
	p := d.problemOf(c, err)
	if refusal, ok := errors.AsType[*otp.Error](err); ok && refusal.RetryAfter > 0 {
		c.Header("Retry-After", retryAfter(refusal.RetryAfter))
	}
	c.Header("Content-Type", "application/problem+json")
	c.PureJSON(p.status, details{
		Type: "about:blank", Title: http.StatusText(p.status), Status: p.status,
		Detail: p.detail, Code: p.code, Message: p.detail,
		RequestID: c.GetString("request_id"), Errors: p.faults,
	})
}

func (d *door) problemOf(c *gin.Context, err error) *problem {
	if own, ok := errors.AsType[*problem](err); ok {
		return own
	}
	refusal, ok := errors.AsType[*otp.Error](err)
	if !ok {
		d.Log.ErrorContext(c.Request.Context(), "sandbox call failed",
			"route", c.FullPath(), "request_id", c.GetString("request_id"), "error", err)
		return &problem{
			status: http.StatusInternalServerError, code: "INTERNAL",
			detail: "something failed here; the server's log has it under the request id",
		}
	}
	c.Set("kind", refusal.Kind.String())
	row := wireOf[refusal.Kind]
	return &problem{status: row.status, code: row.code, detail: refusal.Message}
}

// retryAfter is d in whole seconds, rounded up: a caller that comes back earlier is refused again.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
