package engine

import (
	"errors"
	"strings"

	"otpbridge/server/otp"
)

// Reasons why an address was refused, for the developer of the client: the servlets have one answer text for all
// mistakes. A reason quotes nothing of the input.

// because adds a reason to a refusal, starting with the parameter's name; other errors are returned unchanged.
func because(err error, name, reason string) error {
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		return refusal.Because(name + ": " + reason)
	}
	return err
}

// subjectReason says why normalSubject refuses an ipaddress.
func subjectReason(subject string) string {
	switch {
	case subject == "":
		return "missing"
	case len(subject) > 64:
		return "longer than 64 characters"
	}
	return "other characters than printable ASCII"
}

// mailboxReason says why normalMailbox refuses an email.
func mailboxReason(mailbox string) string {
	local, domain, at := strings.Cut(mailbox, "@")
	switch {
	case strings.ContainsAny(mailbox, "%"):
		return "url-encoded twice, or a percent sign in the address"
	case !at:
		return "no @"
	case len(mailbox) > 254:
		return "longer than 254 characters"
	case strings.ContainsAny(mailbox, "<>"):
		return "a name around the address"
	case strings.ContainsAny(mailbox, ",;"):
		return "several addresses"
	case strings.ContainsAny(mailbox, " "):
		return "a blank in the address"
	case local == "" || domain == "":
		return "nothing in front of or behind the @"
	case strings.Contains(domain, "@"):
		return "more than one @"
	}
	return "not one mail address"
}
