package conform

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
)

// servletCipher returns the cases about the encrypted otp: the accepted forms, and what must be a wrong code.

func servletCipher() []Case {
	return append(append(cipherWritings(), cipherAccounts()...), cipherMalformed()...)
}

// expectRead requires that the right code is accepted in a writing.
func (s *Story) expectRead(as Writing) {
	s.Expect(s.ValidateRaw(url.QueryEscape(s.Encrypt(s.generated(), as))), Verified)
}

// paddedTo16 returns text with PKCS#7 padding to one block.
func paddedTo16(text string) []byte {
	n := 16 - len(text)
	return []byte(text + strings.Repeat(string(rune(n)), n))
}

func cipherWritings() []Case {
	return []Case{
		{
			Requirement: "An otp is read as padded base64, escaped.",
			Source:      Captured,
			Run:         func(s *Story) { s.expectRead(Base64) },
		},
		{
			Requirement: "An otp is read as hex.",
			Source:      Article,
			Run:         func(s *Story) { s.expectRead(Hex) },
		},
		{
			Requirement: "An otp is read as hex in capitals.",
			Run:         func(s *Story) { s.expectRead(HexUpper) },
		},
		{
			Requirement: "An otp is read as base64 without its padding.",
			Run:         func(s *Story) { s.expectRead(Base64Unpadded) },
		},
		{
			Requirement: "An otp is read in the base64 alphabet for URLs, padded or not.",
			Settings:    unlimited(nil), Needs: NeedsInbox,
			Run: func(s *Story) {
				code, ip := s.untilEncrypted(func(otp string) bool { return strings.ContainsAny(otp, "+/") })
				s.Expect(s.ValidateRaw(s.Encrypt(code, Base64URL), ip), Verified)
				s.Expect(s.ValidateRaw(s.Encrypt(code, Base64URLUnpadded), ip), Expired)
			},
		},
		{
			Requirement: "A plus in base64 that was not escaped, and so arrives as a blank, is read as the plus it was.",
			Settings:    unlimited(nil), Needs: NeedsInbox,
			Run: func(s *Story) {
				code, ip := s.untilEncrypted(func(otp string) bool { return strings.Contains(otp, "+") })
				s.Expect(s.ValidateRaw(s.Encrypt(code, Base64), ip), Verified)
			},
		},
		{
			Requirement: "The plus that was eaten may be the first letter: it is restored before anything is trimmed.",
			Settings:    unlimited(nil), Needs: NeedsInbox,
			Run: func(s *Story) {
				code, ip := s.untilEncrypted(func(otp string) bool { return otp[0] == '+' })
				s.Expect(s.ValidateRaw(s.Encrypt(code, Base64), ip), Verified)
				s.Expect(s.ValidateRaw(s.Encrypt(code, Base64Unpadded), ip), Expired)
			},
		},
		{
			Requirement: "Blanks around an otp are skipped.",
			Run: func(s *Story) {
				code := s.generated()
				s.Expect(s.ValidateRaw("%20"+s.Encrypt(code, Hex)), Verified)
				s.Expect(s.ValidateRaw("+"+url.QueryEscape(s.Encrypt(code, Base64))+"+"), Expired)
			},
		},
	}
}

// untilEncrypted generates until a code, encrypted as base64, is what a case needs: one in 64 begins with a plus, and
// one in three contains one. Each code of a batch has another ipaddress.
func (s *Story) untilEncrypted(suits func(otp string) bool) (code string, ip Option) {
	const batch = 16
	for range 100 {
		for i := range batch {
			s.Expect(s.Generate(IP(batchIP(i))), Generated)
		}
		for i, m := range s.Sandbox.Messages()[:batch] { // newest first
			if suits(s.Encrypt(m.Code, Base64)) {
				return m.Code, IP(batchIP(batch - 1 - i))
			}
		}
	}
	panic(skipped{"none of 1,600 codes was encrypted to what the case needs; run it again"})
}

func batchIP(i int) string { return "192.0.2." + strconv.Itoa(i) }

