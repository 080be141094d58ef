package web

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
	"otpbridge/server/strict"
)

// Query is the query of a request. It is as strict as a body: each parameter must be known and given once. It collects
// faults, so that a caller learns all of them at once.
type Query struct {
	values url.Values
	faults []Fault
}

// ReadQuery reads the query of c. Parameters that are not in known are faults.
func ReadQuery(c *gin.Context, known ...string) *Query {
	values, err := url.ParseQuery(c.Request.URL.RawQuery)
	q := &Query{values: values}
	if err != nil {
		q.faults = append(q.faults, Fault{Parameter: "?", Detail: "the query cannot be read: percent-encode special " +
			"characters"})
		return q
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) {
			q.Fault(name, "is not known; known are "+cmp.Or(strings.Join(known, ", "), "none"))
		} else if wrong := wrongValue(values[name]); wrong != "" {
			q.Fault(name, wrong)
		} else {
			RequestOf(c).Readings.Note(name, ReadAs, values[name][0], "as it was sent")
		}
	}
	return q
}

// wrongValue says what is wrong with the values of a parameter or field whatever it means, empty for nothing.
func wrongValue(values []string) string {
	switch {
	case len(values) > 1:
		return "is given twice; which one is meant?"
	case !utf8.ValidString(values[0]):
		return "is not UTF-8"
	}
	return ""
}

// CheckPage refuses the query or the posted form of a page for what no page of ours sends: something that is given
// twice or is not UTF-8.
func CheckPage(given ...url.Values) error {
	q := &Query{}
	for _, values := range given {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if wrong := wrongValue(values[name]); wrong != "" {
				q.Fault(name, wrong)
			}
		}
	}
	return q.Err()
}

// Filled refuses parameters that are given without a value. Most are a variable of a script that was not set, and the
// answer would be about everything.
func (q *Query) Filled() *Query {
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		if len(q.values[name]) == 1 && q.values[name][0] == "" {
			q.Fault(name, "is empty; leave it out")
		}
	}
	return q
}

// Fault adds a fault of a parameter.
func (q *Query) Fault(name, detail string) {
	if len(q.faults) == strict.MaxFaults {
		return
	}
	q.faults = append(q.faults, Fault{Parameter: otp.Cut(strings.ToValidUTF8(name, "\uFFFD"), 64), Detail: detail})
}

// Given returns a parameter's value, and whether it was given.
func (q *Query) Given(name string) (value string, given bool) {
	return q.Text(name), q.values.Has(name)
}

// Text returns a parameter's value, empty if it was not given.
func (q *Query) Text(name string) string { return q.values.Get(name) }

// Number returns a parameter that must be a number between from and to, or otherwise if it was not given.
func (q *Query) Number(name string, otherwise, from, to int) int {
	text := q.Text(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < from || n > to {
		q.Fault(name, "must be a number from "+strconv.Itoa(from)+" to "+strconv.Itoa(to))
		return otherwise
	}
	return n
}

// Place returns a parameter that must be a numeric next_cursor; 0 if it was not given.
func (q *Query) Place(name string) int64 {
	text, given := q.Given(name)
	if !given {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		q.Fault(name, "must be the next_cursor of an answer")
	}
	return n
}

// Moment returns a parameter that must be a time of RFC 3339; 0 if it was not given.
func (q *Query) Moment(name string) otp.Millis {
	text, given := q.Given(name)
	if !given {
		return 0
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Year() < 1971 {
		q.Fault(name, "must be a time such as 2026-11-29T12:00:00Z")
		return 0
	}
	return otp.At(at)
}

// Duration returns a parameter that must be a duration of at most most; 0 if it was not given.
func (q *Query) Duration(name string, most time.Duration) time.Duration {
	text := q.Text(name)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		q.Fault(name, "must be a duration up to "+most.String()+", such as 10s")
		return 0
	}
	return d
}

// Err returns the refusal of the request if its query has faults.
func (q *Query) Err() error {
	if len(q.faults) == 0 {
		return nil
	}
	return Invalid(q.faults...)
}
