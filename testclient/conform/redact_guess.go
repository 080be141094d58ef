package conform

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// writings is how a shell writes the bytes from enc in each Writing.
var writings = map[Writing]string{
	Base64:            "base64 | tr -d '\\n'",
	Base64Unpadded:    "base64 | tr -d '\\n='",
	Base64URL:         "base64 | tr -d '\\n' | tr '+/' '-_'",
	Base64URLUnpadded: "base64 | tr -d '\\n=' | tr '+/' '-_'",
	Hex:               "hex",
	HexUpper:          "hex | tr a-f A-F",
}

// escapes are the ways to put a parameter into a query, and how a shell does it.
var escapes = []struct {
	shell string
	apply func(string) string
}{
	{"", func(text string) string { return text }},
	{" | escaped", url.QueryEscape},
	{" | tr + ' ' | escaped", func(text string) string {
		return strings.ReplaceAll(url.QueryEscape(strings.ReplaceAll(text, "+", " ")), "+", "%20")
	}},
	{" | tr + ' ' | escaped | sed 's/%20/+/g'", func(text string) string {
		return url.QueryEscape(strings.ReplaceAll(text, "+", " "))
	}},
}

// guess marks one otp value as it was in the request. A value without a code is no secret and stays; a value with one
// becomes a variable, with a line that makes it again with another key and code.
func (r redactor) guess(raw string, name string) (marked, line string) {
	value, err := url.QueryUnescape(raw)
	if err != nil {
		value = raw
	}
	if derived, from := r.derived(value); from {
		if strings.Trim(value, "0123456789") == "" {
			return mark(name), name + `="` + derived + `"`
		}
	}
	for i, a := range r.accounts() {
		if a.cipher == nil || a.cipher.mode == "none" {
			continue
		}
		for _, sealed := range decodings(raw) {
			plain := a.cipher.opened(sealed)
			unpadded, padding := unpad(plain)
			text, from := r.derived(string(unpadded))
			_, digits := digitsIn(plain)
			if len(plain) != len(sealed) || len(plain) == 0 || !from && !digits {
				continue
			}
			if how := writtenAs(raw, sealed); how != "" {
				return mark(name), fmt.Sprintf(`%s=$(enc "%s" "$%s" "$%s"%s | %s)`,
					name, text, numbered("CIPHER_KEY", i), numbered("CIPHER_IV", i), padding, how)
			}
			return mark(name), fmt.Sprintf("%s='' # %d characters that hold a code in a way of the case's own", name, len(value))
		}
	}
	if derived, from := r.derived(value); from {
		return mark(name), fmt.Sprintf(`%s=$(printf "%s" | escaped)`, name, derived)
	}
	marked = r.marked(raw)
	if strings.Contains(strings.ReplaceAll(marked, "\x00CODE", ""), "\x00OTP\x00") {
		return mark(name), name + "='' # holds a secret in a way of the case's own"
	}
	return marked, ""
}

// unpad removes the padding that openssl would add, or leaves plain and returns the option for no padding.
func unpad(plain []byte) (text []byte, option string) {
	if len(plain) > 0 {
		n := int(plain[len(plain)-1])
		if n >= 1 && n <= aes.BlockSize && bytes.HasSuffix(plain, bytes.Repeat([]byte{byte(n)}, n)) {
			return plain[:len(plain)-n], ""
		}
	}
	return plain, " -nopad"
}

// decodings returns the bytes that raw could encode.
func decodings(raw string) [][]byte {
	var list [][]byte
	unescaped, err := url.PathUnescape(raw)
	if err != nil {
		unescaped = raw
	}
	if sealed, err := hex.DecodeString(strings.TrimSpace(unescaped)); err == nil {
		list = append(list, sealed)
	}
	for _, blank := range []string{"+", ""} {
		standard := strings.NewReplacer("-", "+", "_", "/", " ", blank, "\n", "", "=", "").Replace(unescaped)
		if sealed, err := base64.RawStdEncoding.DecodeString(standard); err == nil {
			list = append(list, sealed)
		}
	}
	return list
}

// writtenAs returns the shell commands that turn sealed into raw, empty if they are not known.
func writtenAs(raw string, sealed []byte) string {
	for as := Base64; as <= HexUpper; as++ {
		for _, escape := range escapes {
			made := escape.apply(encoded(sealed, as))
			if made == raw {
				return writings[as] + escape.shell
			}
			if at, put, ok := inserted(made, raw); ok {
				return fmt.Sprintf(`%s%s | sed -E 's/^(%%..|[^%%]){%d}/&%s/'`, writings[as], escape.shell, at, put)
			}
		}
	}
	return ""
}

// inserted reports whether changed is text with something harmless inserted after so many characters. An escape counts
// as one character: another code has escapes elsewhere, and nothing may be inserted within one.
func inserted(text, changed string) (at int, put string, ok bool) {
	more := len(changed) - len(text)
	for more > 0 && more <= 6 && at < len(text) && text[at] == changed[at] {
		at++
	}
	if start := strings.LastIndexByte(text[:at], '%'); start >= 0 && start > at-3 {
		at = start
	}
	if more <= 0 || more > 6 || changed[at+more:] != text[at:] {
		return 0, "", false
	}
	put = changed[at : at+more]
	at -= 2 * strings.Count(text[:at], "%")
	return at, put, strings.Trim(put, "%0123456789ABCDEFabcdef+") == ""
}

// piece is something made from a code, and how a shell makes it.
type piece struct{ value, shell string }

// piecesOf returns the codes, the wrong codes made from them, and the beginnings of both, longest first: a code must
// not be taken for the beginning of another.
func piecesOf(codes []string) []piece {
	var pieces []piece
	for i, code := range codes {
		name := numbered("CODE", i)
		turned := rotated(code)
		wrong := "printf %s $" + name + " | tr 0123456789 1234567890"
		pieces = append(pieces, piece{code, "${" + name + "}"}, piece{turned, "$(" + wrong + ")"})
		for n := len(code) - 1; n >= 4; n-- {
			pieces = append(pieces,
				piece{code[:n], fmt.Sprintf("$(printf %%s $%s | cut -c1-%d)", name, n)},
				piece{turned[:n], fmt.Sprintf("$(%s | cut -c1-%d)", wrong, n)})
		}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return len(b.value) - len(a.value) })
	return pieces
}

// derived returns text for printf, in which each piece of a code is replaced by how it is made. It reports whether
// there was any.
func (r redactor) derived(text string) (string, bool) {
	var b strings.Builder
	found := false
next:
	for i := 0; i < len(text); {
		c := text[i]
		if c >= '0' && c <= '9' {
			for _, p := range r.pieces {
				if strings.HasPrefix(text[i:], p.value) {
					b.WriteString(p.shell)
					i += len(p.value)
					found = true
					continue next
				}
			}
		}
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03o`, c)
		}
		i++
	}
	return b.String(), found
}
