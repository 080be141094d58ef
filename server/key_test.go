package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// terminal runs commands with one environment.
type terminal struct {
	t       *testing.T
	environ []string
}

func (c terminal) run(arguments ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	var out, problems output
	code = run(append([]string{"key"}, arguments...), process{environ: c.environ, stdout: &out, stderr: &problems})
	return code, out.String(), problems.String()
}

// ok runs a command, which must succeed, and parses its output if that is JSON.
func (c terminal) ok(arguments ...string) (printed string, key keyJSON) {
	c.t.Helper()
	code, out, problems := c.run(arguments...)
	require.Equal(c.t, exitOK, code, problems)
	require.Empty(c.t, problems)
	if arguments[len(arguments)-1] == "--json" {
		require.NoError(c.t, json.Unmarshal([]byte(out), &key))
	}
	return out, key
}

// afterAStart returns the environment of a sandbox that ran once, because commands do not make a database.
func afterAStart(t *testing.T) []string {
	t.Helper()
	environ := variables(t)
	require.NoError(t, boot(t, environ...).Shutdown(t.Context()))
	return environ
}

const demoAddress = "10000000000001"

func TestKey_ALifeBesideARunningServer(t *testing.T) {
	environ := variables(t)
	s := boot(t, environ...)
	c := terminal{t, environ}
	generate := func(key string) string { return s.servlet("otpgenservlet", key, person("919551492394")) }
	refused := func(key string) bool { return s.servlet("otpgenservlet", key, nil) == "UNAUTHERISED USER" }

	text, _ := c.ok("create", demoAddress, "--name", "shop, backend")
	require.Contains(t, text, "not shown again")
	secret := regexp.MustCompile(`otpb_test_sk_[0-9A-Za-z]{38}`).FindString(text)
	require.NotEmpty(t, secret)
	require.Equal(t, "OTP Generated Successfully", generate(secret))

	listed, _ := c.ok("list", demoAddress)
	require.Contains(t, listed, "shop, backend")
	require.Contains(t, listed, secret[len(secret)-4:])
	require.NotContains(t, listed, secret)
	id := regexp.MustCompile(`(key_\S+).*shop, backend`).FindStringSubmatch(listed)[1]

	_, successor := c.ok("rotate", id, "--grace", "1h", "--json")
	require.Equal(t, "shop, backend", successor.Name)
	require.Equal(t, "OTP Generated Successfully", generate(secret))
	require.Equal(t, "OTP Generated Successfully", generate(successor.Secret))
	text, _ = c.ok("revoke", id)
	require.Equal(t, "Key "+id+" is revoked.\n", text)
	eventually(t, "the server sees it", func() bool { return refused(secret) })
	require.Equal(t, "OTP Generated Successfully", generate(successor.Secret))
	listed, _ = c.ok("list")
	require.Regexp(t, id+`.* revoked `, listed)
	require.Contains(t, listed, "10000000000002", "all accounts")

	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte("kc_live_4eC39HqLyjWDarjtT1zdp7dc\n"), 0o600))
	text, _ = c.ok("create", demoAddress, "--kind", "access_key", "--import-file", file)
	require.NotContains(t, text, "kc_live")
	require.Equal(t, "OTP Generated Successfully", generate("kc_live_4eC39HqLyjWDarjtT1zdp7dc"))
}

func TestKey_SaysAllOfAKeyAsJSON(t *testing.T) {
	c := terminal{t, afterAStart(t)}
	_, key := c.ok("create", demoAddress, "--kind", "client", "--environment", "live", "--permissions", "verify:otp",
		"--allowed-ips", "203.0.113.0/24,2001:db8::/32", "--denied-ips", "203.0.113.7", "--allowed-origins",
		"https://www.example.com",
		"--requests-per-minute", "30", "--burst", "5", "--expires-at", "2099-01-31T00:00:00Z", "--signing", "optional",
		"--json")
	require.Regexp(t, `^otpb_live_pk_`, key.Secret)
	require.Regexp(t, `^otpbsig_`, key.SigningSecret)
	require.Equal(t, []string{"203.0.113.0/24", "2001:db8::/32"}, key.AllowedIPs)
	require.Equal(t, []string{"203.0.113.7"}, key.DeniedIPs)
	require.Equal(t, []string{"https://www.example.com"}, key.AllowedOrigins)
	require.Equal(t, []string{"verify:otp"}, key.Permissions)
	require.Equal(t, 30, *key.RequestsPerMinute)
	require.Equal(t, 5, *key.Burst)
	require.Equal(t, "2099-01-31T00:00:00Z", key.ExpiresAt)
	require.Equal(t, "optional", key.Signing)
	out, _ := c.ok("list", demoAddress, "--json")
	require.Contains(t, out, key.ID)
	require.NotContains(t, out, `"secret":`)
	require.NotContains(t, out, key.SigningSecret)
}

