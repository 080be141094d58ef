package deliver

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCountSegments_AtEveryBorder(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	for _, tt := range []struct {
		name string
		text string
		want Segments
	}{
		{"nothing", "", Segments{"GSM-7", 0, 1, 160}},
		{"one segment full", a(160), Segments{"GSM-7", 160, 1, 0}},
		{"one more character", a(161), Segments{"GSM-7", 161, 2, 145}},
		{"two segments full", a(306), Segments{"GSM-7", 306, 2, 0}},
		{"three", a(307), Segments{"GSM-7", 307, 3, 152}},
		{"the alphabet is not ASCII", "@£$¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà\n\r", Segments{"GSM-7", 43, 1, 117}},
		{"the extension takes two", "^{}\\[~]|€\f", Segments{"GSM-7", 20, 1, 140}},
		{"80 euros fill a segment", strings.Repeat("€", 80), Segments{"GSM-7", 160, 1, 0}},
		{"81 do not fit two by two", strings.Repeat("€", 81), Segments{"GSM-7", 162, 2, 153 - 10}},
		{"an escape is not split", a(152) + "€" + a(10), Segments{"GSM-7", 164, 2, 153 - 12}},
		{"a backtick is in neither table", "`", Segments{"UCS-2", 1, 1, 69}},
		{"c with cedilla neither, its capital is", "ç", Segments{"UCS-2", 1, 1, 69}},
		{"Devanagari", strings.Repeat("क", 70), Segments{"UCS-2", 70, 1, 0}},
		{"and one more", strings.Repeat("क", 71), Segments{"UCS-2", 71, 2, 63}},
		{"two full", strings.Repeat("क", 134), Segments{"UCS-2", 134, 2, 0}},
		{"one sign makes all of it UCS-2", a(70) + "क", Segments{"UCS-2", 71, 2, 63}},
		{"a surrogate pair is not split", strings.Repeat("क", 66) + "😀" + strings.Repeat("क", 10),
			Segments{"UCS-2", 78, 2, 67 - 12}},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, CountSegments(tt.text)) })
	}
}

func TestCountSegments_TheTablesAreWhole(t *testing.T) {
	require.Equal(t, 127, utf8.RuneCountInString(gsmBasic), "128 less the escape")
	require.Equal(t, 10, utf8.RuneCountInString(gsmExtension))
}

// Segments have the stated capacity, and one more character never means fewer segments.
func FuzzCountSegments(f *testing.F) {
	for _, text := range []string{"", "a€", "क😀", strings.Repeat("€", 90), "\xff\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := CountSegments(text)
		require.GreaterOrEqual(t, s.Left, 0)
		require.Positive(t, s.Count)
		alone, joined := gsmAlone, gsmJoined
		if s.Encoding == "UCS-2" {
			alone, joined = ucsAlone, ucsJoined
			require.Equal(t, len(utf16.Encode([]rune(text))), s.Units)
		}
		if s.Count == 1 {
			require.Equal(t, alone, s.Units+s.Left)
		} else {
			require.Greater(t, s.Units, alone)
			require.LessOrEqual(t, s.Units+s.Left, s.Count*joined)
			require.Greater(t, s.Units+s.Left+s.Count, s.Count*joined, "at most one place a segment is empty")
		}
		longer := CountSegments(text + "a")
		require.GreaterOrEqual(t, longer.Count, s.Count)
		require.LessOrEqual(t, longer.Count, s.Count+1)
	})
}
