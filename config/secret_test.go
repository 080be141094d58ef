package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// prints returns v in every form in which a value gets into a log or an error.
func prints(t *testing.T, v any) map[string]string {
	t.Helper()
	shown := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%80s", "%T %[1]v"} {
		shown[verb] = fmt.Sprintf(verb, v)
	}
	shown["Sprint"] = fmt.Sprint(v)
	shown["Errorf"] = fmt.Errorf("with %v: %w", v, fmt.Errorf("%+v", v)).Error()
	shown["panic"] = func() (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		panic(v)
	}()
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("settings", "value", v, "list", []any{v})
		shown[name] = b.String()
	}
	text, err := json.Marshal(v)
	require.NoError(t, err)
	shown["json"] = string(text)
	if v, ok := v.(fmt.GoStringer); ok {
		shown["GoString"] = v.GoString()
	}
	if v, ok := v.(encoding.TextMarshaler); ok {
		text, err := v.MarshalText()
		require.NoError(t, err)
		shown["MarshalText"] = string(text)
	}
	return shown
}

func TestSecrets_AreNotPrinted(t *testing.T) {
	const password, code = "hunter2hunter2", "9081726354"
	s, err := load(
		"KEYRING="+someKeyring,
		"DATABASE_URL=mysql://keeper:"+password+"@db:3306/otpauthapi?secret="+password,
		"SANDBOX_FIXED_CODE="+code,
		"REDIS_URL=redis://keeper:"+password+"@redis:6379/0",
	)
	require.NoError(t, err)
	require.Contains(t, s.RedisURL.Reveal(), password)
	require.Equal(t, someKeyring, s.Keyring.Reveal())
	require.Equal(t, code, s.SandboxFixedCode.Reveal())
	require.Contains(t, s.DatabaseURL.Reveal(), password)

	// fmt does not call the methods of values in unexported fields.
	type hidden struct {
		settings Settings
		secret   Secret
		pointer  *Settings
	}
	for name, v := range map[string]any{
		"settings":  s,
		"pointer":   &s,
		"secret":    s.Keyring,
		"secret's":  &s.Keyring,
		"code":      s.SandboxFixedCode,
		"url":       s.DatabaseURL,
		"url's":     &s.DatabaseURL,
		"redis":     s.RedisURL,
		"redis's":   &s.RedisURL,
		"list":      []Secret{s.Keyring},
		"map":       map[string]Secret{"keyring": s.Keyring},
		"map's":     map[string]DatabaseURL{"url": s.DatabaseURL},
		"map's key": map[Secret]int{s.Keyring: 1},
		"hidden":    hidden{settings: s, secret: s.Keyring, pointer: &s},
	} {
		for way, shown := range prints(t, v) {
			for _, secret := range []string{someKeyring, strings.Fields(someKeyring)[1], password, code} {
				require.NotContains(t, shown, secret, "%s by %s", name, way)
				require.NotContains(t, strings.ToLower(shown), fmt.Sprintf("%x", secret), "%s by %s", name, way)
			}
		}
	}
	for way, shown := range prints(t, s.Keyring) {
		require.Contains(t, shown, "[redacted]", way)
	}
	for way, shown := range prints(t, s.DatabaseURL) {
		require.Contains(t, shown, "mysql://keeper:[redacted]@db:3306/otpauthapi?[redacted]", way)
	}
	for way, shown := range prints(t, s.RedisURL) {
		require.Contains(t, shown, "redis://keeper:[redacted]@redis:6379/0", way)
	}
}

func TestSecrets_SearchFindsAPlantedLeak(t *testing.T) {
	const planted = "hunter2hunter2"
	for way, shown := range prints(t, struct{ Keyring string }{planted}) {
		hex := fmt.Sprintf("%x", planted)
		require.True(t, strings.Contains(shown, planted) || strings.Contains(strings.ToLower(shown), hex), "%s shows %q",
			way, shown)
	}
}

func TestSecrets_AreNotInErrors(t *testing.T) {
	const secret = "hunter2hunter2"
	for _, assignment := range []string{
		"DATABASE_URL=" + secret,
		"DATABASE_URL=postgres://user:" + secret + "@host/otp",
		"DATABASE_URL=mysql://user:" + secret + "@host",
		"DATABASE_URL=mysql://user:" + secret + "/x@host/otp",
		"DATABASE_URL=mysql://user:" + secret + "%@host/otp",
		"DATABASE_URL=mysql://user:" + secret + "\x7f@host/otp",
		"DATABASE_URL=mysql://" + secret + "@host:x/otp",
		"SANDBOX_FIXED_CODE=" + secret,
		"REDIS_URL=" + secret,
		"REDIS_URL=redis://user:" + secret + "/x@host/0",
		"REDIS_URL=redis://user:" + secret + "#x@host/0",
		"REDIS_URL=redis://user:" + secret + "%@host/0",
		"KEYRING_FILE=k1 " + strings.Repeat(secret, 4),
		"KEYRIN=k1 " + secret,
		"DATABASE_URI=mysql://user:" + secret + "@host/otp",
	} {
		_, err := load(assignment)
		require.Error(t, err, assignment)
		require.NotContains(t, err.Error(), secret)
	}
}

func TestSecret_ZeroIsEmpty(t *testing.T) {
	var s Secret
	require.True(t, s.Empty())
	require.Empty(t, s.Reveal())
	require.Equal(t, "[redacted]", s.String())

	var r RedisURL
	require.Empty(t, r.String())
	require.Error(t, r.EnvDecode("http://host"))
	require.Empty(t, r.Reveal())

	var d DatabaseURL
	require.Empty(t, d.String())
	require.Error(t, d.EnvDecode("postgres://host/otp"))
	require.Empty(t, d.Reveal())
}

func TestDatabaseURL_PrintsWithoutItsPassword(t *testing.T) {
	for text, want := range map[string]string{
		"sqlite:data/a.db":                       "sqlite:data/a.db",
		"mysql://user@host/otp":                  "mysql://user@host/otp",
		"mysql://user:@host/otp":                 "mysql://user:[redacted]@host/otp",
		"mysql://user:p%40ss@host:3306/otp":      "mysql://user:[redacted]@host:3306/otp",
		"mysql://user:p@ss@host:3306/otp":        "mysql://user:[redacted]@host:3306/otp",
		"mysql://user:pass@[::1]:3306/otp?tls=x": "mysql://user:[redacted]@[::1]:3306/otp?[redacted]",
	} {
		var d DatabaseURL
		require.NoError(t, d.EnvDecode(text))
		require.Equal(t, want, d.String())
	}
}
