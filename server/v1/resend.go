package v1

import (
	"net/http"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// resendRequest is the body of POST /v1/resend.
type resendRequest struct {
	named
	Method *string `json:"method" null:"refused"`
}

// resend sends a challenge's code again, with the same expiry.
func (x *exchange) resend() (engine.Answer, error) {
	var asked resendRequest
	if err := x.read(&asked); err != nil {
		return engine.Answer{}, err
	}
	var k checks
	id := asked.check(&k)
	if asked.Method != nil {
		k.choice("/method", *asked.Method, methods)
	}
	if err := k.err(); err != nil {
		return engine.Answer{}, err
	}
	meant, err := x.meant(&asked.named, id)
	if err != nil {
		return engine.Answer{}, err
	}
	if r := x.readings(); r != nil {
		optional(r, "method", asked.Method, "how it is sent", "not given: the one of the first send")
	}
	return x.once(func(once otp.ID) (engine.Answer, error) {
		resent, err := x.door.engine.ResendNamed(x.ctx, x.caller, meant, text(asked.Method), once)
		if err != nil {
			return engine.Answer{}, err
		}
		return answerOf(http.StatusOK, shown(resent))
	})
}
