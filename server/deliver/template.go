package deliver

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"otpbridge/server/otp"
)

// Values are the values of a template's tokens.
type Values struct {
	Code       string        // {code}
	Lifetime   time.Duration // {minutes}, rounded up, and {validity}, in words
	Account    string        // {account}: its name
	Department string        // {department}
	Type       string        // {type}, with blanks for underscores
	// The ids that the text is registered under, unless the template states them.
	DLTEntityID   string
	DLTTemplateID string
}

// Template is the wording of a message. The text has tokens in braces; a literal brace is doubled. A head may precede
// the text: lines with a name, a colon and a value, followed by an empty line.
//
//	Subject: Your {account} code          e-mail only; never the code
//	DLT-Template-ID: 1107161234567890123  SMS only, as the next two
//	WebOTP: shop.example                  adds the line @shop.example #code if it costs nothing
//	App-Hash: FA+9qCX9VSu                 adds that line, which Android hands the app the text by
//	Footer: Never share this code.        adds that line; "on" stands for just this one
//
// All errors of a template are found when it is parsed. Rendering cannot fail.
type Template struct {
	subject string
	text    string
	dlt     string
	webOTP  string
	appHash string
	footer  string
}

// Preview is a template rendered with sample values, and its size as SMS.
type Preview struct {
	Content
	Segments Segments
	Warnings []string
}

// maxTemplate bounds a template's text, in bytes: ten SMS segments.
const maxTemplate = 1600

// The tokens allowed in a text and in a subject. Subjects show in lists and on locked screens.
var (
	textTokens    = []string{"code", "minutes", "validity", "account", "department", "type", "app_hash"}
	subjectTokens = []string{"minutes", "validity", "account", "department", "type"}
)

// plainFooter is what "Footer: on" adds.
const plainFooter = "Never share this code with anyone."

// headNames are the lines that a head can have.
var headNames = []string{"subject", "dlt-template-id", "webotp", "app-hash", "footer"}

var (
	dltID      = regexp.MustCompile(`^[0-9]{1,30}$`)
	appHash    = regexp.MustCompile(`^[A-Za-z0-9+/]{11}$`)
	domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)
)

// ParseTemplate reads a template for a medium, sms or email, or for both if medium is empty. The error says what is
// wrong and what to write.
func ParseTemplate(medium, text string) (Template, error) {
	var t Template
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !utf8.ValidString(text) || strings.ContainsFunc(text,
		func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
		return t, errors.New("the text has bytes that are no UTF-8, or control characters other than line breaks")
	}
	head, text := split(text)
	for _, line := range head {
		if err := t.line(medium, line); err != nil {
			return t, err
		}
	}
	t.text = strings.TrimRight(text, "\n")
	if len(t.text) > maxTemplate {
		return t, fmt.Errorf("the text has %d bytes, and may have %d", len(t.text), maxTemplate)
	}
	used, err := tokensOf("the text", t.text, textTokens)
	if err != nil {
		return t, err
	}
	switch {
	case !slices.Contains(used, "code"):
		return t, errors.New("the text has no {code}, without which it is of no use")
	case slices.Contains(used, "app_hash") && t.appHash == "":
		return t, errors.New("the text has {app_hash}, and nothing says what it is: put a line such as App-Hash: " +
			"FA+9qCX9VSu and an empty line above it")
	case t.webOTP != "" && t.appHash != "":
		return t, errors.New("WebOTP and App-Hash exclude each other: each has to be the last line")
	}
	return t, nil
}

// split separates the head from a template. There is a head if the first line has a head name.
func split(text string) (head []string, rest string) {
	name, _, found := strings.Cut(text, ":")
	if !found || !slices.Contains(headNames, otp.Lower(name)) {
		return nil, text
	}
	above, rest, _ := strings.Cut(text, "\n\n")
	return strings.Split(above, "\n"), rest
}

