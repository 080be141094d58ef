package otp

import "unicode/utf8"

// Cut returns at most n characters from the start of s. It never splits a character: a database refuses text that ends
// in part of one.
func Cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// CutBytes returns at most n bytes from the start of s, fewer if the last character would be split.
func CutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for back := 0; back < utf8.UTFMax && n >= back; back++ {
		if utf8.RuneStart(s[n-back]) {
			return s[:n-back]
		}
	}
	return s[:n] // not UTF-8, so there is no character to keep whole
}
