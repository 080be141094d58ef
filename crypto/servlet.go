package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// CipherMode says how an account's callers encrypt the otp parameter: the value of column otp_cipher.
type CipherMode string

const (
	AESCBC     CipherMode = "aes-cbc"
	AESECB     CipherMode = "aes-ecb"
	CipherNone CipherMode = "none" // not encrypted
)

// ParamEncoding says how the encrypted block is written as text: the value of column otp_encoding.
type ParamEncoding string

const (
	EncodingAuto   ParamEncoding = "auto" // detected by length and alphabet; written as base64
	EncodingHex    ParamEncoding = "hex"
	EncodingBase64 ParamEncoding = "base64"
)

// ServletCipher reads and writes one account's otp parameter: a code, padded by PKCS#7 and encrypted with AES under a
// fixed key and IV. A code fits in one block, so a parameter is one block, and for one block ECB is CBC with an IV of
// zeros.
//
// Make one per account and keep it. The zero value decrypts nothing.
type ServletCipher struct {
	redacted
	mode     CipherMode
	encoding ParamEncoding
	block    cipher.Block // nil for CipherNone
	iv       Secret       // zeros for AESECB
	key      Secret       // for Reason only
	scratch  sync.Pool    // of *[aes.BlockSize]byte, which escapes through the cipher.Block interface
}

// NewServletCipher takes the settings of the account's row. The key is 16, 24 or 32 bytes, the IV 16; AESECB ignores
// the IV, CipherNone both. Errors are for the operator who wrote the row: they name the column, the remedy and
// lengths, and quote nothing, because a key in the wrong column is still a key.
func NewServletCipher(mode CipherMode, enc ParamEncoding, key, iv Secret) (*ServletCipher, error) {
	switch enc {
	case EncodingAuto, EncodingHex, EncodingBase64:
	default:
		return nil, errors.New("otp_encoding is not one of auto, hex, base64: set it to one of them")
	}

	c := &ServletCipher{mode: mode, encoding: enc}
	c.scratch.New = func() any { return new([aes.BlockSize]byte) }
	switch mode {
	case CipherNone:
		return c, nil
	case AESCBC:
		if iv.Len() != aes.BlockSize {
			return nil, fmt.Errorf("cipher_iv %s: set one of 16 bytes, in base64 or hex", lengthFault(iv, "16"))
		}
		c.iv = iv
	case AESECB:
		c.iv = NewSecret(make([]byte, aes.BlockSize))
	default:
		return nil, errors.New("otp_cipher is not one of aes-cbc, aes-ecb, none: set it to one of them")
	}

	block, err := aes.NewCipher(key.Bytes())
	if err != nil {
		return nil, fmt.Errorf("cipher_key %s: set one of 32 bytes, in base64 or hex, or set otp_cipher to none",
			lengthFault(key, "16, 24 or 32"))
	}
	c.block, c.key = block, key
	return c, nil
}

func lengthFault(s Secret, want string) string {
	if s.IsZero() {
		return "is not set"
	}
	return fmt.Sprintf("has %d bytes where AES takes %s", s.Len(), want)
}

// Decrypt returns the code in an otp parameter: 4 to 10 ASCII digits. param must be as form decoding returned it,
// untrimmed; see decodeBase64.
//
// Everything else is ok=false, deliberately without an error. Someone who can tell bad padding from bad digits can
// decrypt captured parameters by sending altered ones (Vaudenay's padding oracle). So the caller learns one bit, which
// it must treat as a wrong code and charge for. The work is always the same: one block is decrypted, and padding and
// digits are checked together without a branch on the plaintext. Only whether the text is one block is decided early,
// because the sender knows that.
func (c *ServletCipher) Decrypt(param string) (code string, ok bool) {
	if c.mode == CipherNone {
		return plainCode(param)
	}
	if c.block == nil {
		return "", false
	}

	block := c.scratch.Get().(*[aes.BlockSize]byte)
	defer c.scratch.Put(block)
	decoded := c.decode(block, param)
	c.block.Decrypt(block[:], block[:])
	subtle.XORBytes(block[:], block[:], c.iv.Bytes())

	length, valid := codeLength(block)
	if !decoded || valid != 1 {
		return "", false
	}
	return string(block[:length]), true
}

// Encrypt writes a code in the form that Decrypt reads: lower-case hex for EncodingHex, padded standard base64 for the
// others. The error says that the code is not 4 to 10 digits.
func (c *ServletCipher) Encrypt(code string) (string, error) {
	if !isCode(code) {
		return "", fmt.Errorf("encrypt a code: it is not %d to %d ASCII digits", minDigits, maxDigits)
	}
	if c.mode == CipherNone {
		return code, nil
	}
	if c.block == nil {
		return "", errors.New("encrypt a code: the cipher was not made by NewServletCipher")
	}

	block := c.scratch.Get().(*[aes.BlockSize]byte)
	defer c.scratch.Put(block)
	padding := aes.BlockSize - copy(block[:], code)
	for i := range padding {
		block[len(code)+i] = byte(padding)
	}
	subtle.XORBytes(block[:], block[:], c.iv.Bytes())
	c.block.Encrypt(block[:], block[:])

	if c.encoding == EncodingHex {
		return hex.EncodeToString(block[:]), nil
	}
	return base64.StdEncoding.EncodeToString(block[:]), nil
}

// codeLength checks a decrypted block: valid is 1 if it is a code of `length` digits followed by PKCS#7 padding, else
// 0. It treats every byte the same way and never branches on its value.
func codeLength(block *[aes.BlockSize]byte) (length, valid int) {
	last := block[aes.BlockSize-1]
	padding := int(last)
	valid = subtle.ConstantTimeLessOrEq(aes.BlockSize-maxDigits, padding) &
		subtle.ConstantTimeLessOrEq(padding, aes.BlockSize-minDigits)
	for i, b := range block {
		inPadding := subtle.ConstantTimeLessOrEq(aes.BlockSize, i+padding)
		isPadding := subtle.ConstantTimeByteEq(b, last)
		isDigit := subtle.ConstantTimeLessOrEq('0', int(b)) & subtle.ConstantTimeLessOrEq(int(b), '9')
		valid &= subtle.ConstantTimeSelect(inPadding, isPadding, isDigit)
	}
	return aes.BlockSize - padding, valid
}

func plainCode(param string) (code string, ok bool) {
	code = strings.Trim(param, blanks)
	if !isCode(code) {
		return "", false
	}
	return code, true
}

func isCode(text string) bool {
	if len(text) < minDigits || len(text) > maxDigits {
		return false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
