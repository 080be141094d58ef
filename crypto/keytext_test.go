package crypto

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseKeyText_ReadsHexAndBase64(t *testing.T) {
	vectors := readParamVectors(t)
	for text, want := range map[string][]byte{
		vectors.KeyHex:                      keyFrom(0),
		strings.ToUpper(vectors.KeyHex):     keyFrom(0),
		vectors.KeyBase64:                   keyFrom(0),
		" \t" + vectors.KeyBase64 + "\r\n":  keyFrom(0),
		vectors.IVHex:                       sampleIV,
		vectors.IVBase64:                    sampleIV,
		hex.EncodeToString(keyFrom(0)[:24]): keyFrom(0)[:24],
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX":  keyFrom(0)[:24],
		// 24 bytes in base64 too: hex is tried first
		"00000000000000000000000000000000": make([]byte, 16),
		strings.Repeat("0", 31) + "g":      append(bytes.Repeat([]byte{0xd3, 0x4d, 0x34}, 7), 0xd3, 0x4d, 0x20), // not hex
	} {
		secret, err := ParseKeyText(text)
		require.NoError(t, err)
		require.Equal(t, want, secret.Bytes(), text)
	}
}

func TestParseKeyText_RefusesWithLengthsAndNeverTheText(t *testing.T) {
	raw := keyFrom(150)
	for name, test := range map[string]struct{ text, want string }{
		"nothing": {"", "is empty"},
		"blanks":  {" \n", "is empty"},
		"15 bytes in base64": {base64.StdEncoding.EncodeToString(raw[:15]),
			"is 15 bytes in base64: give 16, 24 or 32 bytes"},
		"31 bytes in base64":  {base64.StdEncoding.EncodeToString(raw[:31]), "is 31 bytes in base64"},
		"15 bytes in hex":     {hex.EncodeToString(raw[:15]), "is 30 characters that are neither"},
		"33 bytes in hex":     {hex.EncodeToString(append(keyFrom(150), 1)), "is 66 characters that are neither"},
		"without its padding": {base64.RawStdEncoding.EncodeToString(raw), "is 43 characters that are neither"},
		"unused bits set": {base64.StdEncoding.EncodeToString(make([]byte, 32))[:42] + "B=",
			"is 44 characters that are neither"},
		"alphabet for URLs": {base64.URLEncoding.EncodeToString([]byte(strings.Repeat("\xfb\xff", 16))),
			"is 44 characters that are neither"},
		"blank inside": {hex.EncodeToString(raw[:8]) + " " + hex.EncodeToString(raw[8:16]),
			"is 33 characters that are neither"},
		"key and IV in one text": {base64.StdEncoding.EncodeToString(raw[:16]) + "~" +
			base64.StdEncoding.EncodeToString(raw), "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			secret, err := ParseKeyText(test.text)
			require.True(t, secret.IsZero())
			require.ErrorContains(t, err, test.want)
			requireQuotesNothing(t, err, test.text)
		})
	}
}

func TestParseKeyPair_ReadsIVFirst(t *testing.T) {
	vectors := readParamVectors(t)
	for _, text := range []string{
		vectors.IVBase64 + "~" + vectors.KeyBase64,
		vectors.IVHex + "~" + vectors.KeyHex,
		vectors.IVHex + "~" + vectors.KeyBase64,
		" " + vectors.IVBase64 + " ~ " + vectors.KeyHex + "\n",
	} {
		key, iv, err := ParseKeyPair(text)
		require.NoError(t, err)
		require.Equal(t, keyFrom(0), key.Bytes())
		require.Equal(t, sampleIV, iv.Bytes())
	}
}

func TestParseKeyPair_RefusesSayingWhichHalf(t *testing.T) {
	iv, key := base64.StdEncoding.EncodeToString(keyFrom(150)[:16]), keyText(160)
	for name, test := range map[string]struct{ text, want string }{
		"nothing":        {"", "write iv~key"},
		"key alone":      {key, "write iv~key"},
		"three":          {iv + "~" + key + "~" + key, "write iv~key"},
		"no IV":          {"~" + key, "the IV, before the ~, is empty"},
		"no key":         {iv + "~", "the key, after the ~, is empty"},
		"swapped":        {key + "~" + iv, "the IV, before the ~, has 32 bytes where 16 belong: write iv~key, in that order"},
		"IV cut":         {iv[:20] + "~" + key, "the IV, before the ~, is 15 bytes"},
		"key of 5 bytes": {iv + "~AAECAwQ=", "the key, after the ~, is 5 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			gotKey, gotIV, err := ParseKeyPair(test.text)
			require.True(t, gotKey.IsZero())
			require.True(t, gotIV.IsZero())
			require.ErrorContains(t, err, test.want)
			requireQuotesNothing(t, err, strings.ReplaceAll(test.text, "~", " "))
		})
	}
}

func TestSampleKey_KnowsThePublishedKey(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		require.True(t, SampleKey(keyFrom(0)[:size]))
		require.False(t, SampleKey(keyFrom(1)[:size]))
		for place := range size {
			altered := keyFrom(0)[:size]
			altered[place] ^= 0x80
			require.False(t, SampleKey(altered))
		}
	}
	require.False(t, SampleKey(nil))
	require.False(t, SampleKey(keyFrom(0)[:8]))
	require.False(t, SampleKey(append(keyFrom(0), 32)))
}
