package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// paramVectors is testdata/otp_param.json: parameters made by javax.crypto.
type paramVectors struct {
	KeyHex    string `json:"key_hex"`
	KeyBase64 string `json:"key_base64"`
	IVHex     string `json:"iv_hex"`
	IVBase64  string `json:"iv_base64"`
	Vectors   []struct {
		Mode, Code, Hex, Base64 string
	}
	MustBeRejected []struct {
		Why, Hex string
	} `json:"must_be_rejected"`
	OtherKeyLengths []struct {
		KeyBytes     int `json:"key_bytes"`
		Code, Base64 string
	} `json:"other_key_lengths"`
}

func readParamVectors(t testing.TB) paramVectors {
	t.Helper()
	text, err := os.ReadFile("testdata/otp_param.json")
	require.NoError(t, err)
	var vectors paramVectors
	require.NoError(t, json.Unmarshal(text, &vectors))
	require.NotEmpty(t, vectors.Vectors)
	require.NotEmpty(t, vectors.MustBeRejected)
	require.NotEmpty(t, vectors.OtherKeyLengths)
	return vectors
}

var sampleIV, _ = hex.DecodeString("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")

// sampleCipher returns a cipher with the key and the IV of the vectors.
func sampleCipher(t testing.TB, mode CipherMode, encoding ParamEncoding) *ServletCipher {
	t.Helper()
	c, err := NewServletCipher(mode, encoding, NewSecret(keyFrom(0)), NewSecret(sampleIV))
	require.NoError(t, err)
	return c
}

func requireDecrypts(t testing.TB, c *ServletCipher, param, want string) {
	t.Helper()
	code, ok := c.Decrypt(param)
	require.True(t, ok, "%q is refused", param)
	require.Equal(t, want, code, "%q", param)
}

func requireRefuses(t testing.TB, c *ServletCipher, param string, why ...any) {
	t.Helper()
	code, ok := c.Decrypt(param)
	require.False(t, ok, why...)
	require.Empty(t, code, why...)
}

func TestDecrypt_ReadsWhatJavaWrites(t *testing.T) {
	for _, vector := range readParamVectors(t).Vectors {
		mode := CipherMode("aes-" + vector.Mode)
		auto, onlyHex, onlyBase64 := sampleCipher(t, mode, EncodingAuto), sampleCipher(t, mode,
			EncodingHex), sampleCipher(t, mode, EncodingBase64)

		hexSpellings := []string{vector.Hex, strings.ToUpper(vector.Hex), vector.Hex[:16] +
			strings.ToUpper(vector.Hex[16:]), " " + vector.Hex + "\r\n"}
		for _, param := range hexSpellings {
			requireDecrypts(t, auto, param, vector.Code)
			requireDecrypts(t, onlyHex, param, vector.Code)
			requireRefuses(t, onlyBase64, param, "hex sent to an account of base64")
		}

		urlSafe := strings.NewReplacer("+", "-", "/", "_").Replace(vector.Base64)
		var base64Spellings []string
		for _, padded := range []string{vector.Base64, urlSafe, strings.ReplaceAll(vector.Base64, "+", " ")} {
			unpadded := strings.TrimRight(padded, "=")
			base64Spellings = append(base64Spellings, padded, unpadded)
			if !strings.HasPrefix(padded, " ") {
				base64Spellings = append(base64Spellings, " "+padded, padded+" ", "\t "+padded+"\r\n", " "+unpadded,
					unpadded+"  ", " \n"+unpadded+" ")
			}
		}
		for _, param := range base64Spellings {
			requireDecrypts(t, auto, param, vector.Code)
			requireDecrypts(t, onlyBase64, param, vector.Code)
			requireRefuses(t, onlyHex, param, "base64 sent to an account of hex")
		}
	}
}

func TestEncrypt_WritesWhatJavaWrites(t *testing.T) {
	for _, vector := range readParamVectors(t).Vectors {
		mode := CipherMode("aes-" + vector.Mode)
		for encoding, want := range map[ParamEncoding]string{
			EncodingAuto: vector.Base64, EncodingBase64: vector.Base64, EncodingHex: vector.Hex,
		} {
			param, err := sampleCipher(t, mode, encoding).Encrypt(vector.Code)
			require.NoError(t, err)
			require.Equal(t, want, param)
		}
	}
}

