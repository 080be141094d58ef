package crypto

import (
	"crypto/rand"
	"encoding/base64"
)

// NewAccessKey is a fresh key for the servlets: 24 random bytes as 32 characters of
// standard base64, the look of the keys that vendors issue, so that it fits wherever an
// integration has room for theirs. With 192 bits nobody guesses one, and a fast hash
// suffices to store it.
func NewAccessKey() string {
	var raw [24]byte
	rand.Read(raw[:]) // never fails: the runtime stops the process instead
	return base64.StdEncoding.EncodeToString(raw[:])
}

// LastFour is the end of a key, by which its owner recognises it in a list. Of a key of
// fewer than 12 characters, which only an import brings, it shows nothing: four would be
// too large a part of it.
func LastFour(key string) string {
	characters := []rune(key)
	if len(characters) < 12 {
		return ""
	}
	return string(characters[len(characters)-4:])
}
