package otp

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the length of the longest name, in characters.
const MaxName = 200

// CheckName returns an error if text cannot be a name: of a key, an account, a department, a template, a sender.
// People read names in lists, logs and consoles and act on them, so a name holds only characters that are visible and
// do not move other characters: no control characters, no line or paragraph separators, no formatting characters
// (Unicode's Cf: they change the direction of text, have no width, or mark nothing) and no unassigned ones. Blanks at
// either end are refused, because they make two names look alike. The error names neither the field nor the text. An
// empty name is valid.
func CheckName(text string) error { return checkName(text, MaxName) }

// checkName is CheckName with another maximum.
func checkName(text string, most int) error {
	switch {
	case !utf8.ValidString(text):
		return errors.New("must be UTF-8")
	case utf8.RuneCountInString(text) > most:
		return fmt.Errorf("must be at most %d characters in one line", most)
	case strings.TrimSpace(text) != text:
		return errors.New("must not begin or end with a blank")
	}
	for i, r := range text {
		if !Visible(r) {
			return fmt.Errorf("must be one line of visible characters; at byte %d there is %U", i+1, r)
		}
	}
	return nil
}

// CheckText returns an error if text cannot be the words of a message. It refuses control characters other than line
// breaks, and formatting characters, which can make a reader see different words. It allows the joiners used in Hindi,
// Persian and emoji. The error names neither the field nor the text.
func CheckText(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("must be UTF-8")
	}
	for i, r := range text {
		if r != '\n' && !readable(r) && !(r == '\r' && strings.HasPrefix(text[i+1:], "\n")) {
			return fmt.Errorf("must be text without control or formatting characters; at byte %d there is %U", i+1, r)
		}
	}
	return nil
}

// CheckLine is CheckText for a text without line breaks.
func CheckLine(text string) error {
	if strings.ContainsAny(text, "\r\n") {
		return errors.New("must be one line")
	}
	return CheckText(text)
}

// readable reports whether a character may be in a line of text.
func readable(r rune) bool {
	switch {
	case r == '\u200c', r == '\u200d', r >= 0xe0020 && r <= 0xe007f: // joiners, and the tags of flags
		return true
	case unicode.Is(unicode.Prepended_Concatenation_Mark, r): // such as the Arabic number sign
		return true
	}
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point)
}

// Visible reports whether people can see a character. unicode.IsGraphic excludes controls (Cc), formatting (Cf),
// surrogates, private use, unassigned characters, and line and paragraph separators. It includes blanks; of those only
// the plain one can be told from its neighbours.
func Visible(r rune) bool {
	switch {
	case r == ' ':
		return true
	case unicode.Is(unicode.Zs, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point,
		r), unicode.Is(unicode.Variation_Selector, r):
		return false
	}
	return unicode.IsGraphic(r) && r != '⠀' // the Braille pattern without a dot
}

// Joined lists words as errors do, separated by commas.
func Joined[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return strings.Join(texts, ", ")
}
