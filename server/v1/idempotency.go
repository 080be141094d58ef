package v1

import (
	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// once runs do once for the request's Idempotency-Key, whatever server dies in between: a repeated request with the
// same key gets the first answer. Without a key it runs do directly. do must pass its id to the engine; a zero id
// leaves the choice to the engine.
//
// The request is read and checked before, so an invalid request does not use up a key.
func (x *exchange) once(do func(challenge otp.ID) (engine.Answer, error)) (engine.Answer, error) {
	key, err := web.IdempotencyKey(x.gin.Request.Header)
	switch {
	case err != nil:
		return engine.Answer{}, err
	case key == "":
		return do(otp.ID{})
	}
	answer, replayed, err := x.door.engine.Once(x.ctx, x.caller.Key.ID, key, web.Fingerprint(x.gin.Request, x.body), do,
		engine.Anew)
	if err != nil {
		return engine.Answer{}, err
	}
	if replayed {
		x.gin.Header("Idempotent-Replayed", "true")
	}
	return answer, nil
}
