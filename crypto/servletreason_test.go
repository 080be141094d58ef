package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

// sealedText encrypts text with AES-CBC and PKCS#7 padding.
func sealedText(t testing.TB, key, iv []byte, text string) []byte {
	t.Helper()
	padding := aes.BlockSize - len(text)%aes.BlockSize
	return sealedBlocks(t, key, iv, append([]byte(text), bytes.Repeat([]byte{byte(padding)}, padding)...))
}

func sealedBlocks(t testing.TB, key, iv, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	sealed := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, plain)
	return sealed
}

func wide(text string, little bool) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(text)) {
		if little {
			b.Write([]byte{byte(unit), byte(unit >> 8)})
		} else {
			b.Write([]byte{byte(unit >> 8), byte(unit)})
		}
	}
	return b.String()
}

// The developer of a refused parameter is told what is wrong with it.
func TestServletCipher_ReasonNamesTheMistake(t *testing.T) {
	const code = "903517"
	key, iv, b64 := keyFrom(0), sampleIV, base64.StdEncoding.EncodeToString
	text := func(plain string) string { return b64(sealedText(t, key, iv, plain)) }
	blocks := func(plain string) string { return b64(sealedBlocks(t, key, iv, []byte(plain))) }
	zeros := make([]byte, 16)
	right := sealedText(t, key, iv, code)
	other := bytes.Repeat([]byte{7}, 32)
	decrypted := make([]byte, 16)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	block.Decrypt(decrypted, append([]byte(code), bytes.Repeat([]byte{10}, 10)...))

	for _, tt := range []struct{ name, param, reason string }{
		{"nothing", "", "empty"},
		{"blanks", "  ", "empty"},
		{"the digits", code, "not encrypted"},
		{"twelve digits", code + code, "12 of them"},
		{"a letter of another alphabet", "Жrgn4bpX/4iYytICyC1wNg==", "not base64"},
		{"an asterisk", "*" + b64(right)[1:], "not base64"},
		{"33 hex characters", hex.EncodeToString(right) + "a", "33 hex characters"},
		{"31 hex characters", hex.EncodeToString(right)[1:], "31 hex characters"},
		{"30 hex characters", hex.EncodeToString(right)[2:], "30 hex characters"},
		{"hex of eight bytes", "001122aa44556677", "16 hex characters"},
		{"hex with 0x", "0x" + hex.EncodeToString(right), "begins with 0x"},
		{"hex with colons", strings.Trim(strings.Repeat("5e:", 16), ":"), "hex with separators"},
		{"cut at the end", b64(right)[:21], "cut"},
		{"fifteen bytes", b64(right[:15]), "15 bytes"},
		{"seventeen bytes", b64(append(bytes.Clone(right), 0)), "17 bytes"},
		{"unused bits set", b64(right)[:21] + "9==", "the padding or the last character"},
		{"ECB", b64(sealedText(t, key, zeros, code)), "decrypts under ECB"},
		{"a zero IV", hex.EncodeToString(sealedText(t, key, zeros, "1234")), "zero IV"},
		{"a newline inside", b64(right)[:10] + "\n" + b64(right)[10:], "has a newline"},
		{"a newline of a form", b64(right)[:10] + "\r\n" + b64(right)[10:], "has a newline"},
		{"a newline that is escaped", b64(right) + `\n`, "has a newline"},
		{"echo without -n", text(code + "\n"), "has a newline: the text that was encrypted"},
		{"a line of Windows", text(code + "\r\n"), "has a newline: the text that was encrypted"},
		{"UTF-16, little end first", text(wide(code, true)), "UTF-16"},
		{"UTF-16, big end first", text(wide(code, false)), "UTF-16"},
		{"UTF-16 with a mark", text("\xff\xfe" + wide(code, true)), "UTF-16"},
		{"UTF-16 of ten digits", text(wide("1234567890", true)), "UTF-16"},
		{"UTF-8 with a mark", text("\xef\xbb\xbf" + code), "byte order mark"},
		{"OpenSSL's password", b64(append([]byte("Salted__saltsalt"), right...)), "Salted__"},
		{"OpenSSL's password in hex", hex.EncodeToString(append([]byte("Salted__saltsalt"), right...)), "Salted__"},
		{"another key", b64(sealedText(t, other, iv, code)), "wrong key or IV: bad padding"},
		{"another IV", b64(sealedText(t, key, other[:16], code)), "wrong key or IV: bad padding"},
		{"another key, two blocks", b64(sealedText(t, other, iv, strings.Repeat("1", 20))), "32 bytes"},
		{"three digits", text("123"), "not 4 to 10 digits: has 3"},
		{"eleven digits", text("12345678901"), "not 4 to 10 digits: has 11"},
		{"sixteen digits", text("1234567890123456"), "not 4 to 10 digits: has 16"},
		{"nothing encrypted", text(""), "decrypts to nothing"},
		{"a letter", text("12a4"), "other characters"},
		{"a name", text("otp=" + code), "other characters"},
		{"a blank in front", text(" " + code), "blanks around"},
		{"a tab behind", text(code + "\t"), "blanks around"},
		{"a C string", text(code + "\x00"), "NUL"},
		{"quotation marks inside", text(`"` + code + `"`), "quotation marks"},
		{"quotation marks outside", `"` + b64(right) + `"`, "quotation marks"},
		{"a sign", text("+" + code), "sign"},
		{"full-width digits", text("１２３４"), "not ASCII"},
		{"Arabic digits", text("١٢٣٤"), "not ASCII"},
		{"encoded for a URL twice", url.QueryEscape(b64(right)), "url-encoded twice"},
		{"encoded for a URL thrice", url.QueryEscape(url.QueryEscape(b64(right))), "url-encoded twice"},
		{"IV in front", b64(append(bytes.Clone(other[:16]), sealedText(t, key, other[:16], code)...)), "IV prepended"},
		{"IV in front in hex", hex.EncodeToString(append(bytes.Clone(iv), right...)), "IV prepended"},
		{"IV in front with a tilde", hex.EncodeToString(iv) + "~" + hex.EncodeToString(right), "IV prepended"},
		{"IV in front with a colon", b64(iv) + ":" + b64(right), "IV prepended"},
		{"IV behind", b64(append(sealedText(t, key, other[:16], code), other[:16]...)), "IV appended"},
		{"zeros for padding", blocks(code + strings.Repeat("\x00", 10)), "zero padded"},
		{"blanks for padding", blocks(code + strings.Repeat(" ", 10)), "padded with blanks"},
		{"ISO 7816-4", blocks(code + "\x80" + strings.Repeat("\x00", 9)), "ISO 7816-4"},
		{"ANSI X9.23", blocks(code + strings.Repeat("\x00", 9) + "\x0a"), "ANSI X9.23"},
		{"ISO 10126", blocks(code + "\x17\x05\x99\x01\xf0\x7a\x33\x02\x51\x0a"), "ISO 10126"},
		{"no padding", blocks("1234567890123456"), "not padded"},
		{"base64 of base64", b64([]byte(b64(right))), "encoded twice"},
		{"base64 of hex", b64([]byte(hex.EncodeToString(right))), "encoded twice"},
		{"base64 of the digits", b64([]byte(code)), "not encrypted"},
		{"a key in hex text", b64(sealedText(t, []byte(hex.EncodeToString(key)[:32]), iv, code)), "key's hex text"},
		{"a key in base64 text", b64(sealedText(t, []byte(b64(key)[:32]), iv, code)), "key's base64 text"},
		{"half the key", b64(sealedText(t, key[:16], iv, code)), "first 16 bytes of the key as key"},
		{"half the key and a zero IV", b64(sealedText(t, key[:16], zeros, code)), "a zero IV"},
		{"the key as IV", b64(sealedText(t, key, key[:16], code)), "first 16 bytes of the key as IV"},
		{"an IV in hex text", b64(sealedText(t, key, []byte(hex.EncodeToString(iv)[:16]), code)), "IV's hex text"},
		{"decrypted", b64(decrypted), "decrypted where it should be encrypted"},
		{"a placeholder", "{otp}", "placeholder"},
		{"named twice", "otp=" + b64(right), "named twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sampleCipher(t, AESCBC, EncodingAuto)
			_, ok := c.Decrypt(tt.param)
			require.False(t, ok)
			reason := c.Reason(tt.param)
			require.Contains(t, reason, tt.reason)
			for _, secret := range []string{code, "1234567", "12a4", hex.EncodeToString(key)[:8], b64(right)[:8]} {
				require.NotContains(t, reason, secret)
			}
		})
	}
}