func TestDecrypt_ReadsShorterKeys(t *testing.T) {
	for _, vector := range readParamVectors(t).OtherKeyLengths {
		c, err := NewServletCipher(AESCBC, EncodingAuto, NewSecret(keyFrom(0)[:vector.KeyBytes]), NewSecret(sampleIV))
		require.NoError(t, err)
		requireDecrypts(t, c, vector.Base64, vector.Code)
		param, err := c.Encrypt(vector.Code)
		require.NoError(t, err)
		require.Equal(t, vector.Base64, param)
	}
}

func TestDecrypt_RefusesWhatJavaCanWriteButIsNoCode(t *testing.T) {
	for _, vector := range readParamVectors(t).MustBeRejected {
		raw, err := hex.DecodeString(vector.Hex)
		require.NoError(t, err)
		for _, encoding := range []ParamEncoding{EncodingAuto, EncodingHex, EncodingBase64} {
			c := sampleCipher(t, AESCBC, encoding)
			requireRefuses(t, c, vector.Hex, vector.Why)
			requireRefuses(t, c, base64.StdEncoding.EncodeToString(raw), vector.Why)
			requireRefuses(t, c, base64.RawURLEncoding.EncodeToString(raw), vector.Why)
		}
	}
}

func TestDecrypt_RefusesTextThatIsNotOneBlock(t *testing.T) {
	const hexParam, base64Param = "5eb827e1ba57ff8898cad202c82d7036", "Xrgn4bpX/4iYytICyC1wNg=="
	for why, param := range map[string]string{
		"nothing":                      "",
		"blanks":                       strings.Repeat(" ", 24),
		"blanks, unpadded length":      strings.Repeat(" ", 22),
		"the digits in clear":          "123456",
		"hex cut by one":               hexParam[1:],
		"hex and one more":             hexParam + "0",
		"a letter beyond f":            "g" + hexParam[1:],
		"hex with 0x":                  "0x" + hexParam,
		"hex, a blank inside":          hexParam[:16] + " " + hexParam[17:],
		"base64 cut by one":            base64Param[1:],
		"one padding character":        base64Param[:23],
		"three padding characters":     base64Param + "=",
		"padding in the middle":        base64Param[:10] + "==" + base64Param[12:],
		"a character of no alphabet":   "!" + base64Param[1:],
		"a line end inside":            base64Param[:10] + "\n" + base64Param[10:23],
		"a line end inside, unpadded":  base64Param[:10] + "\n" + base64Param[10:21],
		"unused bits set":              base64Param[:21] + "h==",
		"not ASCII":                    base64Param[:20] + "é==",
		"NUL":                          base64Param[:21] + "\x00==",
		"percent signs left undecoded": "Xrgn4bpX%2F4iYytICyC1wNg%3D%3D",
		"a megabyte":                   strings.Repeat("A", 1<<20),
	} {
		for _, encoding := range []ParamEncoding{EncodingAuto, EncodingHex, EncodingBase64} {
			requireRefuses(t, sampleCipher(t, AESCBC, encoding), param, why)
		}
	}
}

// A value that starts with + arrives with a blank in its place, and must not be trimmed. This tests every place of a
// +.
func TestDecrypt_ReadsABlankAsThePlusThatFormDecodingAte(t *testing.T) {
	c := sampleCipher(t, AESCBC, EncodingAuto)
	places := map[int]bool{}
	for number := range 10_000 {
		param, err := c.Encrypt(digitsOf(number, 4))
		require.NoError(t, err)
		for place := range param {
			if param[place] == '+' {
				places[place] = true
			}
		}
		eaten := strings.ReplaceAll(param, "+", " ")
		requireDecrypts(t, c, eaten, digitsOf(number, 4))
		requireDecrypts(t, c, strings.TrimRight(eaten, "="), digitsOf(number, 4))
	}
	require.Len(t, places, 21, "a + was met in every place but the last, which holds two bits only")
}

func digitsOf(n, digits int) string {
	text := make([]byte, digits)
	for i := digits - 1; i >= 0; i-- {
		text[i] = '0' + byte(n%10)
		n /= 10
	}
	return string(text)
}

