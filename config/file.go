package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
)

// fileSuffix ends the name of the variable that says in which file a secret is. The environment of
// a process is seen by more people and programs than a file is: it is inherited by children, shown
// by process lists and kept in the definitions of services.
const fileSuffix = "_FILE"

// maxSecretFile is more than any secret needs and less than a device that never ends.
const maxSecretFile = 64 << 10

// isSecret reports whether the value, or a part of it, is not to be shown.
func (f field) isSecret() bool { return f.show != "yes" }

// takesFile reports whether the setting may be given as a file by this rule. The keyring has a
// setting of its own for that, because the sandbox may make the file.
func (f field) takesFile() bool { return f.isSecret() && !known(f.key+fileSuffix) }

// readFiles replaces every variable that names a secret's file with the secret, and answers which
// settings came from where. What cannot be read is a fault and is left out. No fault quotes a
// path: it may be the secret itself, written where its path belongs.
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

// readSecretFile is the content of a file without the line ends behind it, which editors and echo
// add.
func readSecretFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
			err = cause.Err
		}
		return "", fmt.Errorf("names a file that cannot be opened: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	switch {
	case err != nil:
		return "", errors.New("names something that cannot be read as a file")
	case len(content) > maxSecretFile:
		return "", errors.New("names a file of more than 64 KiB, which is no secret")
	}
	content = bytes.TrimRight(content, "\r\n")
	if len(content) == 0 {
		return "", errors.New("names an empty file")
	}
	return string(content), nil
}

// Explained is a setting with the value it has and where that came from.
type Explained struct {
	Name    string `json:"name"`
	Value   string `json:"value"`  // secrets are redacted; empty for none
	Source  string `json:"source"` // default, environment, or the path of a file
	Default string `json:"default"`
	Values  string `json:"values"`
	Meaning string `json:"meaning"`
}

// Explain tells of every setting what environ makes of it, also where [Load] refuses environ. It
// shows no secret, and nothing of a value that cannot be used: that may be a secret which landed in
// the wrong variable.
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

// shown is a value as it may be seen: whole or in parts only where the field says that this is safe.
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

// parts is what a value's own type prints of it.
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

// defaultShown is the default in the mode at hand, or in both where that is not known.
func (f field) defaultShown(mode Mode) string {
	if mode == "" {
		return f.defaults()
	}
	if text, ok := f.defaultIn(mode); ok {
		return text
	}
	return "none"
}

// plain takes the quotes off literals.
func plain(text string) string { return strings.ReplaceAll(text, "'", "") }
