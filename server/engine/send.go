package engine

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"otpbridge/server/otp"
)

// Send asks for a new challenge. Zero fields take the account's or the API's default.
type Send struct {
	Target    Target
	Method    string          // sms or email
	Fallback  []string        // methods to try once the one before surely did not send
	Type      string          // verification (the default), two_factor, password_reset, transaction
	Template  string          // one of the account's, by name
	Locale    string          // a language tag (BCP 47)
	TTL       time.Duration   // 30 s and more; more than 10 minutes is cut to that
	Length    int             // digits, from the account's up to 10
	Metadata  json.RawMessage // an object of at most 1 KiB
	Challenge otp.ID          // from Once; zero makes one
}

// Challenge is what the API tells of a challenge.
type Challenge struct {
	ID                otp.ID
	To                string // masked
	Method            string
	Type              string
	Status            string // queued, sent, failed, verified, expired, canceled, replaced, max_attempts
	CreatedAt         time.Time
	ExpiresAt         time.Time
	VerifiedAt        *time.Time
	Attempts          int  // wrong guesses
	AttemptsRemaining *int // nil unless live
	ResendsRemaining  *int // nil unless live
	Metadata          json.RawMessage
	Sends             []Delivery
}

// Delivery is one send of a challenge.
type Delivery struct {
	Number int // from 1
	Method string
	Status string // queued, sent, failed
	At     time.Time
}

var errLater = errors.New("not there yet")

// Recipient reads whom a request of the API concerns.
func (e *Engine) Recipient(c *Caller, to, ip, email string, binding json.RawMessage) (Target, error) {
	return Target{}, errLater
}

// Send makes a new challenge.
func (e *Engine) Send(ctx context.Context, c *Caller, s Send) (Challenge, error) {
	return Challenge{}, errLater
}

// ResendByID sends a challenge's code again. Once is the id that Once gave, zero without one.
func (e *Engine) ResendByID(ctx context.Context, c *Caller, id otp.ID, method string, once otp.ID) (Challenge, error) {
	return Challenge{}, errLater
}

// CancelByID calls a challenge off.
func (e *Engine) CancelByID(ctx context.Context, c *Caller, id otp.ID) (Challenge, error) {
	return Challenge{}, errLater
}

// Status tells how a challenge stands.
func (e *Engine) Status(ctx context.Context, c *Caller, id otp.ID) (Challenge, error) {
	return Challenge{}, errLater
}

// Proof is one guess, at the challenge with an id or at the newest one of a target.
type Proof struct {
	ID      otp.ID
	Target  Target
	Code    string
	Type    string // if given, the challenge's must be the same
	Binding string // with ID: what the challenge is bound to, as canonical JSON
}

// Verified is a right guess.
type Verified struct {
	ID         otp.ID
	VerifiedAt time.Time
	Attempts   int
	Metadata   json.RawMessage
	Receipt    string // a JWS
}

// Prove decides one guess.
func (e *Engine) Prove(ctx context.Context, c *Caller, p Proof) (Verified, error) {
	return Verified{}, errLater
}

// Answer is what a door answered, to be given again.
type Answer struct {
	Status int
	Header map[string]string
	Body   []byte
}

// Once runs do at most once.
func (e *Engine) Once(ctx context.Context, c *Caller, key string, request [32]byte,
	do func(challenge otp.ID) (Answer, error), redo func(challenge otp.ID) (Answer, bool, error)) (Answer, bool, error) {
	answer, err := do(otp.ID{})
	return answer, false, err
}

// JWKS is the public keys of all receipts as a JSON Web Key Set.
func (e *Engine) JWKS(ctx context.Context) ([]byte, error) { return nil, errLater }

// AllowedOrigins is every origin that some account lists.
func (e *Engine) AllowedOrigins(ctx context.Context) ([]string, error) { return nil, errLater }

// CanonicalBinding brings a binding to its canonical form (RFC 8785), empty for null and none.
func CanonicalBinding(binding json.RawMessage) (string, error) { return "", errLater }
