package people

import (
	"strings"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn"
	"golang.org/x/text/unicode/norm"

	"otpbridge/server/otp"
)

// The bounds of a password, in characters. What it is made of is its owner's choice.
const (
	leastPassword = 12
	mostPassword  = 128
	leastScore    = 3 // of zxcvbn's 0 to 4: 10^8 guesses and more
)

// product are words that everybody here would think of.
var product = []string{"otpbridge", "otp", "bridge", "onetimepassword", "authenticator", "passcode", "password"}

// normalPassword gives a password the one form that it is hashed in (RFC 8265, OpaqueString): keyboards
// differ in how they send the same letter.
func normalPassword(password string) string { return norm.NFC.String(password) }

// checkPassword refuses a new password that is too short, too long or easy to guess by whoever knows the
// person's words. The refusal names field.
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
	// A password is as weak as what it adds to words that everybody knows of the person.
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

// ownWords are the words of a person as somebody would put them into a password.
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

// normalEmail is the form in which an address is stored and compared: ASCII, in lower case.
func normalEmail(email string) string { return otp.Lower(strings.Trim(email, " ")) }

// checkEmail refuses what cannot be the address of a person.
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
