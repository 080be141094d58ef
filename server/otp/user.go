package otp

import (
	"encoding/json"
	"strings"
)

// UserOf returns the user_id in an application's metadata, a JSON object: a text, or a number as it is written. Empty
// if there is none, or it is something else.
func UserOf(metadata []byte) string {
	var members map[string]json.RawMessage // not a struct, which would also accept User_ID
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
