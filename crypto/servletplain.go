package crypto

import (
	"bytes"
	"crypto/aes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Checks of what was encrypted instead of a code, for Reason.

// isCodeBlock reports whether plain is a code with PKCS#7 padding and nothing else.
func isCodeBlock(plain []byte) bool {
	if len(plain) != aes.BlockSize {
		return false
	}
	_, valid := codeLength((*[aes.BlockSize]byte)(plain))
	return valid == 1
}

// unpad removes PKCS#7 padding, if there is any.
func unpad(plain []byte) (text []byte, padded bool) {
	n := int(plain[len(plain)-1])
	if n < 1 || n > aes.BlockSize || n > len(plain) {
		return nil, false
	}
	for _, b := range plain[len(plain)-n:] {
		if int(b) != n {
			return nil, false
		}
	}
	return plain[:len(plain)-n], true
}

// reasonOfPadding recognises a code with another padding than PKCS#7, or none.
func reasonOfPadding(plain []byte) string {
	digits := 0
	for digits < len(plain) && plain[digits] >= '0' && plain[digits] <= '9' {
		digits++
	}
	rest := plain[digits:]
	if digits < minDigits {
		return ""
	}
	last := byte(len(rest))
	switch {
	case len(rest) == 0:
		return "not padded: the text fills whole blocks"
	case len(bytes.Trim(rest, "\x00")) == 0:
		return "zero padded, where PKCS#7 is expected"
	case len(bytes.Trim(rest, " ")) == 0:
		return "padded with blanks, where PKCS#7 is expected"
	case rest[0] == 0x80 && len(bytes.Trim(rest[1:], "\x00")) == 0:
		return "padded by ISO 7816-4, where PKCS#7 is expected"
	case rest[len(rest)-1] == last && len(bytes.Trim(rest[:len(rest)-1], "\x00")) == 0:
		return "padded by ANSI X9.23, where PKCS#7 is expected"
	case rest[len(rest)-1] == last && digits <= maxDigits:
		return "padded by ISO 10126, where PKCS#7 is expected"
	}
	return ""
}

// reasonOfPlain says why a decrypted text is not a code. It may state the length of the text, never its content.
func reasonOfPlain(text []byte) string {
	bare := bytes.Trim(text, blanks+"\x00")
	switch {
	case len(text) == 0:
		return "decrypts to nothing"
	case isCode(string(bare)) && bytes.ContainsAny(text, "\r\n"):
		return "has a newline: the text that was encrypted ends with one"
	case isCode(string(bare)) && bytes.IndexByte(text, 0) >= 0:
		return "has a NUL character in what was encrypted"
	case isCode(string(bare)) && len(bare) < len(text):
		return "has blanks around the digits"
	case isWide(text):
		return "UTF-16: encrypt the digits as ASCII or UTF-8"
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return "has a byte order mark in front of the digits"
	case len(text) > 2 && (text[0] == '"' || text[0] == '\'') && isCode(string(text[1:len(text)-1])):
		return "has quotation marks around the digits"
	case allDigits(text):
		return fmt.Sprintf("decrypts but is not 4 to 10 digits: has %d", len(text))
	case utf8.Valid(text) && bytes.IndexFunc(text, func(r rune) bool { return !unicode.IsDigit(r) }) < 0:
		return "decrypts to digits that are not ASCII"
	case isCode(string(bytes.TrimLeft(text, "+-"))):
		return "decrypts to a number with a sign"
	}
	return "decrypts but is not 4 to 10 digits: has other characters"
}

func allDigits(text []byte) bool {
	for _, b := range text {
		if b < '0' || b > '9' {
			return false
		}
	}
	return len(text) > 0
}

// isWide reports whether text is digits in UTF-16 of either byte order, or in UTF-32, with or without a byte order
// mark.
func isWide(text []byte) bool {
	if len(text) < 4 || len(text)%2 != 0 || bytes.IndexByte(text, 0) < 0 {
		return false
	}
	narrow := bytes.ReplaceAll(text, []byte{0}, nil)
	narrow = bytes.TrimPrefix(bytes.TrimPrefix(narrow, []byte("\xff\xfe")), []byte("\xfe\xff"))
	return allDigits(bytes.Trim(narrow, "\r\n")) && len(text) >= 2*len(narrow)
}
