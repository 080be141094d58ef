package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// Why an otp parameter does not decrypt, for the developer of the client. The most common mistakes are tried one by
// one.

// Reason says in a few words why Decrypt refuses param, empty if it does not. It never contains the parameter, a code
// or a key.
//
// It tells bad padding from bad digits, so whoever can read it for parameters of their choice can decrypt captured
// ones. Show it on a developer's machine only, never to a caller or in a production log.
func (c *ServletCipher) Reason(param string) string {
	if _, ok := c.Decrypt(param); ok {
		return ""
	}
	if c.mode != CipherNone && c.block == nil {
		return "the account has no cipher"
	}
	if reason := c.reasonOfText(param); reason != "" {
		return reason
	}
	raw, reason := c.reasonOfEncoding(strings.Trim(param, blanks))
	if reason != "" {
		return reason
	}
	return c.reasonOfBytes(raw)
}

// reasonOfText checks the text around the encoded block.
func (c *ServletCipher) reasonOfText(param string) string {
	text := strings.Trim(param, blanks)
	switch {
	case text == "":
		return "empty"
	case c.mode == CipherNone:
		return reasonOfPlain([]byte(param))
	case strings.ContainsAny(text, "\r\n") || strings.Contains(text, `\n`):
		return "has a newline"
	case strings.Contains(text, "\x00"):
		return "has a NUL character"
	case isCode(text):
		return "the digits themselves, not encrypted"
	case allDigits([]byte(text)) && len(text) < 20:
		return fmt.Sprintf("digits, not encrypted, and %d of them", len(text))
	case strings.HasPrefix(strings.ToLower(text), "otp="):
		return "begins with otp=, so the parameter is named twice"
	case strings.ContainsAny(text, `"'`):
		return "has quotation marks"
	case strings.HasPrefix(text, "<") || strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		return "has brackets, so it may be a placeholder or JSON"
	}
	if strings.Contains(text, "%") {
		if decoded, err := url.QueryUnescape(text); err == nil && c.decrypts(decoded) {
			return "url-encoded twice"
		}
		return "has percent signs: url-encoded twice, or cut"
	}
	for _, separator := range []string{"~", ":", ".", "|", "$", ","} {
		if _, block, found := strings.Cut(text, separator); found && c.decodes(block) {
			return "IV prepended, with a separator; the account's IV is fixed and is not sent"
		}
	}
	return ""
}

func (c *ServletCipher) decrypts(param string) bool {
	_, ok := c.Decrypt(param)
	return ok
}

func (c *ServletCipher) decodes(param string) bool {
	var block [aes.BlockSize]byte
	return decodeHex(&block, param) || decodeBase64(&block, param)
}

// reasonOfEncoding decodes text as hex or base64 of whole blocks, or says why it is neither.
func (c *ServletCipher) reasonOfEncoding(text string) (raw []byte, reason string) {
	trimmed := strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X")
	switch isHex := onlyHex(trimmed); {
	case isHex && trimmed != text:
		return nil, "begins with 0x"
	case isHex && len(text)%2 == 1:
		return nil, fmt.Sprintf("%d hex characters, where a block has 32", len(text))
	case isHex && (len(text) == hexLength || len(text)%hexLength == 0):
		if c.encoding == EncodingBase64 {
			return nil, "hex, where the account's otp_encoding is base64"
		}
		raw, _ = hex.DecodeString(text) // onlyHex, and even
		return raw, ""
	case isHex && len(text) != unpaddedLength && len(text) != unpaddedLength+len(base64Padding):
		return nil, fmt.Sprintf("%d hex characters, where a block has 32", len(text))
	}
	if joined := strings.NewReplacer(":", "", " ", "", "-", "").Replace(text); onlyHex(joined) &&
		len(joined) == hexLength {
		return nil, "hex with separators"
	}
	var standard strings.Builder
	for i := range len(text) {
		standard.WriteByte(standardCharacter(text[i]))
	}
	unpadded := strings.TrimRight(standard.String(), "=")
	raw, err := base64.RawStdEncoding.DecodeString(unpadded)
	switch {
	case err != nil && len(unpadded)%4 == 1:
		return nil, fmt.Sprintf("not base64: %d characters are no whole number of bytes, so it is cut or has one too many",
			len(unpadded))
	case err != nil:
		return nil, "not base64 and not hex: has a character that neither has"
	case c.encoding == EncodingHex:
		return nil, "base64, where the account's otp_encoding is hex"
	case len(raw) == aes.BlockSize && len(unpadded) == unpaddedLength && !c.decodes(text):
		return nil, "not base64: the padding or the last character is wrong"
	}
	return raw, ""
}

func onlyHex(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return text != ""
}

// reasonOfBytes checks the decoded bytes.
func (c *ServletCipher) reasonOfBytes(raw []byte) string {
	switch {
	case bytes.HasPrefix(raw, []byte("Salted__")):
		return "Salted__: OpenSSL made a key of a password; give it -K and -iv"
	case c.decrypts(string(raw)) || c.decodes(strings.Trim(string(raw), blanks)):
		return "encoded twice: what is encoded is hex or base64 again"
	case isCode(strings.Trim(string(raw), blanks)):
		return "the digits encoded, not encrypted"
	case len(raw)%aes.BlockSize != 0 || len(raw) == 0:
		return fmt.Sprintf("%d bytes, where a block has 16", len(raw))
	}
	iv := c.iv.Bytes()
	plain := c.cbc(c.block, iv, raw)
	if len(raw) == 2*aes.BlockSize {
		if isCodeBlock(c.cbc(c.block, raw[:aes.BlockSize], raw[aes.BlockSize:])) {
			return "IV prepended; the account's IV is fixed and is not sent"
		}
		if isCodeBlock(c.cbc(c.block, raw[aes.BlockSize:], raw[:aes.BlockSize])) {
			return "IV appended; the account's IV is fixed and is not sent"
		}
	}
	if text, padded := unpad(plain); padded {
		return reasonOfPlain(text)
	}
	if reason := reasonOfPadding(plain); reason != "" {
		return reason
	}
	if reason := c.reasonOfKeys(raw); reason != "" {
		return reason
	}
	if len(raw) > aes.BlockSize {
		return fmt.Sprintf("%d bytes, where a block has 16; and wrong key or IV: bad padding", len(raw))
	}
	return "wrong key or IV: bad padding"
}

// reasonOfKeys tries common mistakes in key, IV and mode.
func (c *ServletCipher) reasonOfKeys(raw []byte) string {
	zeros := make([]byte, aes.BlockSize)
	if c.mode == AESCBC && isCodeBlock(c.cbc(c.block, zeros, raw)) {
		return "decrypts under ECB, or CBC with a zero IV, where the account has aes-cbc and an IV"
	}
	if turned := make([]byte, aes.BlockSize); len(raw) == aes.BlockSize {
		c.block.Encrypt(turned, raw)
		for _, iv := range [][]byte{zeros, c.iv.Bytes()} {
			text := bytes.Clone(raw)
			for i := range text {
				text[i] ^= iv[i]
			}
			c.block.Encrypt(turned, text)
			if isCodeBlock(turned) {
				return "decrypted where it should be encrypted"
			}
		}
	}
	for _, other := range c.mistakenKeys() {
		block, err := aes.NewCipher(other.key)
		if err != nil {
			continue
		}
		for _, iv := range c.mistakenIVs() {
			if isCodeBlock(c.cbc(block, iv.iv, raw)) {
				return "decrypts with " + other.name + " and " + iv.name
			}
		}
	}
	return ""
}

type mistakenKey struct {
	name string
	key  []byte
}

type mistakenIV struct {
	name string
	iv   []byte
}

func (c *ServletCipher) mistakenKeys() []mistakenKey {
	key := c.key.Bytes()
	keys := []mistakenKey{{"the right key", key}}
	for _, spelling := range []struct{ name, text string }{
		{"hex text", hex.EncodeToString(key)},
		{"hex text in capitals", strings.ToUpper(hex.EncodeToString(key))},
		{"base64 text", base64.StdEncoding.EncodeToString(key)},
	} {
		for _, size := range []int{16, 24, 32} {
			if len(spelling.text) >= size {
				keys = append(keys, mistakenKey{fmt.Sprintf("the first %d characters of the key's %s as key", size,
					spelling.name), []byte(spelling.text[:size])})
			}
		}
	}
	if len(key) > 16 {
		keys = append(keys, mistakenKey{"the first 16 bytes of the key as key", key[:16]},
			mistakenKey{"the last 16 bytes of the key as key", key[len(key)-16:]})
	}
	return keys
}

func (c *ServletCipher) mistakenIVs() []mistakenIV {
	iv := c.iv.Bytes()
	return []mistakenIV{
		{"the right IV", iv},
		{"a zero IV", make([]byte, aes.BlockSize)},
		{"the first 16 bytes of the key as IV", c.key.Bytes()[:aes.BlockSize]},
		{"the first 16 characters of the IV's hex text as IV", []byte(hex.EncodeToString(iv)[:aes.BlockSize])},
		{"the first 16 characters of the IV's base64 text as IV",
			[]byte(base64.StdEncoding.EncodeToString(iv)[:aes.BlockSize])},
	}
}

// cbc decrypts whole blocks.
func (c *ServletCipher) cbc(block cipher.Block, iv, raw []byte) []byte {
	plain := make([]byte, len(raw))
	if c.mode == AESECB && len(raw) > aes.BlockSize {
		for at := 0; at < len(raw); at += aes.BlockSize {
			block.Decrypt(plain[at:at+aes.BlockSize], raw[at:at+aes.BlockSize])
		}
		return plain
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, raw)
	return plain
}