func TestKey_ErrorsNameTheRemedyAndChangeNothing(t *testing.T) {
	c := terminal{t, afterAStart(t)}
	before, _ := c.ok("list")
	published := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(published, []byte("short"), 0o600))
	for _, tt := range []struct {
		arguments string
		says      []string
	}{
		{"create", []string{"<account>", "--help"}},
		{"create 404", []string{`"404"`, "otp_auth_config"}},
		{"create 10000000000001 --kind admin", []string{"--kind", "read_only"}},
		{"create 10000000000001 --environment prod", []string{"--environment", "live"}},
		{"create 10000000000001 --allowed-ips 10.0.0.1,52.44.123.456",
			[]string{"allowed_ips[1]", "52.44.123.456", "203.0.113.0/24"}},
		{"create 10000000000001 --permissions send:money", []string{"permissions[0]", "send:otp"}},
		{"create 10000000000001 --kind read_only --permissions send:otp", []string{"read_only", "send:otp"}},
		{"create 10000000000001 --kind client", []string{"allowed_origins", "https://www.example.com"}},
		{"create 10000000000001 --expires-at tomorrow", []string{"--expires-at", "720h"}},
		{"create 10000000000001 --expires-at 2001-01-01T00:00:00Z", []string{"expires_at", "passed"}},
		{"create 10000000000001 --requests-per-minute 0", []string{"requests_per_minute"}},
		{"create 10000000000001 --import-file /nowhere/key", []string{"--import-file", "/nowhere/key"}},
		{"create 10000000000001 --import-file " + published, []string{"import", "5 characters", "16"}},
		{"create 10000000000001 --signing maybe", []string{"--signing", "required"}},
		{"list 404", []string{"unknown"}},
		{"rotate key_00000000000000000000000000", []string{"is no id of a key"}},
		{"rotate key_00000000000000000000000004", []string{"there is no key"}},
		{"revoke key_00000000000000000000000004", []string{"there is no key"}},
		{"revoke otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijF", []string{"KEY-ID", "otpbridge key list"}},
		{"rotate key_00000000000000000000000004 --grace 1y", []string{"--grace"}},
	} {
		code, out, problems := c.run(strings.Fields(tt.arguments)...)
		require.Equal(t, exitUnusable, code, "%s: %s", tt.arguments, problems)
		require.Empty(t, out)
		for _, part := range tt.says {
			require.Contains(t, problems, part, tt.arguments)
		}
		require.NotContains(t, problems, "otpb_live_sk")
	}
	after, _ := c.ok("list")
	require.Equal(t, before, after)

	code, _, problems := terminal{t, append(variables(t), "OTPBRIDGE_DATABASE_URL=postgres://x")}.run("list")
	require.Equal(t, exitUnusable, code)
	require.Contains(t, problems, "OTPBRIDGE_DATABASE_URL")
}

func TestKey_WorksOnAProductionDatabase(t *testing.T) {
	environ := productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s"))
	c := terminal{t, environ}
	out, _ := c.ok("list")
	account := regexp.MustCompile(`key_\S+ +(\d+) `).FindStringSubmatch(out)[1]
	_, key := c.ok("create", account, "--kind", "access_key", "--json")
	require.Equal(t, "live", key.Environment)
	require.Len(t, key.Secret, 32)
	s := boot(t, environ...)
	require.Equal(t, "SMSEMAILFAIL", s.servlet("otpgenservlet", key.Secret, person("919551492394")),
		"there is no channel yet")
	published := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(published, []byte(documentedKey), 0o600))
	code, _, problems := c.run("create", account, "--kind", "access_key", "--import-file", published)
	require.Equal(t, exitUnusable, code)
	require.Contains(t, problems, "published")
}

func TestKey_TheHelpHasExamples(t *testing.T) {
	for arguments, says := range map[string][]string{
		"key --help":        {"create", "list", "rotate", "revoke"},
		"key create --help": {"otpbridge key create 10000000000001 --name", "--import-file", "Servers"},
		"key list --help":   {"otpbridge key list 10000000000001 --json"},
		"key rotate --help": {"--grace 72h", "24h"},
		"key revoke --help": {"otpbridge key revoke key_"},
	} {
		code, out, problems := command(strings.Fields(arguments)...)
		require.Equal(t, exitOK, code)
		require.Empty(t, problems)
		for _, part := range says {
			require.Contains(t, out, part, arguments)
		}
	}
}
