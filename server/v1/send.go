package v1

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// sendRequest is the body of POST /v1/send. A pointer is nil if the member is left out.
type sendRequest struct {
	To       string          `json:"to"`
	Method   string          `json:"method"`
	Type     string          `json:"type"`
	Template *string         `json:"template" null:"refused"`
	Locale   *string         `json:"locale" null:"refused"`
	TTL      *int            `json:"ttl" null:"refused"`
	Length   *int            `json:"length" null:"refused"`
	Email    *string         `json:"email" null:"refused"`
	Metadata json.RawMessage `json:"metadata"`
	Binding  json.RawMessage `json:"binding"`
	IP       *string         `json:"ip" null:"refused"`
	Fallback []string        `json:"fallback" null:"refused"`
}

var (
	methods = []string{"sms", "email"}
	types   = []string{"verification", "two_factor", "password_reset", "transaction"}

	templateName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	languageTag  = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$`)
)

const (
	minTTL      = 30 // seconds
	maxTTL      = int(^uint32(0) >> 1)
	minLength   = 4
	maxLength   = 10
	maxTo       = 254 // the longest mailbox that e-mail can reach
	maxSubject  = 64
	maxMetadata = 1 << 10
)

// check refuses what is invalid for every account. The engine checks what depends on the account.
func (r *sendRequest) check() error {
	var k checks
	k.text("/to", r.To, maxTo, recipientForm)
	k.choice("/method", r.Method, methods)
	k.choice("/type", r.Type, types)
	if r.Template != nil {
		k.that(templateName.MatchString(*r.Template), "/template",
			"must be the name of a template: 1 to 64 letters, digits, _ . and -")
	}
	if r.Locale != nil {
		k.that(languageTag.MatchString(*r.Locale), "/locale", "must be a language tag such as en or pt-BR")
	}
	if r.TTL != nil {
		k.that(*r.TTL >= minTTL && *r.TTL <= maxTTL, "/ttl", "must be "+strconv.Itoa(minTTL)+" seconds or more")
	}
	if r.Length != nil {
		k.that(*r.Length >= minLength && *r.Length <= maxLength, "/length", "must be 4 to 10 digits")
	}
	if r.Email != nil {
		k.text("/email", *r.Email, maxTo, "must be a mailbox such as user@example.com")
	}
	k.subject("/ip", r.IP)
	k.metadata(r.Metadata)
	k.that(len(r.Fallback) <= len(methods), "/fallback", "must be at most 2")
	for i, method := range r.Fallback {
		at := "/fallback/" + strconv.Itoa(i)
		k.choice(at, method, methods)
		k.that(!slices.Contains(r.Fallback[:i], method), at, "is listed twice")
		k.that(method != r.Method, at, "is the method itself")
	}
	return k.err()
}

// send makes a new challenge and sends its code; it does not wait for the outcome.
func (x *exchange) send() (engine.Answer, error) {
	var asked sendRequest
	if err := x.read(&asked); err != nil {
		return engine.Answer{}, err
	}
	if err := asked.check(); err != nil {
		return engine.Answer{}, err
	}
	target, err := x.caller.TargetOf(asked.To, otp.ValueOr(asked.IP, ""), otp.ValueOr(asked.Email, ""), asked.Binding)
	if err != nil {
		return engine.Answer{}, err
	}
	asked.tell(x, &target)
	order := engine.Send{
		Target: target, Method: asked.Method, Fallback: asked.Fallback, Type: asked.Type,
		TTL: time.Duration(otp.ValueOr(asked.TTL, 0)) * time.Second, Length: otp.ValueOr(asked.Length, 0),
		Template: otp.ValueOr(asked.Template, ""), Locale: otp.ValueOr(asked.Locale, ""), Metadata: asked.Metadata,
	}
	return x.once(func(challenge otp.ID) (engine.Answer, error) {
		order.Challenge = challenge
		made, err := x.door.engine.Send(x.ctx, x.caller, order)
		if err != nil {
			return engine.Answer{}, err
		}
		return created(made)
	})
}

// created answers a new challenge.
func created(made engine.Challenge) (engine.Answer, error) {
	answer, err := answerOf(http.StatusCreated, shown(made))
	answer.Header = map[string]string{"Location": "/v1/status/" + made.ID.Text(idPrefix)}
	return answer, err
}

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
