//go:build unix

package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// secretFile makes a file and returns its path.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestLoad_EverySecretMayComeFromAFile(t *testing.T) {
	content := map[string]string{
		"KEYRING":            someKeyring,
		"DATABASE_URL":       "mysql://keeper:hunter2@db:3306/otpauthapi",
		"SANDBOX_FIXED_CODE": "123456",
	}
	for _, f := range fields() {
		if !f.takesFile() {
			continue
		}
		t.Run(f.key, func(t *testing.T) {
			text, known := content[f.key]
			if !known {
				text = f.example
			}
			s, err := load(f.key + "_FILE=" + secretFile(t, text+"\r\n"))
			require.NoError(t, err)
			revealed := ""
			for i, tagged := range reflect.VisibleFields(reflect.TypeFor[Settings]()) {
				if tagged.Tag.Get("env") == f.key {
					revealed = reflect.ValueOf(s).Field(i).Interface().(interface{ Reveal() string }).Reveal()
				}
			}
			require.Equal(t, text, revealed)
		})
	}
}

func TestLoad_ASecretsFileIsJudgedLikeTheVariable(t *testing.T) {
	const secret = "hunter2hunter2"
	good, pipe := secretFile(t, "mysql://keeper:"+secret+"@db:3306/otpauthapi\n"), filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for _, tt := range []struct {
		name    string
		environ []string
		says    []string
	}{
		{"both", []string{"DATABASE_URL_FILE=" + good, "DATABASE_URL=sqlite:a.db"},
			[]string{"OTPBRIDGE_DATABASE_URL_FILE", "which of them is meant", "unset the other"}},
		{"missing", []string{"DATABASE_URL_FILE=" + secret}, []string{"OTPBRIDGE_DATABASE_URL_FILE", "no such file", "path"}},
		{"a pipe", []string{"DATABASE_URL_FILE=" + pipe}, []string{"OTPBRIDGE_DATABASE_URL_FILE", "not a regular file"}},
		{"a device", []string{"DATABASE_URL_FILE=/dev/zero"}, []string{"OTPBRIDGE_DATABASE_URL_FILE", "not a regular file"}},
		{"a folder", []string{"DATABASE_URL_FILE=" + t.TempDir()},
			[]string{"OTPBRIDGE_DATABASE_URL_FILE", "not a regular file"}},
		{"empty", []string{"DATABASE_URL_FILE=" + secretFile(t, "\n\n")},
			[]string{"OTPBRIDGE_DATABASE_URL_FILE", "empty file"}},
		{"huge", []string{"DATABASE_URL_FILE=" + secretFile(t, strings.Repeat(secret, 10_000))}, []string{"64 KiB"}},
		{"unusable", []string{"DATABASE_URL_FILE=" + secretFile(t, secret)}, []string{"OTPBRIDGE_DATABASE_URL:", "sqlite:"}},
		{"no secret", []string{"ADDR_FILE=" + good}, []string{"OTPBRIDGE_ADDR_FILE: is no setting"}},
		{"the sandbox's in production", []string{"MODE=production", "KEYRING=" + someKeyring, "SANDBOX_FIXED_CODE_FILE=" +
			secretFile(t, "123456")}, []string{"OTPBRIDGE_SANDBOX_FIXED_CODE", "belongs to the sandbox"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(tt.environ...)
			require.IsType(t, Faults{}, err)
			require.Len(t, err.(Faults), 1)
			for _, part := range tt.says {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), secret)
		})
	}
}

func TestExplain_TellsValueSourceAndDefaultAndNoSecret(t *testing.T) {
	const secret = "hunter2hunter2"
	path := secretFile(t, "mysql://keeper:"+secret+"@db:3306/otpauthapi\n")
	byName := func(environ ...string) map[string]Explained {
		all := make(map[string]Explained)
		for _, e := range Explain(environ) {
			all[e.Name] = e
			for _, text := range []string{e.Value, e.Source, e.Default} {
				require.NotContains(t, text, secret)
			}
		}
		require.Len(t, all, reflect.TypeFor[Settings]().NumField())
		return all
	}
	all := byName("OTPBRIDGE_MODE=production", "OTPBRIDGE_DATABASE_URL_FILE="+path, "OTPBRIDGE_KEYRING="+secret,
		"OTPBRIDGE_LOG_LEVEL=debug", "HOME=/")
	require.Equal(t, Explained{
		Name: "OTPBRIDGE_LOG_LEVEL", Value: "debug", Source: "environment", Default: "info",
		Values: "debug, info, warn, error", Meaning: all["OTPBRIDGE_LOG_LEVEL"].Meaning,
	}, all["OTPBRIDGE_LOG_LEVEL"])
	require.Equal(t, "mysql://keeper:[redacted]@db:3306/otpauthapi", all["OTPBRIDGE_DATABASE_URL"].Value)
	require.Equal(t, path, all["OTPBRIDGE_DATABASE_URL"].Source)
	require.Equal(t, "[redacted]", all["OTPBRIDGE_KEYRING"].Value)
	require.Equal(t, Explained{Name: "OTPBRIDGE_ADDR", Value: ":8080", Source: "default", Default: ":8080",
		Values: all["OTPBRIDGE_ADDR"].Values, Meaning: all["OTPBRIDGE_ADDR"].Meaning}, all["OTPBRIDGE_ADDR"])

	all = byName("OTPBRIDGE_MODE="+secret, "OTPBRIDGE_DATABASE_URL="+secret,
		"OTPBRIDGE_KEYRING_FILE=k1 "+strings.Repeat("QUJD", 16), "OTPBRIDGE_READ_TIMEOUT=10")
	require.Equal(t, "[unusable]", all["OTPBRIDGE_MODE"].Value)
	require.Equal(t, "[unusable]", all["OTPBRIDGE_DATABASE_URL"].Value)
	require.Equal(t, "[unusable]", all["OTPBRIDGE_KEYRING_FILE"].Value)
	require.Equal(t, "[unusable]", all["OTPBRIDGE_READ_TIMEOUT"].Value)
	require.Equal(t, "127.0.0.1:8080 in sandbox, :8080 in production", all["OTPBRIDGE_ADDR"].Default)
}

