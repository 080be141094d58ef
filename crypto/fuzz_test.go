package crypto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An accepted code has 4 to 10 digits, and encrypting it again gives the same block, so no two blocks mean one code;
// hex and base64 of one block mean the same; the result for any correctly encrypted plaintext is that of naiveCode.
func FuzzDecrypt(f *testing.F) {
	for _, vector := range readParamVectors(f).Vectors {
		f.Add(vector.Hex, []byte(vector.Code+"\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a"))
		f.Add(strings.ReplaceAll(vector.Base64, "+", " "), []byte(vector.Code))
		f.Add(" "+strings.TrimRight(vector.Base64, "=")+"\n", []byte("1234567890\x06\x06\x06\x06\x06\x06"))
	}
	f.Add("1234", []byte{})
	f.Add("", bytes.Repeat([]byte{16}, 16))

	encodings := []ParamEncoding{EncodingAuto, EncodingHex, EncodingBase64}
	var ciphers []*ServletCipher
	for _, mode := range []CipherMode{AESCBC, AESECB, CipherNone} {
		for _, encoding := range encodings {
			ciphers = append(ciphers, sampleCipher(f, mode, encoding))
		}
	}
	f.Fuzz(func(t *testing.T, param string, plaintext []byte) {
		for _, c := range ciphers {
			code, ok := c.Decrypt(param)
			if !ok {
				require.Empty(t, code)
				continue
			}
			require.Regexp(t, `^[0-9]{4,10}$`, code)
			again, err := c.Encrypt(code)
			require.NoError(t, err)
			if c.mode == CipherNone {
				require.Equal(t, again, strings.Trim(param, blanks))
				continue
			}
			var given, canonical [16]byte
			require.True(t, c.decode(&given, param))
			require.True(t, c.decode(&canonical, again))
			require.Equal(t, canonical, given)
		}

		if len(plaintext) != 16 {
			return
		}
		want, wantOK := naiveCode(plaintext)
		code, ok := sampleCipher(t, AESCBC, EncodingHex).Decrypt(hex.EncodeToString(encryptBlocks(t, plaintext)))
		require.Equal(t, wantOK, ok)
		require.Equal(t, want, code)
	})
}

// An accepted keyring has distinct, valid ids, all of which work, and reads the same when written with other blanks;
// an error quotes no part of the text.
func FuzzParseKeyring(f *testing.F) {
	a, b := keyText(100), keyText(110)
	f.Add("k1 " + a)
	f.Add("# comment\r\n\nk1 " + a + "\nk2\t" + b + "\n")
	f.Add("k1 " + a + "\nk1 " + b)
	f.Add(a + " k1")
	f.Add("k1 " + a[:43])
	f.Fuzz(func(t *testing.T, text string) {
		ring, err := ParseKeyring(text)
		if err != nil {
			require.Nil(t, ring)
			for word := range strings.FieldsSeq(text) {
				if len(word) >= 40 {
					require.NotContains(t, err.Error(), word)
				}
			}
			return
		}
		ids := ring.IDs()
		require.NotEmpty(t, ids)
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(ids))), len(ids))
		for _, id := range ids {
			require.True(t, ValidKeyID(id))
			_, err := ring.Check(id)
			require.NoError(t, err)
			_, err = ring.Code(id, [16]byte{}, [16]byte{}, [16]byte{}, 6)
			require.NoError(t, err)
		}
		opened, err := ring.Open([]byte("row"), ring.Seal([]byte("row"), []byte("value")))
		require.NoError(t, err)
		require.Equal(t, "value", string(opened))

		again, err := ParseKeyring("# again\n" + strings.ReplaceAll(text, "\n", " \r\n\n "))
		require.NoError(t, err)
		require.Equal(t, ids, again.IDs())
	})
}

