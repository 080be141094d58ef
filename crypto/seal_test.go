package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"
)

func TestOpen_GivesBackWhatWasSealed(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	for _, size := range []int{0, 1, 13, 16, 32, 1000, 1 << 16} {
		plaintext := bytes.Repeat([]byte{0x5a}, size)
		sealed := ring.Seal([]byte("recipient/1"), plaintext)
		require.Len(t, sealed, 2+len("k1")+nonceSize+size+tagSize)
		opened, err := ring.Open([]byte("recipient/1"), sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plaintext, opened))
		if size >= 13 {
			require.False(t, bytes.Contains(sealed, plaintext))
		}
	}
}

// These bytes were made by another implementation (Python's cryptography) with the nonce 00 01 … 0b. They represent
// the rows of existing systems: they must always open.
func TestOpen_ReadsWhatDatabasesHold(t *testing.T) {
	ring := parseKeyring(t, "2026-01 "+keyText(100))
	sealed, err := base64.StdEncoding.DecodeString("AQcyMDI2LTAxAAECAwQFBgcICQoLwfiDqz8ReX4QOl0tdao2DKUk36muAT58tgZE0K8=")
	require.NoError(t, err)
	opened, err := ring.Open([]byte("recipient/42/sealed"), sealed)
	require.NoError(t, err)
	require.Equal(t, "+919551492394", string(opened))
}

// The format and the derivation, written a second time, with HKDF from its definition (RFC 5869: extract with a salt
// of zeros, then one block of expansion).
func TestSeal_IsTheDocumentedForm(t *testing.T) {
	mac := func(key []byte, message string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(message))
		return h.Sum(nil)
	}
	sealingKey := mac(mac(make([]byte, 32), string(keyFrom(100))), "otpbridge seal v1\x01")
	block, err := aes.NewCipher(sealingKey)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)

	sealed := parseKeyring(t, "2026-01 "+keyText(100)).Seal([]byte("row"), []byte("value"))
	require.Equal(t, "\x01\x072026-01", string(sealed[:9]))
	opened, err := gcm.Open(nil, sealed[9:21], sealed[21:], []byte("\x01\x072026-01row"))
	require.NoError(t, err)
	require.Equal(t, "value", string(opened))
}

func TestSeal_NeverGivesTheSameBytesTwice(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	nonces := make(map[string]bool)
	for range 10_000 {
		sealed := ring.Seal(nil, []byte("same"))
		nonces[string(sealed[4:16])] = true
	}
	require.Len(t, nonces, 10_000)
}

func TestSeal_LeavesItsArgumentsAlone(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	aad, plaintext := []byte("row"), []byte("value")
	sealed := ring.Seal(aad, plaintext)
	before := bytes.Clone(sealed)
	opened, err := ring.Open(aad, sealed)
	require.NoError(t, err)
	clear(opened)
	require.Equal(t, before, sealed)
	require.Equal(t, "row", string(aad))
	require.Equal(t, "value", string(plaintext))
}

func TestOpen_RefusesSealedBytesMovedToAnotherRow(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	sealed := ring.Seal([]byte("account/1/cipher_key"), []byte("value"))
	for _, elsewhere := range []string{"account/2/cipher_key", "account/1/cipher_iv", "account/1/cipher_key ",
		"account/1/cipher_ke", ""} {
		_, err := ring.Open([]byte(elsewhere), sealed)
		require.ErrorIs(t, err, ErrSealed, elsewhere)
	}
}

func TestOpen_RefusesEveryAlteredBit(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	sealed := ring.Seal([]byte("row"), []byte("value"))
	for i := range sealed {
		for bit := range 8 {
			altered := bytes.Clone(sealed)
			altered[i] ^= 1 << bit
			opened, err := ring.Open([]byte("row"), altered)
			require.Nil(t, opened)
			// In the header (the id and its length) the change may have made the id of a key that the keyring lacks.
			if inID := 1 <= i && i <= 3; !inID || !errors.Is(err, ErrUnknownKey) {
				require.ErrorIs(t, err, ErrSealed, "byte %d bit %d", i, bit)
			}
		}
	}
}

func TestOpen_RefusesCutAndLengthenedBytes(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	sealed := ring.Seal([]byte("row"), []byte("value"))
	for size := range len(sealed) {
		_, err := ring.Open([]byte("row"), sealed[:size])
		require.ErrorIs(t, err, ErrSealed, "the first %d bytes", size)
	}
	_, err := ring.Open([]byte("row"), append(bytes.Clone(sealed), 0))
	require.ErrorIs(t, err, ErrSealed)
	_, err = ring.Open([]byte("row"), nil)
	require.ErrorIs(t, err, ErrSealed)
}

