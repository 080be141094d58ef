package otp

import (
	"encoding/json"
	"strings"
)

// UserOf is the user_id of an application's metadata, a JSON object: its text, or a number as it is written. Empty
// where there is none, or something else.
func UserOf(metadata []byte) string {
	var members map[string]json.RawMessage // and no struct, which would take User_ID for it
	if json.Unmarshal(metadata, &members) != nil {
		return ""
	}
	given := members["user_id"]
	var text string
	if json.Unmarshal(given, &text) == nil {
		return text
	}
	if len(given) > 0 && strings.IndexByte("-0123456789", given[0]) >= 0 {
		return string(given)
	}
	return ""
}
