package otp

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCut_NeverInsideACharacter(t *testing.T) {
	for _, text := range []string{"", "a", "abc", "é", "aé", "éa", "用户", "😀😀", "a\u0301b", "•••", "x😀é用y", "\u0000é"} {
		for n := range len(text) + 2 {
			cut, bytes := Cut(text, n), CutBytes(text, n)
			require.True(t, utf8.ValidString(cut) && utf8.ValidString(bytes), "%q at %d", text, n)
			require.True(t, strings.HasPrefix(text, cut) && strings.HasPrefix(text, bytes), "%q at %d", text, n)
			require.Equal(t, min(n, utf8.RuneCountInString(text)), utf8.RuneCountInString(cut), "%q at %d", text, n)
			require.LessOrEqual(t, len(bytes), n)
			if len(text) > n {
				require.Greater(t, len(bytes), n-utf8.UTFMax, "%q at %d", text, n)
			}
		}
	}
	require.Equal(t, "\x80\x80\x80\x80\x80", CutBytes(strings.Repeat("\x80", 9), 5))
}
