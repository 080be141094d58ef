package otp

import (
	"encoding/base32"
	"strings"
)

// ID is a 16-byte identity: a time-ordered UUID (version 7) for challenges and events, a keyed hash for recipients and
// slots. It is stored as bytes and shown with a typed prefix.
type ID [16]byte

// idText is base32hex in lower case. It sorts like the bytes and is safe in URLs.
var idText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Text returns id with its type as prefix, for example Text("otp") = "otp_0e9k…", with 26 characters after the "_".
func (id ID) Text(prefix string) string {
	var room [40]byte // enough for every prefix in use
	text := append(append(room[:0], prefix...), '_')
	return string(idText.AppendEncode(text, id[:]))
}

// IsZero reports whether id is the zero ID, which names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads what Text wrote with the same prefix. It refuses the zero ID: where an id is optional, zero often
// means all, and a caller must not be able to ask for that.
func ParseID(prefix, text string) (ID, bool) {
	body, found := strings.CutPrefix(text, prefix+"_")
	if !found || len(body) != 26 {
		return ID{}, false
	}
	var id ID
	raw, err := idText.DecodeString(Lower(body))
	if err != nil || copy(id[:], raw) != len(id) {
		return ID{}, false
	}
	// The last character has two unused bits; a text that sets them is not an id.
	if id.Text(prefix) != Lower(text) {
		return ID{}, false
	}
	return id, !id.IsZero()
}
