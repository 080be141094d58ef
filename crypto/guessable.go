package crypto

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// The rule for weak keys, short enough for the documentation: a key is too easy to guess if it is a short text
// repeated, has fewer than five different characters, or has fewer than six characters that do not follow from the
// ones before. A character follows if it repeats the one before, counts up or down from it (123, cba), or is its
// neighbour on a row of the keyboard (qwe). All characters of common passwords also follow, and those of words that
// are known about the owner, such as the account's number and name.
//
// This catches what people type. A random key can be refused by chance; that is more likely for short keys and for
// small alphabets.
const (
	leastDifferent  = 5
	leastUnforeseen = 6
	// leastPeriod is the length from which a repeated text counts as a key of its own.
	leastPeriod = 16
)

var commonWords = []string{
	"password", "passwort", "passwd", "changeme", "letmein", "welcome", "secret", "administrator", "admin",
	"default", "example", "sample", "placeholder", "otpbridge",
}

var keyboardRows = []string{"qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "!@#$%^&*()",
	"1234567890"}

// Guessable returns why a key is too easy to guess, empty if it is not. known are words that others know about its
// owner; words of fewer than 3 characters are ignored. A key that is a text in hexadecimal digits or base64 is as easy
// as that text, because whoever tries texts also tries these forms of them.
func Guessable(key string, known ...string) string {
	if why := guessableText(key, known); why != "" {
		return why
	}
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		text, err := decode(key)
		if err == nil && !bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			if why := guessableText(string(text), known); why != "" {
				return why
			}
		}
	}
	return ""
}

func guessableText(key string, known []string) string {
	text := strings.ToLower(key)
	if period := shortestPeriod(text); period < leastPeriod && period <= len(text)/2 {
		return "it is a short text repeated"
	}
	different := map[byte]bool{}
	for i := range len(text) {
		different[text[i]] = true
	}
	if len(different) < leastDifferent {
		return "it has fewer than 5 different characters"
	}
	for _, word := range append(known, commonWords...) {
		if word = strings.ToLower(word); len(word) >= 3 {
			text = strings.ReplaceAll(text, word, "\x00")
		}
	}
	unforeseen := 0
	for i := range len(text) {
		if text[i] != 0 && (i == 0 || !follows(text[i-1], text[i])) {
			unforeseen++
		}
	}
	if unforeseen < leastUnforeseen {
		return "it is made of sequences, repetitions and well-known words"
	}
	return ""
}

// follows reports whether b is a likely guess after a.
func follows(a, b byte) bool {
	if step := int(b) - int(a); step >= -1 && step <= 1 {
		return true
	}
	if a == '9' && b == '0' || a == '0' && b == '9' || a == 'z' && b == 'a' {
		return true
	}
	for _, row := range keyboardRows {
		if i, j := strings.IndexByte(row, a), strings.IndexByte(row, b); i >= 0 && j >= 0 && (i-j == 1 || j-i == 1) {
			return true
		}
	}
	return false
}

// shortestPeriod returns the length of the shortest text of which text is a repetition (the last one may be
// incomplete).
func shortestPeriod(text string) int {
	for period := 1; period < len(text); period++ {
		if strings.HasPrefix(text, text[period:]) {
			return period
		}
	}
	return len(text)
}

// WeakCipherKey returns why a servlet cipher key is not a secret, empty if it may be one. Weak are bytes that are all
// equal, that count, or that repeat within half the key; a text that Guessable refuses; and keys that this project or
// the vendor published.
func WeakCipherKey(key []byte) string {
	if SampleKey(key) {
		return "is the published sample key"
	}
	if publishedCipherKeys[string(key)] {
		return "is printed in published documents"
	}
	if len(key) < 2 {
		return ""
	}
	counts, text := true, true
	for i, c := range key {
		counts = counts && (i == 0 || c-key[i-1] == key[1]-key[0])
		text = text && c >= ' ' && c <= '~'
	}
	switch {
	case counts && key[0] == key[1]:
		return "is one byte repeated"
	case counts:
		return "is bytes that count"
	case shortestPeriod(string(key)) <= len(key)/2:
		return "is a few bytes repeated"
	case text && Guessable(string(key)) != "":
		return "is a text that can be guessed"
	}
	return ""
}
