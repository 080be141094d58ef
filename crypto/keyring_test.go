package crypto

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// keyFrom returns a key for tests: 32 bytes counting up from start.
func keyFrom(start byte) []byte {
	raw := make([]byte, ringKeySize)
	for i := range raw {
		raw[i] = start + byte(i)
	}
	return raw
}

func keyText(start byte) string { return base64.StdEncoding.EncodeToString(keyFrom(start)) }

func parseKeyring(t testing.TB, lines ...string) *Keyring {
	t.Helper()
	ring, err := ParseKeyring(strings.Join(lines, "\n"))
	require.NoError(t, err)
	return ring
}

func TestParseKeyring_ReadsWhatItPromisesTo(t *testing.T) {
	a, b := keyText(100), keyText(110)
	longest := strings.Repeat("a", 32)
	for name, test := range map[string]struct {
		text string
		ids  []string
	}{
		"one line":                {"k1 " + a, []string{"k1"}},
		"first is primary":        {"new " + a + "\nold " + b + "\n", []string{"new", "old"}},
		"not in order of name":    {"z " + a + "\na " + b, []string{"z", "a"}},
		"blank lines, comments":   {"\n# made in January\n\n  # indented\nk1 " + a + "\n\n#k2 " + b + "\n", []string{"k1"}},
		"tabs and many blanks":    {"\t k1 \t  " + a + "  \t", []string{"k1"}},
		"lines ended by CRLF":     {"k1 " + a + "\r\n\r\nk2 " + b + "\r\n", []string{"k1", "k2"}},
		"every kind of character": {"A-z.0_9 " + a, []string{"A-z.0_9"}},
		"longest id":              {longest + " " + a, []string{longest}},
		"ids differ in case only": {"k " + a + "\nK " + b, []string{"k", "K"}},
	} {
		t.Run(name, func(t *testing.T) {
			ring, err := ParseKeyring(test.text)
			require.NoError(t, err)
			require.Equal(t, test.ids, ring.IDs())
			require.Equal(t, test.ids[0], ring.Primary())
			for _, id := range test.ids {
				require.True(t, ring.Has(id))
			}
			require.False(t, ring.Has("absent"))
		})
	}
}

func TestParseKeyring_RefusesNamingTheLineAndNeverTheKey(t *testing.T) {
	a, b := keyText(100), keyText(110)
	short := base64.StdEncoding.EncodeToString(keyFrom(100)[:31])
	long := base64.StdEncoding.EncodeToString(append(keyFrom(100), 1))
	for name, test := range map[string]struct{ text, want string }{
		"nothing":             {"", "holds no key"},
		"comments only":       {"# a\n\n  \n# b", "holds no key"},
		"id only":             {"k1", "line 1: 1 fields"},
		"key only":            {"\n" + a, "line 2: 1 fields"},
		"comment after key":   {"k1 " + a + " # mine", "line 1: 4 fields"},
		"key cut by a blank":  {"k1 " + a[:20] + " " + a[20:], "line 1: 3 fields"},
		"fields swapped":      {a + " k1", "line 1: the id is not"},
		"id too long":         {strings.Repeat("a", 33) + " " + a, "line 1: the id is not"},
		"id with a slash":     {"a/b " + a, "line 1: the id is not"},
		"id not ASCII":        {"schlüssel " + a, "line 1: the id is not"},
		"byte order mark":     {"\ufeffk1 " + a, "line 1: the id is not"},
		"key too short":       {"k1 " + short, "line 1: the key is not 32 bytes"},
		"key too long":        {"k1 " + long, "line 1: the key is not 32 bytes"},
		"key in hex":          {"k1 " + hex.EncodeToString(keyFrom(100)), "line 1: the key is not 32 bytes"},
		"key without padding": {"k1 " + strings.TrimRight(a, "="), "line 1: the key is not 32 bytes"},
		"key for URLs": {"k1 " + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, 16)),
			"line 1: the key is not 32 bytes"},
		"unused bits set": {"k1 " + a[:42] + "N=", "line 1: the key is not 32 bytes"},
		"all zeros": {"k1 " + base64.StdEncoding.EncodeToString(make([]byte, 32)),
			"line 1: the key is one byte 32 times"},
		"one byte throughout": {"k1 " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{'x'}, 32)),
			"line 1: the key is one byte"},
		"an id twice":          {"k1 " + a + "\n# or\nk1 " + b, "line 3: the id is that of line 1"},
		"a key twice":          {"\nk1 " + a + "\nk2 " + b + "\nk3 " + a, "line 4: the key is that of line 2"},
		"good line, bad later": {"k1 " + a + "\nk2 " + b[:40], "line 2: the key is not 32 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			ring, err := ParseKeyring(test.text)
			require.Nil(t, ring)
			require.ErrorContains(t, err, test.want)
			requireQuotesNothing(t, err, test.text)
		})
	}
}

// requireQuotesNothing fails if an error contains 9 consecutive characters of the text.
func requireQuotesNothing(t testing.TB, err error, text string) {
	t.Helper()
	for _, word := range strings.Fields(text) {
		for i := 0; i+9 <= len(word); i++ {
			require.NotContains(t, err.Error(), word[i:i+9])
		}
	}
}

