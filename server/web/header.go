package web

import (
	"net/http"
)

// Twice is the detail of the fault that a header is given more than once.
const Twice = "is given twice; send it once"

// Single returns the value of a header, empty if there is none. It refuses a header that is given twice, also with the
// same value, because a proxy may have checked the other one.
//
// Refusal: a Problem with status 400.
func Single(header http.Header, name string) (string, error) {
	values := header.Values(name)
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", Invalid(Fault{Header: name, Detail: Twice})
}