// naiveCode is the rule for padding and digits, written simply.
func naiveCode(block []byte) (code string, ok bool) {
	padding := int(block[len(block)-1])
	if padding < 1 || padding > len(block) || !bytes.HasSuffix(block, bytes.Repeat([]byte{byte(padding)}, padding)) {
		return "", false
	}
	code = string(block[:len(block)-padding])
	if len(code) < 4 || len(code) > 10 || strings.Trim(code, "0123456789") != "" {
		return "", false
	}
	return code, true
}

// Every last byte, after every number of digits, and with every single byte of the block replaced by every value.
func TestDecrypt_JudgesPaddingAndDigitsByThePlainRule(t *testing.T) {
	c := sampleCipher(t, AESCBC, EncodingHex)
	accepted := 0
	judge := func(plaintext []byte) {
		want, wantOK := naiveCode(plaintext)
		code, ok := c.Decrypt(hex.EncodeToString(encryptBlocks(t, plaintext)))
		if ok != wantOK || code != want {
			t.Fatalf("plaintext %x gives %q, %v", plaintext, code, ok)
		}
		if ok {
			accepted++
		}
	}
	for digits := range 17 {
		for last := range 256 {
			block := append([]byte("1234567890123456"[:digits]), bytes.Repeat([]byte{byte(last)}, 16-digits)...)
			judge(block)
		}
		padded := append([]byte("1234567890123456"[:digits]), bytes.Repeat([]byte{byte(16 - digits)}, 16-digits)...)
		for place := range padded {
			for value := range 256 {
				block := bytes.Clone(padded)
				block[place] = byte(value)
				judge(block)
			}
		}
	}
	require.NotZero(t, accepted)
}

// encryptBlocks is CBC by the standard library, for any number of blocks, padded or not.
func encryptBlocks(t testing.TB, plaintext []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(keyFrom(0))
	require.NoError(t, err)
	ciphertext := make([]byte, len(plaintext))
	cipher.NewCBCEncrypter(block, sampleIV).CryptBlocks(ciphertext, plaintext)
	return ciphertext
}

func TestDecrypt_RefusesEveryAlteredByte(t *testing.T) {
	for _, vector := range readParamVectors(t).Vectors {
		c := sampleCipher(t, CipherMode("aes-"+vector.Mode), EncodingAuto)
		raw, err := hex.DecodeString(vector.Hex)
		require.NoError(t, err)
		for place := range raw {
			for difference := 1; difference < 256; difference++ {
				altered := bytes.Clone(raw)
				altered[place] ^= byte(difference)
				requireRefuses(t, c, hex.EncodeToString(altered))
				requireRefuses(t, c, base64.StdEncoding.EncodeToString(altered))
			}
		}
	}
}

// An attack on CBC: put a chosen block before or after the captured one and vary it until the padding is right. Of the
// 256 last bytes one gives right padding, and the answer must not differ for it.
func TestDecrypt_RefusesForgeriesOfSeveralBlocks(t *testing.T) {
	c := sampleCipher(t, AESCBC, EncodingAuto)
	captured, err := hex.DecodeString("5eb827e1ba57ff8898cad202c82d7036")
	require.NoError(t, err)
	for place := range 16 {
		for value := range 256 {
			forged := make([]byte, 16)
			forged[place] = byte(value)
			for _, blocks := range [][]byte{
				append(bytes.Clone(forged), captured...),
				append(bytes.Clone(captured), forged...),
				bytes.Join([][]byte{captured, forged, captured}, nil),
			} {
				requireRefuses(t, c, hex.EncodeToString(blocks))
				requireRefuses(t, c, base64.StdEncoding.EncodeToString(blocks))
			}
		}
	}
	valid := append([]byte("1234567890123456"), bytes.Repeat([]byte{16}, 16)...)
	requireRefuses(t, c, hex.EncodeToString(encryptBlocks(t, valid)), "two blocks of faultless padding")
}

func TestServletCipher_ECBIsCBCWithAnIVOfZeros(t *testing.T) {
	ecb := sampleCipher(t, AESECB, EncodingHex)
	cbc, err := NewServletCipher(AESCBC, EncodingHex, NewSecret(keyFrom(0)), NewSecret(make([]byte, 16)))
	require.NoError(t, err)
	for _, code := range []string{"0000", "123456", "9999999999"} {
		a, err := ecb.Encrypt(code)
		require.NoError(t, err)
		b, err := cbc.Encrypt(code)
		require.NoError(t, err)
		require.Equal(t, a, b)
	}
}