func cipherAccounts() []Case {
	return []Case{
		{
			Requirement: "An account that reads hex only takes base64 for a wrong code.",
			Settings:    Settings{"otp_encoding": "hex"},
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.ValidateRaw(url.QueryEscape(s.Encrypt(code, Base64))), 2)
				s.Expect(s.ValidateRaw(s.Encrypt(code, Hex)), Verified)
			},
		},
		{
			Requirement: "An account that reads base64 only takes hex for a wrong code.",
			Settings:    Settings{"otp_encoding": "base64"},
			Run: func(s *Story) {
				code := s.generated()
				s.ExpectWrong(s.ValidateRaw(s.Encrypt(code, Hex)), 2)
				s.Expect(s.ValidateRaw(url.QueryEscape(s.Encrypt(code, Base64))), Verified)
			},
		},
		{
			Requirement: "An account with the cipher aes-ecb reads AES-ECB.",
			Source:      Client, Settings: Settings{"otp_cipher": "aes-ecb"},
			Run: func(s *Story) { s.Expect(s.Validate(s.generated()), Verified) },
		},
		{
			Requirement: "An account with the cipher none reads the digits themselves.",
			Settings:    Settings{"otp_cipher": "none"},
			Run:         func(s *Story) { s.Expect(s.ValidateRaw(s.generated()), Verified) },
		},
		{
			Requirement: "A key of 16 bytes works as one of 32 does.",
			Settings:    Settings{"cipher_key": "AAECAwQFBgcICQoLDA0ODw==", "cipher_iv": "8PHy8/T19vf4+fr7/P3+/w=="},
			Run:         func(s *Story) { s.Expect(s.Validate(s.generated()), Verified) },
		},
		{
			Requirement: "Key and IV may be given as one text, iv~key.",
			Settings:    Settings{"cipher_key": "8PHy8/T19vf4+fr7/P3+/w==~AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
			Run:         func(s *Story) { s.Expect(s.Validate(s.generated()), Verified) },
		},
		{
			Requirement: "A code encrypted with another account's key is a wrong code.",
			Source:      Article, Needs: NeedsSecond,
			Run: func(s *Story) {
				code := s.generated()
				theirs := s.Second().Encrypt(code, Hex)
				s.expectWrongPIN(s.ValidateRaw(theirs))
			},
		},
	}
}

// cipherMalformed returns the cases of malformed parameters. Each must cost an attempt and be answered like any wrong
// code; otherwise the answer would reveal the padding (a padding oracle).
func cipherMalformed() []Case {
	malformed := func(what string, make func(s *Story, code string) string) Case {
		return Case{
			Requirement: what + " is a wrong code and costs an attempt.",
			Source:      Captured,
			Run: func(s *Story) {
				code := s.generated()
				left := s.expectWrongPIN(s.ValidateRaw(make(s, code)))
				s.ExpectWrong(s.Validate(rotated(code)), left-1)
			},
		}
	}
	block := func(plain func(code string) []byte) func(*Story, string) string {
		return func(s *Story, code string) string { return hex.EncodeToString(s.seal(plain(code))) }
	}
	return []Case{
		malformed("An otp that is neither hex nor base64", func(*Story, string) string { return "not%20an%20otp%21" }),
		malformed("An otp of half a block", func(s *Story, code string) string { return s.Encrypt(code, Hex)[:16] }),
		malformed("An otp of two blocks in hex, the first of them right", block(func(code string) []byte {
			return append(paddedTo16(code), []byte(strings.Repeat("\x10", 16))...)
		})),
		malformed("An otp of two blocks in base64, the first of them right", func(s *Story, code string) string {
			sealed := s.seal(append(paddedTo16(code), []byte(strings.Repeat("\x10", 16))...))
			return url.QueryEscape(base64.StdEncoding.EncodeToString(sealed))
		}),
		malformed("A block whose padding is zero bytes", block(func(code string) []byte {
			return append([]byte(code), make([]byte, 16-len(code))...)
		})),
		malformed("A block whose padding is right in its last byte only", block(func(code string) []byte {
			plain := paddedTo16(code)
			plain[len(code)] ^= 1
			return plain
		})),
		malformed("A block whose last byte is longer than the block", block(func(code string) []byte {
			plain := paddedTo16(code)
			plain[15] = 17
			return plain
		})),
		malformed("The code with a blank after it", block(func(code string) []byte { return paddedTo16(code + " ") })),
		malformed("The code with a plus before it", block(func(code string) []byte { return paddedTo16("+" + code) })),
		malformed("A block that holds a letter", block(func(code string) []byte { return paddedTo16(code[:5] + "x") })),
		malformed("A block of three digits", block(func(code string) []byte { return paddedTo16(code[:3]) })),
		malformed("A block of padding only", block(func(string) []byte { return paddedTo16("") })),
		malformed("The code in clear", func(_ *Story, code string) string { return code }),
		malformed("Base64 with a line feed in it", func(s *Story, code string) string {
			otp := s.Encrypt(code, Base64)
			return url.QueryEscape(otp[:12] + "\n" + otp[12:])
		}),
	}
}
