package crypto

import (
	"crypto/rand"
	"encoding/base64"
)

// NewAccessKey returns a new key for the servlets: 24 random bytes as 32 characters of standard base64. It looks like
// the keys that vendors issue, so it fits wherever an integration stores one. It has 192 random bits, so it cannot be
// guessed and a fast hash is enough to store it.
func NewAccessKey() string {
	var raw [24]byte
	rand.Read(raw[:]) // never fails: the runtime stops the process instead
	return base64.StdEncoding.EncodeToString(raw[:])
}

// LastFour returns the last four characters of a key, by which its owner recognises it in a list. For a key of fewer
// than 12 characters, which only an import can bring, it returns nothing: four would be too large a part.
func LastFour(key string) string {
	characters := []rune(key)
	if len(characters) < 12 {
		return ""
	}
	return string(characters[len(characters)-4:])
}