func TestServletCipher_NoneTakesTheDigitsThemselves(t *testing.T) {
	c, err := NewServletCipher(CipherNone, EncodingAuto, Secret{}, Secret{})
	require.NoError(t, err)
	for _, code := range []string{"1234", "000000", "9999999999"} {
		requireDecrypts(t, c, code, code)
		requireDecrypts(t, c, " "+code+"\r\n", code)
		param, err := c.Encrypt(code)
		require.NoError(t, err)
		require.Equal(t, code, param)
	}
	for _, param := range []string{"", "123", "12345678901", "12 34", "12a4", "-1234", "１２３４",
		"Xrgn4bpX/4iYytICyC1wNg=="} {
		requireRefuses(t, c, param, param)
	}
}

func TestEncrypt_RefusesWhatIsNoCodeWithoutQuotingIt(t *testing.T) {
	for _, mode := range []CipherMode{AESCBC, AESECB, CipherNone} {
		for _, code := range []string{"", "123", "12345678901", "98765x", " 98765", "９８７６"} {
			param, err := sampleCipher(t, mode, EncodingAuto).Encrypt(code)
			require.Empty(t, param)
			require.EqualError(t, err, "encrypt a code: it is not 4 to 10 ASCII digits")
		}
	}
}

func TestNewServletCipher_NamesTheColumnAndNeverTheBytes(t *testing.T) {
	secret := func(size int) Secret { return NewSecret([]byte(strings.Repeat("sentinel", 8)[:size])) }
	for name, test := range map[string]struct {
		mode     CipherMode
		encoding ParamEncoding
		key, iv  Secret
		want     string
	}{
		"no mode": {"", EncodingAuto, secret(32), secret(16),
			"otp_cipher is not one of aes-cbc, aes-ecb, none"},
		"a key as mode":      {"sentinel", EncodingAuto, secret(32), secret(16), "otp_cipher is not one of"},
		"mode in capitals":   {"AES-CBC", EncodingAuto, secret(32), secret(16), "otp_cipher is not one of"},
		"no encoding":        {AESCBC, "", secret(32), secret(16), "otp_encoding is not one of auto, hex, base64"},
		"no encoding, plain": {CipherNone, "sentinel", Secret{}, Secret{}, "otp_encoding is not one of"},
		"no key":             {AESCBC, EncodingAuto, Secret{}, secret(16), "cipher_key is not set"},
		"no key for ECB":     {AESECB, EncodingAuto, Secret{}, Secret{}, "cipher_key is not set"},
		"key of 15 bytes": {AESCBC, EncodingHex, secret(15), secret(16),
			"cipher_key has 15 bytes where AES takes 16, 24 or 32"},
		"key of 33 bytes":       {AESECB, EncodingHex, secret(33), secret(16), "cipher_key has 33 bytes"},
		"no IV":                 {AESCBC, EncodingAuto, secret(32), Secret{}, "cipher_iv is not set"},
		"IV of 15 bytes":        {AESCBC, EncodingAuto, secret(32), secret(15), "cipher_iv has 15 bytes where AES takes 16"},
		"IV of 32 bytes, mixed": {AESCBC, EncodingAuto, secret(16), secret(32), "cipher_iv has 32 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := NewServletCipher(test.mode, test.encoding, test.key, test.iv)
			require.Nil(t, c)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "sentinel")
		})
	}
}

func TestNewServletCipher_IgnoresWhatTheModeDoesNotUse(t *testing.T) {
	_, err := NewServletCipher(AESECB, EncodingAuto, NewSecret(keyFrom(0)), NewSecret([]byte("15 bytes are it")))
	require.NoError(t, err)
	_, err = NewServletCipher(CipherNone, EncodingAuto, NewSecret([]byte("short")), NewSecret([]byte("short")))
	require.NoError(t, err)
}

func TestServletCipher_ZeroValueRefuses(t *testing.T) {
	var c ServletCipher
	requireRefuses(t, &c, "Xrgn4bpX/4iYytICyC1wNg==")
	requireRefuses(t, &c, "1234")
	_, err := c.Encrypt("1234")
	require.Error(t, err)
}
