package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// Invisible characters that SQL wrote into a name are shown escaped: in tables, in JSON and in the log.
func TestShown_StoredTextsCannotDeceive(t *testing.T) {
	t.Parallel()
	environ := variables(t)
	s := boot(t, environ...)
	db := sqltest.Connect(t, databaseOf(t, environ))
	account := s.account(`{"esme_address":"4711"}`)
	for _, name := range []string{
		"Shop\u202eknaB", "Sh\u200bop", "Shop\nfault  none", "Shop\tactive", "Shop\x1b[31m", "Shop\u2066", "Sh\u00adop",
		"Shop\u0085", "Shop\u2028Bank",
		"\ufeffShop", "Shop\U000e0041", "Sh\u3164op",
	} {
		_, err := db.Exec("UPDATE otp_auth_config SET name = ? WHERE esme_address = '4711'", name)
		require.NoError(t, err)
		_, err = db.Exec("UPDATE credentials SET name = ? WHERE esme_address = '4711'", name)
		require.NoError(t, err)
		for _, command := range [][]string{{"account", "list"}, {"account", "show", "4711"}, {"key", "list", "4711"}} {
			for _, flags := range [][]string{nil, {"--json"}} {
				var written, problems strings.Builder
				code := run(append(command, flags...), process{environ: environ, stdout: &written, stderr: &problems})
				require.Zero(t, code, problems.String())
				out := written.String()
				for _, r := range out {
					require.True(t, r == '\n' || r >= ' ' && r <= '~', "%v %q shows %U", command, name, r)
				}
				if flags != nil {
					require.True(t, json.Valid([]byte(out)), out)
					require.Contains(t, namesIn(t, out), name)
				}
			}
		}
	}
	require.NotEmpty(t, account.AccessKey)

	var log strings.Builder
	writer := newLogWriter(&log)
	slog.New(slog.NewJSONHandler(writer, nil)).Info("a name", "name", "Shop\u202eknaB", "script", "दुकान")
	require.NoError(t, writer.Close())
	require.Contains(t, log.String(), `"name":"Shop\u202eknaB","script":"दुकान"`)
}

// namesIn returns the values of all members called name.
func namesIn(t *testing.T, text string) (names []string) {
	t.Helper()
	var walk func(value any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			if name, ok := v["name"].(string); ok {
				names = append(names, name)
			}
			for _, one := range v {
				walk(one)
			}
		}
	}
	var whole any
	require.NoError(t, json.Unmarshal([]byte(text), &whole))
	walk(whole)
	return names
}
