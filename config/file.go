package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"otpbridge/server/files"
)

// fileSuffix ends the name of the variable with the path of a secret's file. More people and programs see a process's
// environment than a file: it is inherited by children, shown by process lists and stored in service definitions.
const fileSuffix = "_FILE"

// MaxSecretFile is more than any secret needs, in bytes.
const MaxSecretFile = 64 << 10

// isSecret reports whether the value, or a part of it, must not be shown.
func (f field) isSecret() bool { return f.show != "yes" }

// takesFile reports whether the setting may be given as a file by this rule. The keyring has a separate setting for
// that, because the sandbox may create the file.
func (f field) takesFile() bool { return f.isSecret() && !known(f.key+fileSuffix) }

// readFiles replaces every variable that names a secret's file with the secret, and returns the path of each such
// setting. A file that cannot be read is a fault, and the setting is left out. No fault quotes a path: it may be the
// secret itself, written in place of its path.
func readFiles(given map[string]string) (paths map[string]string, faults Faults) {
	paths = make(map[string]string)
	for _, f := range fields() {
		path, named := given[f.key+fileSuffix]
		if !named || !f.takesFile() {
			continue
		}
		delete(given, f.key+fileSuffix)
		if _, both := given[f.key]; both {
			faults = append(faults, Fault{
				Name:    f.name() + fileSuffix,
				Problem: "is set, and so is " + f.name() + ": which of them is meant?",
				Remedy:  "keep one of the two and unset the other",
			})
			continue
		}
		text, err := readSecretFile(path)
		if err != nil {
			faults = append(faults, Fault{
				Name:    f.name() + fileSuffix,
				Problem: err.Error(),
				Remedy:  "write the path of a file that this user may read and that holds the value alone, or set " + f.name(),
			})
			continue
		}
		given[f.key], paths[f.key] = text, path
	}
	return paths, faults
}

// readSecretFile returns the content of a file without the line ends at its end, which editors and echo add.
func readSecretFile(path string) (string, error) {
	content, err := files.Read(path, MaxSecretFile)
	if err != nil {
		return "", err
	}
	content = bytes.TrimRight(content, "\r\n")
	if len(content) == 0 {
		return "", errors.New("names an empty file")
	}
	return string(content), nil
}

// Explained is a setting with its value and where the value came from.
type Explained struct {
	Name    string `json:"name"`
	Value   string `json:"value"`  // secrets are redacted; empty for none
	Source  string `json:"source"` // default, environment, or the path of a file
	Default string `json:"default"`
	Values  string `json:"values"`
	Meaning string `json:"meaning"`
}

// Explain returns every setting with the value it has in environ, even if [Load] refuses environ. It shows no secret,
// and nothing of an unusable value, which may be a secret in the wrong variable.
func Explain(environ []string) []Explained {
	given := ownVariables(environ)
	paths, _ := readFiles(given)
	mode := modeOf(given)
	var all []Explained
	for _, f := range fields() {
		about := Explained{
			Name: f.name(), Source: "default", Default: plain(f.defaultShown(mode)), Values: plain(f.valuesText()),
			Meaning: plain(f.doc),
		}
		text, is := f.textIn(given, mode)
		if _, set := given[f.key]; set {
			about.Source = "environment"
		}
		if path, read := paths[f.key]; read {
			about.Source = path
		}
		if f.key == "KEYRING_FILE" && given["KEYRING"] != "" && about.Source == "default" {
			is = false
		}
		if is {
			about.Value = f.shown(text)
		}
		all = append(all, about)
	}
	return all
}

// shown returns the part of a value that may be shown: all or parts of it only if the field allows that.
func (f field) shown(text string) string {
	switch {
	case f.check(text) != nil:
		return "[unusable]"
	case text == "":
		return ""
	case f.show == "yes":
		return text
	case f.show == "parts":
		return f.parts(text)
	}
	return redacted
}

// parts returns what the value's own type prints of it.
func (f field) parts(text string) string {
	value := reflect.New(f.kind)
	decoder, decodes := value.Interface().(interface{ EnvDecode(string) error })
	if !decodes || decoder.EnvDecode(text) != nil {
		return redacted
	}
	if shown, prints := value.Elem().Interface().(fmt.Stringer); prints {
		return shown.String()
	}
	return redacted
}

// defaultShown returns the default in the mode, or in both modes if the mode is not known.
func (f field) defaultShown(mode Mode) string {
	if mode == "" {
		return f.defaults()
	}
	if text, ok := f.defaultIn(mode); ok {
		return text
	}
	return "none"
}

// plain removes the quotes of literals.
func plain(text string) string { return strings.ReplaceAll(text, "'", "") }
