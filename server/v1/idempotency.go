package v1

import (
	"crypto/sha256"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// maxIdempotencyKey is the longest Idempotency-Key, in characters.
const maxIdempotencyKey = 255

// once makes do count once for the request's Idempotency-Key, whatever dies in between: the same
// key with the same request gets the answer that the first was given. Without a key it just does.
// Do gives the engine the id that it is given; a zero id leaves it to the engine.
//
// The request is read and checked before, so that one which cannot mean anything takes no key.
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

// anew has an answer made again for work whose server died before it could keep one: the id that
// the engine gave says whether anything is left to do.
func anew(otp.ID) (engine.Answer, bool, error) { return engine.Answer{}, false, nil }

// fingerprint tells two requests apart: the call and every byte of its body.
func (x *exchange) fingerprint() (sum [32]byte) {
	hash := sha256.New()
	hash.Write([]byte(x.gin.Request.Method + " " + x.gin.FullPath() + "\n"))
	hash.Write(x.body)
	hash.Sum(sum[:0])
	return sum
}
