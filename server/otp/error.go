package otp

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Kind is the class of a refusal. Every door has one table from kind to its wire form.
type Kind int

// The kinds of refusal.
const (
	// MissingCredential: no credential was presented, or a malformed one.
	MissingCredential Kind = iota + 1
	// UnknownCredential: the credential does not exist, or it or its account is disabled.
	UnknownCredential
	// ExpiredCredential: the credential has expired.
	ExpiredCredential
	// ForbiddenNetwork: the credential may not be used from the peer's address.
	ForbiddenNetwork
	// BrokenAccount: the account's row cannot be used; the log names the column.
	BrokenAccount
	// FeatureOff: the account has the OTP feature, or the servlet that was called, switched off.
	FeatureOff
	// Invalid: a parameter is missing or malformed; the message names it.
	Invalid
	// MissingDepartment: the account requires a department, and the request names none from its list.
	MissingDepartment
	// NotFound: the slot has no challenge, or its challenge is forgotten.
	NotFound
	// Canceled: the challenge was cancelled.
	Canceled
	// Replaced: a newer challenge took the slot.
	Replaced
	// Locked: the recipient's failure budget is spent.
	Locked
	// AttemptsExhausted: the challenge has no attempts left.
	AttemptsExhausted
	// Used: the code was accepted before.
	Used
	// Expired: the code's lifetime is over.
	Expired
	// WrongCode: the guess was evaluated, is wrong and was charged; Remaining is the number of attempts left.
	WrongCode
	// RegenerationsExhausted: the challenge was resent as often as its account allows.
	RegenerationsExhausted
	// OverLimit: the recipient has received as many sends as a window allows.
	OverLimit
	// Undelivered: the message surely reached no channel.
	Undelivered
	// Overloaded: the queue of writes is full; nothing was charged.
	Overloaded
	// AccountExists: the requested esme_address or credential is taken.
	AccountExists
	// ClockBackwards: a clock can only be set forward; a reset sets it back.
	ClockBackwards
	// Forbidden: the credential is valid but lacks the permission.
	Forbidden
	// ForbiddenOrigin: the credential may be used only from the web pages in its list.
	ForbiddenOrigin
	// BadSignature: the request's signature is required and missing, wrong, too old, or was used before.
	BadSignature
	// RateLimited: the credential, or a peer whose credentials fail, sent too many requests.
	RateLimited
	// IdempotencyMismatch: the idempotency key was used for a different request.
	IdempotencyMismatch
	// IdempotencyBusy: the first request with this idempotency key is still in progress.
	IdempotencyBusy
	// CostLimited: the send would exceed the account's daily cap, or goes to a range that is stopped because too few
	// codes sent there are verified.
	CostLimited
	// WrongPassword: no person has this address, or the password is wrong.
	WrongPassword
	// FactorRequired: the password is right, and a second factor is missing or wrong.
	FactorRequired
	// PersonLocked: the person is switched off, or had too many guesses at the second factor.
	PersonLocked
	// ReauthenticationRequired: the person must authenticate again, or with a second factor.
	ReauthenticationRequired
	// RegistrationClosed: the link to register or recover is missing, used, too old or invalid.
	RegistrationClosed
	// PersonExists: the requested address belongs to another person.
	PersonExists
	// LastOwner: the change would leave the server without an owner.
	LastOwner
	// Outdated: the record was changed since the caller read it.
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

// String returns the name of k in logs and events.
func (k Kind) String() string {
	if k < MissingCredential || k >= kindEnd {
		return "unknown"
	}
	return kindNames[k]
}

// KindNamed returns the kind with this name, and reports whether there is one.
func KindNamed(name string) (Kind, bool) {
	k := slices.Index(kindNames[MissingCredential:], name)
	return MissingCredential + Kind(k), k >= 0
}

// Kinds lists every kind, so that a test can require a row for each in a door.
func Kinds() []Kind {
	kinds := make([]Kind, 0, kindEnd-1)
	for k := MissingCredential; k < kindEnd; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// Error is a refusal: an expected answer to a request that cannot be granted. Any other error is a fault. Message is
// for the caller's developer: it names the field and the remedy, and never holds a code, a secret or a whole
// recipient.
type Error struct {
	Kind    Kind
	Message string
	// Reason says exactly what is wrong ("mobile: no country code"), for the operator; never sent to the caller
	Reason    string
	Field     string // Invalid: the wrong parameter, by its name in the JSON API; empty if it is not one field
	Path      string // within Field, as a JSON pointer (RFC 6901); empty for the whole field
	Remaining int    // WrongCode: attempts left, 0 or more
	// Locked, PersonLocked, OverLimit, RateLimited, Overloaded, CostLimited: after which a retry can succeed
	RetryAfter time.Duration
	Limit      int           // Locked, OverLimit: the maximum of the limit that refused
	Window     time.Duration // of that limit
	Err        error         // the cause, for the log
}

// Error implements error.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Kind.String()
	}
	return e.Kind.String() + ": " + e.Message
}

// Unwrap returns the cause, for errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Refuse returns a refusal.
func Refuse(kind Kind, message string) *Error { return &Error{Kind: kind, Message: message} }

// Because returns a copy of e with a Reason.
func (e *Error) Because(reason string) *Error {
	reasoned := *e
	reasoned.Reason = reason
	return &reasoned
}

// RefuseField returns an Invalid refusal of one parameter. Its message begins with the parameter's name.
func RefuseField(field, message string) *Error {
	return &Error{Kind: Invalid, Field: field, Message: field + " " + message}
}

// InField returns a refusal with the field name at the start of its message replaced by field; other errors are
// returned unchanged.
func InField(field string, err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		_, complaint, _ := strings.Cut(refusal.Message, " ")
		return RefuseField(field, complaint)
	}
	return err
}

// KindOf returns the kind of a refusal, 0 for nil and for faults.
func KindOf(err error) Kind {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal.Kind
	}
	return 0
}
