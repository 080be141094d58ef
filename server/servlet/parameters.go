package servlet

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"otpbridge/server/otp"
)

// maxBody is the longest form body, in bytes. Real ones have a few hundred.
const maxBody = 64 << 10

// parameters holds what the servlets read from a request. Values are trimmed of blanks, except otp: a blank at its
// start can be a + of base64 text that form decoding turned into a blank. The cipher's decoder handles that.
type parameters struct {
	ipaddress string
	mobile    string
	email     string
	otp       string

	given   names // also those with an empty value
	similar names // given in another case
	noForm  bool  // there is a body that is not read
}

// names is a set of parameters.
type names uint8

const (
	nameIPAddress names = 1 << iota
	nameMobile
	nameEmail
	nameOTP
)

// String returns the name of one parameter.
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

// absent returns the likely reason why a parameter has no value.
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

// malformed refuses a malformed request, with the reason.
func malformed(message, reason string) *otp.Error {
	return otp.Refuse(otp.Invalid, message).Because(reason)
}

// inName puts a parameter's name before a reason; empty for none.
func inName(name, reason string) string {
	if reason == "" {
		return ""
	}
	return name + ": " + reason
}

// readParameters reads the query first, then a form body.
//
// Refusals: Invalid for a malformed request, for an incomplete body, and for a repeated parameter.
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

// parse reads a query and a form body, both form-encoded; either may be empty. A repeated parameter is refused,
// because a firewall or a log in front of this server may have looked at the other value.
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

// read adds the parameters of one encoded form to p. A semicolon is refused: some servers separate parameters by it,
// so with it two readers could see two different requests.
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

// take keeps a parameter that the servlets know. Unknown ones are ignored, however often they are given.
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
		*place = value // an unreadable one is a wrong code and costs an attempt
		return nil
	}
	if !printable(value) {
		return malformed(name+" holds a control character or is no UTF-8", name+": holds a control character or is not UTF-8")
	}
	*place = trim(value)
	return nil
}

// trim removes blanks. The vendor's article has a stray blank after the question mark in its addresses, and people
// copy it.
func trim(s string) string { return strings.Trim(s, " ") }

// unescape decodes the form encoding: a plus is a blank, %XX is a byte. If there is nothing to decode it returns s
// itself and allocates nothing.
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

// readForm returns the body of r if it is a form, else nothing: real clients send all sorts of content types along
// with a complete query.
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

// isForm reports whether a content type is that of a form. Its parameters are ignored: only charset is in use, and the
// body is always read as UTF-8.
func isForm(contentType string) bool {
	const form = "application/x-www-form-urlencoded"
	mediaType, _, _ := strings.Cut(contentType, ";")
	return otp.SameName(trim(mediaType), form)
}

// department returns the department that selects the message's template; empty for none. It must be in the account's
// list, so that the header decides nothing else.
func (x *exchange) department() string {
	department, single := one(x.request.Header["Department-Id"])
	if !single || !slices.Contains(x.account.Departments, department) || len(department) > maxDepartment {
		return ""
	}
	return department
}

// maxDepartment is the length of the longest department name that can select a template, in bytes.
const maxDepartment = 200

// departmentMissing reports whether the account requires a department and the request names none from its list. An
// empty list allows any.
func (x *exchange) departmentMissing() bool {
	switch x.account.DepartmentMode {
	case otp.DepartmentRequired:
	case otp.DepartmentRequiredToValidate:
		if x.servlet.step != validate {
			return false
		}
	default:
		return false
	}
	department, single := one(x.request.Header["Department-Id"])
	if !single || department == "" {
		return true
	}
	return len(x.account.Departments) > 0 && !slices.Contains(x.account.Departments, department)
}

// departmentReason says what is wrong with the request's department.
func (x *exchange) departmentReason() string {
	department, single := one(x.request.Header["Department-Id"])
	switch {
	case !single:
		return "department-id: given twice, differently"
	case department == "":
		return "department-id: missing"
	}
	return "department-id: not on the account's list"
}
