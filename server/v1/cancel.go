package v1

import (
	"net/http"

	"otpbridge/server/engine"
)

// cancel cancels a challenge: its code is not accepted any more.
func (x *exchange) cancel() (engine.Answer, error) {
	var asked named
	if err := x.read(&asked); err != nil {
		return engine.Answer{}, err
	}
	var k checks
	id := asked.check(&k)
	if err := k.err(); err != nil {
		return engine.Answer{}, err
	}
	meant, err := x.meant(&asked, id)
	if err != nil {
		return engine.Answer{}, err
	}
	canceled, err := x.door.engine.CancelNamed(x.ctx, x.caller, meant)
	if err != nil {
		return engine.Answer{}, err
	}
	return answerOf(http.StatusOK, shown(canceled))
}
