package deliver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"
)

// Report is a provider's request with receipts, as received. The content is in its query, its body or both; providers
// send JSON, forms, and each of them with the wrong content type.
type Report struct {
	Query       url.Values // without the secret
	ContentType string
	Body        []byte
}

// The limits of a report. Providers bundle a hundred receipts, some a thousand.
const (
	MaxReport   = 256 << 10
	maxReceipts = 1000
	maxFields   = 64 // of a query or form
)

// scope is a piece of a report, an object or a list, with the scope around it.
type scope struct {
	value any
	outer *scope
}

// read parses a report. The outermost scope is its query; within it is its body, if there is one.
func (r Report) read() (*scope, error) {
	query, err := fieldsOf(r.Query)
	if err != nil {
		return nil, err
	}
	root := &scope{value: query}
	body := bytes.TrimSpace(bytes.TrimPrefix(r.Body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 {
		return root, nil
	}
	kind, parameters, _ := mime.ParseMediaType(r.ContentType)
	value, isJSON := parseJSON(body)
	switch {
	case isJSON && (body[0] == '{' || body[0] == '['): // no form begins like this, whatever its content type
		return &scope{unfold(value), root}, nil
	case kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json"):
		return nil, errors.New("the body is no JSON object or list")
	case kind == "multipart/form-data":
		form, err := multipartFields(body, parameters["boundary"])
		return &scope{form, root}, err
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the body is no form")
	}
	form, err := fieldsOf(values)
	return &scope{form, root}, err
}

// parseJSON reads one JSON value and keeps numbers as written.
func parseJSON(text []byte) (value any, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		return nil, false
	}
	_, err := decoder.Token()
	return value, err == io.EOF
}

// fieldsOf returns the fields of a query or form. Of a repeated name the first value counts.
func fieldsOf(values url.Values) (map[string]any, error) {
	if len(values) > maxFields {
		return nil, fmt.Errorf("a report may have %d fields", maxFields)
	}
	fields := make(map[string]any, len(values))
	for name, list := range values {
		fields[name] = list[0]
	}
	return unfold(fields).(map[string]any), nil
}

// multipartFields returns the fields of a multipart form, without files.
func multipartFields(body []byte, boundary string) (map[string]any, error) {
	broken := errors.New("the body is no form")
	if boundary == "" {
		return nil, broken
	}
	values := url.Values{}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for parts := 0; ; parts++ {
		part, err := reader.NextPart()
		if err == io.EOF {
			return fieldsOf(values)
		}
		if err != nil || parts > maxFields {
			return nil, broken
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, broken
		}
		if part.FormName() != "" && part.FileName() == "" {
			values.Add(part.FormName(), string(text))
		}
	}
}

// unfold parses the fields of an object that contain JSON as text, as some providers send in a form.
func unfold(value any) any {
	object, _ := value.(map[string]any)
	for name, field := range object {
		text, _ := field.(string)
		if text = strings.TrimSpace(text); text == "" || text[0] != '{' && text[0] != '[' {
			continue
		}
		if inner, ok := parseJSON([]byte(text)); ok {
			object[name] = inner
		}
	}
	return value
}

// receipts returns the pieces of a report that are about one message each: those at a path, including all members of
// lists on the way; without a path the body, or each member of it if it is a list.
func (s *scope) receipts(path string) []*scope {
	found := s.walk(path, nil)
	if len(found) == 0 && s.outer != nil {
		found = s.outer.walk(path, nil)
	}
	if len(found) == 0 && path != "" {
		return s.walk("", nil) // a single one may come without its list
	}
	return found
}

func (s *scope) walk(path string, found []*scope) []*scope {
	switch value := s.value.(type) {
	case []any:
		for _, member := range value {
			if len(found) <= maxReceipts {
				found = (&scope{member, s}).walk(path, found)
			}
		}
		return found
	case map[string]any:
		if path == "" {
			return append(found, s)
		}
		if inner, ok := value[path]; ok {
			return (&scope{inner, s}).walk("", found)
		}
		step, rest, _ := strings.Cut(path, ".")
		if inner, ok := value[step]; ok && rest != "" {
			return (&scope{inner, s}).walk(rest, found)
		}
	}
	return found
}

// text returns the scalar at a path, in this scope or else in one around it.
func (s *scope) text(path string) string {
	for ; path != "" && s != nil; s = s.outer {
		if text, ok := scalarAt(s.value, path); ok {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// scalarAt returns the text of a scalar at a dotted path, as written: a number keeps its digits. In a list, a step is
// an index from 0. A name that contains dots is found too.
func scalarAt(value any, path string) (string, bool) {
	switch in := value.(type) {
	case map[string]any:
		if text, ok := scalar(in[path]); ok {
			return text, true
		}
		step, rest, more := strings.Cut(path, ".")
		if !more {
			return "", false
		}
		return scalarAt(in[step], rest)
	case []any:
		step, rest, more := strings.Cut(path, ".")
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(in) {
			return "", false
		}
		if !more {
			return scalar(in[i])
		}
		return scalarAt(in[i], rest)
	}
	return "", false
}

// scalar returns the text of a JSON string, number or boolean.
func scalar(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	}
	return "", false
}
