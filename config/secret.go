package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// redacted is printed in place of a secret.
const redacted = "[redacted]"

// Secret is a text that refuses to print: fmt with any verb, slog, encoding/json and text encoders get "[redacted]".
// Only [Secret.Reveal] returns the text, so a search for that name finds every use.
//
// The text is behind a pointer because fmt does not call the methods of values in unexported fields: there, a plain
// string would print in clear, while a pointer prints as an address.
type Secret struct{ text *string }

// Reveal returns the secret text, which is empty if the setting is not set.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no secret.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// EnvDecode stores the text unchanged; go-envconfig calls it to fill the field.
func (s *Secret) EnvDecode(text string) error {
	s.text = &text
	return nil
}

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// DatabaseURL is the address of the database, and may hold its password. It prints like a [Secret] except that
// everything but the password can be read: who connects where is the first question when a database does not answer.
type DatabaseURL struct{ text Secret }

// Reveal returns the URL with its password.
func (d DatabaseURL) Reveal() string { return d.text.Reveal() }

// filePrefix begins the address of a database that is a file. Only this package and the store know it.
const filePrefix = "sqlite:"

// File returns the path of a database that is a file, and reports whether it is one.
func (d DatabaseURL) File() (path string, isFile bool) {
	return strings.CutPrefix(d.Reveal(), filePrefix)
}

// Scheme returns the kind of the database: what stands before the colon.
func (d DatabaseURL) Scheme() string {
	scheme, _, _ := strings.Cut(d.Reveal(), ":")
	return scheme
}

// EnvDecode accepts what [Load] accepts; go-envconfig calls it to fill the field.
func (d *DatabaseURL) EnvDecode(text string) error {
	if err := checkDatabaseURL(text); err != nil {
		return err
	}
	return d.text.EnvDecode(text)
}

// String returns the URL without its password and its query: only the store understands the options, and an unknown
// option may be secret.
func (d DatabaseURL) String() string {
	if _, isFile := d.File(); isFile || d.text.Empty() {
		return d.Reveal()
	}
	return withoutPassword(d.Reveal())
}

func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return redacted
	}
	user := ""
	if u.User != nil {
		user = url.User(u.User.Username()).String()
		if _, ok := u.User.Password(); ok {
			user += ":" + redacted
		}
		user += "@"
	}
	shown := u.Scheme + "://" + user + u.Host + u.Path
	if u.RawQuery != "" {
		shown += "?" + redacted
	}
	return shown
}

func (d DatabaseURL) GoString() string             { return d.String() }
func (d DatabaseURL) Format(f fmt.State, _ rune)   { fmt.Fprint(f, d.String()) }
func (d DatabaseURL) LogValue() slog.Value         { return slog.StringValue(d.String()) }
func (d DatabaseURL) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// RedisURL is the address of Redis, and may hold its password. It prints like a [DatabaseURL].
type RedisURL struct{ text Secret }

// Reveal returns the URL with its password, empty if the setting is not set.
func (r RedisURL) Reveal() string { return r.text.Reveal() }

// EnvDecode accepts what [Load] accepts; go-envconfig calls it to fill the field.
func (r *RedisURL) EnvDecode(text string) error {
	if err := checkRedisURL(text); err != nil {
		return err
	}
	return r.text.EnvDecode(text)
}

// String returns the URL without its password, empty if the setting is not set. A user without a password is not shown
// either: for long, Redis had only passwords, and one may be in the user's place.
func (r RedisURL) String() string {
	if r.text.Empty() {
		return ""
	}
	u, err := url.Parse(r.Reveal())
	if err != nil {
		return redacted
	}
	if _, both := u.User.Password(); u.User != nil && !both {
		return u.Scheme + "://" + redacted + "@" + u.Host + u.Path
	}
	return withoutPassword(r.Reveal())
}

func (r RedisURL) GoString() string             { return r.String() }
func (r RedisURL) Format(f fmt.State, _ rune)   { fmt.Fprint(f, r.String()) }
func (r RedisURL) LogValue() slog.Value         { return slog.StringValue(r.String()) }
func (r RedisURL) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
