package crypto

import (
	"crypto/rand"
	"hash/crc32"
	"slices"
	"strings"
)

// An API key reads otpb_{environment}_{kind}_, then 32 random base62 characters, then 6
// that check all before them:
//
//	otpb_live_sk_3f0Zc9…mQ2x1LxGd
//
// The prefix lets secret scanners find a key that was published by accident and tells a
// person what it is for. The check lets a server refuse a mistyped key without asking
// the database. It is no protection: anyone can compute it. The 32 characters hold 190
// random bits, and those are what is not guessed.

// APIKeyPrefix starts every API key, and nothing else that is presented as a credential.
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

// NewAPIKey is a fresh key. The environment is live, test or dev, the kind sk, ro, pk or
// svc; it panics for others.
func NewAPIKey(environment, kind string) string {
	if !slices.Contains(apiKeyEnvironments, environment) || !slices.Contains(apiKeyKinds, kind) {
		panic("crypto: NewAPIKey called with an unknown environment or kind")
	}
	key := APIKeyPrefix + environment + "_" + kind + "_" + randomBase62(apiKeyRandom)
	return key + checksum(key)
}

// CheckAPIKey reports whether s is written as NewAPIKey writes a key, and which
// environment and kind it claims. It says nothing about whether the key exists. A
// single wrong character is always noticed, other slips all but one in 4·10^9.
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

// checksum is the CRC-32 (IEEE) of text in base62, the most significant digit first.
func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	var digits [apiKeyChecksum]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return string(digits[:])
}

// randomBase62 draws each of n characters with equal chance. A byte has 256 values, of
// which 248 are four full rounds of the alphabet; the other 8 would favour its start and are
// drawn again.
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
