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

// profile is how a gateway wants to be spoken to and what its answers mean, as a JSON file has
// it. Everything may be left out.
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

	// Encodings are the gateway's words for {encoding}: of gsm and unicode.
	Encodings map[string]string `json:"encodings"`

	Sent    rule   `json:"sent"`
	Refused []rule `json:"refused"`
	// ID is the path of the provider's message id in a JSON answer; IDMatch finds it in any other
	// by the first group of a regular expression.
	ID       string              `json:"id"`
	IDMatch  string              `json:"id_match"`
	Statuses map[Status][]string `json:"statuses"`
	Receipt  receiptNames        `json:"receipt"`
}

// rule holds of an answer if all it says does.
type rule struct {
	Status string   `json:"status"` // such as 200-299,304; empty means any
	Field  string   `json:"field"`  // path in a JSON answer
	Values []string `json:"values"` // one of which the field must be
	Match  string   `json:"match"`  // regular expression that the body must match
	Retry  bool     `json:"retry"`  // of a refusal: the same message may be taken later

	statuses []statusRange
	match    *regexp.Regexp
}

type statusRange struct{ from, to int }

// parseProfile reads a profile strictly: a misspelt name that is ignored would be a refusal that
// counts as sent. The error quotes no value, and no name that whoever wrote the profile chose: either may be a secret.
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

// encodingsOf are a profile's words for encodings, by what CountSegments calls them. One that is empty
// leaves its field out.
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

// holds reports whether the rule holds of an answer.
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

// plainRefusals are the statuses by which a gateway says that it did not take the message, where
// its profile does not say otherwise. 408 and 409 are not among them: the first may come from a
// proxy that had passed the request on, the second may mean that the message is known already.
func plainRefusals() []rule {
	return []rule{
		{Status: "400-407,410,411,413-415,422"},
		{Status: "429", Retry: true},
	}
}

// checkRefusals refuses a profile that takes a status for more than it says.
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

// answer is what a gateway answered, as far as it was read.
type answer struct {
	status int
	body   []byte
	whole  bool // the body was read to its end
	value  any  // the body as JSON, if it is some
	parsed bool
}

// field is the text of a scalar at a dotted path, where a number counts into a list.
func (a *answer) field(path string) (string, bool) {
	if !a.parsed {
		a.parsed = true
		a.value, _ = parseJSON(a.body)
	}
	return scalarAt(a.value, path)
}

// judge turns an answer into a result: a refusal that the profile knows, else sent as the profile
// knows it, else nobody knows.
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

// said is the value that a refusal was known by. It is the profile's own text.
func (r *rule) said(a *answer) string {
	if r.Field == "" {
		return ""
	}
	text, _ := a.field(r.Field)
	return fmt.Sprintf(" and %s=%q", r.Field, text)
}

// maxMessageID bounds a provider's message id; a longer one is none.
const maxMessageID = 128

// messageID is what the provider calls the message. It goes into the database and logs, so it is
// taken only if it looks like an id, and never if it could be the recipient's number.
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

// Receipt reads what the provider reports about a message; false if the profile does not know
// the word.
func (g *Gateway) Receipt(r Receipt, word string) (Receipt, bool) {
	status, known := g.statuses[otp.Lower(word)]
	r.Provider, r.Status = g.name, status
	return r, known
}

// methods are those that a gateway may be called with.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut}