func TestServletCipher_ReasonGoesByTheAccount(t *testing.T) {
	sealed := sealedText(t, keyFrom(0), sampleIV, "903517")
	inHex, inBase64 := hex.EncodeToString(sealed), base64.StdEncoding.EncodeToString(sealed)
	require.Contains(t, sampleCipher(t, AESCBC, EncodingHex).Reason(inBase64), "otp_encoding is hex")
	require.Contains(t, sampleCipher(t, AESCBC, EncodingBase64).Reason(inHex), "otp_encoding is base64")
	require.Contains(t, sampleCipher(t, AESECB, EncodingAuto).Reason(inHex), "wrong key or IV: bad padding")
	require.Contains(t, sampleCipher(t, CipherNone, EncodingAuto).Reason("12a456"), "other characters")
	require.Contains(t, sampleCipher(t, CipherNone, EncodingAuto).Reason(inHex), "other characters")
	require.NotEmpty(t, new(ServletCipher).Reason("123456"))
	for _, vector := range readParamVectors(t).Vectors {
		if vector.Mode == "cbc" {
			require.Empty(t, sampleCipher(t, AESCBC, EncodingAuto).Reason(vector.Base64), "what decrypts has no reason not to")
		}
	}
	for _, vector := range readParamVectors(t).MustBeRejected {
		require.NotEmpty(t, sampleCipher(t, AESCBC, EncodingAuto).Reason(vector.Hex), vector.Why)
	}
}

// Whatever is sent, there is a reason if and only if it does not decrypt, and the reason is short and does not quote
// what was sent.
func FuzzServletReason(f *testing.F) {
	for _, seed := range []string{"", "123456", "Xrgn4bpX/4iYytICyC1wNg==", "5eb827e1ba57ff8898cad202c82d7036",
		"U2FsdGVkX18=", "%2B", "a~b", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, param string) {
		for _, mode := range []CipherMode{AESCBC, AESECB, CipherNone} {
			c := sampleCipher(t, mode, EncodingAuto)
			_, ok := c.Decrypt(param)
			reason := c.Reason(param)
			require.Equal(t, ok, reason == "", "%q: %q", param, reason)
			require.Less(t, len(reason), 160)
			if len(param) > 5 && !strings.Contains("otp_encoding base64 newline", strings.ToLower(param)) && onlyHex(param) {
				require.NotContains(t, reason, param)
			}
		}
	})
}
