package admin

import (
	"context"
	"errors"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// encoded is the body of an answer as it is sent: JSON.
type encoded []byte

// once makes a call once for the request's Idempotency-Key: a repeated request of the same person or service account
// with the same key gets the first answer. Without a key it makes the call directly.
//
// Only a server that is killed between the change and its answer lets a repetition make the call a second time.
func (x *exchange) once(call func(*exchange) (answer, error)) (answer, error) {
	key, err := web.IdempotencyKey(x.gin.Request.Header)
	switch {
	case err != nil:
		return answer{}, err
	case key == "":
		return call(x)
	}
	body, err := web.ReadBody(x.gin)
	if err != nil {
		return answer{}, err
	}
	// A client that hangs up comes back for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), patience)
	defer cancel()
	x.ctx = ctx
	first, replayed, err := x.door.Engine.Once(ctx, x.who.ID, key, web.Fingerprint(x.gin.Request, body),
		func(otp.ID) (engine.Answer, error) { return x.toKeep(call(x)) }, engine.Anew)
	if err != nil {
		return answer{}, err
	}
	for name, value := range first.Header {
		x.gin.Header(name, value)
	}
	if replayed {
		x.gin.Header("Idempotent-Replayed", "true")
	}
	return answer{first.Status, encoded(first.Body)}, nil
}

// toKeep returns a call's answer as it is stored.
func (x *exchange) toKeep(made answer, err error) (engine.Answer, error) {
	if problem, ok := errors.AsType[*web.Problem](err); ok {
		err = &otp.Error{Kind: otp.Invalid, Err: problem} // the engine must know a refusal, which leaves the key unused
	}
	if err != nil {
		return engine.Answer{}, err
	}
	kept := engine.Answer{Status: made.status, Header: map[string]string{}}
	if tag := x.gin.Writer.Header().Get("ETag"); tag != "" {
		kept.Header["ETag"] = tag
	}
	kept.Body, err = web.Encode(made.body)
	return kept, err
}
