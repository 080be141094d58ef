package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sandboxKeys starts the names, without prefix, of settings that production refuses.
const sandboxKeys = "SANDBOX_"

// Setting is the documentation of one setting.
type Setting struct {
	Name    string // the variable, with prefix
	Default string // its value if it is not set, for both modes if they differ
	Values  string // the allowed values
	Meaning string
}

// Reference returns every setting in the order of the fields of [Settings], and after each secret the variable for its
// file. Literals in prose are in 'single quotes'.
func Reference() []Setting {
	var settings []Setting
	for _, f := range fields() {
		settings = append(settings, Setting{
			Name:    f.name(),
			Default: f.defaults(),
			Values:  f.valuesText(),
			Meaning: f.doc,
		})
		if f.takesFile() {
			settings = append(settings, Setting{
				Name:    f.name() + fileSuffix,
				Default: "none",
				Values:  "a path",
				Meaning: "The same, as the content of a file; both together are refused.",
			})
		}
	}
	return settings
}

// field is a field of [Settings] with its parsed tags.
type field struct {
	key     string // the variable's name without prefix
	show    string // yes, parts, or empty for nothing
	kind    reflect.Type
	texts   map[Mode]string // the defaults; a mode without one is missing
	values  string
	list    []string // the values of an enumeration or boolean, else nil
	empty   string
	example string
	doc     string
}

// fields returns the fields of [Settings] in order.
func fields() []field {
	var all []field
	for tagged := range reflect.TypeFor[Settings]().Fields() {
		f := field{
			key:     tagged.Tag.Get("env"),
			show:    tagged.Tag.Get("show"),
			kind:    tagged.Type,
			texts:   make(map[Mode]string),
			values:  tagged.Tag.Get("values"),
			empty:   tagged.Tag.Get("empty"),
			example: tagged.Tag.Get("example"),
			doc:     tagged.Tag.Get("doc"),
		}
		for _, mode := range []Mode{Sandbox, Production} {
			text, ok := tagged.Tag.Lookup("default")
			if own, differs := tagged.Tag.Lookup(string(mode)); differs {
				text, ok = own, true
			}
			if ok {
				f.texts[mode] = text
			}
		}
		enumeration := f.kind.Kind() == reflect.String && f.kind != reflect.TypeFor[string]()
		if enumeration || f.kind.Kind() == reflect.Bool {
			f.list = strings.Split(f.values, "|")
		}
		all = append(all, f)
	}
	return all
}

// fieldNamed returns the field with an existing key; any other key is a caller's bug.
func fieldNamed(key string) field {
	for _, f := range fields() {
		if f.key == key {
			return f
		}
	}
	panic("config: no setting is named " + key)
}

func known(key string) bool {
	return slices.ContainsFunc(fields(), func(f field) bool { return f.key == key })
}

func (f field) name() string { return Prefix + f.key }

// defaultIn returns the default in a mode, if there is one. If the mode is not known, only a default that both modes
// share counts.
func (f field) defaultIn(mode Mode) (string, bool) {
	if mode == "" && f.texts[Sandbox] != f.texts[Production] {
		return "", false
	}
	if mode == "" {
		mode = Sandbox
	}
	text, ok := f.texts[mode]
	return text, ok
}

// textIn returns the given text of the setting, else its default, if there is one.
func (f field) textIn(given map[string]string, mode Mode) (string, bool) {
	if text, ok := given[f.key]; ok {
		return text, true
	}
	return f.defaultIn(mode)
}

// bounds returns the least and greatest value of a duration.
func (f field) bounds() (least, most time.Duration) {
	from, to, _ := strings.Cut(f.values, " to ")
	least, err := time.ParseDuration(from)
	if err != nil {
		panic("config: " + f.name() + " states no least value")
	}
	most, err = time.ParseDuration(to)
	if err != nil {
		panic("config: " + f.name() + " states no greatest value")
	}
	return least, most
}

// extremes returns the least and greatest value of a number.
func (f field) extremes() (least, most int) {
	from, to, _ := strings.Cut(f.values, " to ")
	least, err := strconv.Atoi(from)
	if err != nil {
		panic("config: " + f.name() + " states no least value")
	}
	most, err = strconv.Atoi(to)
	if err != nil {
		panic("config: " + f.name() + " states no greatest value")
	}
	return least, most
}

// fault returns a fault of the setting's value. The remedy is always the allowed values and an example.
func (f field) fault(problem string) Fault {
	remedy := "write " + f.valuesText() + ", for example " + f.assignment()
	if f.list != nil {
		remedy = "write one of " + f.valuesText() + ", for example " + f.assignment()
	}
	return Fault{Name: f.name(), Problem: problem, Remedy: remedy}
}

// assignment returns an example of how the setting is set in a shell.
func (f field) assignment() string {
	text := f.example
	if text == "" {
		text = f.texts[Sandbox]
	}
	if strings.ContainsAny(text, " ;") {
		text = `"` + text + `"`
	}
	return f.name() + "=" + text
}

func (f field) valuesText() string {
	text := f.values
	if f.list != nil {
		text = "'" + strings.Join(f.list, "', '") + "'"
	}
	if f.empty != "" {
		text += ", empty for " + f.empty
	}
	return text
}

func (f field) defaults() string {
	shown := func(mode Mode) string {
		if text, ok := f.texts[mode]; ok {
			return "'" + text + "'"
		}
		return "none"
	}
	if shown(Sandbox) == shown(Production) {
		return shown(Sandbox)
	}
	return shown(Sandbox) + " in sandbox, " + shown(Production) + " in production"
}
