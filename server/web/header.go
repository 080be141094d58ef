package web

import (
	"net/http"
)

// Twice is the fault of a header that is given more than once and may be given once only.
const Twice = "is given twice; send it once"

// Single is the value of a header that may be given once, empty for none. What stands in front of
// the server may have looked at another one than the server would: a header given twice, also with
// the same value, is refused and named.
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