// The header is authenticated: bytes cannot be relabelled with another id, even if that id has the same key, and no
// byte can move between header and additional data.
func TestOpen_RefusesARelabelledKey(t *testing.T) {
	sealed := parseKeyring(t, "k1 "+keyText(100)).Seal([]byte("1row"), []byte("value"))
	renamed := parseKeyring(t, "k2 "+keyText(100), "k "+keyText(101))

	relabelled := bytes.Clone(sealed)
	relabelled[3] = '2'
	_, err := renamed.Open([]byte("1row"), relabelled)
	require.ErrorIs(t, err, ErrSealed)

	shortened := slices.Concat([]byte{1, 1, 'k'}, sealed[4:])
	_, err = parseKeyring(t, "k "+keyText(100)).Open([]byte("11row"), shortened)
	require.ErrorIs(t, err, ErrSealed)
}

func TestOpen_UnknownKeyIsNamed(t *testing.T) {
	sealed := parseKeyring(t, "2025-07 "+keyText(100)).Seal([]byte("row"), []byte("value"))
	_, err := parseKeyring(t, "2026-01 "+keyText(101)).Open([]byte("row"), sealed)
	require.ErrorIs(t, err, ErrUnknownKey)
	require.NotErrorIs(t, err, ErrSealed)
	require.EqualError(t, err, `open sealed bytes: key "2025-07" is not on the keyring`)
}

func TestOpen_AnotherKeyOfTheSameNameIsRefused(t *testing.T) {
	sealed := parseKeyring(t, "k1 "+keyText(100)).Seal([]byte("row"), []byte("value"))
	_, err := parseKeyring(t, "k1 "+keyText(101)).Open([]byte("row"), sealed)
	require.ErrorIs(t, err, ErrSealed)
}

// A rotation as an operator does it: add a new key in front, seal everything again, remove the old key.
func TestKeyring_RotatesWithoutLosingAnything(t *testing.T) {
	aad := []byte("row")
	before := parseKeyring(t, "old "+keyText(100))
	during := parseKeyring(t, "new "+keyText(101), "old "+keyText(100))
	after := parseKeyring(t, "new "+keyText(101))

	sealed := before.Seal(aad, []byte("value"))
	code, err := before.Code("old", [16]byte{1}, [16]byte{2}, [16]byte{3}, 6)
	require.NoError(t, err)

	opened, err := during.Open(aad, sealed)
	require.NoError(t, err)
	same, err := during.Code("old", [16]byte{1}, [16]byte{2}, [16]byte{3}, 6)
	require.NoError(t, err)
	require.Equal(t, code, same)

	id, err := SealedUnder(sealed)
	require.NoError(t, err)
	require.Equal(t, "old", id)
	sealed = during.Seal(aad, opened)
	id, err = SealedUnder(sealed)
	require.NoError(t, err)
	require.Equal(t, "new", id)

	opened, err = after.Open(aad, sealed)
	require.NoError(t, err)
	require.Equal(t, "value", string(opened))
}

func TestSealedUnder_RefusesWhatSealDidNotMake(t *testing.T) {
	body := strings.Repeat("x", nonceSize+tagSize)
	for name, sealed := range map[string]string{
		"nothing":             "",
		"version only":        "\x01",
		"another version":     "\x02\x02k1" + body,
		"no id":               "\x01\x00" + body,
		"id that is no id":    "\x01\x02k " + body,
		"id too long":         "\x01\x21" + strings.Repeat("k", 33) + body,
		"id beyond the end":   "\x01\xffk1" + body,
		"no room for the tag": "\x01\x02k1" + body[1:],
	} {
		_, err := SealedUnder([]byte(sealed))
		require.ErrorIs(t, err, ErrSealed, name)
	}
	id, err := SealedUnder([]byte("\x01\x02k1" + body))
	require.NoError(t, err)
	require.Equal(t, "k1", id)
}

// With fixed randomness the bytes are fixed: only the nonce is random.
func TestSeal_IsRandomInItsNonceOnly(t *testing.T) {
	ring := parseKeyring(t, "k1 "+keyText(100))
	cryptotest.SetGlobalRandom(t, 1)
	first := ring.Seal([]byte("row"), []byte("value"))
	cryptotest.SetGlobalRandom(t, 1)
	require.Equal(t, first, ring.Seal([]byte("row"), []byte("value")))
	require.NotEqual(t, first, ring.Seal([]byte("row"), []byte("value")))
}
