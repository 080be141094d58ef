package web

import (
	"crypto/sha256"
	"net/http"
)

// maxIdempotencyKey is the longest Idempotency-Key, in characters.
const maxIdempotencyKey = 255

// IdempotencyKey returns the request's Idempotency-Key, empty if there is none. Refusal: a Problem with status 400.
func IdempotencyKey(header http.Header) (string, error) {
	key, err := Single(header, "Idempotency-Key")
	switch given := len(header.Values("Idempotency-Key")) > 0; {
	case err != nil || !given:
		return "", err
	case !Printable(key) || len(key) > maxIdempotencyKey:
		return "", Invalid(Fault{Header: "Idempotency-Key", Detail: "must be 1 to 255 printable ASCII characters"})
	}
	return key, nil
}

// Fingerprint returns a hash of a request: of its method, its path and every byte of its body.
func Fingerprint(r *http.Request, body []byte) (sum [32]byte) {
	hash := sha256.New()
	hash.Write([]byte(r.Method + " " + r.URL.Path + "\n"))
	hash.Write(body)
	hash.Sum(sum[:0])
	return sum
}
