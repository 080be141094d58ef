package conform

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The vocabulary for /v1. The options of the servlets' calls apply here too, where they make sense: Key is then an API
// key, sent as a bearer token unless NoKey is given.

// Fields are the members of a JSON body, in addition to or instead of those that the story sends.
type Fields map[string]any

// Without removes a member that the story would send.
var Without any = without{}

type without struct{}

// Reply is an answer of /v1.
type Reply struct {
	Answer
	document map[string]any // nil if the body is not a JSON object
}

// V1Door calls the JSON API for a story.
type V1Door struct{ story *Story }

// Call sends a body unchanged to a path of /v1.
func (d V1Door) Call(method, path, body string, opts ...Option) Reply {
	s := d.story
	if s.account.APIKey == "" {
		panic(skipped{"The target shows no API key."})
	}
	c := call{servlet: path, method: method, key: s.account.APIKey}
	for _, option := range opts {
		option(&c)
	}
	r := Request{Method: c.method, Header: c.headers, Body: body}
	r.Path, r.Query, _ = strings.Cut(c.servlet, "?")
	if body != "" {
		r.Type = jsonType
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if !c.noKey {
		r.Header["Authorization"] = append(r.Header["Authorization"], "Bearer "+c.key)
	}
	reply := Reply{Answer: s.send(r)}
	_ = json.Unmarshal([]byte(reply.Body), &reply.document) // nil means that it is none
	return reply
}

// post sends the members of own, overridden by fields.
func (s *Story) post(path string, own, fields Fields, opts []Option) Reply {
	body := Fields{}
	for _, from := range []Fields{own, fields} {
		for name, value := range from {
			body[name] = value
			if value == Without {
				delete(body, name)
			}
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		s.stop(err)
	}
	return s.V1.Call(http.MethodPost, path, string(text), opts...)
}

// To returns the story's number as /v1 writes it.
func (s *Story) To() string { return "+" + s.mobile }

// Send requests a code by SMS to the story's number.
func (d V1Door) Send(fields Fields, opts ...Option) Reply {
	return d.story.post("/v1/send", Fields{"to": d.story.To(), "method": "sms", "type": "verification"}, fields, opts)
}

// Verify guesses code. fields name the challenge: an id, or a number with to.
func (d V1Door) Verify(code string, fields Fields, opts ...Option) Reply {
	return d.story.post("/v1/verify", Fields{"code": code}, fields, opts)
}

// Resend requests the code of a challenge again.
func (d V1Door) Resend(id string, fields Fields, opts ...Option) Reply {
	return d.story.post("/v1/resend", Fields{"id": id}, fields, opts)
}

// Cancel cancels a challenge.
func (d V1Door) Cancel(id string, opts ...Option) Reply {
	return d.story.post("/v1/cancel", Fields{"id": id}, nil, opts)
}

// ResendBy and CancelBy name the challenge by fields, as a guess does.
func (d V1Door) ResendBy(fields Fields, opts ...Option) Reply {
	return d.story.post("/v1/resend", nil, fields, opts)
}

func (d V1Door) CancelBy(fields Fields, opts ...Option) Reply {
	return d.story.post("/v1/cancel", nil, fields, opts)
}

// StatusBy requests the status of the challenge that the fields name, by a query.
func (d V1Door) StatusBy(fields Fields, opts ...Option) Reply {
	query := url.Values{}
	for name, value := range fields {
		query.Set(name, fmt.Sprint(value))
	}
	return d.Call(http.MethodGet, "/v1/status?"+query.Encode(), "", opts...)
}

// Status requests the status of a challenge.
func (d V1Door) Status(id string, opts ...Option) Reply {
	return d.Call(http.MethodGet, "/v1/status/"+id, "", opts...)
}

// byID and byTo name the challenge of a guess.
func byID(id string) Fields { return Fields{"id": id} }

func (s *Story) byTo() Fields { return Fields{"to": s.To()} }

// with returns fields with one of them changed.
func with(fields Fields, name string, value any) Fields {
	changed := maps.Clone(fields)
	if changed[name] = value; value == Without {
		delete(changed, name)
	}
	return changed
}

// challenged sends a code and returns the challenge's id and the code.
func (s *Story) challenged(fields Fields, opts ...Option) (id, code string) {
	r := s.V1.Send(fields, opts...).ExpectCreated()
	to, _ := fields["to"].(string)
	if to == "" {
		return r.text("id"), s.Code()
	}
	return r.text("id"), s.Code(Mobile(to))
}

// sentByV1 reports whether an exchange made the target send.
func sentByV1(r Request, a Answer) bool {
	return (r.Path == "/v1/send" || r.Path == "/v1/resend") && a.Status < 300
}

func (r Reply) has(name string) bool { return r.document[name] != nil }

// text returns a member that is a text, or "".
func (r Reply) text(name string) string {
	text, _ := r.document[name].(string)
	return text
}

// number returns a member that is a whole number, or -1.
func (r Reply) number(name string) int {
	number, ok := r.document[name].(float64)
	if !ok || number != float64(int(number)) {
		return -1
	}
	return int(number)
}

// time returns a member that is an RFC 3339 time in UTC with Z; zero if it is not one.
func (r Reply) time(name string) time.Time {
	text := r.text(name)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || !strings.HasSuffix(text, "Z") {
		return time.Time{}
	}
	return at
}

// came returns an answer as a report shows it.
func (r Reply) came() string {
	return statusText(r.Status) + ", " + visible(r.Body)
}

// ExpectJSON requires a JSON object with that status.
func (r Reply) ExpectJSON(status int) Reply {
	r.require(r.Status == status, "status "+statusText(status), r.came())
	r.expectType(jsonType)
	return r
}

func (r Reply) expectType(want string) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	r.require(strings.EqualFold(strings.TrimSpace(kind), want), "Content-Type "+want, "Content-Type "+orNone(kind))
	r.require(r.document != nil, "a JSON object", r.came())
}

// ExpectCreated requires a new challenge.
func (r Reply) ExpectCreated() Reply {
	r.ExpectJSON(http.StatusCreated)
	r.require(r.text("id") != "", "an id", r.came())
	return r
}

// ExpectValid requires the answer to the right code.
func (r Reply) ExpectValid() Reply {
	r.ExpectJSON(http.StatusOK)
	r.require(r.document["valid"] == true, "valid true", r.came())
	return r
}

// ExpectReason requires the answer to a code that does not verify.
func (r Reply) ExpectReason(reason string) {
	r.ExpectJSON(http.StatusOK)
	r.require(r.document["valid"] == false && r.text("reason") == reason, "valid false, reason "+reason, r.came())
}

// ExpectMismatch requires the answer to a wrong code with that many attempts left.
func (r Reply) ExpectMismatch(left int) {
	r.ExpectReason("MISMATCH")
	r.require(r.number("attempts_remaining") == left, "attempts_remaining "+strconv.Itoa(left), r.came())
}

// ExpectProblem requires an error with that status. An empty code accepts any.
func (r Reply) ExpectProblem(status int, code string) Reply {
	r.require(r.Status == status, "status "+statusText(status), r.came())
	r.expectType("application/problem+json")
	if code != "" {
		r.require(r.text("code") == code, "code "+code, r.came())
	}
	return r
}

// ExpectInvalid requires a 400 that points at a member of the body.
func (r Reply) ExpectInvalid(pointer string) {
	r.ExpectProblem(http.StatusBadRequest, "")
	r.require(slices.ContainsFunc(r.pointers(), func(p string) bool {
		return p == pointer || strings.HasPrefix(p, pointer+"/")
	}), "errors with the pointer "+pointer, r.came())
}

// pointers returns the places in the request that a problem names.
func (r Reply) pointers() []string {
	var list []string
	errors, _ := r.document["errors"].([]any)
	for _, one := range errors {
		member, _ := one.(map[string]any)
		pointer, _ := member["pointer"].(string)
		list = append(list, strings.TrimPrefix(pointer, "#"))
	}
	return list
}

// ExpectRefused requires any client error; other cases test which one.
func (r Reply) ExpectRefused() {
	r.require(r.Status >= 400 && r.Status < 500, "a status from 400 to 499", r.came())
	r.expectType("application/problem+json")
}

// expectRetryAfter requires a refusal with Retry-After in seconds.
func (r Reply) expectRetryAfter() {
	after := r.Header.Get("Retry-After")
	seconds, err := strconv.Atoi(after)
	r.require(err == nil && seconds >= 1, "Retry-After of at least 1 second", "Retry-After "+orNone(after))
}

// expectHeader requires a header whose value is a whole number within bounds.
func (r Reply) expectHeader(name string, least, most int64) {
	given := r.Header.Get(name)
	value, err := strconv.ParseInt(given, 10, 64)
	want := fmt.Sprintf("%s from %d to %d", name, least, most)
	if least == most {
		want = fmt.Sprintf("%s %d", name, least)
	}
	r.require(err == nil && value >= least && value <= most, want, name+" "+orNone(given))
}

// number64 returns a header that is a whole number, or -1.
func (r Reply) number64(name string) int64 {
	value, err := strconv.ParseInt(r.Header.Get(name), 10, 64)
	if err != nil {
		return -1
	}
	return value
}

// guessWrongV1 makes n wrong guesses and requires the attempts left to count down from from.
func (s *Story) guessWrongV1(code string, at Fields, from, n int) {
	for left := from; left > from-n; left-- {
		s.V1.Verify(rotated(code), at).ExpectMismatch(left)
	}
}
