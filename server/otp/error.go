package otp

import (
	"errors"
	"strings"
	"time"
)

// Kind is the class of a refusal. Every door has one table from kind to its wire form.
type Kind int

// The kinds of refusal.
const (
	// MissingCredential: no credential was presented, or one that cannot be one.
	MissingCredential Kind = iota + 1
	// UnknownCredential: nobody has this credential, or it or its account is disabled.
	UnknownCredential
	// ExpiredCredential: the credential was good once.
	ExpiredCredential
	// ForbiddenNetwork: the credential may not be used from the peer's address.
	ForbiddenNetwork
	// BrokenAccount: the account's row cannot be used as it stands; the log names the column.
	BrokenAccount
	// FeatureOff: the account has the OTP feature, or the servlet asked for, switched off.
	FeatureOff
	// Invalid: a parameter is missing or malformed; the message names it.
	Invalid
	// MissingDepartment: the account requires a department and the request names none of its list.
	MissingDepartment
	// NotFound: the slot has no challenge, or one so old that it is forgotten.
	NotFound
	// Canceled: the challenge was called off.
	Canceled
	// Replaced: a newer challenge took the slot.
	Replaced
	// Locked: the recipient's failure budget is spent.
	Locked
	// AttemptsExhausted: the challenge has cost all its attempts.
	AttemptsExhausted
	// Used: the code was accepted before.
	Used
	// Expired: the code's lifetime is over.
	Expired
	// WrongCode: the guess was evaluated, is wrong and was charged; Remaining tells what is left.
	WrongCode
	// RegenerationsExhausted: the challenge was resent as often as its account allows.
	RegenerationsExhausted
	// OverLimit: the recipient has received as many sends as a window allows.
	OverLimit
	// Undelivered: the message surely reached no channel.
	Undelivered
	// Overloaded: the queue of writes is full; nothing was charged.
	Overloaded
	// AccountExists: the esme_address or a credential asked for is taken.
	AccountExists
	// ClockBackwards: a clock can be set forward only; a reset takes it back.
	ClockBackwards
	// Forbidden: the credential is good and may not do this.
	Forbidden
	// ForbiddenOrigin: the credential may be used only from the web pages of its list.
	ForbiddenOrigin
	// BadSignature: the request's signature is missing where one is required, wrong, too old, or
	// was used before.
	BadSignature
	// RateLimited: the credential, or the peer with credentials that fail, asked too often.
	RateLimited
	// IdempotencyMismatch: the idempotency key was used for another request.
	IdempotencyMismatch
	// IdempotencyBusy: the first request with this idempotency key is still being served.
	IdempotencyBusy
	// CostLimited: the send would cost more than the account may spend in a day, or goes to numbers
	// that are stopped because nobody there uses the codes.
	CostLimited
	// WrongPassword: nobody has this address, or it has another password.
	WrongPassword
	// FactorRequired: the password is right, and a second factor is missing or wrong.
	FactorRequired
	// PersonLocked: the person is switched off, or their second factor was guessed at too often.
	PersonLocked
	// ReauthenticationRequired: the person must prove again who they are, or with a second factor.
	ReauthenticationRequired
	// RegistrationClosed: the link to register or recover with is missing, used, old or none.
	RegistrationClosed
	// PersonExists: the address asked for belongs to somebody.
	PersonExists
	// LastOwner: without this person nobody would own the server.
	LastOwner
	// Outdated: what is to be changed was changed meanwhile.
	Outdated

	kindEnd
)

var kindNames = [...]string{
	MissingCredential: "missing_credential", UnknownCredential: "unknown_credential",
	ExpiredCredential: "expired_credential", ForbiddenNetwork: "forbidden_network",
	BrokenAccount: "broken_account", FeatureOff: "feature_off", Invalid: "invalid",
	MissingDepartment: "missing_department", NotFound: "not_found", Canceled: "canceled",
	Replaced: "replaced", Locked: "locked", AttemptsExhausted: "attempts_exhausted",
	Used: "used", Expired: "expired", WrongCode: "wrong_code",
	RegenerationsExhausted: "regenerations_exhausted", OverLimit: "over_limit",
	Undelivered: "undelivered", Overloaded: "overloaded", AccountExists: "account_exists",
	ClockBackwards: "clock_backwards",
	Forbidden:      "forbidden", ForbiddenOrigin: "forbidden_origin", BadSignature: "bad_signature",
	RateLimited: "rate_limited", IdempotencyMismatch: "idempotency_mismatch", IdempotencyBusy: "idempotency_busy",
	CostLimited:   "cost_limited",
	WrongPassword: "wrong_password", FactorRequired: "factor_required", PersonLocked: "person_locked",
	ReauthenticationRequired: "reauthentication_required", RegistrationClosed: "registration_closed",
	PersonExists: "person_exists", LastOwner: "last_owner", Outdated: "outdated",
}

// String is the name of k in logs and events.
func (k Kind) String() string {
	if k < MissingCredential || k >= kindEnd {
		return "unknown"
	}
	return kindNames[k]
}

// Kinds lists every kind, so that a door can be tested to have a row for each.
func Kinds() []Kind {
	kinds := make([]Kind, 0, kindEnd-1)
	for k := MissingCredential; k < kindEnd; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// Error is a refusal: an expected answer to a request that cannot be granted. Anything else
// that goes wrong is a fault and no Error. Message is for the caller's developer: it names the
// field and the remedy and never holds a code, a secret or a whole recipient.
type Error struct {
	Kind    Kind
	Message string
	// what exactly is wrong, "mobile: no country code", for whoever runs the server; never on the wire
	Reason    string
	Field     string // Invalid: the parameter that is wrong, by its name in the JSON API; empty for none alone
	Path      string // within Field, as a JSON pointer (RFC 6901); empty for all of it
	Remaining int    // WrongCode: attempts left, 0 or more
	// Locked, PersonLocked, OverLimit, RateLimited, Overloaded, CostLimited: when asking again can help
	RetryAfter time.Duration
	Limit      int           // Locked, OverLimit: how many the limit that refused allows
	Window     time.Duration // of that limit
	Err        error         // what lies behind it, for the log
}

// Error implements error.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Kind.String()
	}
	return e.Kind.String() + ": " + e.Message
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Refuse makes a refusal.
func Refuse(kind Kind, message string) *Error { return &Error{Kind: kind, Message: message} }

// Because is a refusal with a Reason.
func (e *Error) Because(reason string) *Error {
	reasoned := *e
	reasoned.Reason = reason
	return &reasoned
}

// RefuseField makes a refusal of one parameter, Invalid, whose message begins with its name.
func RefuseField(field, message string) *Error {
	return &Error{Kind: Invalid, Field: field, Message: field + " " + message}
}

// InField is a refusal whose message begins with the name of a field, said of another field; other errors stay.
func InField(field string, err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		_, complaint, _ := strings.Cut(refusal.Message, " ")
		return RefuseField(field, complaint)
	}
	return err
}

// KindOf is the kind of a refusal, and 0 for nil and for faults.
func KindOf(err error) Kind {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal.Kind
	}
	return 0
}