// sentinelIn returns a value of a setting that contains a sentinel, empty if the setting cannot contain one.
func sentinelIn(f field, sentinel string) string {
	switch f.key {
	case "KEYRING":
		return sentinel + " " + strings.Fields(someKeyring)[1]
	case "DATABASE_URL":
		return "mysql://keeper:" + sentinel + "@db:3306/otpauthapi?token=" + sentinel
	case "REDIS_URL":
		return "redis://" + sentinel + "@redis:6379/0"
	case "SANDBOX_FIXED_CODE":
		return "9081726354"
	case "SANDBOX_TEST_RECIPIENTS":
		return sentinel + "@shop.example=sent:9081726354"
	case "SANDBOX_RELAY_RECIPIENTS", "ALERT_MAILBOXES", "AUDIT_CHECKPOINT_MAILBOXES":
		return sentinel + "@shop.example"
	}
	return "https://keeper:" + sentinel + "@gateway.example/" + sentinel + "?key=" + sentinel
}

// A new setting without a mark is not shown in any of the ways by which settings get into a log.
func TestSettings_NothingIsShownThatIsNotMarkedAsSafe(t *testing.T) {
	const sentinel = "hunter2hunter2"
	secrets := 0
	for _, f := range fields() {
		if f.show == "yes" {
			require.NotRegexp(t, "(?i)password|secret|token", f.doc, f.key)
			continue
		}
		secrets++
		require.True(t, f.takesFile() || known(f.key+fileSuffix), "%s has no form as a file", f.key)
		text := sentinelIn(f, sentinel)
		environ := []string{Prefix + f.key + "=" + text}
		for _, e := range Explain(environ) {
			require.NotContains(t, e.Value, sentinel, f.key)
			require.NotContains(t, e.Value, "9081726354", f.key)
			if e.Name == f.name() {
				require.NotEmpty(t, e.Value, "that it is set may be seen")
			}
		}
		s, err := load(f.key + "=" + text)
		require.NoError(t, err, f.key)
		for way, shown := range prints(t, s) {
			require.NotContains(t, shown, sentinel, "%s by %s", f.key, way)
			require.NotContains(t, shown, "9081726354", "%s by %s", f.key, way)
		}
		for _, bad := range []string{sentinel, "redis://:" + sentinel, sentinel + "\x00", "mysql://" + sentinel, "=" +
			sentinel, sentinel + "=sent", strings.Repeat(sentinel, 9)} {
			if _, err := load(f.key + "=" + bad); err != nil {
				require.NotContains(t, err.Error(), sentinel, f.key)
			}
			for _, e := range Explain([]string{Prefix + f.key + "=" + bad}) {
				require.NotContains(t, e.Value, sentinel, f.key)
			}
		}
	}
	require.GreaterOrEqual(t, secrets, 8)
}

func TestExplain_ShowsNoUserOfRedisThatMayBeAPassword(t *testing.T) {
	for text, shown := range map[string]string{
		"redis://hunter2@redis:6379/0":     "redis://[redacted]@redis:6379/0",
		"redis://:hunter2@redis/1":         "redis://:[redacted]@redis/1",
		"rediss://keeper:hunter2@[::1]:7/": "rediss://keeper:[redacted]@[::1]:7/",
		"redis://redis":                    "redis://redis",
	} {
		for _, e := range Explain([]string{"OTPBRIDGE_REDIS_URL=" + text}) {
			if e.Name == "OTPBRIDGE_REDIS_URL" {
				require.Equal(t, shown, e.Value)
			}
		}
	}
}
