package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"otpbridge/crypto"
	"otpbridge/sql/sqltest"
)

// patient is a correct production installation, in which a test makes a fault.
type patient struct {
	t       *testing.T
	folder  string
	keyring string // the path
	// database is its URL; sqlite reports whether it is SQLite.
	database string
	sqlite   bool
	server   *sqltest.Server // nil for SQLite
	environ  []string
}

// healthy makes a patient. On MariaDB an administrator makes the schema, and the server's user has the privileges that
// operating.md grants.
func healthy(t *testing.T, server *sqltest.Server) *patient {
	t.Helper()
	p := &patient{t: t, folder: t.TempDir(), server: server, sqlite: server == nil}
	p.keyring = filepath.Join(p.folder, "keyring")
	require.NoError(t, makeKeyringFile(p.keyring, "k1"))
	p.database = "sqlite:" + filepath.Join(p.folder, "otp.db")
	if !p.sqlite {
		made, err := url.Parse(server.Schema(t))
		require.NoError(t, err)
		schema := strings.Trim(made.Path, "/")
		user := "user_" + schema
		require.NoError(t, server.Exec(
			"CREATE USER '"+user+"'@'%' IDENTIFIED BY 'secret'", "CREATE USER '"+user+"'@'localhost' IDENTIFIED BY 'secret'",
			"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON "+schema+".* TO '"+user+"'@'%'",
			"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON "+schema+".* TO '"+user+"'@'localhost'"))
		made.User = url.UserPassword(user, "secret")
		p.database = made.String()
	}
	p.set("OTPBRIDGE_MODE=production", "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0", "OTPBRIDGE_ADDR=127.0.0.1:0",
		"OTPBRIDGE_SHUTDOWN_TIMEOUT=1s",
		"OTPBRIDGE_SMS_CHANNELS=https://gateway.example/send?to={to}&text={text}",
		"OTPBRIDGE_KEYRING_FILE="+p.keyring, "OTPBRIDGE_DATABASE_URL="+p.database,
		"OTPBRIDGE_STATE_DIR="+filepath.Join(p.folder, "state"))
	p.command("", "migrate", "up")
	p.command(`{"esme_address":"4711","access_key":"shops-access-key","message_profile":"live","cipher_iv":"aXYgb2YgaXQsIDE2IGJ5dA==",
		"cipher_key":"XwyKPR5rknTA2PGis+SVdmBxgpOktcbX6PkKGyw9Tl8="}`, "account", "import")
	return p
}

// likeIt returns a patient with the same database but its own keyring file and settings, for faults outside the
// database.
func (p *patient) likeIt(t *testing.T) *patient {
	t.Helper()
	kept, err := os.ReadFile(p.keyring)
	require.NoError(t, err)
	like := *p
	like.t, like.folder, like.environ = t, t.TempDir(), slices.Clone(p.environ)
	like.keyring = filepath.Join(like.folder, "keyring")
	like.write(string(kept))
	like.set("OTPBRIDGE_KEYRING_FILE=" + like.keyring)
	return &like
}

func (p *patient) set(variables ...string) { p.environ = append(p.environ, variables...) }

// command runs the program, which must succeed.
func (p *patient) command(stdin string, arguments ...string) {
	p.t.Helper()
	var out, problems output
	code := run(arguments, process{environ: p.environ, stdin: strings.NewReader(stdin), stdout: &out, stderr: &problems})
	require.Equal(p.t, exitOK, code, "%v: %s", arguments, problems.String())
}

// sql runs statements on the database as an administrator would.
func (p *patient) sql(statements ...string) {
	p.t.Helper()
	db := sqltest.Connect(p.t, p.database)
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(p.t, err, statement)
	}
}

// kept are the tables that a misconfiguration changes. Restoring a few rows is fast; making a new schema takes a
// second.
var kept = []string{"otp_auth_config", "credentials", "goose_db_version", "sandbox_accounts", "calls"}

// keep copies the tables that restore brings back.
func (p *patient) keep() {
	for _, table := range kept {
		p.sql(`CREATE TABLE kept_` + table + ` AS SELECT * FROM ` + table)
	}
}

func (p *patient) restore() {
	for _, table := range kept {
		p.sql(`DELETE FROM `+table, `INSERT INTO `+table+` SELECT * FROM kept_`+table)
	}
}

// user returns the server's database user, and its schema.
func (p *patient) user() (name, schema string) {
	parsed, err := url.Parse(p.database)
	require.NoError(p.t, err)
	return parsed.User.Username(), strings.Trim(parsed.Path, "/")
}

func (p *patient) diagnosed() (code int, all findings, problems string) {
	p.t.Helper()
	var out, errors output
	code = run([]string{"doctor", "--json"}, process{environ: p.environ, stdout: &out, stderr: &errors})
	require.NoError(p.t, json.Unmarshal([]byte(out.String()), &all), out.String())
	return code, all, errors.String()
}

// misconfigurations are the faults that doctor must find, with the check's name and a part of its text.
var misconfigurations = []struct {
	name   string
	check  string
	status string
	says   string
	alters bool // it alters the database
	spoil  func(p *patient)
}{
	{"a setting that cannot be used", "settings", faulty, "OTPBRIDGE_READ_TIMEOUT", false,
		func(p *patient) { p.set("OTPBRIDGE_READ_TIMEOUT=10") }},
	{"a setting that does not exist", "settings", faulty, "OTPBRIDGE_TRUSTED_PROXY", false,
		func(p *patient) { p.set("OTPBRIDGE_TRUSTED_PROXY=10.0.0.1") }},
	{"a sandbox that others reach", "exposure", warned, "shows every code", false,
		func(p *patient) { p.set("OTPBRIDGE_MODE=sandbox", "OTPBRIDGE_ADDR=:8080") }},
	{"no TLS", "transport", warned, "in clear", false, func(p *patient) { p.set("OTPBRIDGE_ADDR=0.0.0.0:8080") }},
	{"a certificate that is not there", "transport", faulty, "cannot be used", false, func(p *patient) {
		p.set("OTPBRIDGE_ADDR=0.0.0.0:8443", "OTPBRIDGE_TLS_CERT_FILE="+p.folder+"/tls.crt",
			"OTPBRIDGE_TLS_KEY_FILE="+p.folder+"/tls.key")
	}},
	{"no way to send", "delivery", warned, "SMSEMAILFAIL", false, func(p *patient) { p.set("OTPBRIDGE_SMS_CHANNELS=") }},
	{"a sender that neither account nor channel has", "senders", warned, "gateway.example", false, func(p *patient) {
		p.set("OTPBRIDGE_SMS_CHANNELS=https://gateway.example/send?to={to}&text={text}&from={sender}")
	}},
	{"a password that Redis refuses", "redis", warned, "does not count", false, func(p *patient) {
		redis := miniredis.RunT(p.t)
		redis.RequireUserAuth("keeper", "hunter2hunter2")
		p.set("OTPBRIDGE_REDIS_URL=redis://keeper:another@" + redis.Addr() + "/0")
	}},
	{"a cipher key of another row", "accounts", faulty, "account 4799 is out of service", true, func(p *patient) {
		p.sql(`UPDATE otp_auth_config SET esme_address = '4799'`)
	}},
	{"a signing secret of another row", "account keys", faulty, "signing_secret", true, func(p *patient) {
		p.command("", "key", "create", "4711", "--signing", "required")
		p.sql(`UPDATE credentials SET id = X'00112233445566778899aabbccddeeff' WHERE signing = 'required'`)
	}},
	{"metrics for everybody", "metrics", warned, "without a credential", false,
		func(p *patient) { p.set("OTPBRIDGE_METRICS_ADDR=0.0.0.0:9464") }},
	{"half the world is a trusted proxy", "trusted proxies", warned, "0.0.0.0/1", false,
		func(p *patient) { p.set("OTPBRIDGE_TRUSTED_PROXIES=0.0.0.0/1") }},
	{"a keyring that is not there", "keyring", faulty, "no such file", false,
		func(p *patient) { require.NoError(p.t, os.Remove(p.keyring)) }},
	{"a keyring that cannot be read", "keyring", faulty, "line 1", false, func(p *patient) { p.write("k1 c2hvcnQ=\n") }},
	{"a keyring that lacks a key", "keyring", faulty, `lacks key \"k1\"`, false, func(p *patient) { p.write(crypto.NewKeyringText("k2")) }},
	{"a wrong key of the right name", "keyring", faulty, `\"k1\" is not the one`, false, func(p *patient) { p.write(crypto.NewKeyringText("k1")) }},
	{"the published key in the keyring", "sample secrets", faulty, "k0", false, func(p *patient) {
		kept, err := os.ReadFile(p.keyring)
		require.NoError(p.t, err)
		p.write(string(kept) + "k0 " + sampleKey + "\n")
	}},
	{"a keyring for all to read", "keyring file", warned, "-rw-r--r--", false,
		func(p *patient) { require.NoError(p.t, os.Chmod(p.keyring, 0o644)) }},
	{"checkpoints in a folder that is not there", "audit checkpoints", faulty, "no such file", false, func(p *patient) {
		p.set("OTPBRIDGE_AUDIT_CHECKPOINT_FILE=" + filepath.Join(p.folder, "elsewhere", "checkpoints"))
	}},
	{"checkpoints in what is no file", "audit checkpoints", faulty, "not a regular file", false, func(p *patient) {
		p.set("OTPBRIDGE_AUDIT_CHECKPOINT_FILE=" + p.folder)
	}},
	{"a database that is not there", "database", faulty, "", false, func(p *patient) {
		if p.sqlite {
			p.set("OTPBRIDGE_DATABASE_URL=sqlite:" + filepath.Join(p.folder, "elsewhere.db"))
		} else {
			p.set("OTPBRIDGE_DATABASE_URL=mysql://otpbridge:secret@127.0.0.1:1/otpauthapi")
		}
	}},
	{"a schema that is behind", "schema", warned, "version 1 of", true, func(p *patient) { p.sql(`DELETE FROM goose_db_version WHERE version_id > 1`) }},
	{"a schema that is ahead", "schema", faulty, "version 99", true, func(p *patient) {
		p.sql(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
	}},
	{"what a sandbox left", "sandbox remains", faulty, "1 accounts or clocks", true, func(p *patient) {
		p.sql(`INSERT INTO sandbox_accounts (esme_address, throwaway, clock_offset) VALUES ('4711', 0, 0)`)
	}},
	{"the published cipher key", "sample secrets", faulty, "account 4712", true, func(p *patient) {
		// A sandbox accepts this account, and leaves no other trace.
		p.set("OTPBRIDGE_MODE=sandbox")
		p.command(`{"esme_address":"4712","access_key":"another-access-key","message_profile":"live","cipher_key":"`+sampleIV+`~`+sampleKey+`"}`, "account", "import")
		p.set("OTPBRIDGE_MODE=production")
	}},
	{"an account that is out of service", "accounts", faulty, "otp_length 3", true, func(p *patient) { p.sql(`UPDATE otp_auth_config SET otp_length = 3`) }},
	{"a sealed column changed by hand", "accounts", faulty, "cipher_key", true, func(p *patient) { p.sql(`UPDATE otp_auth_config SET cipher_key = 'mine'`) }},
	{"codes that live long", "code lifetime", warned, "900 seconds", true, func(p *patient) { p.sql(`UPDATE otp_auth_config SET otp_ttl_seconds = 900`) }},
	{"codes in clear", "plain codes", warned, "account 4711", true, func(p *patient) { p.sql(`UPDATE otp_auth_config SET plain_validation_enabled = 1`) }},
	{"messages without a limit", "send limits", warned, "account 4711", true, func(p *patient) { p.sql(`UPDATE otp_auth_config SET sends_per_day = 0`) }},
	{"an account that nobody can use", "account keys", warned, "account 4711", true, func(p *patient) { p.sql(`UPDATE credentials SET enabled = 0`) }},
	{"an upstream in clear", "upstreams", faulty, "must begin with https://", true, func(p *patient) {
		p.sql(`UPDATE otp_auth_config SET bridge_mode = 'forward', upstream_url = 'http://otp.example.com/otpauthapi'`)
	}},
	{"an upstream that does not answer", "upstreams", warned, "does not answer", true, func(p *patient) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(p.t, err)
		require.NoError(p.t, listener.Close())
		p.set("OTPBRIDGE_OUTBOUND_NETWORKS=127.0.0.1")
		p.sql(`UPDATE otp_auth_config SET bridge_mode = 'forward', upstream_url = 'https://` + listener.Addr().String() + `/'`)
	}},
	{"calls passed on after a cut-over", "cut-over", warned, "with 7 of them", true, func(p *patient) {
		p.sql(`UPDATE otp_auth_config SET bridge_before = 'forward', cut_over_at = 1000, upstream_url = 'https://otp.example.com/'`)
		p.called("generated")
	}},
	{"servlets called after their end", "servlets", warned, "with 7 calls", true, func(p *patient) {
		p.sql(`UPDATE otp_auth_config SET servlets_sunset_at = 1000`)
		p.called("")
	}},
	{"no account at all", "accounts", warned, "there is none", true, func(p *patient) { p.sql(`DELETE FROM otp_auth_config`) }},

	// Faults of only one of the databases.
	{"sqlite: a file for all to read", "database access", warned, "otp.db", true, func(p *patient) {
		require.NoError(p.t, os.Chmod(filepath.Join(p.folder, "otp.db"), 0o644))
	}},
	{"sqlite: a damaged file", "database check", faulty, "", true, func(p *patient) {
		p.sql(`PRAGMA wal_checkpoint(TRUNCATE)`)
		file, err := os.OpenFile(filepath.Join(p.folder, "otp.db"), os.O_RDWR, 0)
		require.NoError(p.t, err)
		defer file.Close()
		// The page after the last one of the schema's own tables.
		_, err = file.WriteAt([]byte(strings.Repeat("\xff", 4096)), 4096*8)
		require.NoError(p.t, err)
	}},
	{"mariadb: names that do not tell case apart", "collation", faulty, "otp_auth_config.esme_address", true,
		func(p *patient) {
			p.sql(`ALTER TABLE otp_auth_config CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`)
			p.t.Cleanup(func() { p.sql(`ALTER TABLE otp_auth_config CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`) })
		}},
	{"mariadb: a user that may everything", "grants", warned, "ALL PRIVILEGES", false, func(p *patient) {
		p.set("OTPBRIDGE_DATABASE_URL=" + administrator(p.t, p.database))
	}},
	{"mariadb: a user that may too little", "grants", faulty, "lacks UPDATE", true, func(p *patient) {
		name, schema := p.user()
		p.sql("REVOKE UPDATE ON "+schema+".* FROM '"+name+"'@'%'",
			"REVOKE UPDATE ON "+schema+".* FROM '"+name+"'@'localhost'")
		p.t.Cleanup(func() {
			p.sql("GRANT UPDATE ON "+schema+".* TO '"+name+"'@'%'", "GRANT UPDATE ON "+schema+".* TO '"+name+"'@'localhost'")
		})
	}},
	{"mariadb: a server that is read-only", "writing", faulty, "cannot be written", true, func(p *patient) {
		p.sql("SET GLOBAL read_only = 1")
		p.t.Cleanup(func() { require.NoError(p.t, p.server.Exec("SET GLOBAL read_only = 0")) })
	}},
	{"mariadb: commits that a crash forgets", "durability", warned, "innodb_flush_log_at_trx_commit=2", true,
		func(p *patient) {
			p.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
			p.t.Cleanup(func() { require.NoError(p.t, p.server.Exec("SET GLOBAL innodb_flush_log_at_trx_commit = 1")) })
		}},
	{"mariadb: a clock that is ahead", "clock", faulty, "off the database's", true, func(p *patient) {
		p.sql("SET GLOBAL init_connect = 'SET @@timestamp = UNIX_TIMESTAMP() + 30'")
		p.t.Cleanup(func() { require.NoError(p.t, p.server.Exec("SET GLOBAL init_connect = ''")) })
	}},
}

// called inserts a count of seven servlet calls, with the class of the upstream's answer.
func (p *patient) called(passed string) {
	at := time.Now().UnixMilli()
	p.sql(fmt.Sprintf(`INSERT INTO calls (hour, server, esme_address, door, name, credential_id, address, passed, kind,
		calls, micros, bytes, last_at) VALUES (%d, X'00112233445566778899aabbccddeeff', '4711', 'servlet', 'otpgenservlet',
		X'00112233445566778899aabbccddeeff', '192.0.2.7', '%s', 'ok', 7, 7000, 70, %d)`, at-at%3600_000, passed, at))
}

func (p *patient) write(keyring string) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(p.keyring, []byte(keyring), 0o600))
}

func TestDoctor_FindsEachMisconfigurationByName(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "mariadb"} {
		t.Run(database, func(t *testing.T) {
			var server *sqltest.Server
			if database == "mariadb" {
				server = sqltest.Own(t) // settings of the whole server are changed
			}
			first := healthy(t, server)
			if server != nil {
				first.keep()
			}
			code, all, problems := first.diagnosed()
			require.Equal(t, exitOK, code, problems)
			for _, f := range all {
				require.Equal(t, passed, f.Status, "%+v", f)
				require.Empty(t, f.Remedy)
			}
			for _, m := range misconfigurations {
				only, _, restricted := strings.Cut(m.name, ": ")
				if restricted && only != database {
					continue
				}
				t.Run(m.name, func(t *testing.T) {
					p := first.likeIt(t)
					if m.alters && p.sqlite {
						p = healthy(t, nil)
					} else if m.alters {
						t.Cleanup(func() { p.restore() })
					}
					m.spoil(p)
					code, all, problems := p.diagnosed()
					report, err := json.Marshal(all)
					require.NoError(t, err)
					require.Contains(t, string(report), m.says)
					found := false
					for _, f := range all {
						if f.Check == m.check && f.Status == m.status {
							found = true
							require.NotEmpty(t, f.Remedy)
						}
					}
					require.True(t, found, "%s %s in %s", m.status, m.check, report)
					if m.status == faulty {
						require.Equal(t, exitFailed, code)
						require.Contains(t, problems, "doctor found")
					}
					require.NotContains(t, string(report), "secret@")
				})
			}
		})
	}
}

// The limit on open files belongs to the process, so this test starts one.
func TestDoctor_FindsALowLimitOnOpenFiles(t *testing.T) {
	needs(t, "sh")
	p := healthy(t, nil)
	command := exec.Command("sh", "-c", "ulimit -n 200; exec "+program(t)+" doctor --json")
	command.Env = p.environ
	out, err := command.Output()
	require.NoError(t, err)
	var all findings
	require.NoError(t, json.Unmarshal(out, &all))
	require.True(t, all.found("open files"))
}

// A user who may not change the schema is told so, and which privileges are missing.
func TestMigrate_AUserWhoMayNotIsToldWhoMay(t *testing.T) {
	t.Parallel()
	server := sqltest.Shared(t)
	made, err := url.Parse(server.SchemaTCP(t))
	require.NoError(t, err)
	schema := strings.Trim(made.Path, "/")
	require.NoError(t, server.Exec("CREATE USER 'serving_"+schema+"'@'%' IDENTIFIED BY 'secret'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON "+schema+".* TO 'serving_"+schema+"'@'%'"))
	made.User = url.UserPassword("serving_"+schema, "secret")
	for _, name := range []string{"migrate up", "serve"} {
		var out, problems output
		environ := variables(t, "OTPBRIDGE_MODE=production", "OTPBRIDGE_DATABASE_URL="+made.String())
		code := run(strings.Fields(name), process{environ: environ, stdout: &out, stderr: &problems})
		require.Equal(t, exitUnusable, code, problems.String())
		require.Contains(t, problems.String(), `as one with CREATE, ALTER and INDEX`)
	}
}

// Doctor changes nothing, also on an empty database or with a keyring that is new to the database.
func TestDoctor_ChangesNothing(t *testing.T) {
	p := healthy(t, nil)
	kept, err := os.ReadFile(p.keyring)
	require.NoError(t, err)
	p.write(crypto.NewKeyringText("k2") + string(kept))
	code, _, problems := p.diagnosed()
	require.Equal(t, exitOK, code, problems)
	p.write(string(kept))
	code, _, problems = p.diagnosed()
	require.Equal(t, exitOK, code, "k2 was recorded by the first look: "+problems)

	p.set("OTPBRIDGE_DATABASE_URL=sqlite:"+filepath.Join(p.folder, "none", "otp.db"),
		"OTPBRIDGE_KEYRING_FILE="+filepath.Join(p.folder, "none", "keyring"))
	code, _, _ = p.diagnosed()
	require.Equal(t, exitFailed, code)
	require.NoDirExists(t, filepath.Join(p.folder, "none"))
}

// administrator returns a MySQL URL with root as the user.
func administrator(t *testing.T, databaseURL string) string {
	t.Helper()
	parsed, err := url.Parse(databaseURL)
	require.NoError(t, err)
	parsed.User = url.UserPassword("root", "")
	return parsed.String()
}