func TestNewKeyringText_IsAFreshKeyringThatOlderOnesCanFollow(t *testing.T) {
	first, second := NewKeyringText("k1"), NewKeyringText("k2")
	ring, err := ParseKeyring(second + first)
	require.NoError(t, err)
	require.Equal(t, []string{"k2", "k1"}, ring.IDs())
	require.NotEqual(t, NewKeyringText("k1"), first)
	require.Panics(t, func() { NewKeyringText("not an id") })
}

func TestKeyring_IDsAreTheCallersToChange(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	ring.IDs()[0] = "changed"
	require.Equal(t, "k1", ring.Primary())
}

// The value was computed by another implementation of RFC 5869 (Python's cryptography). Databases store it: if it
// changes, every server refuses to start.
func TestCheck_ValueStaysWhatDatabasesHold(t *testing.T) {
	ring := parseKeyring(t, "2026-01 "+keyText(100))
	check, err := ring.Check("2026-01")
	require.NoError(t, err)
	require.Equal(t, "f04f963ae5e64eedb47a2b693a26375f", hex.EncodeToString(check))

	clear(check)
	again, err := ring.Check("2026-01")
	require.NoError(t, err)
	require.NotEqual(t, check, again, "the caller's copy is its own")
}

func TestCheck_ProvesTheKeyAndNotItsName(t *testing.T) {
	right := parseKeyring(t, "k1 "+keyText(100))
	wrong := parseKeyring(t, "k1 "+keyText(101))
	renamed := parseKeyring(t, "k2 "+keyText(100))
	want, err := right.Check("k1")
	require.NoError(t, err)
	other, err := wrong.Check("k1")
	require.NoError(t, err)
	same, err := renamed.Check("k2")
	require.NoError(t, err)
	require.NotEqual(t, want, other)
	require.Equal(t, want, same)
}

func TestCheck_UnknownKeyIsNamed(t *testing.T) {
	_, err := parseKeyring(t, "k1 "+keyText(100)).Check("k9")
	require.ErrorIs(t, err, ErrUnknownKey)
	require.EqualError(t, err, `key "k9" is not on the keyring`)
}

func TestWeakness_NamesAKeyThatIsNoRandomOne(t *testing.T) {
	for _, text := range []string{
		"cipher key of your integration!!", strings.Repeat("ab", 16), strings.Repeat("changeme", 4), strings.Repeat("01", 16),
		"abcdefghijklmnopqrstuvwxyzabcdef", "passwordpasswordpasswordpassword", "0123456789abcdef0123456789abcdef",
		"qwertyuiopasdfghjklzxcvbnmqwerty", strings.Repeat("\x00\xff", 16),
	} {
		ring := parseKeyring(t, "good "+base64.StdEncoding.EncodeToString(random(32)),
			"weak "+base64.StdEncoding.EncodeToString([]byte(text)))
		id, what := ring.Weakness()
		require.Equal(t, "weak", id, text)
		require.NotEmpty(t, what)
	}
	for range 1000 {
		id, _ := parseKeyring(t, "k1 "+base64.StdEncoding.EncodeToString(random(32))).Weakness()
		require.Empty(t, id)
	}
}

func random(size int) []byte {
	raw := make([]byte, size)
	rand.Read(raw)
	return raw
}

func TestSampleIDs_NameThePublishedKey(t *testing.T) {
	require.Equal(t, []string{"demo"}, parseKeyring(t, "k1 "+keyText(100), "demo "+keyText(0)).SampleIDs())
	require.Empty(t, parseKeyring(t, "k1 "+keyText(100), "k2 "+keyText(1)).SampleIDs())
}

func TestKeyring_ZeroValueKnowsNoKey(t *testing.T) {
	var ring Keyring
	require.Empty(t, ring.Primary())
	require.Empty(t, ring.IDs())
	require.False(t, ring.Has(""))
	_, err := ring.Open(nil, parseKeyring(t, "k1 "+keyText(100)).Seal(nil, nil))
	require.ErrorIs(t, err, ErrUnknownKey)
	require.Panics(t, func() { ring.Seal(nil, nil) })
}

func TestKeyring_AnswersTheSameFromManyGoroutinesRace(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	index := NewIndexKey(NewSecret(keyFrom(100)))
	servlet := sampleCipher(t, AESCBC, EncodingAuto)
	wantCode, err := ring.Code("k1", [16]byte{1}, [16]byte{2}, [16]byte{3}, 6)
	require.NoError(t, err)
	wantSum := index.Sum("recipient", "a")

	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				code, err := ring.Code("k1", [16]byte{1}, [16]byte{2}, [16]byte{3}, 6)
				if err != nil || code != wantCode {
					t.Errorf("the code is %q, %v", code, err)
				}
				if sum := index.Sum("recipient", "a"); sum != wantSum {
					t.Errorf("the hash is %x", sum)
				}
				opened, err := ring.Open([]byte("row"), ring.Seal([]byte("row"), []byte("value")))
				if err != nil || string(opened) != "value" {
					t.Errorf("opened %q, %v", opened, err)
				}
				if code, ok := servlet.Decrypt("Xrgn4bpX/4iYytICyC1wNg=="); !ok || code != "123456" {
					t.Errorf("decrypted %q, %v", code, ok)
				}
			}
		})
	}
	group.Wait()
}
