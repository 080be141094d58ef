package otp

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the length of the longest name that people give to something, in characters.
const MaxName = 200

// CheckName reports what keeps text from being the name of something: a key, an account, a
// department, a template, a sender. Names are read by people, in lists, logs and consoles, and
// decide what those people do; so a name holds only characters that can be seen and cannot move
// their neighbours: no control characters, no line or paragraph separators, no formatting
// characters (Unicode's Cf: those that change the direction of text, have no width, or mark
// nothing) and none that Unicode has not assigned. Blanks around it would make two names look
// alike. The error names neither the field nor the text. An empty name is one.
func CheckName(text string) error {
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("must be UTF-8")
	case utf8.RuneCountInString(text) > MaxName:
		return fmt.Errorf("must be at most %d characters in one line", MaxName)
	case strings.TrimSpace(text) != text:
		return fmt.Errorf("must not begin or end with a blank")
	}
	for i, r := range text {
		if !visible(r) {
			return fmt.Errorf("must be one line of visible characters; at byte %d there is %U", i+1, r)
		}
	}
	return nil
}

// visible reports whether people can see a character. unicode.IsGraphic leaves out controls (Cc),
// formatting (Cf), surrogates, private use, what is not assigned, and the separators of lines and
// paragraphs; of the blanks it keeps, only the plain one is told from its neighbours.
func visible(r rune) bool {
	switch {
	case r == ' ':
		return true
	case unicode.Is(unicode.Zs, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return false
	}
	return unicode.IsGraphic(r) && r != '⠀' // the Braille pattern without a dot
}
