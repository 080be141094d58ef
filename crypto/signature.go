package crypto

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"
)

// A signed request carries the hex HMAC-SHA-256, with the text of a signing secret as key, of
//
//	method + path + timestamp + nonce + body
//
// without separators. The path is the request target as sent, including query and percent signs:
// "/v1/audit-logs?limit=2&cursor=a%2Bb".
//
// Without separators, a part could contain its neighbour's bytes. Two requests still never have the same message,
// because of the form of the middle parts: the caller has refused every timestamp that is not about now in plain
// digits and every nonce that is not 32 hexadecimal characters, a method has no slash and a path starts with one, and
// no served path contains a timestamp and a nonce.
//
// Some clients sign Python's json.dumps(body, sort_keys=True) and then let their HTTP library write the same object in
// another order and spacing. So a signature is valid over the body as sent or over that canonical form; both describe
// the same request.

// SignedRequest is what a signature covers.
type SignedRequest struct {
	Method, Path, Timestamp, Nonce string
	Body                           []byte // as sent
}

// NewSigningSecret returns a new secret to sign requests with: 40 base62 characters, 238 bits. With its prefix,
// scanners find one that was published by accident.
func NewSigningSecret() string { return "otpbsig_" + randomBase62(40) }

// NewNonce returns 32 random hexadecimal characters.
func NewNonce() string {
	var raw [16]byte
	rand.Read(raw[:]) // never fails: the runtime stops the process instead
	return hex.EncodeToString(raw[:])
}

// Sign returns the signature over the body as sent.
func (r SignedRequest) Sign(secret Secret) string {
	sum := r.sum(secret, r.Body)
	return hex.EncodeToString(sum[:])
}

// SignedBy reports whether signature, in hexadecimal of either case, is secret's over the body as sent or over its
// canonical form. For a secret that is not set it reports false.
//
// Each comparison takes the same time for every wrong signature. The time may show which of the two forms matched;
// whoever has a right signature knows that anyway.
func (r SignedRequest) SignedBy(secret Secret, signature string) bool {
	given, err := hex.DecodeString(signature)
	if err != nil || len(given) != sha256.Size || secret.IsZero() {
		return false
	}
	if sum := r.sum(secret, r.Body); hmac.Equal(given, sum[:]) {
		return true
	}
	canonical, ok := PythonJSON(r.Body)
	if !ok {
		return false
	}
	if string(canonical) == "{}" { // the reference client sends no body for an empty object
		canonical = nil
	}
	sum := r.sum(secret, canonical)
	return hmac.Equal(given, sum[:])
}

func (r SignedRequest) sum(secret Secret, body []byte) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, secret.Bytes())
	for _, part := range []string{r.Method, r.Path, r.Timestamp, r.Nonce} {
		mac.Write([]byte(part))
	}
	mac.Write(body)
	mac.Sum(sum[:0])
	return sum
}

// PythonJSON writes a JSON text as Python's json.dumps(…, sort_keys=True) does: members sorted by the code points of
// their names, ", " and ": " between them, everything outside printable ASCII as \uXXXX. Number literals are copied:
// 1.50 does not become 1.5, because it depends on the client's parser how a number is written.
//
// It refuses anything but one JSON value (RFC 8259) in UTF-8, more than 64 levels, and objects with a repeated name:
// parsers differ in which of the two values counts, so a signature over one would be valid for the other.
func PythonJSON(text []byte) (canonical []byte, ok bool) {
	if !utf8.Valid(text) {
		return nil, false
	}
	c := canonicaliser{rest: text}
	c.blank()
	canonical, ok = c.value(make([]byte, 0, len(text)+len(text)/4), 0)
	c.blank()
	return canonical, ok && len(c.rest) == 0
}

// canonicalDepth bounds the recursion. Accepted bodies are far flatter.
const canonicalDepth = 64

// canonicaliser reads a JSON text from the left. Its methods append what they have read to out, in canonical form.
type canonicaliser struct {
	rest    []byte
	decoded []byte // the string that was read last
}

func (c *canonicaliser) blank() { c.rest = bytes.TrimLeft(c.rest, " \t\r\n") }

