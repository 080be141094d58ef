package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// secretFile makes a file with a content and gives its path.
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
	good := secretFile(t, "mysql://keeper:"+secret+"@db:3306/otpauthapi\n")
	for _, tt := range []struct {
		name    string
		environ []string
		says    []string
	}{
		{"both", []string{"DATABASE_URL_FILE=" + good, "DATABASE_URL=sqlite:a.db"}, []string{"OTPBRIDGE_DATABASE_URL_FILE", "which of them is meant", "unset the other"}},
		{"missing", []string{"DATABASE_URL_FILE=" + secret}, []string{"OTPBRIDGE_DATABASE_URL_FILE", "no such file", "path"}},
		{"a folder", []string{"DATABASE_URL_FILE=" + t.TempDir()}, []string{"OTPBRIDGE_DATABASE_URL_FILE", "cannot be read"}},
		{"empty", []string{"DATABASE_URL_FILE=" + secretFile(t, "\n\n")}, []string{"OTPBRIDGE_DATABASE_URL_FILE", "empty file"}},
		{"huge", []string{"DATABASE_URL_FILE=" + secretFile(t, strings.Repeat(secret, 10_000))}, []string{"64 KiB"}},
		{"unusable", []string{"DATABASE_URL_FILE=" + secretFile(t, secret)}, []string{"OTPBRIDGE_DATABASE_URL:", "sqlite:"}},
		{"no secret", []string{"ADDR_FILE=" + good}, []string{"OTPBRIDGE_ADDR_FILE: is no setting"}},
		{"the sandbox's in production", []string{"MODE=production", "KEYRING=" + someKeyring, "SANDBOX_FIXED_CODE_FILE=" + secretFile(t, "123456")}, []string{"OTPBRIDGE_SANDBOX_FIXED_CODE", "belongs to the sandbox"}},
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
	all := byName("OTPBRIDGE_MODE=production", "OTPBRIDGE_DATABASE_URL_FILE="+path, "OTPBRIDGE_KEYRING="+secret, "OTPBRIDGE_LOG_LEVEL=debug", "HOME=/")
	require.Equal(t, Explained{
		Name: "OTPBRIDGE_LOG_LEVEL", Value: "debug", Source: "environment", Default: "info",
		Values: "debug, info, warn, error", Meaning: all["OTPBRIDGE_LOG_LEVEL"].Meaning,
	}, all["OTPBRIDGE_LOG_LEVEL"])
	require.Equal(t, "mysql://keeper:[redacted]@db:3306/otpauthapi", all["OTPBRIDGE_DATABASE_URL"].Value)
	require.Equal(t, path, all["OTPBRIDGE_DATABASE_URL"].Source)
	require.Equal(t, "[redacted]", all["OTPBRIDGE_KEYRING"].Value)
	require.Equal(t, Explained{Name: "OTPBRIDGE_ADDR", Value: ":8080", Source: "default", Default: ":8080",
		Values: all["OTPBRIDGE_ADDR"].Values, Meaning: all["OTPBRIDGE_ADDR"].Meaning}, all["OTPBRIDGE_ADDR"])

	all = byName("OTPBRIDGE_MODE="+secret, "OTPBRIDGE_DATABASE_URL="+secret, "OTPBRIDGE_KEYRING_FILE=k1 "+strings.Repeat("QUJD", 16), "OTPBRIDGE_READ_TIMEOUT=10")
	require.Equal(t, "[unusable]", all["OTPBRIDGE_MODE"].Value)
	require.Equal(t, "[unusable]", all["OTPBRIDGE_DATABASE_URL"].Value)
	require.Equal(t, "[unusable]", all["OTPBRIDGE_KEYRING_FILE"].Value)
	require.Equal(t, "[unusable]", all["OTPBRIDGE_READ_TIMEOUT"].Value)
	require.Equal(t, "127.0.0.1:8080 in sandbox, :8080 in production", all["OTPBRIDGE_ADDR"].Default)
}
