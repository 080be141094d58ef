package crypto

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewAccessKey_Is24RandomBytesInBase64(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		key := NewAccessKey()
		raw, err := base64.StdEncoding.DecodeString(key)
		require.NoError(t, err)
		require.Len(t, raw, 24)
		require.Len(t, key, 32)
		seen[key] = true
	}
	require.Len(t, seen, 1000)
}

func TestLastFour_ShowsTheEndOfALongKeyOnly(t *testing.T) {
	for key, want := range map[string]string{
		"":                 "",
		"abcd":             "",
		"abcdefghijk":      "",
		"abcdefghijkl":     "ijkl",
		"abcdefghijklmnop": "mnop",
		"abcdefghijklmnöp": "mnöp",
	} {
		require.Equal(t, want, LastFour(key), key)
	}
}