// next skips b if it comes next, and reports whether it did.
func (c *canonicaliser) next(b byte) bool {
	if len(c.rest) == 0 || c.rest[0] != b {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *canonicaliser) value(out []byte, depth int) ([]byte, bool) {
	if len(c.rest) == 0 || depth > canonicalDepth {
		return nil, false
	}
	switch c.rest[0] {
	case '{':
		return c.object(out, depth)
	case '[':
		return c.array(out, depth)
	case '"':
		if !c.text() {
			return nil, false
		}
		return appendPythonString(out, c.decoded), true
	case 't':
		return c.literal(out, "true")
	case 'f':
		return c.literal(out, "false")
	case 'n':
		return c.literal(out, "null")
	}
	return c.number(out)
}

func (c *canonicaliser) literal(out []byte, word string) ([]byte, bool) {
	rest, found := bytes.CutPrefix(c.rest, []byte(word))
	c.rest = rest
	return append(out, word...), found
}

// member is one member of an object: its name, and the place of its canonical form.
type member struct {
	name     string
	from, to int
}

// object writes the members in their original order first, then sorted.
func (c *canonicaliser) object(out []byte, depth int) ([]byte, bool) {
	c.next('{')
	start := len(out)
	var members []member
	for c.blank(); !c.next('}'); c.blank() {
		if len(members) > 0 {
			if !c.next(',') {
				return nil, false
			}
			c.blank()
		}
		if !c.text() {
			return nil, false
		}
		m := member{name: string(c.decoded), from: len(out)}
		out = append(appendPythonString(out, c.decoded), ": "...)
		c.blank()
		if !c.next(':') {
			return nil, false
		}
		c.blank()
		var ok bool
		if out, ok = c.value(out, depth+1); !ok {
			return nil, false
		}
		m.to = len(out)
		members = append(members, m)
	}
	// The names are compared as UTF-8, which sorts like the code points.
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for i := range members[min(1, len(members)):] {
		if members[i].name == members[i+1].name {
			return nil, false
		}
	}
	came := bytes.Clone(out[start:])
	out = append(out[:start], '{')
	for i, m := range members {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(out, came[m.from-start:m.to-start]...)
	}
	return append(out, '}'), true
}

func (c *canonicaliser) array(out []byte, depth int) ([]byte, bool) {
	c.next('[')
	out = append(out, '[')
	first := true
	for c.blank(); !c.next(']'); c.blank() {
		if !first {
			if !c.next(',') {
				return nil, false
			}
			c.blank()
			out = append(out, ", "...)
		}
		first = false
		var ok bool
		if out, ok = c.value(out, depth+1); !ok {
			return nil, false
		}
	}
	return append(out, ']'), true
}

// number copies a number literal (RFC 8259, section 6).
func (c *canonicaliser) number(out []byte) ([]byte, bool) {
	all := c.rest
	digits := func() bool {
		after := bytes.TrimLeft(c.rest, "0123456789")
		some := len(after) < len(c.rest)
		c.rest = after
		return some
	}
	c.next('-')
	if !c.next('0') && !digits() {
		return nil, false
	}
	if c.next('.') && !digits() {
		return nil, false
	}
	if c.next('e') || c.next('E') {
		if !c.next('+') {
			c.next('-')
		}
		if !digits() {
			return nil, false
		}
	}
	return append(out, all[:len(all)-len(c.rest)]...), true
}

// text reads a string into decoded. An escaped half of a surrogate pair, which is not a character, is kept as the
// three bytes that UTF-8 would have for it: Python keeps it too.
func (c *canonicaliser) text() bool {
	c.decoded = c.decoded[:0]
	if !c.next('"') {
		return false
	}
	for {
		plain := bytes.IndexFunc(c.rest, func(r rune) bool { return r == '"' || r == '\\' || r < ' ' })
		if plain < 0 {
			return false
		}
		c.decoded = append(c.decoded, c.rest[:plain]...)
		c.rest = c.rest[plain:]
		switch {
		case c.next('"'):
			return true
		case c.next('\\'):
			if !c.escape() {
				return false
			}
		default:
			return false // a control character
		}
	}
}

func (c *canonicaliser) escape() bool {
	if len(c.rest) == 0 {
		return false
	}
	letter := c.rest[0]
	c.rest = c.rest[1:]
	if letter == 'u' {
		return c.unicodeEscape()
	}
	meaning := strings.IndexByte(`"\/bfnrt`, letter)
	if meaning < 0 {
		return false
	}
	c.decoded = append(c.decoded, "\"\\/\b\f\n\r\t"[meaning])
	return true
}

const (
	highSurrogates = 0xd800
	lowSurrogates  = 0xdc00
	surrogatesEnd  = 0xe000
)

func (c *canonicaliser) unicodeEscape() bool {
	unit, ok := c.codeUnit()
	if !ok {
		return false
	}
	if unit >= highSurrogates && unit < lowSurrogates && bytes.HasPrefix(c.rest, []byte(`\u`)) {
		before := c.rest
		c.rest = c.rest[2:]
		low, ok := c.codeUnit()
		if !ok {
			return false
		}
		if low >= lowSurrogates && low < surrogatesEnd {
			c.decoded = utf8.AppendRune(c.decoded, 0x10000+(unit-highSurrogates)<<10+(low-lowSurrogates))
			return true
		}
		c.rest = before // an independent escape
	}
	if unit >= highSurrogates && unit < surrogatesEnd {
		c.decoded = append(c.decoded, 0xe0|byte(unit>>12), 0x80|byte(unit>>6&0x3f), 0x80|byte(unit&0x3f))
		return true
	}
	c.decoded = utf8.AppendRune(c.decoded, unit)
	return true
}

func (c *canonicaliser) codeUnit() (rune, bool) {
	if len(c.rest) < 4 {
		return 0, false
	}
	var raw [2]byte
	if _, err := hex.Decode(raw[:], c.rest[:4]); err != nil {
		return 0, false
	}
	c.rest = c.rest[4:]
	return rune(raw[0])<<8 | rune(raw[1]), true
}

// appendPythonString writes a string that text has decoded.
func appendPythonString(out, decoded []byte) []byte {
	out = append(out, '"')
	for len(decoded) > 0 {
		r, size := utf8.DecodeRune(decoded)
		if r == utf8.RuneError && size == 1 { // half a surrogate pair
			r, size = rune(decoded[0]&0x0f)<<12|rune(decoded[1]&0x3f)<<6|rune(decoded[2]&0x3f), 3
		}
		decoded = decoded[size:]
		switch short := strings.IndexRune("\"\\\b\f\n\r\t", r); {
		case short >= 0:
			out = append(out, '\\', `"\bfnrt`[short])
		case r >= ' ' && r <= '~':
			out = append(out, byte(r))
		case r < 0x10000:
			out = appendCodeUnit(out, r)
		default:
			r -= 0x10000
			out = appendCodeUnit(out, highSurrogates+r>>10)
			out = appendCodeUnit(out, lowSurrogates+r&0x3ff)
		}
	}
	return append(out, '"')
}

func appendCodeUnit(out []byte, unit rune) []byte {
	const digits = "0123456789abcdef"
	return append(out, '\\', 'u', digits[unit>>12&0xf], digits[unit>>8&0xf], digits[unit>>4&0xf], digits[unit&0xf])
}