// line reads one line of the head.
func (t *Template) line(medium, line string) error {
	name, value, found := strings.Cut(line, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	lower := otp.Lower(name)
	if !found || !slices.Contains(headNames, lower) {
		return errors.New("a line above the empty line is none of Subject, DLT-Template-ID, WebOTP, App-Hash and Footer; " +
			"an empty line ends them")
	}
	if value == "" {
		return fmt.Errorf("%s has nothing behind it", name)
	}
	if medium == "email" && lower != "subject" && lower != "footer" || medium == "sms" && lower == "subject" {
		return fmt.Errorf("%s means nothing for %s", name, medium)
	}
	field := map[string]*string{"subject": &t.subject, "dlt-template-id": &t.dlt, "webotp": &t.webOTP,
		"app-hash": &t.appHash, "footer": &t.footer}[lower]
	if *field != "" {
		return fmt.Errorf("%s is there twice", name)
	}
	*field = value
	switch lower {
	case "subject":
		if len(value) > 200 {
			return errors.New("the Subject has more than 200 bytes")
		}
		_, err := tokensOf("the Subject", value, subjectTokens)
		return err
	case "footer":
		if otp.SameName(value, "on") {
			*field = plainFooter
		}
		_, err := tokensOf("the Footer", value, nil)
		return err
	case "dlt-template-id":
		return must(dltID, value, "DLT-Template-ID is no number of up to 30 digits")
	case "app-hash":
		return must(appHash, value, "App-Hash is not the 11 characters that Android computes of an app, such as FA+9qCX9VSu")
	}
	if len(value) > 200 {
		return errors.New("WebOTP has more than 200 bytes")
	}
	return must(domainName, value, "WebOTP is no domain in lower case, such as shop.example")
}

func must(form *regexp.Regexp, value, otherwise string) error {
	if !form.MatchString(value) {
		return errors.New(otherwise)
	}
	return nil
}

// piece is a doubled brace, a token, or a stray brace.
var piece = regexp.MustCompile(`\{\{|\}\}|\{[a-z_]+\}|[{}]`)

// tokensOf lists the tokens of a text, and refuses stray braces and tokens that are not allowed.
func tokensOf(where, text string, allowed []string) (used []string, err error) {
	for _, found := range piece.FindAllString(text, -1) {
		switch name := strings.Trim(found, "{}"); {
		case found == "{{" || found == "}}":
		case name == "":
			return nil, fmt.Errorf("%s has a brace that belongs to no token; a brace itself is written twice", where)
		case !slices.Contains(allowed, name):
			if name == "code" && !slices.Contains(allowed, "code") {
				return nil, fmt.Errorf("%s has the code in it, which may stand in the text alone", where)
			}
			return nil, fmt.Errorf("%s has {%s}, which is none of {%s}", where, name, strings.Join(allowed, "} {"))
		default:
			used = append(used, name)
		}
	}
	return used, nil
}

// Render returns the message for a medium.
func (t Template) Render(medium string, v Values) Content {
	values := map[string]string{
		"code": v.Code, "minutes": strconv.Itoa(int((v.Lifetime +
			time.Minute - 1) / time.Minute)), "validity": spoken(v.Lifetime),
		"account": oneLine(v.Account), "department": oneLine(v.Department), "type": strings.ReplaceAll(oneLine(v.Type), "_",
			" "),
		"app_hash": t.appHash,
	}
	content := Content{Text: replace(t.text, values), Code: v.Code}
	if t.footer != "" {
		content.Text += "\n" + replace(t.footer, nil)
	}
	if medium != "sms" {
		content.Subject = "Your verification code"
		if t.subject != "" {
			content.Subject = replace(t.subject, values)
		}
		return content
	}
	content.DLTEntityID, content.DLTTemplateID = v.DLTEntityID, v.DLTTemplateID
	if t.dlt != "" {
		content.DLTTemplateID = t.dlt
	}
	content.Text += t.lastLine(content.Text, v.Code)
	return content
}

// lastLine returns the last line with which phones fill in the code. Both forms have to be the last line:
// "Origin-bound one-time codes delivered via SMS", https://wicg.github.io/sms-one-time-codes, and "Perform SMS
// Verification on a Server", https://developers.google.com/identity/sms-retriever/verify. The first is a convenience
// and is left out if it would cost a segment; without the second the app gets nothing, so it is always added.
func (t Template) lastLine(text, code string) string {
	switch {
	case t.webOTP != "":
		line := "\n\n@" + t.webOTP + " #" + code
		if CountSegments(text+line).Count == 1 {
			return line
		}
	case t.appHash != "" && !strings.Contains(t.text, "{app_hash}"):
		return "\n\n" + t.appHash
	}
	return ""
}

// replace replaces tokens by values and doubled braces by single ones, once.
func replace(text string, values map[string]string) string {
	return piece.ReplaceAllStringFunc(text, func(found string) string {
		if found == "{{" || found == "}}" {
			return found[:1]
		}
		return values[strings.Trim(found, "{}")]
	})
}

// oneLine makes a value safe for a line of text and for a subject: characters that break or reverse a line become
// blanks.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		bidi := r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == utf8.RuneError || bidi {
			return ' '
		}
		return r
	}, text)
}

// maxRetriever is the longest message for Android's SMS Retriever, in bytes.
const maxRetriever = 140

// Preview renders the template with values, and reports its size and likely problems.
func (t Template) Preview(medium string, v Values) Preview {
	p := Preview{Content: t.Render(medium, v)}
	if medium != "sms" {
		return p
	}
	p.Segments = CountSegments(p.Text)
	if p.Segments.Count > 1 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("it takes %d segments, each charged as a message", p.Segments.Count))
	}
	if p.Segments.Encoding == "UCS-2" {
		p.Warnings = append(p.Warnings, "it has characters outside GSM-7, so that a segment holds 70 instead of 160")
	}
	if t.webOTP != "" && !strings.Contains(p.Text, "@"+t.webOTP+" #") {
		p.Warnings = append(p.Warnings, "the WebOTP line is left out: with it there would be more than one segment")
	}
	if t.appHash != "" && len(p.Text) > maxRetriever {
		p.Warnings = append(p.Warnings, fmt.Sprintf("it has %d bytes, and Android's SMS Retriever takes %d", len(p.Text),
			maxRetriever))
	}
	return p
}

// plain is the wording for accounts without templates.
var plain = Template{text: "{code} is your verification code. It is valid for {validity}. Do not share it with anyone."}

// Render returns the message with a code that is valid for lifetime, for an account without templates. Only the text
// contains the code: subjects show on locked screens and in lists.
func Render(isMail bool, code string, lifetime time.Duration) Content {
	medium := "sms"
	if isMail {
		medium = "email"
	}
	return plain.Render(medium, Values{Code: code, Lifetime: lifetime})
}

// spoken returns a duration in minutes if it is a whole number of them, else in seconds.
func spoken(d time.Duration) string {
	switch {
	case d == time.Minute:
		return "1 minute"
	case d%time.Minute == 0:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}