// Arbitrary bytes never open, never panic, and fail with one of the two errors; sealed bytes open with their own
// additional data and with no other; SealedUnder and Open agree on what is malformed.
func FuzzOpen(f *testing.F) {
	ring := parseKeyring(f, "k1 "+keyText(100), "k2 "+keyText(110))
	other := parseKeyring(f, "k3 "+keyText(120))
	f.Add([]byte("row"), []byte("value"))
	f.Add([]byte("row"), ring.Seal([]byte("row"), []byte("value"))[:31])
	f.Add([]byte(""), other.Seal(nil, nil))
	f.Add([]byte("row"), []byte("\x01\x02k1"+strings.Repeat("x", 40)))
	f.Fuzz(func(t *testing.T, aad, input []byte) {
		opened, err := ring.Open(aad, input)
		require.Nil(t, opened)
		require.True(t, errors.Is(err, ErrSealed) != errors.Is(err, ErrUnknownKey))

		id, err := SealedUnder(input)
		if err == nil {
			require.True(t, ValidKeyID(id))
		} else {
			_, openErr := ring.Open(aad, input)
			require.ErrorIs(t, openErr, ErrSealed)
		}

		sealed := ring.Seal(aad, input)
		opened, err = ring.Open(aad, sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(input, opened))
		_, err = ring.Open(append(bytes.Clone(aad), 0), sealed)
		require.ErrorIs(t, err, ErrSealed)
		_, err = other.Open(aad, sealed)
		require.ErrorIs(t, err, ErrUnknownKey)
	})
}

// An accepted text has an AES key length, and means the same when written as hex; an error quotes nothing.
func FuzzParseKeyText(f *testing.F) {
	vectors := readParamVectors(f)
	for _, text := range []string{vectors.KeyHex, vectors.KeyBase64, vectors.IVHex, vectors.IVBase64, "", " ",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := ParseKeyText(text)
		if err != nil {
			require.True(t, secret.IsZero())
			for word := range strings.FieldsSeq(text) {
				if len(word) >= 20 {
					require.NotContains(t, err.Error(), word)
				}
			}
			return
		}
		require.Contains(t, []int{16, 24, 32}, secret.Len())
		again, err := ParseKeyText(hex.EncodeToString(secret.Bytes()))
		require.NoError(t, err)
		require.True(t, secret.Equal(again))
	})
}

// An accepted pair makes a cipher, and its halves alone mean the same as in the pair.
func FuzzParseKeyPair(f *testing.F) {
	vectors := readParamVectors(f)
	f.Add(vectors.IVBase64 + "~" + vectors.KeyBase64)
	f.Add(vectors.IVHex + " ~ " + vectors.KeyHex)
	f.Add(vectors.KeyHex + "~" + vectors.IVHex)
	f.Add("~")
	f.Fuzz(func(t *testing.T, text string) {
		key, iv, err := ParseKeyPair(text)
		if err != nil {
			require.True(t, key.IsZero())
			require.True(t, iv.IsZero())
			return
		}
		_, err = NewServletCipher(AESCBC, EncodingAuto, key, iv)
		require.NoError(t, err)
		ivText, keyText, _ := strings.Cut(text, "~")
		for half, want := range map[string]Secret{ivText: iv, keyText: key} {
			secret, err := ParseKeyText(half)
			require.NoError(t, err)
			require.True(t, want.Equal(secret))
		}
	})
}

// An accepted key consists of the returned parts and cannot be shortened.
func FuzzCheckAPIKey(f *testing.F) {
	f.Add("otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijF")
	f.Add(NewAPIKey("test", "svc"))
	f.Add("otpb_live__")
	f.Fuzz(func(t *testing.T, key string) {
		environment, kind, ok := CheckAPIKey(key)
		if !ok {
			require.Empty(t, environment+kind)
			return
		}
		require.True(t, strings.HasPrefix(key, "otpb_"+environment+"_"+kind+"_"))
		_, _, ok = CheckAPIKey(key[:len(key)-1])
		require.False(t, ok)
	})
}
