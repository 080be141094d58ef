package crypto

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The examples of RFC 8785, sections 3.2.2, 3.2.3 and 3.2.4 in their text form.
func TestJCS_IsWhatTheRFCShows(t *testing.T) {
	for _, row := range [][2]string{
		{`{
			"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
			"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
			"literals": [null, true, false]
		}`, `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{`{
			"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
			"1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
			"\u00f6": "Latin Small Letter O With Diaeresis"
		}`, `{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis",` +
			`"€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`},
		{` [ ] `, `[]`}, {`null`, `null`}, {`-0`, `0`}, {`1.0`, `1`}, {`"\u0000"`, `"\u0000"`},
	} {
		canonical, err := JCS([]byte(row[0]))
		require.NoError(t, err)
		require.Equal(t, row[1], string(canonical))
	}
}

// Appendix B of RFC 8785: doubles by their bits, and their ECMAScript form.
func TestJCS_WritesNumbersAsTheRFCsTableHasThem(t *testing.T) {
	for bits, text := range map[uint64]string{
		0x0000000000000000: "0", 0x8000000000000000: "0",
		0x0000000000000001: "5e-324", 0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308", 0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992", 0xc340000000000000: "-9007199254740992",
		0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22", 0x44b52d02c7e14af6: "1e+23",
		0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000", 0x444b1ae4d6e2ef4f: "999999999999999900000", 0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7", 0x3eb0c6f7a0b5ed8d: "0.000001",
		0x41b3de4355555553: "333333333.3333332", 0x41b3de4355555554: "333333333.33333325",
		0x41b3de4355555555: "333333333.3333333",
		0x41b3de4355555556: "333333333.3333334", 0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333",
		0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		given, err := json.Marshal(math.Float64frombits(bits))
		require.NoError(t, err)
		canonical, err := JCS(given)
		require.NoError(t, err)
		require.Equal(t, text, string(canonical), "%x", bits)
	}
}

func TestJCS_RefusesWhatHasNoCanonicalFormAndQuotesNothing(t *testing.T) {
	for _, bad := range []string{
		``, ` `, `{`, `hunter2`, `{"hunter2":1,"hunter2":2}`, `{"a":1,"\u0061":2}`, `"hunter2` + "\xff" + `"`, `"\ud800"`, `"\udc00\ud800"`,
		`1 2`, `[1,]`, `01`, `1e400`, `-1e400`, `[{"a":[1e309]}]`, "\ufeff1", `NaN`,
	} {
		canonical, err := JCS([]byte(bad))
		require.Error(t, err, bad)
		require.Empty(t, canonical)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := JCS([]byte(strings.Repeat("[", 100_000)))
	require.Error(t, err, "depth is bounded")
}

// The canonical form is its own canonical form, means the same as the given text, and does not depend on the order of
// members.
func FuzzJCS(f *testing.F) {
	for _, seed := range []string{`{"b":[1,2.5e-7],"a":{"é":null,"\ud83d\ude00":true}}`, `-0.0`, `"\u2028"`, `1e23`, `[]`, `{"a":1,"a":2}`, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, given []byte) {
		untouched := bytes.Clone(given)
		canonical, err := JCS(given)
		require.Equal(t, untouched, given)
		if err != nil {
			return
		}
		again, err := JCS(canonical)
		require.NoError(t, err)
		require.Equal(t, canonical, again)
		var before, after any
		require.NoError(t, json.Unmarshal(given, &before))
		require.NoError(t, json.Unmarshal(canonical, &after))
		require.Equal(t, before, after)
		spread, err := json.MarshalIndent(before, " ", "\t") // sorted differently, spaced, escaped
		require.NoError(t, err)
		again, err = JCS(spread)
		require.NoError(t, err)
		require.Equal(t, string(canonical), string(again))
	})
}
