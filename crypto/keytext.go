package crypto

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ParseKeyText reads an account's cipher key or IV: 16, 24 or 32 bytes in hex, either case, or in standard base64,
// with surrounding blanks ignored.
//
// Hex is tried first, by length. Only a text of 32 characters can be both: a key of 16 bytes in hex or one of 24 bytes
// in base64. Fewer than one random 24-byte key in 10^14 has only characters of the hex alphabet.
//
// The error states the length and the remedy, and quotes nothing. The caller adds the name of the setting.
func ParseKeyText(text string) (Secret, error) {
	text = strings.Trim(text, blanks)
	if text == "" {
		return Secret{}, errors.New("is empty: give 16, 24 or 32 bytes in base64 or hex")
	}
	if len(text)%2 == 0 && isKeyLength(len(text)/2) {
		if b, err := hex.DecodeString(text); err == nil {
			return NewSecret(b), nil
		}
	}
	b, err := strictBase64.DecodeString(text)
	if err != nil {
		return Secret{}, fmt.Errorf("is %d characters that are neither hex of 16, 24 or 32 bytes nor standard base64: "+
			"give it as one of them", len(text))
	}
	if !isKeyLength(len(b)) {
		return Secret{}, fmt.Errorf("is %d bytes in base64: give 16, 24 or 32 bytes", len(b))
	}
	return NewSecret(b), nil
}

// ParseKeyPair reads 'iv~key', the form in which the vendor issues both. The IV is 16 bytes, the key 16, 24 or 32,
// each as in ParseKeyText.
func ParseKeyPair(text string) (key, iv Secret, err error) {
	ivText, keyText, found := strings.Cut(text, "~")
	if !found || strings.Contains(keyText, "~") {
		return Secret{}, Secret{}, errors.New("is not one IV and one key: write iv~key")
	}
	iv, err = ParseKeyText(ivText)
	if err != nil {
		return Secret{}, Secret{}, fmt.Errorf("the IV, before the ~, %w", err)
	}
	if iv.Len() != 16 {
		return Secret{}, Secret{}, fmt.Errorf("the IV, before the ~, has %d bytes where 16 belong: write iv~key, in that "+
			"order", iv.Len())
	}
	key, err = ParseKeyText(keyText)
	if err != nil {
		return Secret{}, Secret{}, fmt.Errorf("the key, after the ~, %w", err)
	}
	return key, iv, nil
}

// isKeyLength reports whether n bytes are an AES key length.
func isKeyLength(n int) bool { return n == 16 || n == 24 || n == 32 }

// SampleKey reports whether b is the key that this project publishes in examples and test vectors, 00 01 02 and so on,
// in one of the three AES key lengths. It is public, so production refuses it.
func SampleKey(b []byte) bool {
	if !isKeyLength(len(b)) {
		return false
	}
	for i, c := range b {
		if int(c) != i {
			return false
		}
	}
	return true
}
