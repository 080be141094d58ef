package otp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLower_ChangesLettersOfASCIIAlone(t *testing.T) {
	for given, expected := range map[string]string{
		"": "", "abc": "abc", "ABC": "abc", "aBc-1@Z[": "abc-1@z[",
		"\u212a": "\u212a", "\u0130": "\u0130", "\u017f": "\u017f", "É": "É", "Ａ": "Ａ", "Σ": "Σ", "\xc9\xff": "\xc9\xff",
		"xŁY": "xŁy",
	} {
		require.Equal(t, expected, Lower(given), "%q", given)
		require.Equal(t, expected, Lower(Lower(given)), "%q", given)
		require.True(t, SameName(given, expected), "%q", given)
	}
	for _, pair := range [][2]string{
		{"k", "\u212a"}, {"K", "\u212a"}, {"s", "\u017f"}, {"S", "\u017f"}, {"i", "\u0130"}, {"I", "\u0131"}, {"é",
			"É"}, {"a", "Ａ"},
		{"ss", "ß"}, {"å", "\u212b"}, {"a", "ab"}, {"@", "`"}, {"[", "{"},
	} {
		require.False(t, SameName(pair[0], pair[1]), "%q", pair)
	}
}

func TestParseID_HasOneSpellingButForTheCaseOfASCII(t *testing.T) {
	id := ID{0xa0, 0x52, 0x94, 0xa5, 0x29, 0x4a, 0x52, 0x94, 0xa5, 0x29, 0x4a, 0x52, 0x94, 0xa5, 0x29, 0x4a}
	text := id.Text("otp") // contains a k
	require.Contains(t, text, "k")
	_, ok := ParseID("otp", text)
	require.True(t, ok)
	for i := range text {
		if text[i] == 'k' {
			_, ok = ParseID("otp", text[:i]+"\u212a"+text[i+1:])
			require.False(t, ok, "the Kelvin sign is no k")
			_, ok = ParseID("otp", text[:i]+"\u212a"+text[i+3:])
			require.False(t, ok, "nor with two characters left out")
		}
	}
}

func TestUpper_ChangesLettersOfASCIIAlone(t *testing.T) {
	for given, expected := range map[string]string{
		"": "", "in": "IN", "Ae": "AE", "a@z[`{": "A@Z[`{", "\u0131n": "\u0131N", "\u017fa": "\u017fA", "é": "é", "ß": "ß",
		"\xe9\xff": "\xe9\xff",
	} {
		require.Equal(t, expected, Upper(given), "%q", given)
	}
}
