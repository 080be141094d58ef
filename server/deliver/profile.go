package deliver

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/server/strict"
)

// profile is a gateway's request format and the meaning of its answers, as a JSON file states them. Everything is
// optional.
type profile struct {
	Name    string            `json:"name"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
	Query   map[string]string `json:"query"`
	Form    map[string]string `json:"form"`
	JSON    any               `json:"json"`
	Sender  string            `json:"sender"`
	Service string            `json:"service"`
	Timeout string            `json:"timeout"`
	Connect string            `json:"connect_timeout"`

	// Encodings are the gateway's words for {encoding}: gsm and unicode.
	Encodings map[string]string `json:"encodings"`

	Sent    rule   `json:"sent"`
	Refused []rule `json:"refused"`
	// ID is the path of the provider's message id in a JSON answer; for other answers, IDMatch finds it by the first
	// group of a regular expression.
	ID       string              `json:"id"`
	IDMatch  string              `json:"id_match"`
	Statuses map[Status][]string `json:"statuses"`
	Receipt  receiptNames        `json:"receipt"`
}

// rule matches an answer if all its conditions hold.
type rule struct {
	Status string   `json:"status"` // such as 200-299,304; empty means any
	Field  string   `json:"field"`  // path in a JSON answer
	Values []string `json:"values"` // one of which the field must be
	Match  string   `json:"match"`  // regular expression that the body must match
	Retry  bool     `json:"retry"`  // of a refusal: the same message may be accepted later

	statuses []statusRange
	match    *regexp.Regexp
}

type statusRange struct{ from, to int }

// parseProfile reads a profile strictly: if a misspelt name were ignored, a refusal could count as sent. The error
// quotes no value and no name that the profile's author chose: either may be a secret.
func parseProfile(text []byte) (p profile, err error) {
	wrong, ok := errors.AsType[*strict.Error](strict.Decode(text, &p))
	if !ok {
		return p, nil
	}
	place := strings.TrimPrefix(wrong.Faults[0].Pointer, "/")
	first, _, _ := strings.Cut(place, "/")
	switch {
	case place == "":
		return profile{}, errors.New("the profile " + wrong.Faults[0].Detail)
	case slices.Contains([]string{"headers", "query", "form", "json", "encodings"}, first):
		place = first
	}
	return profile{}, fmt.Errorf("the profile's %s %s", place, wrong.Faults[0].Detail)
}

// encodingsOf returns a profile's words for encodings, by the names of CountSegments. An empty word leaves its field
// out.
func encodingsOf(words map[string]string) (map[string]string, error) {
	named := map[string]string{"gsm": "GSM-7", "unicode": "UCS-2"}
	found := map[string]string{"GSM-7": "gsm", "UCS-2": "unicode"}
	for name, word := range words {
		if named[name] == "" {
			return nil, errors.New("the profile's encodings has a name that is none of gsm, unicode")
		}
		if !visible(word) {
			return nil, fmt.Errorf("the profile's encodings.%s has a control character", name)
		}
		found[named[name]] = word
	}
	return found, nil
}

// compile reads the statuses and the expression of a rule.
func (r *rule) compile(name string) (err error) {
	if r.Status != "" {
		for part := range strings.SplitSeq(r.Status, ",") {
			first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
			if !isRange {
				last = first
			}
			from, err1 := strconv.Atoi(first)
			to, err2 := strconv.Atoi(last)
			if err1 != nil || err2 != nil || from < 200 || to > 599 || from > to {
				return fmt.Errorf("%s.status is no list of statuses such as 200-299,304", name)
			}
			r.statuses = append(r.statuses, statusRange{from, to})
		}
	}
	if r.Match != "" {
		if r.match, err = regexp.Compile(r.Match); err != nil {
			return fmt.Errorf("%s.match is no regular expression (RE2)", name)
		}
	}
	if (r.Field == "") != (len(r.Values) == 0) {
		return fmt.Errorf("%s has one of field and values without the other", name)
	}
	return nil
}

// looks reports whether the rule needs the answer's body.
func (r *rule) looks() bool { return r.Field != "" || r.match != nil }

// holds reports whether the rule matches an answer.
func (r *rule) holds(a *answer) bool {
	if len(r.statuses) > 0 && !slices.ContainsFunc(r.statuses,
		func(s statusRange) bool { return a.status >= s.from && a.status <= s.to }) {
		return false
	}
	if !r.looks() {
		return true
	}
	if !a.whole || r.match != nil && !r.match.Match(a.body) {
		return false
	}
	if r.Field == "" {
		return true
	}
	text, ok := a.field(r.Field)
	return ok && slices.Contains(r.Values, text)
}

// plainRefusals are the statuses that mean "not accepted", unless a gateway's profile says otherwise. 408 and 409 are
// not among them: 408 may come from a proxy that had forwarded the request, 409 may mean that the message is already
// known.
func plainRefusals() []rule {
	return []rule{
		{Status: "400-407,410,411,413-415,422"},
		{Status: "429", Retry: true},
	}
}

// checkRefusals refuses rules that would match too much.
func checkRefusals(rules []rule) error {
	for i := range rules {
		name := fmt.Sprintf("refused[%d]", i)
		r := &rules[i]
		if err := r.compile(name); err != nil {
			return err
		}
		if len(r.statuses) == 0 && !r.looks() {
			return fmt.Errorf("%s holds of every answer", name)
		}
		for _, s := range r.statuses {
			if !r.looks() && (s.from < 400 || s.to >= 500) {
				return fmt.Errorf("%s takes a status outside 400-499 for a refusal, which it does not prove: add field and "+
					"values, or match", name)
			}
		}
	}
	return nil
}

// answer is a gateway's answer, as far as it was read.
type answer struct {
	status int
	body   []byte
	whole  bool // the body was read to its end
	value  any  // the body as JSON, if it is JSON
	parsed bool
}

// field returns the text of a scalar at a dotted path, in which a number is an index into a list.
func (a *answer) field(path string) (string, bool) {
	if !a.parsed {
		a.parsed = true
		a.value, _ = parseJSON(a.body)
	}
	return scalarAt(a.value, path)
}

// judge turns an answer into a result: not sent if a refusal of the profile matches, else sent if the profile's rule
// for sent matches, else unknown.
func (g *Gateway) judge(a *answer) Result {
	for i := range g.refusals {
		if r := &g.refusals[i]; r.holds(a) {
			return Result{Outcome: NotSent, Retryable: r.Retry, Down: r.Retry,
				Reason: fmt.Sprintf("refused with status %d%s", a.status, r.said(a))}
		}
	}
	if g.sent.holds(a) {
		return Result{Outcome: Sent, MessageID: g.messageID(a)}
	}
	switch {
	case a.status >= 300 && a.status < 400:
		return doubtful(fmt.Sprintf("answered with status %d, a redirect, and none is followed: name the address that it "+
			"leads to", a.status))
	case !a.whole:
		return doubtful(fmt.Sprintf("answered with status %d and a body that broke off or is too long", a.status))
	}
	return doubtful(fmt.Sprintf("answered with status %d, which is neither sent nor refused", a.status))
}

// said returns the field and value that identified a refusal. The value is the profile's own text.
func (r *rule) said(a *answer) string {
	if r.Field == "" {
		return ""
	}
	text, _ := a.field(r.Field)
	return fmt.Sprintf(" and %s=%q", r.Field, text)
}

// maxMessageID bounds a provider's message id; a longer one is ignored.
const maxMessageID = 128

// messageID returns the provider's message id. It is stored and logged, so it is used only if it looks like an id, and
// never if it could be the recipient's number.
func (g *Gateway) messageID(a *answer) string {
	var id string
	switch {
	case g.idPath != "":
		id, _ = a.field(g.idPath)
	case g.idMatch != nil:
		if found := g.idMatch.FindSubmatch(a.body); found != nil {
			id = string(found[1])
		}
	}
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	if len(id) > maxMessageID || strings.ContainsFunc(id, odd) {
		return ""
	}
	return id
}

// Receipt completes a receipt from the provider's word for the status; false if the profile does not know the word.
func (g *Gateway) Receipt(r Receipt, word string) (Receipt, bool) {
	status, known := g.statuses[otp.Lower(word)]
	r.Provider, r.Status = g.name, status
	return r, known
}

// methods are the HTTP methods that a gateway may be called with.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut}
