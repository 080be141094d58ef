package v1

import (
	"bytes"
	"net/http"
	"time"

	"otpbridge/server/engine"
	"otpbridge/server/web"
)

// standing is a challenge and its sends.
type standing struct {
	challenge
	VerifiedAt *time.Time `json:"verified_at,omitempty"`
	Attempts   int        `json:"attempts"`
	Sends      []delivery `json:"sends"`
}

// delivery is one send of a challenge.
type delivery struct {
	Number int       `json:"number"`
	Method string    `json:"method"`
	Status string    `json:"status"`
	At     time.Time `json:"at"`
	Error  string    `json:"provider_error,omitempty"` // the provider's code for a failure
}

// status answers the status of a challenge. It changes nothing and costs no attempt.
func (x *exchange) status() (engine.Answer, error) {
	id, ok := challengeID(x.gin.Param("id"))
	if !ok {
		return engine.Answer{}, web.Invalid(web.Fault{Parameter: "id",
			Detail: "must be the id of a challenge, such as otp_06bq3c7k5sqn2e8v4g1t9hp0mc"})
	}
	return x.standing(engine.Named{ID: id})
}

// statusByRecipient answers the status of a recipient's newest challenge, for callers without an id, such as an
// integration whose code was sent by a servlet.
func (x *exchange) statusByRecipient() (engine.Answer, error) {
	meant, err := x.meantByQuery()
	if err != nil {
		return engine.Answer{}, err
	}
	return x.standing(meant)
}

func (x *exchange) standing(meant engine.Named) (engine.Answer, error) {
	if len(bytes.TrimSpace(x.body)) > 0 {
		return engine.Answer{}, web.Invalid(web.Fault{Detail: "must be empty"})
	}
	found, err := x.door.engine.StatusNamed(x.ctx, x.caller, meant)
	if err != nil {
		return engine.Answer{}, err
	}
	answer := standing{challenge: shown(found), Attempts: found.Attempts, Sends: []delivery{}}
	if found.VerifiedAt != nil {
		at := found.VerifiedAt.UTC()
		answer.VerifiedAt = &at
	}
	for _, send := range found.Sends {
		answer.Sends = append(answer.Sends, delivery{Number: send.Number, Method: send.Method, Status: send.Status,
			At: send.At.UTC(), Error: send.Error})
	}
	return answerOf(http.StatusOK, answer)
}
