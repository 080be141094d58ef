package deliver

import (
	"errors"
	"strings"

	"golang.org/x/net/idna"

	"otpbridge/server/otp"
)

// The rule of this file: two spellings have one identity only if the same mailbox receives both, and messages go to
// the identity itself, never to another spelling of it.

// Identity returns the normal form of a recipient: a mailbox as Mailbox returns it, a number unchanged. For anything
// else it only lowers ASCII letters, so the result equals no other recipient.
func Identity(recipient string) string {
	if !strings.Contains(recipient, "@") {
		return recipient
	}
	if mailbox, err := Mailbox(recipient); err == nil {
		return mailbox
	}
	return otp.Lower(recipient)
}

const (
	maxMailbox = 254 // bytes of an address between < and >: RFC 5321, section 4.5.3.1.3
	maxLocal   = 64  // before the @: section 4.5.3.1.1
	maxDomain  = 253 // RFC 1035, section 2.3.4, as text without the root's dot
	maxLabel   = 63  // the same section
)

// Mailbox returns the identity of a mailbox that is written as one bare address: ASCII letters in lower case, the
// domain as A-labels (RFC 5890). A domain in another script, in full-width letters or with an ideographic full stop
// becomes the domain that a client would look up for it. The result is ASCII, so every mail server accepts it, with
// SMTPUTF8 (RFC 6531) or without.
//
// The part before the @ is compared without regard to case, although RFC 5321 leaves that to the receiver. No provider
// in use has two users that differ in case only, and if case counted, one person would have a separate guess budget
// for each spelling. Mail goes to the lower-case form, so it cannot reach somebody else. Before the @ other scripts
// are refused: only the receiving server knows which of their spellings are one mailbox.
//
// The error completes a sentence that begins with the field's name, and quotes nothing.
func Mailbox(text string) (string, error) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return "", errors.New("must be one address such as user@example.com")
	}
	local := otp.Lower(text[:at])
	if err := checkLocal(local); err != nil {
		return "", err
	}
	domain, err := Domain(text[at+1:])
	if err != nil {
		return "", err
	}
	if len(local)+1+len(domain) > maxMailbox {
		return "", errors.New("must be at most 254 characters, its domain as A-labels")
	}
	return local + "@" + domain, nil
}

// localMarks are allowed in a dot-atom (RFC 5322, section 3.2.3) beside letters and digits.
const localMarks = "!#$%&'*+-/=?^_`{|}~."

func checkLocal(local string) error {
	switch {
	case local == "":
		return errors.New("must have a name before its @, as in user@example.com")
	case len(local) > maxLocal:
		return errors.New("must have at most 64 characters before its @")
	case local[0] == '"':
		return errors.New("must not have quotes before its @; write the address without them")
	}
	for i := range len(local) {
		switch c := local[i]; {
		case c >= 0x80:
			return errors.New("must have ASCII characters only before its @; ask for an address without accents or other " +
				"scripts there")
		case c == '@':
			return errors.New("must be one address with one @, such as user@example.com")
		case (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(localMarks, rune(c)):
			return errors.New("must be one address such as user@example.com, with only letters, digits and " + localMarks +
				" before its @")
		}
	}
	if strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return errors.New("must not begin or end with a dot before its @, nor have two together there")
	}
	return nil
}

// Domain returns the A-labels of a domain that mail can go to. The error is like Mailbox's.
func Domain(text string) (string, error) {
	switch {
	case text == "":
		return "", errors.New("must have a domain after its @, as in user@example.com")
	case strings.ContainsAny(text, "[]:"):
		return "", errors.New("must have the name of a domain after its @, no address in brackets")
	case len(text) > 4*maxDomain: // before work that grows with it; no character takes more than 4 bytes
		return "", errors.New("must have a domain of at most 253 characters, as A-labels")
	}
	domain, err := idna.Lookup.ToASCII(text)
	if err != nil {
		return "", errors.New("must have a domain after its @ that can exist: letters, digits and hyphens of one script, " +
			"joined by dots")
	}
	labels := strings.Split(domain, ".")
	if labels[len(labels)-1] == "" && len(labels) > 1 {
		return "", errors.New("must not end with a dot")
	}
	if len(domain) > maxDomain {
		return "", errors.New("must have a domain of at most 253 characters, as A-labels")
	}
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	// The mapping must be final; otherwise a second reading would give a second identity.
	if again, err := idna.Lookup.ToASCII(domain); err != nil || again != domain {
		return "", errors.New("must have a domain after its @ whose A-labels stand for themselves")
	}
	if isNumber(labels[len(labels)-1]) {
		return "", errors.New("must have the name of a domain after its @, not an IP address or a number")
	}
	return domain, nil
}

// checkLabel refuses a label that differs from the A-label of its own Unicode form.
func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("must not have an empty part between the dots of its domain")
	case len(label) > maxLabel:
		return errors.New("must have at most 63 characters between the dots of its domain, as A-labels")
	}
	for i := range len(label) {
		if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return errors.New("must have only letters, digits, hyphens and dots in its domain")
		}
	}
	if strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
		return errors.New("must not have a hyphen at the end of a part of its domain")
	}
	shown, err := idna.Lookup.ToUnicode(label)
	if err != nil {
		return errors.New("must have a domain whose A-labels (xn--…) can be read")
	}
	if back, err := idna.Lookup.ToASCII(shown); err != nil || back != label {
		return errors.New("must have a domain whose A-labels (xn--…) stand for themselves")
	}
	return nil
}

// isNumber reports whether some programs would read a domain with this last label as an IPv4 address (WHATWG URL,
// section 3.5, "ends in a number"): digits, or 0x and hex digits.
func isNumber(label string) bool {
	if hex, found := strings.CutPrefix(label, "0x"); found {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return otp.Digits(label)
}
