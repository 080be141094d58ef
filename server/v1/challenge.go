package v1

import (
	"encoding/json"
	"time"

	"otpbridge/server/engine"
)

// idPrefix is the type prefix of a challenge's id.
const idPrefix = "otp"

// challenge is a challenge in the answers to send and resend.
type challenge struct {
	ID                string          `json:"id"`
	To                string          `json:"to"`
	Method            string          `json:"method"`
	Type              string          `json:"type"`
	Status            string          `json:"status"`
	CreatedAt         time.Time       `json:"created_at"`
	ExpiresAt         time.Time       `json:"expires_at"`
	AttemptsRemaining *int            `json:"attempts_remaining,omitempty"`
	ResendsRemaining  *int            `json:"resends_remaining,omitempty"`
	Metadata          json.RawMessage `json:"metadata"`
}

func shown(c engine.Challenge) challenge {
	return challenge{
		ID: c.ID.Text(idPrefix), To: c.To, Method: c.Method, Type: c.Type, Status: c.Status,
		CreatedAt: c.CreatedAt.UTC(), ExpiresAt: c.ExpiresAt.UTC(),
		AttemptsRemaining: c.AttemptsRemaining, ResendsRemaining: c.ResendsRemaining,
		Metadata: metadataOf(c.Metadata),
	}
}

// metadataOf returns the challenge's metadata, an empty object for none.
func metadataOf(given json.RawMessage) json.RawMessage {
	if len(given) == 0 {
		return json.RawMessage("{}")
	}
	return given
}
