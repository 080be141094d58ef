package deliver

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// Catalog holds the templates of one account under their keys, which say what each is for:
//
//	[department:]name[/method][/locale]      retail:login/sms/hi-IN
//
// The name is one that an application asks for, a type such as password_reset, or default.
type Catalog struct{ templates map[templateKey]Template }

// templateKey is a parsed key; method and locale, in lower case, may be empty.
type templateKey struct{ department, name, method, locale string }

// Choice describes a message for which a catalog has to find the template. Only Medium is required.
type Choice struct {
	Medium     string // sms or email
	Name       string // the template that the application asked for
	Type       string // what the challenge is for
	Department string
	Locale     string // BCP 47, such as hi-IN
}

var (
	templateName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	localeName   = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$`)
)

// NewCatalog reads an account's templates: its map of keys and texts, and the texts of its columns sms_template and
// email_template, which become default/sms and default/email unless the map has these keys. The error names every
// wrong key.
func NewCatalog(templates map[string]string, sms, email *string) (*Catalog, error) {
	c := &Catalog{templates: make(map[templateKey]Template, len(templates)+2)}
	var faults []error
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		if err := c.add(key, templates[key]); err != nil {
			faults = append(faults, fmt.Errorf("templates: %q: %w", key, err))
		}
	}
	for _, column := range []struct {
		name, method string
		text         *string
	}{{"sms_template", "sms", sms}, {"email_template", "email", email}} {
		if _, taken := c.templates[templateKey{name: "default", method: column.method}]; taken || column.text == nil {
			continue
		}
		if err := c.add("default/"+column.method, *column.text); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", column.name, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Catalog) add(text, wording string) error {
	key, err := readKey(text)
	if err != nil {
		return err
	}
	if _, twice := c.templates[key]; twice {
		return errors.New("another key means the same")
	}
	t, err := ParseTemplate(key.method, wording)
	if err != nil {
		return err
	}
	c.templates[key] = t
	return nil
}

// readKey parses a key.
func readKey(text string) (key templateKey, err error) {
	rest := text
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		key.department, rest = text[:i], text[i+1:]
		if strings.TrimSpace(key.department) == "" || !visible(key.department) {
			return key, errors.New("the department before the colon is empty or has control characters")
		}
	}
	parts := strings.Split(rest, "/")
	key.name, parts = parts[0], parts[1:]
	if len(parts) > 0 && (parts[0] == "sms" || parts[0] == "email") {
		key.method, parts = parts[0], parts[1:]
	}
	if len(parts) > 0 && parts[0] != "sms" && localeName.MatchString(parts[0]) {
		key.locale, parts = otp.Lower(parts[0]), parts[1:]
	}
	if len(parts) > 0 || !templateName.MatchString(key.name) {
		return key, errors.New("is no key: write name, name/method, name/locale or name/method/locale, with department: " +
			"before it if need be; for example login/sms/hi-IN")
	}
	return key, nil
}

// Has reports whether there is a template with this name, for any department, method and locale.
func (c *Catalog) Has(name string) bool {
	if c == nil {
		return false
	}
	for key := range c.templates {
		if key.name == name {
			return true
		}
	}
	return false
}

// Choose returns the template for a message. If no template matches everything, it drops the method first, then the
// language, then the department, and the name last. So a text that an application asked for by name is sent in another
// language rather than another text in the right one. If nothing matches it returns the plain English text.
func (c *Catalog) Choose(want Choice) Template {
	if c == nil {
		return plain
	}
	for _, name := range orNone(want.Name, want.Type, "default") {
		for _, department := range append(orNone(want.Department), "") {
			for _, locale := range append(locales(otp.Lower(want.Locale)), "") {
				for _, method := range []string{want.Medium, ""} {
					if t, ok := c.templates[templateKey{department, name, method, locale}]; ok {
						return t
					}
				}
			}
		}
	}
	return plain
}

// orNone removes empty texts.
func orNone(texts ...string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}

// locales returns a locale and its more general forms: hi-Latn-IN, hi-Latn, hi.
func locales(locale string) (list []string) {
	for locale != "" {
		list = append(list, locale)
		locale = locale[:max(0, strings.LastIndexByte(locale, '-'))]
	}
	return list
}
