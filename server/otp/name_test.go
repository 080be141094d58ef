package otp

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCheckName_TakesWhatPeopleCanRead(t *testing.T) {
	for _, name := range []string{
		"", "Shop", "shop, backend", "Zürich Büro", "دكان", "दुकान", "商店", "a/b (c) [d] #1", "O'Brien & Söhne", "🛒 shop",
		strings.Repeat("é", MaxName),
	} {
		require.NoError(t, CheckName(name), "%q", name)
	}
}

func TestCheckName_RefusesWhatDeceives(t *testing.T) {
	for _, name := range []string{
		"a\nb", "a\rb", "a\tb", "a\x00b", "\x1b[31mred", "a\x7fb", "a\u0085b", // controls
		"a\u202eb", "a\u202ab", "a\u2066b", "a\u2069b", "a\u200eb", "a\u200fb", "a\u061cb", // direction
		"a\u200bb", "a\u200cb", "a\u200db", "a\u2060b", "a\ufeffb", "a\u00adb", "a\U000e0041b", "a\u180eb", // without width
		// invisible
		"a\u3164b", "a\uffa0b", "a\u115fb", "a\u034fb", "a\ufe0fb", "a\u2800b", "a\u00a0b", "a\u2003b", "a\u3000b",
		"a\u2028b", "a\u2029b", "a\ue000b", "a\U0010fffdb", "a\u0378b", "a\ufffeb", // separators, private, not assigned
		"a\xffb", "\xc3", " a", "a ", "\u00a0a", " ", strings.Repeat("é", MaxName+1),
	} {
		require.Error(t, CheckName(name), "%q", name)
	}
}

func FuzzCheckName(f *testing.F) {
	f.Add("Shop")
	f.Add("a\u202eb")
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		require.True(t, utf8.ValidString(name))
		require.LessOrEqual(t, utf8.RuneCountInString(name), MaxName)
		require.Equal(t, strings.TrimSpace(name), name)
		require.NotContains(t, name, "\n")
		for _, r := range name {
			require.False(t, r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e ||
				r >= 0x2060 && r <= 0x206f)
		}
	})
}
