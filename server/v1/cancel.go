package v1

import (
	"net/http"

	"otpbridge/server/engine"
)

// cancel calls a challenge off: its code is good for nothing from then on.
func (x *exchange) cancel() (engine.Answer, error) {
	var asked byID
	if err := x.read(&asked); err != nil {
		return engine.Answer{}, err
	}
	var k checks
	id := k.idAt("/id", asked.ID)
	if err := k.err(); err != nil {
		return engine.Answer{}, err
	}
	canceled, err := x.door.engine.CancelByID(x.ctx, x.caller, id)
	if err != nil {
		return engine.Answer{}, err
	}
	return answerOf(http.StatusOK, shown(canceled))
}
