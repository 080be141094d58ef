package crypto

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// Refresh tokens and one-time links are random and stored as hashes only. They hold 256 random bits, so a plain hash
// reveals nothing.

const labelNextToken = "otpbridge next token v1"

// NewToken returns a new token: the prefix, then 43 characters that are safe in a URL.
func NewToken(prefix string) string {
	var raw [sha256.Size]byte
	rand.Read(raw[:]) // never fails: the runtime stops the process instead
	return prefix + base64.RawURLEncoding.EncodeToString(raw[:])
}

// NextToken returns the successor of a token. It is the same for every caller with the same token and nonce: several
// requests with one refresh token get the same successor, which is stored nowhere. Computing it needs both the token,
// which the database does not hold, and the nonce, which the token's holder does not know.
func NextToken(prefix, token string, nonce [16]byte) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(labelNextToken))
	mac.Write(nonce[:])
	return prefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// HashToken returns the hash under which a token is stored and found.
func HashToken(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }
