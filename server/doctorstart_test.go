package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
)

// refusal returns why a server with these settings does not start or is not ready; it is empty if the server serves.
func refusal(t *testing.T, environ []string) string {
	t.Helper()
	settings, err := config.Load(environ)
	if err != nil {
		return err.Error()
	}
	log := new(output)
	s := New(settings, slog.New(slog.NewTextHandler(log, nil)))
	if err := s.Start(t.Context()); err != nil {
		return err.Error()
	}
	defer func() { require.NoError(t, s.stop(context.Background(), 0)) }()
	c := newClient(t, s.URL())
	if ready := c.do("GET", "/readyz", ""); ready.status != 200 {
		return ready.body + log.String()
	}
	return ""
}

// If serve refuses to start, doctor reports a fault and names the same thing; if it serves, doctor finds no fault.
func TestDoctor_FailsWhereServeRefuses(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	file := func(p *patient, name, text string) string {
		path := filepath.Join(p.folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for _, c := range []struct {
		name  string
		spoil func(p *patient)
		names string // in both; empty where both are content
	}{
		{"nothing", func(*patient) {}, ""},
		{"a setting that is unknown", func(p *patient) { p.set("OTPBRIDGE_SMS_CHANNEL=inbox:") }, "OTPBRIDGE_SMS_CHANNEL"},
		{"an address that is taken", func(p *patient) { p.set("OTPBRIDGE_ADDR=" + busy.Addr().String()) }, "OTPBRIDGE_ADDR"},
		{"metrics on an address that is taken", func(p *patient) {
			p.set("OTPBRIDGE_METRICS_ADDR=" +
				busy.Addr().String())
		}, "OTPBRIDGE_METRICS_ADDR"},
		{"an address of another machine", func(p *patient) { p.set("OTPBRIDGE_ADDR=192.0.2.1:8080") }, "OTPBRIDGE_ADDR"},
		{"a channel of no scheme", func(p *patient) { p.set("OTPBRIDGE_SMS_CHANNELS=gateway.example") },
			"OTPBRIDGE_SMS_CHANNELS"},
		{"a preset that does not " +
			"exist", func(p *patient) { p.set("OTPBRIDGE_SMS_CHANNELS=nonesuch://user:pw@gateway.example") },
			"OTPBRIDGE_SMS_CHANNELS"},
		{"the inbox in production", func(p *patient) { p.set("OTPBRIDGE_EMAIL_CHANNELS=inbox:") },
			"OTPBRIDGE_EMAIL_CHANNELS"},
		{"a profile that is not there", func(p *patient) {
			p.set("OTPBRIDGE_SMS_CHANNELS=https://gateway.example/send#profile=" + filepath.Join(p.folder, "none.json"))
		}, "OTPBRIDGE_SMS_CHANNELS"},
		{"no keyring", func(p *patient) { require.NoError(t, os.Remove(p.keyring)) }, "OTPBRIDGE_KEYRING_FILE"},
		{"a keyring of prose", func(p *patient) { p.write("this is no keyring") }, "keyring line 1"},
		{"another keyring", func(p *patient) { p.write("k1 " + strings.Repeat("QUJD", 10) + "QUI=\n") }, `key "k1"`},
		{"a certificate without an end", func(p *patient) {
			p.set("OTPBRIDGE_ADDR=:0", "OTPBRIDGE_TLS_CERT_FILE="+file(p, "cert", "-----BEGIN"),
				"OTPBRIDGE_TLS_KEY_FILE="+file(p, "key", ""))
		}, "certificate"},
		{"a certificate on loopback that is not there", func(p *patient) {
			p.set("OTPBRIDGE_TLS_CERT_FILE="+p.folder+"/none", "OTPBRIDGE_TLS_KEY_FILE="+p.folder+"/none")
		}, "certificate"},
		{"a state folder that is a file", func(p *patient) { p.set("OTPBRIDGE_STATE_DIR=" + file(p, "afile", "")) },
			"OTPBRIDGE_STATE_DIR"},
		{"no state folder", func(p *patient) { p.set("OTPBRIDGE_STATE_DIR=") }, ""},
		{"an index key that was changed", func(p *patient) { p.sql(`UPDATE index_key SET sealed = x'00'`) }, "index key"},
		{"a table that is gone", func(p *patient) { p.sql(`DROP TABLE deliveries`) }, "deliveries"},
		{"a table of no rows that is gone", func(p *patient) { p.sql(`DROP TABLE counters`) }, "counters"},
		{"a column that is gone", func(p *patient) { p.sql(`ALTER TABLE recipients DROP COLUMN mask`) }, "mask"},
		{"a column of events that is gone", func(p *patient) { p.sql(`ALTER TABLE events DROP COLUMN summary`) }, "summary"},
		{"a table too many", func(p *patient) { p.sql(`CREATE TABLE ours (id INTEGER)`) }, ""},
		{"a column too many", func(p *patient) { p.sql(`ALTER TABLE otp_auth_config ADD COLUMN ours INTEGER`) }, ""},
		{"remains of a sandbox", func(p *patient) {
			p.sql(`INSERT INTO sandbox_accounts (esme_address, throwaway, clock_offset) VALUES ('4711', 1, 0)`)
		}, "sandbox"},
		{"Redis that does not answer", func(p *patient) { p.set("OTPBRIDGE_REDIS_URL=redis://127.0.0.1:1/0") }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := healthy(t, nil)
			c.spoil(p)
			code, all, _ := p.diagnosed()
			refused := refusal(t, p.environ)
			if c.names == "" {
				require.Empty(t, refused)
				require.Equal(t, exitOK, code, "%v", all)
				return
			}
			require.Contains(t, refused, c.names)
			require.Equal(t, exitFailed, code, "%v", all)
			named := false
			for _, f := range all {
				named = named || f.Status == faulty && f.Remedy != "" && strings.Contains(f.Detail, c.names)
			}
			require.True(t, named, "%v", all)
		})
	}
}

// Doctor reports a row that was restored from another database or changed by hand, and a restored backup before the
// start that ends its codes.
func TestDoctor_TellsOfARestoredBackup(t *testing.T) {
	p := healthy(t, nil)
	require.Empty(t, refusal(t, p.environ))
	p.sql(`UPDATE server_marks SET mark = 0`)
	code, all, _ := p.diagnosed()
	require.Equal(t, exitOK, code)
	require.True(t, all.found("restored backup"), "%v", all)
	require.Empty(t, refusal(t, p.environ))
	code, all, _ = p.diagnosed()
	require.Equal(t, exitOK, code)
	require.True(t, all.found("restored backup"), "for a week: %v", all)
	p.sql(`UPDATE otp_auth_config SET cipher_key = x'0102030405'`)
	code, all, _ = p.diagnosed()
	require.Equal(t, exitFailed, code)
	require.True(t, all.found("accounts"), "%v", all)
}

func TestParseEnvironmentFile(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                                {},
		"# A=1\n; B=2\n\n":                {},
		"A=1":                             {"A": "1"},
		"A=1\nB=2\n":                      {"A": "1", "B": "2"},
		"  A = 1  \n":                     {"A": "1"},
		"A=\nB=2":                         {"A": "", "B": "2"},
		"A='a b'":                         {"A": "a b"},
		`A="a b "`:                        {"A": "a b "},
		`A="a \"b\""`:                     {"A": `a "b"`},
		`A='a\b'`:                         {"A": `a\b`},
		"A=a\\\nb":                        {"A": "ab"},
		"A=\"a\nb\"\nB=1":                 {"A": "a\nb", "B": "1"},
		"A=https://x/?a=1&b=2#c":          {"A": "https://x/?a=1&b=2#c"},
		"A=1\r\nB=2\r\n":                  {"A": "1", "B": "2"},
		"A=a'b c'd":                       {"A": "ab cd"},
		"A=1\nA=2":                        {"A": "2"},
		"OTPBRIDGE_MODE=production # not": {"OTPBRIDGE_MODE": "production # not"},
	} {
		values, err := parseEnvironmentFile(text)
		require.NoError(t, err, text)
		require.Equal(t, want, values, text)
	}
	for _, text := range []string{"A", "A\nB=1", "A='1", `A="1`, "export"} {
		_, err := parseEnvironmentFile(text)
		require.Error(t, err, text)
	}
}

func TestDoctor_ReadsTheServicesEnvironment(t *testing.T) {
	p := healthy(t, nil)
	path := filepath.Join(p.folder, "environment")
	require.NoError(t, os.WriteFile(path, []byte("# ours\nOTPBRIDGE_SMS_CHANNELS='nonesuch:'\n"), 0o600))
	var out, problems output
	code := run([]string{"doctor", "--env-file", path}, process{environ: p.environ, stdout: &out, stderr: &problems})
	require.Equal(t, exitFailed, code, out.String())
	require.Contains(t, out.String(), "OTPBRIDGE_SMS_CHANNELS")
	var all findings
	all.elsewhere(p.environ, path)
	require.True(t, all.found("service settings"))
	all = nil
	all.elsewhere(append(p.environ, "OTPBRIDGE_SMS_CHANNELS=nonesuch:"), path)
	require.False(t, all.found("service settings"))
	code = run([]string{"doctor", "--env-file", path + "x"}, process{environ: p.environ, stdout: &out, stderr: &problems})
	require.Equal(t, exitUnusable, code)
}
