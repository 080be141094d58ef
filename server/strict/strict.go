// Package strict reads JSON from people and programs: requests, imports, columns, profiles.
//
// It guarantees that accepted JSON means the same to encoding/json as here, and that nothing in it was ignored.
// encoding/json by itself accepts field names in any case, uses the last of two equal names, accepts null for any type
// and repairs broken text. Each of these turns a typing mistake into a setting that nobody chose.
//
// It checks types only; the caller checks what values are allowed.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"otpbridge/server/otp"
)

const (
	// MaxFaults is how many faults of one text are reported at once.
	MaxFaults = 20
	maxDepth  = 32 // of free JSON; real bindings and metadata are far flatter
)

// Fault is one error in a text: where, and what to write instead. It quotes no value, because a value may be a secret;
// names are quoted, cut to 64 characters.
type Fault struct {
	Pointer string // RFC 6901; empty for the whole text
	Detail  string // follows the place: "must be …", "is …"
}

// String returns the fault as a sentence that begins with its place, such as "countries/1 must be a string".
func (f Fault) String() string {
	place := strings.TrimPrefix(f.Pointer, "/")
	if place == "" {
		place = "the JSON"
	}
	return place + " " + f.Detail
}

// Error is the error of Decode: all faults, at least one, in the order of the text.
type Error struct{ Faults []Fault }

// Error implements error. It returns the first fault.
func (e *Error) Error() string { return e.Faults[0].String() }

// Unknown is the detail of a member that the target does not have.
const Unknown = "is not known here"

// Decode reads the one JSON value in text into target, a pointer to a value that holds the defaults. The error is an
// *Error; target is then partly filled and must not be used.
//
// A pointer, list or map accepts null as absent, unless its field has the tag null:"refused". A text whose field has
// the tag empty:"refused" must not be empty: its default is for a member that is left out, and an empty one is most
// often a variable of a script that was not set. A json.RawMessage and an empty interface accept any value, including
// null, in which no name may be repeated; numbers in an interface are json.Number.
func Decode(text []byte, target any) error {
	fail := func(detail string) error { return &Error{[]Fault{{Detail: detail}}} }
	if !utf8.Valid(text) {
		return fail("is not UTF-8")
	}
	if at := loneSurrogate(text); at >= 0 {
		return fail("has half a character: byte " + strconv.Itoa(at+1))
	}
	// Check the whole syntax first: the walk below only sees well-formed JSON.
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fail("is not one JSON value: byte " + strconv.FormatInt(syntax.Offset, 10))
		}
		return fail("is not one JSON value")
	}
	var d decoder
	d.value(whole, reflect.ValueOf(target).Elem(), "")
	if len(d.faults) > 0 {
		return &Error{d.faults}
	}
	return nil
}

// decoder walks a value along the Go type that will hold it.
type decoder struct {
	faults []Fault
}

func (d *decoder) fault(pointer, detail string) {
	if !d.full() {
		d.faults = append(d.faults, Fault{Pointer: pointer, Detail: detail})
	}
}

// full reports whether MaxFaults faults were found. The walk ends there, so a body of unknown members costs no more
// than its first ones.
func (d *decoder) full() bool { return len(d.faults) == MaxFaults }

func (d *decoder) value(raw json.RawMessage, target reflect.Value, pointer string) {
	if target.Type() == reflect.TypeFor[json.RawMessage]() {
		d.free(raw, pointer)
		target.SetBytes(bytes.Clone(raw))
		return
	}
	if string(raw) == "null" {
		d.null(target, pointer)
		return
	}
	if target.Type() == reflect.TypeFor[time.Time]() {
		d.leaf(raw, target, pointer, "must be a time such as 2026-01-31T12:00:00Z")
		return
	}
	switch target.Kind() {
	case reflect.Pointer:
		target.Set(reflect.New(target.Type().Elem()))
		d.value(raw, target.Elem(), pointer)
	case reflect.Interface:
		d.any(raw, target, pointer)
	case reflect.Struct:
		d.object(raw, target, pointer)
	case reflect.Map:
		d.mapping(raw, target, pointer)
	case reflect.Slice:
		d.array(raw, target, pointer)
	case reflect.String:
		d.leaf(raw, target, pointer, "must be a string")
	case reflect.Bool:
		d.leaf(raw, target, pointer, "must be true or false")
	case reflect.Int, reflect.Int64:
		d.leaf(raw, target, pointer, "must be a whole number")
	case reflect.Float64:
		d.leaf(raw, target, pointer, "must be a number")
	default:
		panic("strict: nothing decodes " + target.Type().String())
	}
}

const (
	notNull  = "must not be null; leave it out for the default"
	notEmpty = "must not be empty; leave it out for the default"
)

// null stands for an absent value, so it is accepted where Go can hold nil.
func (d *decoder) null(target reflect.Value, pointer string) {
	switch target.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		target.SetZero()
	default:
		d.fault(pointer, notNull)
	}
}

func (d *decoder) leaf(raw json.RawMessage, target reflect.Value, pointer, expected string) {
	if err := json.Unmarshal(raw, target.Addr().Interface()); err != nil {
		d.fault(pointer, expected)
	}
}

func (d *decoder) object(raw json.RawMessage, target reflect.Value, pointer string) {
	d.members(raw, pointer, "must be an object", func(name string, value json.RawMessage, at string) {
		field, tag, known := fieldNamed(target, name)
		switch {
		case !known:
			d.fault(at, Unknown)
		case string(value) == "null" && tag.Get("null") == "refused":
			d.fault(at, notNull)
		case string(value) == `""` && tag.Get("empty") == "refused":
			d.fault(at, notEmpty)
		default:
			d.value(value, field, at)
		}
	})
}

