//go:build !race

// The race detector makes sync.Pool drop items at random, so these counts are taken without it.

package crypto

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every request runs some of these several times. Only the result itself may be allocated.
func TestHotPaths_AllocateNoMoreThanTheirResult(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	index := NewIndexKey(RandomIndexKey())
	servlet := sampleCipher(t, AESCBC, EncodingAuto)
	aad, plaintext := []byte("recipient/1"), []byte("+919551492394")
	sealed := ring.Seal(aad, plaintext)

	for name, test := range map[string]struct {
		most float64
		run  func()
	}{
		"Decrypt":         {1, func() { servlet.Decrypt("Xrgn4bpX/4iYytICyC1wNg==") }},
		"Decrypt refused": {0, func() { servlet.Decrypt("c3a9daed429d26f237bced0a20367b20") }},
		"Code":            {1, func() { _, _ = ring.Code("k1", [16]byte{1}, [16]byte{2}, [16]byte{3}, 6) }},
		"Sum":             {0, func() { index.Sum("recipient", "7000000001", "live", "+919551492394") }},
		"Seal":            {1, func() { ring.Seal(aad, plaintext) }},
		"Open":            {1, func() { _, _ = ring.Open(aad, sealed) }},
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(1000, test.run), test.most, name)
	}
}
