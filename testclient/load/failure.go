package load

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Kind is the kind of a failure.
type Kind string

// The kinds of failures.
const (
	Text       Kind = "text"       // the right status with a wrong text
	Status     Kind = "status"     // a wrong status
	Connection Kind = "connection" // no answer, or one that cannot be parsed
)

// Failure is one kind of failure with its count.
type Failure struct {
	Step   string // or "connect"
	Kind   Kind
	Detail string // the wrong text in quotes, after the status if that is wrong; or the error
	Count  int
}

// String returns the failure in one line.
func (f Failure) String() string {
	return fmt.Sprintf("%d × %s: %s: %s", f.Count, f.Step, f.Kind, f.Detail)
}

// failures counts failures. It is safe for concurrent use.
type failures struct {
	mu     sync.Mutex
	counts map[Failure]int // by failures without their count
	total  int
}

// maxWays is how many different failures are kept; a server that includes a time or an id in its texts has a new one
// each time.
const maxWays = 50

const otherDetail = "others"

func (f *failures) add(step string, kind Kind, detail string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	if f.counts == nil {
		f.counts = map[Failure]int{}
	}
	way := Failure{Step: step, Kind: kind, Detail: detail}
	if _, known := f.counts[way]; !known && len(f.counts) >= maxWays {
		way.Detail = otherDetail
	}
	f.counts[way]++
}

// addText quotes the answer, so that blanks and line ends are visible.
func (f *failures) addText(step string, kind Kind, status int, body []byte) {
	const longest = 200
	text := fmt.Sprintf("%q", body[:min(len(body), longest)])
	if len(body) > longest {
		text += "…"
	}
	if kind == Status {
		text = fmt.Sprintf("%d %s", status, text)
	}
	f.add(step, kind, text)
}

func (f *failures) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// list returns the failures, most frequent first.
func (f *failures) list() []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Failure
	for way, count := range f.counts {
		way.Count = count
		list = append(list, way)
	}
	slices.SortFunc(list, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Step, b.Step), strings.Compare(a.Detail, b.Detail))
	})
	return list
}