func (d *decoder) mapping(raw json.RawMessage, target reflect.Value, pointer string) {
	filled := reflect.MakeMap(target.Type())
	d.members(raw, pointer, "must be an object", func(name string, value json.RawMessage, at string) {
		element := reflect.New(target.Type().Elem()).Elem()
		d.value(value, element, at)
		filled.SetMapIndex(reflect.ValueOf(name).Convert(target.Type().Key()), element)
	})
	target.Set(filled)
}

func (d *decoder) array(raw json.RawMessage, target reflect.Value, pointer string) {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		d.fault(pointer, "must be a list")
		return
	}
	filled := reflect.MakeSlice(target.Type(), len(elements), len(elements))
	for i, element := range elements {
		if d.full() {
			return
		}
		d.value(element, filled.Index(i), pointer+"/"+strconv.Itoa(i))
	}
	target.Set(filled)
}

// members calls each for every member of an object, in order; for a repeated name only once.
func (d *decoder) members(raw json.RawMessage, pointer, expected string,
	each func(name string, value json.RawMessage, at string)) {
	if raw[0] != '{' {
		d.fault(pointer, expected)
		return
	}
	given := make(map[string]bool)
	tokens := json.NewDecoder(bytes.NewReader(raw))
	_, _ = tokens.Token() // the brace
	for !d.full() && tokens.More() {
		token, err := tokens.Token()
		name, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || tokens.Decode(&value) != nil {
			panic("strict: a value that was checked is not well-formed")
		}
		at := pointer + "/" + escapePointer(name)
		if given[name] {
			d.fault(at, "is given twice; which one is meant?")
			continue
		}
		given[name] = true
		each(name, value, at)
	}
}

// any reads a value of any type, and keeps its numbers as written.
func (d *decoder) any(raw json.RawMessage, target reflect.Value, pointer string) {
	d.free(raw, pointer)
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber()
	if err := numbers.Decode(target.Addr().Interface()); err != nil {
		d.fault(pointer, "must be JSON")
	}
}

// free walks a value of any type without recursion, because the sender chooses its depth.
func (d *decoder) free(raw json.RawMessage, pointer string) {
	type level struct {
		names  map[string]bool // nil in a list
		name   string          // read, and whose value comes next
		atName bool
		begun  int // elements of a list
	}
	var levels []level
	tokens := json.NewDecoder(bytes.NewReader(raw))
	tokens.UseNumber() // nothing here converts them
	for {
		token, err := tokens.Token()
		if err != nil {
			return // io.EOF: the syntax was checked before
		}
		inside := len(levels) - 1
		if name, isText := token.(string); isText && inside >= 0 && levels[inside].atName {
			if levels[inside].names[name] {
				at := pointer
				for _, above := range levels[:inside] {
					if above.names != nil {
						at += "/" + escapePointer(above.name)
					} else {
						at += "/" + strconv.Itoa(above.begun-1)
					}
				}
				d.fault(at+"/"+escapePointer(name), "is given twice; which one is meant?")
				return
			}
			levels[inside].names[name], levels[inside].name, levels[inside].atName = true, name, false
			continue
		}
		switch {
		case inside < 0:
		case levels[inside].names != nil:
			levels[inside].atName = true // after this value, or the one that begins here
		case token != json.Delim(']'):
			levels[inside].begun++
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{names: map[string]bool{}, atName: true})
		case json.Delim('['):
			levels = append(levels, level{})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:inside]
		}
		if len(levels) > maxDepth {
			d.fault(pointer, "is nested deeper than "+strconv.Itoa(maxDepth)+" levels")
			return
		}
	}
}

// loneSurrogate returns the position of an escape such as \ud800 that is half of a character, -1 if there is none;
// encoding/json would silently replace it. Its result for broken JSON need not be right.
func loneSurrogate(body []byte) int {
	half := func(i int) (unit rune, ok bool) {
		if i+6 > len(body) || body[i] != '\\' || body[i+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(body[i+2:i+6]), 16, 16)
		return rune(n), err == nil && utf16.IsSurrogate(rune(n))
	}
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if first, ok := half(i); ok {
			second, ok := half(i + 6)
			if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
				return i
			}
			i += 11
			continue
		}
		i++ // the escaped character does not begin an escape
	}
	return -1
}

// fieldNamed finds the field of a struct, or of one it embeds, by its exact JSON name.
func fieldNamed(target reflect.Value, name string) (reflect.Value, reflect.StructTag, bool) {
	field, known := fieldsOf(target.Type())[name]
	if !known {
		return reflect.Value{}, "", false
	}
	return target.FieldByIndex(field.Index), field.Tag, true
}

// knownFields caches fieldsOf for each type: without it, this was an eighth of a request's allocations.
var knownFields sync.Map

// fieldsOf returns the fields of a struct by their JSON names.
func fieldsOf(of reflect.Type) map[string]reflect.StructField {
	if known, ok := knownFields.Load(of); ok {
		return known.(map[string]reflect.StructField)
	}
	fields := map[string]reflect.StructField{}
	for _, field := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if _, twice := fields[name]; name != "" && name != "-" && !twice {
			fields[name] = field
		}
	}
	knownFields.Store(of, fields)
	return fields
}

// escapePointer returns name as a token of a JSON pointer (RFC 6901, section 3), cut to 64 characters so that a
// hostile name cannot fill the answer.
func escapePointer(name string) string {
	if kept := otp.Cut(name, 64); kept != name {
		name = kept + "…"
	}
	return pointerEscapes.Replace(name)
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
