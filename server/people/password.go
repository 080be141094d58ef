package people

import (
	"strings"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn"
	"golang.org/x/text/unicode/norm"

	"otpbridge/server/otp"
)

// The bounds of a password, in characters. It may contain any characters.
const (
	leastPassword = 12
	mostPassword  = 128
	leastScore    = 3 // of zxcvbn's 0 to 4: at least 10^8 guesses
)

// product are words that are easy to guess for this product.
var product = []string{"otpbridge", "otp", "bridge", "onetimepassword", "authenticator", "passcode", "password"}

// normalPassword returns a password in the form in which it is hashed (RFC 8265, OpaqueString), because keyboards
// send the same letter in different forms.
func normalPassword(password string) string { return norm.NFC.String(password) }

// checkPassword refuses a new password that is too short, too long or easy to guess for somebody who knows words,
// such as the person's name. The refusal names field.
func checkPassword(field, password string, words ...string) error {
	length := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return otp.RefuseField(field, "must be UTF-8")
	case length < leastPassword:
		return otp.RefuseField(field, "must be at least 12 characters long")
	case length > mostPassword:
		return otp.RefuseField(field, "must be at most 128 characters long")
	}
	// Words that are known about the person do not make a password stronger; only the rest counts.
	own := ownWords(words)
	rest := strings.ToLower(password)
	for _, word := range own {
		if len(word) >= 4 {
			rest = strings.ReplaceAll(rest, word, "")
		}
	}
	if min(zxcvbn.PasswordStrength(password, own).Score, zxcvbn.PasswordStrength(rest, own).Score) < leastScore {
		return otp.RefuseField(field, "is easy to guess; use several unrelated words, and neither your name nor this "+
			"product's")
	}
	return nil
}

// ownWords returns a person's words in the forms in which a password may contain them.
func ownWords(texts []string) []string {
	all := append([]string(nil), product...)
	for _, text := range texts {
		lower := strings.ToLower(text)
		if lower == "" {
			continue
		}
		all = append(all, lower)
		all = append(all, strings.FieldsFunc(lower, func(r rune) bool { return strings.ContainsRune("@.-_+ ", r) })...)
	}
	return all
}

// normalEmail returns the form in which an address is stored and compared: ASCII, in lower case.
func normalEmail(email string) string { return otp.Lower(strings.Trim(email, " ")) }

// checkEmail refuses a text that cannot be a person's address.
func checkEmail(email string) error {
	local, domain, found := strings.Cut(email, "@")
	ok := found && local != "" && len(local) <= 64 && len(email) <= 254 && strings.Contains(domain, ".") &&
		strings.Trim(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" && !strings.Contains(email, "..")
	for _, label := range strings.Split(domain, ".") {
		ok = ok && label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-'
	}
	for _, c := range []byte(local) {
		ok = ok && c > ' ' && c < 0x7f && !strings.ContainsRune(`"(),:;<>[\]@`, rune(c))
	}
	if !ok || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") {
		return otp.RefuseField("email", "must be an address like name@shop.example, in ASCII")
	}
	return nil
}

func checkName(name string) error {
	if name == "" {
		return otp.RefuseField("name", "must not be empty")
	}
	if err := otp.CheckName(name); err != nil {
		return otp.RefuseField("name", err.Error())
	}
	return nil
}
