package conform

import (
	"fmt"
	"maps"
	"strings"
)

// account is what a story calls with.
type account struct {
	Address   string
	AccessKey string
	CipherKey string // base64 or hex
	CipherIV  string
	Profile   Profile

	// For /v1. The last two are empty where the target gives none out.
	APIKey        string
	SigningSecret string // what requests with APIKey may be signed with
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

// text gives a setting that is a text, or "".
func (s Settings) text(name string) string {
	value, _ := s[name].(string)
	return value
}

// on reports whether a setting is true, written as JSON or as the column has it.
func (s Settings) on(name string) bool {
	return s[name] == true || fmt.Sprint(s[name]) == "1"
}

// named is s with {id} in every text replaced, so that a case may name what nobody else has.
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
