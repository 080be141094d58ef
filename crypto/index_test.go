package crypto

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The hashes were computed by another implementation (Python's hmac). They are the keys of rows: if one changes, the
// rows are lost.
func TestSum_StaysWhatDatabasesHold(t *testing.T) {
	index := NewIndexKey(NewSecret(keyFrom(200)))
	for _, test := range []struct {
		purpose string
		parts   []string
		want    string
	}{
		{"recipient", []string{"acct", "+919551492394"}, "a489b491c3d964b9370d21458cbd95577cc3f363ce5b66ad2b3c527f9d847d77"},
		{"", nil, "6916c2be9437be2e881acfc9597f1542d2ff5b67d70c23a976e66c755995a6c2"},
		{"slot", []string{"\x00\xff", ""}, "9489537eb3fb8332b3731e389dd0014fbf3186f2baeac2622c5c9316224a83b7"},
	} {
		long := index.Sum32(test.purpose, test.parts...)
		short := index.Sum(test.purpose, test.parts...)
		require.Equal(t, test.want, hex.EncodeToString(long[:]))
		require.Equal(t, test.want[:32], hex.EncodeToString(short[:]))
	}
}

func TestSum_PartsCannotBeCutAnotherWay(t *testing.T) {
	index := NewIndexKey(NewSecret(keyFrom(200)))
	seen := map[[16]byte]int{}
	inputs := [][]string{
		{"slot"}, {"slot", ""}, {"slot", "", ""}, {"", "slot"},
		{"slot", "a", "bc"}, {"slot", "ab", "c"}, {"slot", "abc"}, {"slot", "abc", ""}, {"slot", "", "abc"},
		{"slota", "bc"}, {"slot", "a|b", "c"}, {"slot", "a", "b|c"}, {"slot", "a\x00b", "c"}, {"slot", "a", "b\x00c"},
		// A part that looks like the encoding of two.
		{"slot", "a" + strings.Repeat("\x00", 7) + "\x01b"}, {"slot", "a", "b"},
		{"recipient", "a", "bc"},
	}
	for i, input := range inputs {
		sum := index.Sum(input[0], input[1:]...)
		other, taken := seen[sum]
		require.False(t, taken, "%q and %q share a hash", input, inputs[other])
		seen[sum] = i
	}
}

func TestSum_DependsOnTheKey(t *testing.T) {
	a, b := NewIndexKey(RandomIndexKey()), NewIndexKey(RandomIndexKey())
	require.NotEqual(t, a.Sum("recipient", "x"), b.Sum("recipient", "x"))
	require.Equal(t, a.Sum("recipient", "x"), a.Sum("recipient", "x"))
}

func TestNewIndexKey_PanicsUnlessTheSecretHas32Bytes(t *testing.T) {
	for _, size := range []int{0, 16, 31, 33, 64} {
		require.Panics(t, func() { NewIndexKey(NewSecret(make([]byte, size))) })
	}
	require.Equal(t, 32, RandomIndexKey().Len())
}

// RFC 4231, test cases 1 to 4, 6 and 7, each twice in one pool, so that both a fresh and a reused state are tested.
func TestMAC_GivesThePublishedValues(t *testing.T) {
	for _, test := range []struct{ key, message, want string }{
		{strings.Repeat("\x0b", 20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{strings.Repeat("\xaa", 20), strings.Repeat("\xdd", 50),
			"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
		{"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19",
			strings.Repeat("\xcd", 50),
			"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
		{strings.Repeat("\xaa", 131), "Test Using Larger Than Block-Size Key - Hash Key First",
			"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
		{strings.Repeat("\xaa", 131), "This is a test using a larger than block-size key and a larger than block-size " +
			"data. " +
			"The key needs to be hashed before being used by the HMAC algorithm.",
			"9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
	} {
		pool := newMACPool([]byte(test.key))
		for range 2 {
			state := pool.take()
			state.message = append(state.message, test.message...)
			state.compute()
			require.Equal(t, test.want, hex.EncodeToString(state.sum[:]))
			pool.give(state)
		}
	}
}
