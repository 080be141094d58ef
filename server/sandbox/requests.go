package sandbox

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/web"
)

// redacted replaces values that are not shown.
const redacted = "[redacted]"

// parameter is one parameter of a call. Lists of them have the order of the call. A parameter that was given twice is
// in them twice, because that may be the call's fault.
type parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// reading is what the door read one part of a call as. A refused part has no note: reason or answer say what is wrong.
type reading struct {
	Name  string           `json:"name"`
	State web.ReadingState `json:"state"`
	Value string           `json:"value,omitempty"`
	Note  string           `json:"note,omitempty"`
}

// Call is a recorded call, redacted.
type Call struct {
	RequestID  string            `json:"request_id"`
	At         time.Time         `json:"at"`
	DurationMS float64           `json:"duration_ms"`
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Headers    map[string]string `json:"headers"`
	Query      []parameter       `json:"query"`
	Form       []parameter       `json:"form"`
	Body       string            `json:"body,omitempty"` // JSON, redacted
	Account    string            `json:"account"`
	Kind       string            `json:"kind"`
	Reason     string            `json:"reason,omitempty"` // the exact fault, if the answer does not say it
	Passed     string            `json:"passed,omitempty"` // the class of the upstream's answer, if it was asked
	Status     int               `json:"status"`
	Answer     string            `json:"answer"`
	Read       []reading         `json:"read"`
	Curl       string            `json:"curl"`

	guess    string
	readings []web.Reading
}

// Readings returns what the door read each part of the call as, in clear: whoever shows them shows secrets.
func (c Call) Readings() []web.Reading { return c.readings }

// Guess returns the servlets' otp parameter as it came, which most accounts encrypt; empty for a call without one.
func (c Call) Guess() string { return c.guess }

// Latest returns the latest calls of an account, or for "" of every account, redacted and newest first.
func (r *Recorder) Latest(account string, limit int) []Call {
	var shown []Call
	for _, made := range r.latest() {
		if len(shown) == limit {
			break
		}
		if account == "" || account == made.account {
			shown = append(shown, made.shown())
		}
	}
	return shown
}

// Find returns the latest call with an id, redacted.
func (r *Recorder) Find(id string) (Call, bool) {
	for _, made := range r.latest() {
		if made.requestID == id {
			return made.shown(), true
		}
	}
	return Call{}, false
}

// requests answers with the latest calls, newest first, with their answers and a curl command that repeats the call
// when its variables are set.
func (d *door) requests(c *gin.Context) error {
	q := web.ReadQuery(c, "account", "limit")
	account, limit := q.Text("account"), q.Number("limit", defaultMessages, 1, keptRequests)
	if err := q.Err(); err != nil {
		return err
	}
	return answerList(c, d.Requests.Latest(account, limit))
}

func (made call) shown() Call {
	query, queryOK := parameters(made.query)
	form, formOK := parameters(made.form)
	s := Call{
		RequestID: made.requestID, At: made.at.UTC(), DurationMS: float64(made.took.Microseconds()) / 1000,
		Method: made.method, Path: shownPath(made.path), Headers: map[string]string{},
		Query: masked(query), Form: masked(form),
		Account: made.account, Kind: made.kind, Reason: made.reason, Passed: made.passed, Status: made.status,
		Answer: shownAnswer(made.answer), Read: []reading{}, readings: made.readings,
	}
	for _, r := range made.readings {
		s.Read = append(s.Read, redactedReading(r))
	}
	for _, p := range append(query, form...) {
		if p.role() == "otp" {
			s.guess = p.Value
		}
	}
	for _, name := range made.carriers.names() {
		s.Headers[name] = redacted
	}
	if made.hasJSON {
		s.Body, _ = redactedJSON(made.json)
	}
	if made.department != "" {
		s.Headers["department-id"] = maskedText(made.department)
	}
	whole := len(made.query) <= maxQuery && len(made.form) < maxQuery && len(made.json) < maxQuery
	if queryOK && formOK && whole {
		s.Curl = made.curl(query, form)
	}
	return s
}

// harmless are the readings whose values are neither of a person nor a secret.
var harmless = []string{"environment", "kind", "method", "ttl", "length"}

func redactedReading(r web.Reading) reading {
	part := parameter{r.Name, r.Value}.masked()
	shown := reading{Name: part.Name, State: r.State, Value: part.Value}
	if slices.Contains(harmless, r.Name) {
		shown.Value = r.Value
	}
	if r.State != web.ReadRefused {
		shown.Note = r.Note
	}
	return shown
}

// curl returns the call as a command for a POSIX shell. Secrets and recipients are shell variables, so that the
// command can be shared. Everything else is quoted.
func (made call) curl(query, form []parameter) string {
	words := []string{"curl", "-sS"}
	usual := "GET"
	queryFlag := "--data-urlencode"
	switch {
	case made.hasForm, made.hasJSON:
		usual = "POST"
		queryFlag = "--url-query" // needs curl 7.87 or newer
	case len(query) > 0:
		words = append(words, "--get")
	}
	switch made.method {
	case usual:
	case "HEAD":
		words = append(words, "--head") // with -X HEAD curl would wait for a body
	default:
		words = append(words, "-X", web.ShellWord(made.method))
	}
	words = append(words, made.shownURL())
	for _, name := range made.carriers.names() {
		words = append(words, "-H", keyWords[name])
	}
	if made.hasJSON {
		words = append(words, "-H", "'Content-Type: application/json'")
	}
	if made.department != "" {
		words = append(words, "-H", web.ShellWord("department-id: "+maskedText(made.department)))
	}
	for _, p := range query {
		words = append(words, queryFlag, p.word())
	}
	if made.hasForm && len(form) == 0 {
		words = append(words, "--data", "''")
	}
	for _, p := range form {
		words = append(words, "--data-urlencode", p.word())
	}
	if made.hasJSON {
		words = append(words, "--data-binary", jsonWord(made.json))
	}
	return strings.Join(words, " ")
}

