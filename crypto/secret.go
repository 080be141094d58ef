package crypto

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Secret is bytes that must not be shown: a cipher key, an index key, a signing secret. The zero value is a secret
// that is not set.
//
// It always prints as [redacted], so a struct that contains it may be logged. Comparing two Secrets with == does not
// compile; Equal compares them in constant time.
type Secret struct {
	redacted

	// There are two pointers because fmt does not always call our methods: it cannot if the Secret is in an unexported
	// field of another struct, and does not for %p. Then it prints what reflection shows: a []byte as it is, and a
	// *[]byte for verbs that pointers do not have, such as %s. It never follows a pointer to a pointer.
	b **[]byte
}

// NewSecret copies b, so the caller may overwrite it.
func NewSecret(b []byte) Secret {
	if len(b) == 0 {
		return Secret{}
	}
	copied := bytes.Clone(b)
	pointer := &copied
	return Secret{b: &pointer}
}

// Bytes returns the secret itself, not a copy: pass it to a cipher, and do not keep or change it.
func (s Secret) Bytes() []byte {
	if s.b == nil {
		return nil
	}
	return **s.b
}

// Len returns the number of bytes, which is not secret.
func (s Secret) Len() int { return len(s.Bytes()) }

// IsZero reports whether the secret has not been set.
func (s Secret) IsZero() bool { return s.Len() == 0 }

// Equal compares in a time that depends only on the lengths. Two secrets that are not set are equal, so check IsZero
// before using Equal to grant access.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare(s.Bytes(), o.Bytes()) == 1
}

// redaction is what every secret prints as. It is the same for all, so that it does not show the length, and one
// search finds every place that printed one.
const redaction = "[redacted]"

// redacted makes the type that embeds it refuse to print. Format covers every verb of fmt; the other methods are for
// encoders and direct calls.
type redacted struct {
	_ [0]func() // functions cannot be compared, so == on the embedding type does not compile
}

func (redacted) String() string { return redaction }

func (redacted) GoString() string { return redaction }

func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redaction) }

func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + redaction + `"`), nil }

func (redacted) MarshalText() ([]byte, error) { return []byte(redaction), nil }

func (redacted) LogValue() slog.Value { return slog.StringValue(redaction) }
