package crypto

import (
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"
)

func TestNewAPIKey_IsReadBack(t *testing.T) {
	seen := map[string]bool{}
	for _, environment := range []string{"live", "test", "dev"} {
		for _, kind := range []string{"sk", "ro", "pk", "svc"} {
			for range 100 {
				key := NewAPIKey(environment, kind)
				require.Regexp(t, `^otpb_`+environment+`_`+kind+`_[0-9A-Za-z]{38}$`, key)
				gotEnvironment, gotKind, ok := CheckAPIKey(key)
				require.True(t, ok)
				require.Equal(t, environment, gotEnvironment)
				require.Equal(t, kind, gotKind)
				seen[key] = true
			}
		}
	}
	require.Len(t, seen, 1200)
}

func TestNewAPIKey_PanicsForAnUnknownEnvironmentOrKind(t *testing.T) {
	require.Panics(t, func() { NewAPIKey("prod", "sk") })
	require.Panics(t, func() { NewAPIKey("live", "") })
}

// The check sum was computed by another implementation (Python's zlib.crc32). Existing keys contain it.
func TestCheckAPIKey_ChecksumStaysWhatItWas(t *testing.T) {
	environment, kind, ok := CheckAPIKey("otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijF")
	require.True(t, ok)
	require.Equal(t, "live", environment)
	require.Equal(t, "sk", kind)
}

func TestCheckAPIKey_NoticesEverySingleWrongCharacter(t *testing.T) {
	key := NewAPIKey("live", "svc")
	for place := range key {
		for wrong := range 256 {
			if byte(wrong) == key[place] {
				continue
			}
			altered := key[:place] + string([]byte{byte(wrong)}) + key[place+1:]
			_, _, ok := CheckAPIKey(altered)
			require.False(t, ok, "%q", altered)
		}
	}
}

// A right check sum is not enough: the rest of the form is checked too.
func TestCheckAPIKey_RefusesOtherForms(t *testing.T) {
	random := strings.Repeat("a", 32)
	for name, body := range map[string]string{
		"another prefix":      "otpx_live_sk_" + random,
		"prefix in capitals":  "OTPB_live_sk_" + random,
		"another environment": "otpb_prod_sk_" + random,
		"another kind":        "otpb_live_xx_" + random,
		"no kind":             "otpb_live_" + random,
		"too short":           "otpb_live_sk_" + random[1:],
		"too long":            "otpb_live_sk_" + random + "a",
		"no base62":           "otpb_live_sk_" + random[:31] + "-",
		"not ASCII":           "otpb_live_sk_" + random[:30] + "é",
		"an underscore":       "otpb_live_sk_" + random[:16] + "_" + random[17:],
		"blank in front":      " otpb_live_sk_" + random,
		"nothing but a check": "",
	} {
		_, _, ok := CheckAPIKey(body + checksum(body))
		require.False(t, ok, name)
	}
	_, _, ok := CheckAPIKey("")
	require.False(t, ok)
	good := "otpb_live_sk_" + random
	_, _, ok = CheckAPIKey(good + checksum(good))
	require.True(t, ok)
}

func TestRandomBase62_EveryCharacterIsEquallyLikely(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	text := randomBase62(100_000)
	require.Len(t, text, 100_000)
	counts := make([]int, 62)
	for _, c := range []byte(text) {
		counts[strings.IndexByte(base62, c)]++
	}
	statistic := chiSquared(counts)
	t.Logf("χ² = %.2f with 61 degrees of freedom (limit %.2f)", statistic, chiSquared61)
	require.Less(t, statistic, chiSquared61)
}
