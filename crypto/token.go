package crypto

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// Refresh tokens and one-time links are random and known by hash only. They hold 256 random bits, so that
// a plain hash gives nothing away.

const labelNextToken = "otpbridge next token v1"

// NewToken returns a fresh token: the prefix, then 43 characters that are safe in a URL.
func NewToken(prefix string) string {
	var raw [sha256.Size]byte
	rand.Read(raw[:]) // never fails: the runtime stops the process instead
	return prefix + base64.RawURLEncoding.EncodeToString(raw[:])
}

// NextToken returns the token that follows another, which is the same for every caller with the same two
// values: of several requests that bring one refresh token, each gets the one successor there is, and the
// successor is stored nowhere. It takes both the token, which the database does not hold, and the nonce,
// which its holder does not know.
func NextToken(prefix, token string, nonce [16]byte) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(labelNextToken))
	mac.Write(nonce[:])
	return prefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// HashToken returns what a token is stored and found by.
func HashToken(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }
