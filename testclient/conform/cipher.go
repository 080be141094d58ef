package conform

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// Writing is how an encrypted code is written as text.
type Writing int

// The forms that a server accepts.
const (
	Base64            Writing = iota // standard alphabet, padded: 24 characters
	Base64Unpadded                   // 22 characters
	Base64URL                        // alphabet for URLs, padded
	Base64URLUnpadded                // alphabet for URLs, 22 characters
	Hex                              // lower case: 32 digits
	HexUpper
)

// paramCipher makes otp parameters: AES exactly as the protocol says, built from the block cipher, so that no
// interpretation is shared with a server.
type paramCipher struct {
	block cipher.Block
	iv    []byte
	mode  string // aes-cbc, aes-ecb or none
}

// newParamCipher reads key and IV as base64 or hex text, or both as one text iv~key.
func newParamCipher(mode, key, iv string) (*paramCipher, error) {
	if mode == "" {
		mode = "aes-cbc"
	}
	if mode == "none" {
		return &paramCipher{mode: mode}, nil
	}
	if before, after, pair := strings.Cut(key, "~"); pair {
		iv, key = before, after
	}
	secret, err := keyText(key, 16, 24, 32)
	if err != nil {
		return nil, fmt.Errorf("the cipher key %w", err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("make the cipher: %w", err)
	}
	c := &paramCipher{block: block, mode: mode, iv: make([]byte, aes.BlockSize)}
	if mode == "aes-cbc" {
		if c.iv, err = keyText(iv, aes.BlockSize); err != nil {
			return nil, fmt.Errorf("the cipher IV %w", err)
		}
	}
	return c, nil
}

// keyText reads bytes written as hex or base64. Hex is tried first: 32 hex digits are also 24 bytes in base64, but a
// random 24-byte key practically always has other letters.
func keyText(text string, sizes ...int) ([]byte, error) {
	text = strings.TrimSpace(text)
	standard := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	fromHex, hexErr := hex.DecodeString(text)
	fromBase64, base64Err := base64.RawStdEncoding.DecodeString(standard)
	for _, size := range sizes {
		if hexErr == nil && len(fromHex) == size {
			return fromHex, nil
		}
	}
	for _, size := range sizes {
		if base64Err == nil && len(fromBase64) == size {
			return fromBase64, nil
		}
	}
	return nil, fmt.Errorf("must be %v bytes, written as base64 or hex", sizes)
}

// blocks encrypts whole blocks.
func (c *paramCipher) blocks(plain []byte) []byte {
	out := make([]byte, len(plain))
	previous := c.iv
	for i := 0; i < len(plain); i += aes.BlockSize {
		in := bytes.Clone(plain[i : i+aes.BlockSize])
		if c.mode == "aes-cbc" {
			for j := range in {
				in[j] ^= previous[j]
			}
		}
		c.block.Encrypt(out[i:], in)
		previous = out[i : i+aes.BlockSize]
	}
	return out
}

// padded returns text with PKCS#7 padding: 1 to 16 bytes, each with the number of padding bytes.
func padded(text string) []byte {
	n := aes.BlockSize - len(text)%aes.BlockSize
	return append([]byte(text), bytes.Repeat([]byte{byte(n)}, n)...)
}

// write returns code as a parameter. With the cipher none that is the code itself.
func (c *paramCipher) write(code string, as Writing) string {
	if c.mode == "none" {
		return code
	}
	return encoded(c.blocks(padded(code)), as)
}

// encoded returns bytes as text.
func encoded(sealed []byte, as Writing) string {
	switch as {
	case Base64Unpadded:
		return base64.RawStdEncoding.EncodeToString(sealed)
	case Base64URL:
		return base64.URLEncoding.EncodeToString(sealed)
	case Base64URLUnpadded:
		return base64.RawURLEncoding.EncodeToString(sealed)
	case Hex:
		return hex.EncodeToString(sealed)
	case HexUpper:
		return strings.ToUpper(hex.EncodeToString(sealed))
	default:
		return base64.StdEncoding.EncodeToString(sealed)
	}
}

// opened decrypts whole blocks, whatever the padding, and ignores the rest.
func (c *paramCipher) opened(sealed []byte) []byte {
	sealed = sealed[:len(sealed)/aes.BlockSize*aes.BlockSize]
	plain := make([]byte, len(sealed))
	previous := c.iv
	for i := 0; i < len(sealed); i += aes.BlockSize {
		c.block.Decrypt(plain[i:], sealed[i:i+aes.BlockSize])
		if c.mode == "aes-cbc" {
			for j := range aes.BlockSize {
				plain[i+j] ^= previous[j]
			}
		}
		previous = sealed[i : i+aes.BlockSize]
	}
	return plain
}

var digitRun = regexp.MustCompile(`[0-9]{4,}`)

func digitsIn(plain []byte) (string, bool) {
	found := digitRun.Find(plain)
	return string(found), found != nil
}

// Parameter encrypts a code as the otp parameter of an account whose cipher is AES-CBC, in base64.
func Parameter(key, iv, code string) (string, error) {
	cipher, err := newParamCipher("aes-cbc", key, iv)
	if err != nil {
		return "", err
	}
	return cipher.write(code, Base64), nil
}
