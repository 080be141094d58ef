package servlet

import (
	"io"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"otpbridge/server/otp"
)

// maxBody is how long a form body may be. The longest honest one is a few hundred bytes.
const maxBody = 64 << 10

// parameters is what the servlets read of a request. Values are trimmed of blanks, but not
// otp: there a blank at the start can be the + of a base64 text that form decoding ate, and
// only the cipher's decoder can tell.
type parameters struct {
	ipaddress string
	mobile    string
	email     string
	otp       string

	given   names // also of those that were given empty
	similar names // that were given in another case
	noForm  bool  // there is a body, and it is not read
}

// names is a set of parameters.
type names uint8

const (
	nameIPAddress names = 1 << iota
	nameMobile
	nameEmail
	nameOTP
)

// String is the name of one parameter.
func (n names) String() string {
	switch n {
	case nameIPAddress:
		return "ipaddress"
	case nameMobile:
		return "mobile"
	case nameEmail:
		return "email"
	}
	return "otp"
}

// absent says what may have become of a parameter that has no value.
func (p *parameters) absent(name names) string {
	switch {
	case p.given&name != 0:
		return "empty"
	case p.similar&name != 0:
		return "missing; it is given in another case, and names are in lower case"
	case p.noForm:
		return "missing; the body is not read, since its Content-Type is not application/x-www-form-urlencoded"
	}
	return "missing"
}

// malformed refuses a request for its form, and gives the reason.
func malformed(message, reason string) *otp.Error {
	return otp.Refuse(otp.Invalid, message).Because(reason)
}

// inName says of which parameter a reason is, empty for none.
func inName(name, reason string) string {
	if reason == "" {
		return ""
	}
	return name + ": " + reason
}

// readParameters reads the query first and a form body second.
//
// Refusals: Invalid for anything malformed, for a body that does not arrive whole, and for a
// parameter given twice.
func readParameters(r *http.Request) (parameters, error) {
	if len(r.Header.Values("Content-Type")) > 1 {
		return parameters{}, malformed("the header Content-Type is given twice", "the header Content-Type is given twice")
	}
	body, err := readForm(r)
	if err != nil {
		return parameters{}, err
	}
	p, err := parse(r.URL.RawQuery, body)
	p.noForm = r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 && !isForm(r.Header.Get("Content-Type"))
	return p, err
}

// parse reads a query and a form body, each in the form encoding, and either may be empty.
// A parameter that arrives twice is refused, because whatever stands between the client and
// this server (a firewall, a log) may have looked at the other one.
func parse(query, body string) (parameters, error) {
	var p parameters
	if err := p.read(query); err != nil {
		return parameters{}, err
	}
	if err := p.read(body); err != nil {
		return parameters{}, err
	}
	return p, nil
}

// read adds the parameters of one encoded form to p. A semicolon is refused rather than
// taken for a letter: some servers separate parameters by it, so it too is a way of showing
// two readers two different requests.
func (p *parameters) read(form string) error {
	if strings.IndexByte(form, ';') >= 0 {
		return malformed("a semicolon in the query or form: write %3B", "a semicolon in the query or form")
	}
	for form != "" {
		var pair string
		pair, form, _ = strings.Cut(form, "&")
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, nameReadable := unescape(rawName)
		value, valueReadable := unescape(rawValue)
		if !nameReadable || !valueReadable {
			return malformed("a % in the query or form without two hex digits after it",
				"a percent sign without two hex digits after it")
		}
		if err := p.take(trim(name), value); err != nil {
			return err
		}
	}
	return nil
}

// take keeps one parameter if the servlets know it. They ignore what they do not know,
// however often it is given.
func (p *parameters) take(name, value string) error {
	var place *string
	var known names
	switch name {
	case "ipaddress":
		place, known = &p.ipaddress, nameIPAddress
	case "mobile":
		place, known = &p.mobile, nameMobile
	case "email":
		place, known = &p.email, nameEmail
	case "otp":
		place, known = &p.otp, nameOTP
	default:
		for n := nameIPAddress; n <= nameOTP; n <<= 1 {
			if otp.SameName(name, n.String()) {
				p.similar |= n
			}
		}
		return nil
	}
	if p.given&known != 0 {
		return malformed(name+" is given twice", name+": given twice")
	}
	p.given |= known

	if known == nameOTP {
		*place = value // an unreadable one is a wrong code, which costs an attempt
		return nil
	}
	if !printable(value) {
		return malformed(name+" holds a control character or is no UTF-8", name+": holds a control character or is not UTF-8")
	}
	*place = trim(value)
	return nil
}

// trim removes blanks. The vendor's article prints its addresses with a stray one after the
// question mark, and people copy it.
func trim(s string) string { return strings.Trim(s, " ") }

// unescape undoes the form encoding: a plus is a blank, %XX is a byte. Without either it
// answers s itself and allocates nothing.
func unescape(s string) (text string, readable bool) {
	i := strings.IndexAny(s, "%+")
	if i < 0 {
		return s, true
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		switch s[i] {
		case '+':
			b.WriteByte(' ')
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			high, highIsHex := hexDigit(s[i+1])
			low, lowIsHex := hexDigit(s[i+2])
			if !highIsHex || !lowIsHex {
				return "", false
			}
			b.WriteByte(high<<4 | low)
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), true
}

func hexDigit(c byte) (value byte, isHex bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// printable reports whether s is UTF-8 without control characters.
func printable(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			return utf8.ValidString(s[i:]) && strings.IndexFunc(s[i:], unicode.IsControl) < 0
		case c < ' ', c == 0x7f:
			return false
		}
	}
	return true
}

// readForm is the body of r if it is a form, and empty for every other body: the clients in
// the field send all sorts of content types with a query that says everything.
func readForm(r *http.Request) (string, error) {
	if r.Body == nil || r.Body == http.NoBody || !isForm(r.Header.Get("Content-Type")) {
		return "", nil
	}
	tooLong := malformed("the form body is over 64 KiB", "the form body is over 64 KiB")
	if r.ContentLength > maxBody {
		return "", tooLong
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return "", &otp.Error{Kind: otp.Invalid, Message: "the form body did not arrive whole",
			Reason: "the form body did not arrive whole", Err: err}
	case len(body) > maxBody:
		return "", tooLong
	}
	return string(body), nil
}

// isForm reports whether a content type is that of a form. Its parameters are not looked at: the
// only one in use is charset, and whatever it says, UTF-8 is what is read.
func isForm(contentType string) bool {
	const form = "application/x-www-form-urlencoded"
	mediaType, _, _ := strings.Cut(contentType, ";")
	return otp.SameName(trim(mediaType), form)
}
