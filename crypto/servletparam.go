package crypto

import (
	"crypto/aes"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// The text forms of one encrypted block. Java's encoder pads, others do not. Some clients use the URL alphabet, and
// those that use the standard one often forget that + means a blank in a query.

// blanks are the characters that get pasted around a value.
const blanks = " \t\r\n"

const (
	hexLength      = 2 * aes.BlockSize // 32
	unpaddedLength = 22                // base64 of 16 bytes
	base64Padding  = "=="
)

var strictRawBase64 = base64.RawStdEncoding.Strict()

// decode reads param into block and reports whether it was exactly one block in the account's encoding. If not, the
// content of block has no meaning.
//
// EncodingAuto can try both: hex has 32 characters and base64 22 or 24, so no text is valid in both.
func (c *ServletCipher) decode(block *[aes.BlockSize]byte, param string) bool {
	switch c.encoding {
	case EncodingHex:
		return decodeHex(block, param)
	case EncodingBase64:
		return decodeBase64(block, param)
	default:
		return decodeHex(block, param) || decodeBase64(block, param)
	}
}

// decodeHex reads 32 hex digits of either case and ignores surrounding blanks.
func decodeHex(block *[aes.BlockSize]byte, param string) bool {
	param = strings.Trim(param, blanks)
	if len(param) != hexLength {
		return false
	}
	var text [hexLength]byte
	copy(text[:], param)
	_, err := hex.Decode(block[:], text[:])
	return err == nil
}

// decodeBase64 first tries the value untrimmed, because a blank at its start may be a + that form decoding replaced: 1
// in 64 values starts like that, and trimming would refuse a right code. Only if that is not a block, the value is
// trimmed.
func decodeBase64(block *[aes.BlockSize]byte, param string) bool {
	return decodeBase64Exactly(block, param) || decodeBase64Exactly(block, strings.Trim(param, blanks))
}

// decodeBase64Exactly reads 22 characters, or 24 of which the last two are padding, in the standard or the URL
// alphabet, with a blank for +. The unused bits of the last character must be zero, so that each block has only one
// spelling per alphabet.
func decodeBase64Exactly(block *[aes.BlockSize]byte, param string) bool {
	if len(param) == unpaddedLength+len(base64Padding) {
		param = strings.TrimSuffix(param, base64Padding)
	}
	if len(param) != unpaddedLength {
		return false
	}
	var text [unpaddedLength]byte
	for i := range text {
		text[i] = standardCharacter(param[i])
	}
	n, err := strictRawBase64.Decode(block[:], text[:])
	return err == nil && n == aes.BlockSize
}

// standardCharacter returns the character of the standard base64 alphabet that c stands for.
func standardCharacter(c byte) byte {
	switch c {
	case '-', ' ':
		return '+'
	case '_':
		return '/'
	default:
		return c
	}
}