// word returns p as an argument of curl.
func (p parameter) word() string {
	name := url.QueryEscape(shownName(p.Name)) // curl encodes only what follows the =
	if variable, secret := variables[p.role()]; secret {
		return web.ShellWord(name+"=") + `"$` + variable + `"`
	}
	return web.ShellWord(name + "=" + p.masked().Value)
}

// variables are the shell variables that replace the values of these parameters in a curl command.
var variables = map[string]string{"mobile": "MOBILE", "email": "EMAIL", "otp": "OTP", "to": "TO"}

// role returns the name that the servlets read for p: they trim blanks of names.
func (p parameter) role() string { return strings.ToLower(strings.TrimSpace(p.Name)) }

// parameters returns the pairs of a query or form in order, and whether all could be read.
func parameters(raw string) ([]parameter, bool) {
	if raw == "" {
		return nil, true
	}
	var all []parameter
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(name)
		value, valueErr := url.QueryUnescape(value)
		if nameErr != nil || valueErr != nil || strings.Contains(pair, ";") {
			return []parameter{{Name: "[unreadable]", Value: redacted}}, false
		}
		all = append(all, parameter{Name: name, Value: value})
	}
	return all, true
}

func masked(given []parameter) []parameter {
	shown := make([]parameter, 0, len(given))
	for _, p := range given {
		shown = append(shown, p.masked())
	}
	return shown
}

// masked returns p redacted. It shows only what is known to be harmless: the value of an unknown parameter can be
// anything, such as a misplaced access key.
func (p parameter) masked() parameter {
	name := shownName(p.Name)
	switch p.role() {
	case "ipaddress", "ip":
		return parameter{name, maskedText(p.Value)}
	case "mobile":
		return parameter{name, maskedNumber(p.Value)}
	case "to":
		return parameter{name, maskedTo(p.Value)}
	case "email":
		return parameter{name, maskedMail(p.Value)}
	case "type":
		if harmlessWord.MatchString(p.Value) {
			return parameter{name, p.Value}
		}
	}
	if p.Value == "" {
		return parameter{name, ""}
	}
	return parameter{name, redacted}
}

var plainName = regexp.MustCompile(`^ ?[A-Za-z][A-Za-z_-]{0,23} ?$`)

// shownName returns a parameter's name, redacted if it looks like a value without a name.
func shownName(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return redacted
}

var (
	longDigits = regexp.MustCompile(`[0-9]{5,}`)
	plainText  = regexp.MustCompile(`^[A-Za-z0-9 ._:%/~-]{0,64}$`)
)

// maskedText shows short harmless text, but not runs of digits that could be a number or a code.
func maskedText(text string) string {
	if !plainText.MatchString(text) {
		return redacted
	}
	return longDigits.ReplaceAllStringFunc(text, maskedNumber)
}

// maskedNumber keeps the last two characters of a number, if it is long enough that they do not reveal it.
func maskedNumber(number string) string {
	runes := []rune(number)
	kept := 0
	if len(runes) >= 8 {
		kept = 2
	}
	return strings.Repeat("•", min(len(runes)-kept, 16)) + string(runes[len(runes)-kept:])
}

// maskedMail keeps the domain, where a typing error is likely.
func maskedMail(mail string) string {
	at := strings.LastIndexByte(mail, '@')
	if at < 1 || !plainText.MatchString(mail[at+1:]) {
		return redacted
	}
	return "•••@" + maskedText(mail[at+1:])
}

// keyWords are the headers that carry a key, as arguments of curl, by header.
var keyWords = map[string]string{
	"access_key":    `"access_key: $ACCESS_KEY"`,
	"X-API-Key":     `"X-API-Key: $API_KEY"`,
	"Authorization": `"Authorization: Bearer $API_KEY"`,
}

// shownURL returns the call's URL as an argument of curl. A variable replaces the id of a challenge.
func (made call) shownURL() string {
	address := func(path string) string {
		return web.ShellWord("http://" + made.host + (&url.URL{Path: path}).EscapedPath())
	}
	if folder, isStatus := strings.CutSuffix(shownPath(made.path), statusPath+redacted); isStatus {
		return address(folder+statusPath) + `"$ID"`
	}
	return address(shownPath(made.path))
}

// statusPath is the part of a path before a challenge's id.
const statusPath = "/v1/status/"

var servletPath = regexp.MustCompile(`^[A-Za-z0-9/._~-]{1,128}$`)

// shownPath returns the path without path parameters, because ;jsessionid is a session's secret.
func shownPath(path string) string {
	path, _, _ = strings.Cut(path, ";")
	if strings.HasPrefix(path, statusPath) {
		return statusPath + redacted
	}
	if !servletPath.MatchString(path) {
		return "/" + redacted
	}
	return longDigits.ReplaceAllStringFunc(path, maskedNumber)
}
