package v1

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// verifyRequest is the body of POST /v1/verify.
type verifyRequest struct {
	named
	Code string `json:"code"`
}

func (r *verifyRequest) check() (id otp.ID, err error) {
	var k checks
	id = r.named.check(&k)
	k.that(len(r.Code) >= minLength && len(r.Code) <= maxLength && otp.Digits(r.Code), "/code", "must be 4 to 10 digits")
	return id, k.err()
}

// verified is the answer to a right code.
type verified struct {
	Valid      bool            `json:"valid"`
	ID         string          `json:"id"`
	VerifiedAt time.Time       `json:"verified_at"`
	Attempts   int             `json:"attempts"`
	Metadata   json.RawMessage `json:"metadata"`
	Receipt    string          `json:"receipt"`
}

// unverified is the answer to any other code. If nothing was compared, the attempts left are not included: whether
// they change would tell right from wrong.
type unverified struct {
	Valid             bool   `json:"valid"`
	Reason            string `json:"reason"`
	AttemptsRemaining *int   `json:"attempts_remaining,omitempty"`
}

// reasons are the refusals of a code that are answers, not errors: the request itself was valid.
var reasons = map[otp.Kind]string{
	otp.WrongCode:         "MISMATCH",
	otp.Expired:           "EXPIRED",
	otp.AttemptsExhausted: "MAX_ATTEMPTS",
	otp.Used:              "ALREADY_VERIFIED",
	otp.Replaced:          "REPLACED",
	otp.Canceled:          "CANCELED",
	otp.NotFound:          "NOT_FOUND",
}

// verify decides one guess.
func (x *exchange) verify() (engine.Answer, error) {
	var asked verifyRequest
	if err := x.read(&asked); err != nil {
		return engine.Answer{}, err
	}
	id, err := asked.check()
	if err != nil {
		return engine.Answer{}, err
	}
	meant, err := x.meant(&asked.named, id)
	if err != nil {
		return engine.Answer{}, err
	}
	x.readings().Note("code", web.ReadAs, asked.Code, "the guess")
	right, err := x.door.engine.VerifyNamed(x.ctx, x.caller, engine.Proof{
		ID: meant.ID, Target: meant.Target, Code: asked.Code, Type: meant.Type, Binding: meant.Binding,
	})
	if err != nil {
		return x.unverified(err)
	}
	return answerOf(http.StatusOK, verified{
		Valid: true, ID: right.ID.Text(idPrefix), VerifiedAt: right.VerifiedAt.UTC(),
		Attempts: right.Attempts, Metadata: metadataOf(right.Metadata), Receipt: right.Receipt,
	})
}

// unverified answers a refusal that has a reason; other errors are returned.
func (x *exchange) unverified(err error) (engine.Answer, error) {
	refusal, ok := errors.AsType[*otp.Error](err)
	if !ok || reasons[refusal.Kind] == "" {
		return engine.Answer{}, err
	}
	web.RequestOf(x.gin).Kind = refusal.Kind.String()
	answer := unverified{Reason: reasons[refusal.Kind]}
	if refusal.Kind == otp.WrongCode {
		answer.AttemptsRemaining = &refusal.Remaining
	}
	return answerOf(http.StatusOK, answer)
}
