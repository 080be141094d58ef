package crypto

import (
	"crypto/rand"
	"encoding/base64"
	"hash/crc32"
	"slices"
	"strings"
)

// An API key is otpb_{environment}_{kind}_, followed by 32 random base62 characters and 6 characters of a check sum
// over all of that:
//
//	otpb_live_sk_3f0Zc9…mQ2x1LxGd
//
// With the prefix, secret scanners find a key that was published by accident, and people see what it is for. With the
// check sum, a server refuses a mistyped key without asking the database. The check sum is no protection, because
// anyone can compute it. The security is in the 32 characters, which hold 190 random bits.

// APIKeyPrefix starts every API key and no other credential.
const APIKeyPrefix = "otpb_"

const (
	apiKeyRandom   = 32
	apiKeyChecksum = 6 // 62^6 > 2^32
	base62         = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

var (
	apiKeyEnvironments = []string{"live", "test", "dev"}
	apiKeyKinds        = []string{"sk", "ro", "pk", "svc"} // secret, read-only, publishable, service
)

// NewAPIKey returns a new key. environment is live, test or dev, kind is sk, ro, pk or svc; it panics for others.
func NewAPIKey(environment, kind string) string {
	if !slices.Contains(apiKeyEnvironments, environment) || !slices.Contains(apiKeyKinds, kind) {
		panic("crypto: NewAPIKey called with an unknown environment or kind")
	}
	key := APIKeyPrefix + environment + "_" + kind + "_" + randomBase62(apiKeyRandom)
	return key + checksum(key)
}

// CheckAPIKey reports whether s has the form of a key from NewAPIKey, and which environment and kind it names. It does
// not check whether the key exists. It detects every single wrong character, and other mistakes except one in 4·10^9.
func CheckAPIKey(s string) (environment, kind string, ok bool) {
	rest, found := strings.CutPrefix(s, APIKeyPrefix)
	if !found {
		return "", "", false
	}
	environment, rest, _ = strings.Cut(rest, "_")
	kind, rest, _ = strings.Cut(rest, "_")
	if !slices.Contains(apiKeyEnvironments, environment) || !slices.Contains(apiKeyKinds, kind) ||
		len(rest) != apiKeyRandom+apiKeyChecksum || strings.Trim(rest, base62) != "" {
		return "", "", false
	}
	body := len(s) - apiKeyChecksum
	if s[body:] != checksum(s[:body]) {
		return "", "", false
	}
	return environment, kind, true
}

// checksum returns the CRC-32 (IEEE) of text in base62, most significant digit first.
func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	var digits [apiKeyChecksum]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return string(digits[:])
}

// randomBase62 draws n characters with equal probability. Of a byte's 256 values, 248 are four full rounds of the
// alphabet; the other 8 would make its start more likely and are drawn again.
func randomBase62(n int) string {
	text := make([]byte, 0, n)
	var random [48]byte
	for {
		rand.Read(random[:]) // never fails: the runtime stops the process instead
		for _, b := range random {
			if len(text) == n {
				return string(text)
			}
			if b < 4*62 {
				text = append(text, base62[b%62])
			}
		}
	}
}

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
