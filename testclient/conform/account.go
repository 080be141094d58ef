package conform

import (
	"fmt"
	"maps"
	"strings"
)

// account is the account that a story calls with.
type account struct {
	Address   string
	AccessKey string
	CipherKey string // base64 or hex
	CipherIV  string
	Profile   Profile

	// For /v1. The last two are empty if the target has none.
	APIKey        string
	SigningSecret string // for signing requests with APIKey
	OtherAPIKey   string // of the same account in the other environment

	cipher *paramCipher
}

func (a *account) prepare(mode string) error {
	cipher, err := newParamCipher(mode, a.CipherKey, a.CipherIV)
	if err != nil {
		return err
	}
	a.cipher = cipher
	return nil
}

// text returns a setting that is a text, or "".
func (s Settings) text(name string) string {
	value, _ := s[name].(string)
	return value
}

// on reports whether a setting is true, in JSON or as the column stores it.
func (s Settings) on(name string) bool {
	return s[name] == true || fmt.Sprint(s[name]) == "1"
}

// named returns s with {id} replaced in every text, so that a case can use names that nothing else has.
func (s Settings) named(id string) Settings {
	out := maps.Clone(s)
	for name, value := range out {
		out[name] = namedValue(value, id)
	}
	return out
}

func namedValue(value any, id string) any {
	switch value := value.(type) {
	case string:
		return strings.ReplaceAll(value, "{id}", id)
	case []string:
		out := make([]string, len(value))
		for i, text := range value {
			out[i] = strings.ReplaceAll(text, "{id}", id)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, element := range value {
			out[i] = namedValue(element, id)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, element := range value {
			out[key] = namedValue(element, id)
		}
		return out
	default:
		return value
	}
}
