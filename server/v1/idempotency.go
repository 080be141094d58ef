package v1

import (
	"crypto/sha256"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// maxIdempotencyKey is the longest Idempotency-Key, in characters.
const maxIdempotencyKey = 255

// once runs do once for the request's Idempotency-Key, whatever server dies in between: a repeated request with the
// same key gets the first answer. Without a key it runs do directly. do must pass its id to the engine; a zero id
// leaves the choice to the engine.
//
// The request is read and checked before, so an invalid request does not use up a key.
func (x *exchange) once(do func(challenge otp.ID) (engine.Answer, error)) (engine.Answer, error) {
	keys := x.gin.Request.Header.Values("Idempotency-Key") // one at most, see singleHeaders
	switch {
	case len(keys) == 0:
		return do(otp.ID{})
	case !web.Printable(keys[0]) || len(keys[0]) > maxIdempotencyKey:
		return engine.Answer{}, web.Invalid(web.Fault{Header: "Idempotency-Key",
			Detail: "must be 1 to 255 printable ASCII characters"})
	}
	answer, replayed, err := x.door.engine.Once(x.ctx, x.caller, keys[0], x.fingerprint(), do, anew)
	if err != nil {
		return engine.Answer{}, err
	}
	if replayed {
		x.gin.Header("Idempotent-Replayed", "true")
	}
	return answer, nil
}

// anew is the redo of a claim whose server died before it stored an answer: do runs again, and the id that the engine
// gave decides whether anything is left to do.
func anew(otp.ID) (engine.Answer, bool, error) { return engine.Answer{}, false, nil }

// fingerprint returns a hash of the request: the call and every byte of its body.
func (x *exchange) fingerprint() (sum [32]byte) {
	hash := sha256.New()
	hash.Write([]byte(x.gin.Request.Method + " " + x.gin.FullPath() + "\n"))
	hash.Write(x.body)
	hash.Sum(sum[:0])
	return sum
}
