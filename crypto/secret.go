package crypto

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Secret is bytes that must not be seen: a cipher key, an index key, a signing
// secret. The zero value is the secret that has not been set.
//
// It prints as [redacted] wherever it is printed, and a struct that contains it may
// therefore be logged. Two Secrets cannot be compared with ==, which does not
// compile; Equal compares them in constant time.
type Secret struct {
	redacted

	// The bytes stand behind two pointers for the cases in which fmt does not call our
	// methods: it cannot when the Secret is in an unexported field of another struct, and
	// does not for %p. It then prints what it finds by reflection. A []byte it would print
	// as it is, and a *[]byte it would follow when the verb is one that pointers do not
	// have, such as %s. A pointer to a pointer it never follows.
	b **[]byte
}

// NewSecret copies b, so that the caller may overwrite its own.
func NewSecret(b []byte) Secret {
	if len(b) == 0 {
		return Secret{}
	}
	copied := bytes.Clone(b)
	pointer := &copied
	return Secret{b: &pointer}
}

// Bytes is the secret itself, to be passed on to a cipher and not kept or changed:
// it is not a copy.
func (s Secret) Bytes() []byte {
	if s.b == nil {
		return nil
	}
	return **s.b
}

// Len is the number of bytes, which is no secret.
func (s Secret) Len() int { return len(s.Bytes()) }

// IsZero reports whether the secret has not been set.
func (s Secret) IsZero() bool { return s.Len() == 0 }

// Equal compares in a time that depends on the lengths only. Two secrets that have
// not been set are equal, so whoever uses Equal to admit somebody must first refuse
// a secret that IsZero.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare(s.Bytes(), o.Bytes()) == 1
}

// redaction is what every secret prints as. It is one word for all, so that not even
// the length shows and one search finds every place that tried.
const redaction = "[redacted]"

// redacted makes the type that embeds it refuse to print. Formatter alone covers
// every verb of fmt; the others are for encoders and for callers that ask directly.
type redacted struct {
	_ [0]func() // functions cannot be compared, so == on the embedding type is a compile error
}

func (redacted) String() string { return redaction }

func (redacted) GoString() string { return redaction }

func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redaction) }

func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + redaction + `"`), nil }

func (redacted) MarshalText() ([]byte, error) { return []byte(redaction), nil }

func (redacted) LogValue() slog.Value { return slog.StringValue(redaction) }
