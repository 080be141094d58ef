package sandbox

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// query is the query of a request, as strict as a body: each parameter known and given once.
// Faults gather, so that a caller is told of all of them at once.
type query struct {
	values url.Values
	faults []inputFault
}

func readQuery(c *gin.Context, known ...string) *query {
	values, err := url.ParseQuery(c.Request.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.faults = append(q.faults, inputFault{Parameter: "?", Detail: "the query cannot be read: percent-encode special characters"})
		return q
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !slices.Contains(known, name):
			q.fault(name, "is not known; known are "+joined(known))
		case len(values[name]) > 1:
			q.fault(name, "is given twice; which one is meant?")
		}
	}
	return q
}

func joined(known []string) string {
	if len(known) == 0 {
		return "none"
	}
	return strings.Join(known, ", ")
}

func (q *query) fault(name, detail string) {
	if len(name) > 64 {
		name = name[:64]
	}
	q.faults = append(q.faults, inputFault{Parameter: strings.ToValidUTF8(name, "\uFFFD"), Detail: detail})
}

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) number(name string, otherwise, from, to int) int {
	text := q.text(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < from || n > to {
		q.fault(name, "must be a number from "+strconv.Itoa(from)+" to "+strconv.Itoa(to))
		return otherwise
	}
	return n
}

func (q *query) duration(name string, most time.Duration) time.Duration {
	text := q.text(name)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		q.fault(name, "must be a duration up to "+most.String()+", such as 10s")
		return 0
	}
	return d
}

// err refuses the request if anything was wrong with its query.
func (q *query) err() error {
	if len(q.faults) == 0 {
		return nil
	}
	return invalid(q.faults...)
}
