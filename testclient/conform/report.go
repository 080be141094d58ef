package conform

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Format writes a report.
type Format func(w io.Writer, r *Report) error

// Formats are the report formats, by the name that --report takes.
var Formats = map[string]Format{
	"text":     PlainText,
	"junit":    JUnit,
	"json":     JSON,
	"markdown": Markdown,
	"html":     HTML,
}

// String returns the level as in RFC 2119.
func (l Level) String() string {
	switch l {
	case Must:
		return "MUST"
	case Should:
		return "SHOULD"
	default:
		return "MAY"
	}
}

// ParseLevel reads must, should or may.
func ParseLevel(text string) (Level, bool) {
	for l := Must; l <= May; l++ {
		if strings.EqualFold(text, l.String()) {
			return l, true
		}
	}
	return 0, false
}

// Section returns the id without its last part.
func (c *Case) Section() string {
	if i := strings.LastIndexByte(c.ID, '/'); i > 0 {
		return c.ID[:i]
	}
	return c.ID
}

// tally counts the results of one section with one profile.
type tally struct {
	section                 string
	profile                 Profile
	pass, fail, skip, error int
}

// tallies returns the sections in the order of the cases.
func (r *Report) tallies() []tally {
	var list []tally
	for i := range r.Results {
		result := &r.Results[i]
		section := result.Case.Section()
		at := slices.IndexFunc(list, func(t tally) bool { return t.section == section && t.profile == result.Profile })
		if at < 0 {
			at = len(list)
			list = append(list, tally{section: section, profile: result.Profile})
		}
		switch result.Status {
		case Pass:
			list[at].pass++
		case Fail:
			list[at].fail++
		case Skip:
			list[at].skip++
		case Error:
			list[at].error++
		}
	}
	return list
}

// verdict returns the report in one sentence.
func (r *Report) verdict() string {
	counts := fmt.Sprintf("%d passed, %d failed, %d skipped, %d could not run", r.Count(Pass), r.Count(Fail),
		r.Count(Skip), r.Count(Error))
	switch {
	case r.Count(Fail) > 0:
		return "The target does not speak the protocol: " + counts + "."
	case r.Count(Error) > 0:
		return "The test could not run to its end: " + counts + "."
	case r.Count(Pass) == 0:
		return "Nothing was tested: " + counts + "."
	default:
		return "The target speaks the protocol as far as it was asked: " + counts + "."
	}
}

// reproduction returns a script that repeats a result.
func (r *Result) reproduction() string {
	var lines []string
	for _, e := range r.Exchange {
		lines = append(lines, e.Curl)
	}
	return strings.Join(lines, "\n")
}

// last returns the exchange that decided, or nil.
func (r *Result) last() *Exchange {
	if len(r.Exchange) == 0 {
		return nil
	}
	return &r.Exchange[len(r.Exchange)-1]
}

// basis returns the level and source of a requirement, and the profile it was tested with, if any.
func (r *Result) basis() string {
	if r.Profile == None {
		return fmt.Sprintf("%s, from %s", r.Case.Level, r.Case.Source.words())
	}
	return fmt.Sprintf("%s, from %s; profile %s", r.Case.Level, r.Case.Source.words(), r.Profile)
}

func (s Source) words() string {
	switch s {
	case Article:
		return "the vendor's article"
	case Captured:
		return "captured bytes"
	case Client:
		return "public clients"
	default:
		return "a choice where the sources are silent"
	}
}

func inSeconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by)
}
