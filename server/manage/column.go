package manage

import (
	"encoding/json"
	"reflect"
	"strings"

	"otpbridge/server/otp"
)

// ColumnJSON converts a value that a person wrote into the column's JSON. A text needs no quotes, a list of texts is
// separated by commas, a flag may be 0 or 1 as in SQL, and null is NULL. It does not check whether the column accepts
// the value. Refusal: Invalid for a name that is not a column.
func ColumnJSON(column, text string) (json.RawMessage, error) {
	kind := columnKind(column)
	if kind == reflect.Invalid {
		return nil, otp.RefuseField(column, "is no column of otp_auth_config; otpbridge account show lists them")
	}
	value := json.RawMessage(text)
	if kind == reflect.Bool && (text == "0" || text == "1") {
		value = json.RawMessage(map[string]string{"0": "false", "1": "true"}[text])
	}
	if kind == reflect.String && text != "null" || !json.Valid(value) && kind != reflect.Slice {
		value, _ = json.Marshal(text) // a text always has JSON
	}
	if kind == reflect.Slice && !strings.HasPrefix(text, "[") && text != "null" {
		value, _ = json.Marshal(strings.Split(text, ","))
	}
	return value, nil
}

// ColumnTexts returns the values of an account's columns in the form that ColumnJSON reads; empty for NULL.
func ColumnTexts(account *otp.Account) map[string]string {
	encoded, err := json.Marshal(account)
	if err != nil {
		panic(err) // every column has JSON
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(encoded, &members); err != nil {
		panic(err)
	}
	texts := make(map[string]string, len(members))
	for column, value := range members {
		texts[column] = textOf(value)
	}
	return texts
}

func textOf(value json.RawMessage) string {
	var text string
	var list []string
	switch {
	case string(value) == "null":
		return ""
	case json.Unmarshal(value, &text) == nil:
		return text
	case json.Unmarshal(value, &list) == nil && !strings.Contains(strings.Join(list, ""), ","):
		return strings.Join(list, ",")
	}
	return string(value)
}

func columnKind(column string) reflect.Kind {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Imported]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != column || column == "-" {
			continue
		}
		if field.Type.Kind() == reflect.Pointer {
			return field.Type.Elem().Kind()
		}
		return field.Type.Kind()
	}
	return reflect.Invalid
}
