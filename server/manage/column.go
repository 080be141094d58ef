package manage

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"otpbridge/server/otp"
)

// ColumnJSON converts a value that a person wrote into the column's JSON. A text needs no quotes, a list of texts is
// separated by commas, a flag may be 0 or 1 as in SQL, a moment is RFC 3339 or milliseconds since 1970, and null is
// NULL. It does not check whether the column accepts the value. Refusals: Invalid for a name that is not a column, and
// for a moment that is neither.
func ColumnJSON(column, text string) (json.RawMessage, error) {
	of := columnType(column)
	if of == nil {
		return nil, otp.RefuseField(column, "is no column of otp_auth_config; otpbridge account show lists them")
	}
	if of == reflect.TypeFor[otp.Millis]() {
		return momentJSON(column, text)
	}
	kind := of.Kind()
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

// momentJSON converts a moment that a person wrote.
func momentJSON(column, text string) (json.RawMessage, error) {
	if text == "null" {
		return json.RawMessage(text), nil
	}
	millis, err := strconv.ParseInt(text, 10, 64)
	if at, fault := time.Parse(time.RFC3339, text); fault == nil {
		millis, err = at.UnixMilli(), nil
	}
	if err != nil {
		return nil, otp.RefuseField(column, "must be a time such as 2027-01-31T00:00:00Z, or milliseconds since 1970")
	}
	return strconv.AppendInt(nil, millis, 10), nil
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
		var at *otp.Millis
		if columnType(column) == reflect.TypeFor[otp.Millis]() && json.Unmarshal(value, &at) == nil && at != nil {
			texts[column] = at.Time().Format(time.RFC3339Nano)
		}
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

// columnType returns the type of a column's value, nil for a name that is not a column.
func columnType(column string) reflect.Type {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Imported]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != column || column == "-" {
			continue
		}
		if field.Type.Kind() == reflect.Pointer {
			return field.Type.Elem()
		}
		return field.Type
	}
	return nil
}
