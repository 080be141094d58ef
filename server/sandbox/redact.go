package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"

	"otpbridge/server/web"
)

// Only what is known to be harmless is shown of the API's JSON: the names of members, and the values of members that
// are words of the protocol.

// shownMembers are the members whose values are shown, if they have the expected form: they cannot be secrets or
// personal data.
var shownMembers = []string{
	"method", "type", "template", "locale", "ttl", "length", "fallback", "valid", "reason", "attempts_remaining",
	"resends_remaining", "attempts", "status", "created_at", "expires_at", "verified_at", "code", "title", "number",
	"at", "sends", "errors", "pointer",
}

// maskedMembers are masked like the servlets' parameters.
var maskedMembers = map[string]func(string) string{
	"to":    maskedTo,
	"email": maskedMail,
	"ip":    maskedText,
}

func maskedTo(to string) string {
	if strings.Contains(to, "@") {
		return maskedMail(to)
	}
	return maskedNumber(to)
}

// harmlessWord matches a word of the protocol, or a pointer to a member with such a name. plainTime matches a time.
var (
	harmlessWord = regexp.MustCompile(`^/?[A-Za-z][A-Za-z_/ -]{0,23}$`)
	plainTime    = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}Z$`)
)

// redactedJSON returns a JSON object redacted, and whether it could be read to its end. A body that cannot be read is
// not shown at all, because it may contain anything.
func redactedJSON(text string) (shown string, whole bool) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value map[string]any
	if decoder.Decode(&value) != nil {
		return redacted, false
	}
	if _, err := decoder.Token(); err != io.EOF {
		return redacted, false
	}
	return compact(redactedMembers(value)), true
}

func compact(value any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // it was decoded from JSON
	return strings.TrimSpace(b.String())
}

func redactedMembers(members map[string]any) map[string]any {
	shown := make(map[string]any, len(members))
	for name, value := range members {
		mask, isMasked := maskedMembers[name]
		text, isText := value.(string)
		switch {
		case isMasked && isText:
			shown[name] = mask(text)
		case slices.Contains(shownMembers, name):
			shown[shownName(name)] = redactedValue(value)
		default:
			shown[shownName(name)] = redacted
		}
	}
	return shown
}

// redactedValue returns the value of a shown member, redacted if it does not have the expected form: a client may have
// put a code into another member. A number of three digits is not a code.
func redactedValue(value any) any {
	switch value := value.(type) {
	case string:
		if harmlessWord.MatchString(value) || plainTime.MatchString(value) {
			return value
		}
		return redacted
	case json.Number:
		if len(value) <= 3 {
			return value
		}
		return redacted
	case bool:
		return value
	case []any:
		list := make([]any, 0, len(value))
		for _, element := range value {
			list = append(list, redactedValue(element))
		}
		return list
	case map[string]any:
		return redactedMembers(value)
	}
	return redacted
}

// shownAnswer returns an answer as it may be shown. The servlets' texts are shown whole. JSON is redacted, and not
// shown at all if it was cut off.
func shownAnswer(answer string) string {
	if !strings.HasPrefix(answer, "{") {
		return answer
	}
	shown, _ := redactedJSON(answer)
	return shown
}

// jsonWord returns a body as an argument of curl, with shell variables for secrets.
func jsonWord(text string) string {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value map[string]any
	if decoder.Decode(&value) != nil {
		return web.ShellWord(redacted)
	}
	shown := redactedMembers(value)
	for name := range bodyVariables {
		if _, given := value[name]; given {
			shown[name] = "\x00" + name + "\x00"
		}
	}
	word := web.ShellWord(compact(shown))
	for name, variable := range bodyVariables {
		word = strings.ReplaceAll(word, `\u0000`+name+`\u0000`, `'"$`+variable+`"'`)
	}
	return word
}

// bodyVariables are the shell variables that replace the values of these members in a curl command.
var bodyVariables = map[string]string{"to": "TO", "email": "EMAIL", "code": "OTP", "id": "ID"}
