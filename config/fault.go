package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fault is one thing that is wrong with the environment, for whoever can change it. It holds no secret: values of
// secret settings are described, never quoted.
type Fault struct {
	Name    string // the variable, with prefix
	Problem string // what is wrong with its value, or with its presence
	Remedy  string // what to write instead, with an example
}

func (f Fault) String() string { return f.Name + ": " + f.Problem + "; " + f.Remedy }

// Faults is the error of [Load]: everything wrong at once, one fault a line.
type Faults []Fault

func (f Faults) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "the settings have %d fault", len(f))
	if len(f) != 1 {
		text.WriteString("s")
	}
	text.WriteString(":")
	for _, fault := range f {
		text.WriteString("\n  ")
		text.WriteString(fault.String())
	}
	return text.String()
}

// unknownName returns the fault of a variable without a setting. Its value is not shown: a misspelt OTPBRIDGE_KEYRING
// still holds a keyring.
func unknownName(key string) Fault {
	fault := Fault{
		Name:    readable(Prefix + key),
		Problem: "is no setting",
		Remedy:  "unset it; server/doc/settings.md lists every name",
	}
	if near, ok := nearest(key); ok {
		fault.Remedy = "did you mean " + near.name() + "? Otherwise unset it"
	}
	return fault
}

// nearest returns the setting whose name needs the fewest edits from key, if it is close enough for a typing mistake:
// at most three edits, and at most half of the longer name.
func nearest(key string) (field, bool) {
	var best field
	fewest := 4
	for _, f := range fields() {
		longer := max(len(key), len(f.key))
		if d := edits(strings.ToUpper(key), f.key); d < fewest && d <= longer/2 {
			best, fewest = f, d
		}
	}
	return best, fewest < 4
}

// edits returns the Levenshtein distance of a and b: the letters to insert, drop or exchange. It keeps one row of the
// table at a time.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			exchange := diagonal
			if a[i] != b[j] {
				exchange++
			}
			diagonal = row[j+1]
			row[j+1] = min(exchange, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// quoted returns a value that is not secret: escaped, so that it cannot forge a line of the report, and cut, so that a
// pasted file does not fill the screen.
func quoted(text string) string {
	const most = 60
	if utf8.RuneCountInString(text) > most {
		return strconv.Quote(string([]rune(text)[:most])) + "…"
	}
	return strconv.Quote(text)
}

// readable returns a name unchanged if it is printable and short, else quoted.
func readable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) ||
		len(name) > 80 {
		return quoted(name)
	}
	return name
}
