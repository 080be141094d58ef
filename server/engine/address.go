package engine

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
)

// Target is the normalised recipient of an operation: every spelling of one number gives the same Target.
type Target struct {
	Recipient string // E.164 with the plus, or a mailbox as deliver.Mailbox returns it
	Subject   string // the end user's address as the caller states it; empty if the account does not key on it
	Mailbox   string // where e-mail goes, as deliver.Mailbox returns it; empty for none
	Binding   string // what the challenge is bound to, as canonical JSON (RFC 8785); empty for nothing
	// Department is the caller's department, as templates name it. It selects the message's text and is not part of
	// any key. Empty for none.
	Department string
	HandOver   *otp.Handling // between the account's upstream and this server; nil for none
}

// Target normalises what a caller states: number in any of the contract's spellings, subject 1–64 printable ASCII
// characters (required), mailbox one address or empty.
//
// Refusals: Invalid, naming the field.
func (c *Caller) Target(number, subject, mailbox string) (Target, error) {
	normal, err := deliver.NormalNumber(number, c.Account.Countries)
	if err != nil {
		return Target{}, because(err, "mobile", deliver.NumberReason(number, c.Account.Countries))
	}
	given := subject
	subject, err = normalSubject(subject)
	if err != nil {
		return Target{}, because(err, "ipaddress", subjectReason(given))
	}
	if !c.Account.KeyOnIP {
		subject = ""
	}
	if mailbox != "" {
		given := mailbox
		if mailbox, err = normalMailbox(mailbox); err != nil {
			return Target{}, because(err, "email", mailboxReason(given))
		}
	}
	return Target{Recipient: normal, Subject: subject, Mailbox: mailbox}, nil
}

// TargetOf normalises the recipient of a JSON API request. to is a number in E.164 form, or a mailbox, which is then
// the recipient. ip (empty for none) corresponds to the servlets' ipaddress and is ignored if the account does not key
// on it. email (empty for none) is where e-mail goes if to is a number. binding is any JSON; null means none.
//
// Refusals: Invalid, with its Field.
func (c *Caller) TargetOf(to, ip, email string, binding json.RawMessage) (t Target, err error) {
	if strings.Contains(to, "@") {
		if email != "" {
			return t, otp.RefuseField("email", "must not be given where to is a mailbox itself")
		}
		t.Recipient, err = inField("to")(normalMailbox(to))
		t.Mailbox = t.Recipient
	} else {
		t.Recipient, err = e164(to, c.Account.Countries)
	}
	if err == nil && ip != "" {
		t.Subject, err = inField("ip")(normalSubject(ip))
	}
	if err == nil && email != "" {
		t.Mailbox, err = inField("email")(normalMailbox(email))
	}
	if err == nil {
		t.Binding, err = CanonicalBinding(binding)
	}
	if err != nil {
		return Target{}, err
	}
	if !c.Account.KeyOnIP {
		t.Subject = ""
	}
	return t, nil
}

// e164 accepts only numbers in E.164 form. The API is new, and each further spelling could be read differently by two
// systems.
func e164(to string, countries []string) (string, error) {
	digits, plus := strings.CutPrefix(to, "+")
	if !plus || !otp.Digits(digits) {
		return "", otp.RefuseField("to", "must be a number in E.164 form such as +919551492394, or a mailbox such as "+
			"user@example.com")
	}
	return inField("to")(deliver.NormalNumber(to, countries))
}

// inField makes a refusal name the API's field instead of the servlets' parameter.
func inField(field string) func(string, error) (string, error) {
	return func(value string, err error) (string, error) { return value, otp.InField(field, err) }
}

// CanonicalBinding returns a binding in canonical form (RFC 8785), in which bindings are compared; empty for null and
// for none. Refusal: Invalid, field binding, with the path to a number whose value the canonical form would change.
func CanonicalBinding(binding json.RawMessage) (string, error) {
	if len(binding) == 0 {
		return "", nil
	}
	canonical, err := crypto.JCS(binding)
	if err == nil {
		err = crypto.ExactNumbers(binding)
	}
	inexact, isInexact := errors.AsType[crypto.InexactError](err)
	switch {
	case isInexact:
		return "", &otp.Error{Kind: otp.Invalid, Field: "binding", Path: inexact.Pointer,
			Message: "binding" + inexact.Pointer + " " + inexact.Error()}
	case err != nil:
		return "", otp.RefuseField("binding", "must be JSON that has a canonical form (RFC 8785): "+err.Error())
	case string(canonical) == "null":
		return "", nil
	}
	return string(canonical), nil
}

// normalSubject reads ipaddress. The caller states it, and it is used only as part of a key, never for access control,
// so any printable text is allowed; addresses are brought to one spelling.
func normalSubject(subject string) (string, error) {
	if subject == "" || len(subject) > 64 {
		return "", otp.Refuse(otp.Invalid, "ipaddress must be 1 to 64 characters")
	}
	for i := range len(subject) {
		if subject[i] < 0x20 || subject[i] > 0x7e {
			return "", otp.Refuse(otp.Invalid, "ipaddress must be printable ASCII")
		}
	}
	address, err := netip.ParseAddr(subject)
	if err != nil {
		return subject, nil
	}
	// Most addresses already have this spelling; then no new string is allocated.
	var spelling [64]byte
	if normal := address.Unmap().AppendTo(spelling[:0]); string(normal) != subject {
		return string(normal), nil
	}
	return subject, nil
}

// normalMailbox returns a mailbox in normal form; see deliver.Mailbox. Refusal: Invalid.
func normalMailbox(mailbox string) (string, error) {
	identity, err := deliver.Mailbox(mailbox)
	if err != nil {
		return "", otp.Refuse(otp.Invalid, "email "+err.Error())
	}
	return identity, nil
}

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
