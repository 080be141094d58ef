package conform

import (
	"crypto/aes"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// digits returns what the plain servlet reads.
func (f *reference) digits(otp string) string {
	if !f.has("accounts: the plain servlet does not skip blanks") {
		otp = strings.Trim(otp, " ")
	}
	if f.has("accounts: the plain servlet skips what is no digit") {
		return strings.Trim(otp, "abcdefghijklmnopqrstuvwxyz")
	}
	return otp
}

// decrypt returns the digits in a parameter, or a text that equals no code.
func (f *reference) decrypt(a *refAccount, otp string) string {
	const unreadable = "unreadable"
	if a.Cipher == "none" && !f.has("cipher: the cipher none is not known") {
		return strings.Trim(otp, " ")
	}
	if f.has("cipher: the encrypted servlet takes clear digits") && len(otp) == a.Length {
		return otp
	}
	if (len(otp) == 22 || len(otp) == 24) && !f.has("cipher: an eaten plus is refused") {
		if f.has("cipher: blanks are trimmed before the plus is restored") {
			otp = strings.Trim(otp, " ")
		}
		otp = strings.ReplaceAll(otp, " ", "+")
	}
	if !f.has("cipher: blanks around an otp are refused") {
		otp = strings.Trim(otp, " ")
	}
	raw, err := f.unhex(otp)
	isHex := err == nil && (len(raw) == 16 || len(raw) == 32 && f.has("cipher: two blocks are accepted"))
	if !isHex {
		raw, err = f.unbase64(otp)
	}
	wrongEncoding := a.Encoding == "hex" && !isHex || a.Encoding == "base64" && isHex
	if err != nil || wrongEncoding && !f.has("cipher: otp_encoding is ignored") {
		return f.malformed(unreadable)
	}
	if len(raw) != aes.BlockSize && (len(raw) != 2*aes.BlockSize || !f.has("cipher: two blocks are accepted")) {
		return f.malformed(unreadable)
	}
	if len(a.CipherKey) < 44 && f.has("cipher: only keys of 32 bytes work") {
		return unreadable
	}
	return f.unpad(f.unblock(a, raw), unreadable)
}

func (f *reference) malformed(unreadable string) string {
	if f.has("cipher: an encoding that cannot be read costs nothing") {
		return "free"
	}
	return unreadable
}

func (f *reference) unhex(otp string) ([]byte, error) {
	if f.has("cipher: hex is refused") || otp != strings.ToLower(otp) && f.has("cipher: hex in capitals is refused") {
		return nil, hex.ErrLength
	}
	return hex.DecodeString(otp)
}

func (f *reference) unbase64(otp string) ([]byte, error) {
	if strings.ContainsAny(otp, "\r\n") && !f.has("cipher: line feeds in base64 are skipped") {
		return nil, hex.ErrLength
	}
	if !f.has("cipher: base64 for URLs is refused") {
		otp = strings.NewReplacer("-", "+", "_", "/").Replace(otp)
	}
	if unpadded := strings.TrimSuffix(otp, "=="); len(unpadded) == len(otp) &&
		f.has("cipher: unpadded base64 is refused") {
		return nil, hex.ErrLength
	} else if len(unpadded) < len(otp) && f.has("cipher: padded base64 is refused") {
		return nil, hex.ErrLength
	}
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(otp, "="))
}

func (f *reference) unblock(a *refAccount, raw []byte) []byte {
	key, _ := base64.StdEncoding.DecodeString(a.CipherKey)
	iv, _ := base64.StdEncoding.DecodeString(a.CipherIV)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	plain := make([]byte, len(raw))
	for i := 0; i < len(raw); i += aes.BlockSize {
		block.Decrypt(plain[i:], raw[i:i+aes.BlockSize])
		for j := range iv {
			if a.Cipher != "aes-ecb" || f.has("cipher: aes-ecb is read as aes-cbc") {
				plain[i+j] ^= iv[j]
			}
		}
		iv = raw[i : i+aes.BlockSize]
	}
	return plain
}

// unpad removes the padding and requires four to ten digits.
func (f *reference) unpad(plain []byte, unreadable string) string {
	if len(plain) > aes.BlockSize {
		return strings.TrimRight(string(plain[:aes.BlockSize]),
			"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10")
	}
	n := int(plain[len(plain)-1])
	wellPadded := n >= 1 && n <= aes.BlockSize
	for i := len(plain) - n; wellPadded && i < len(plain); i++ {
		wellPadded = int(plain[i]) == n || f.has("cipher: only the last byte of the padding is looked at")
	}
	if !wellPadded {
		switch {
		case f.has("cipher: bad padding costs nothing"):
			return "free"
		case f.has("cipher: bad padding answers ERROR"):
			return "oracle"
		case f.has("cipher: zero bytes are padding too"):
			return strings.TrimRight(string(plain), "\x00")
		}
		return unreadable
	}
	code := string(plain[:len(plain)-n])
	if f.has("cipher: a blank after the digits is skipped") {
		code = strings.Trim(code, " ")
	}
	if f.has("cipher: a sign before the digits is skipped") {
		code = strings.TrimPrefix(code, "+")
	}
	if len(code) < 4 || len(code) > 10 || strings.Trim(code, "0123456789") != "" {
		if f.has("cipher: what decrypts to no digits costs nothing") {
			return "free"
		}
		return unreadable
	}
	return code
}
