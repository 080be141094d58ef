package main

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/sql/sqltest"
)

// Operators change accounts with SQL and MariaDB's own client while the servers run, as they did with the original
// service.

// operated is two servers on a schema of the usual name, and the client of its database.
type operated struct {
	*ledger
	t        *testing.T
	database *sqltest.Server
	address  string
	keyring  string
	servers  []client
	numbers  atomic.Int64
}

func operate(t *testing.T) *operated {
	t.Helper()
	needs(t, "mariadb")
	o := &operated{ledger: new(ledger), t: t, database: sqltest.Shared(t), keyring: crypto.NewKeyringText("k1")}
	o.address = o.database.SchemaNamed(t, "otpauthapi")
	t.Cleanup(func() { require.NoError(t, o.database.Exec("DROP DATABASE otpauthapi")) })
	for range 2 {
		o.servers = append(o.servers, o.start())
	}
	return o
}

func (o *operated) start() client {
	o.t.Helper()
	return startChild(o.t, o.t.TempDir(), "OTPBRIDGE_DATABASE_URL="+o.address, "OTPBRIDGE_KEYRING="+o.keyring).client
}

// run runs statements as an operator does who has no schema selected.
func (o *operated) run(statements string, options ...string) string {
	o.t.Helper()
	command := o.database.Client(statements, options...)
	var complaint strings.Builder
	command.Stderr = &complaint
	out, err := command.Output()
	require.NoError(o.t, err, "%s: %s", statements, &complaint)
	return string(out)
}

// generate lets a server send a code to a new number.
func (o *operated) generate(server int, key string) string {
	o.acknowledge(1)
	return o.servers[server].servlet("otpgenservlet", key, person(o.number()))
}

func (o *operated) number() string { return fmt.Sprintf("9198%08d", o.numbers.Add(1)) }

// takes runs a change and waits until every server applies it, which must be within a time.
func (o *operated) takes(change string, within time.Duration, does func(server int) bool) time.Duration {
	o.t.Helper()
	o.run(change)
	o.inject(1)
	began := time.Now()
	for server := range o.servers {
		for !does(server) && time.Since(began) < within {
			time.Sleep(20 * time.Millisecond)
		}
	}
	took := time.Since(began)
	o.equal(true, took < within, "within %v on both servers: %s", within, change)
	return took
}

// step is a change of an account's columns, and what its next generate answers.
type step struct{ set, answer string }

func TestPlainSQL_ChangesRunningServersWithoutAFault(t *testing.T) {
	o := operate(t)
	const generated = "OTP Generated Successfully"
	// Plain SQL cannot make a good IV, because one is sealed for its row. This tries the bare
	// value, and one of the wrong length that is properly sealed.
	ring, err := crypto.ParseKeyring(o.keyring)
	require.NoError(t, err)
	short := make([]byte, 15)
	sealed := func(address string) []byte { return ring.Seal([]byte("otp_auth_config/"+address+"/cipher_iv"), short) }
	stories := []func(address string) []step{
		func(string) []step {
			return []step{{"otp_enabled = 0", "The feature is not enabled"}, {"otp_enabled = 1", generated}}
		},
		func(string) []step { return []step{{"enabled = 0", "UNAUTHERISED USER"}, {"enabled = 1", generated}} },
		func(string) []step {
			return []step{{"message_profile = 'live'", generated + "\r\n"}, {"message_profile = NULL", generated}}
		},
		func(string) []step {
			return []step{{`message_overrides = '{"generated":"on its way"}'`, "on its way"},
				{"message_overrides = ''", generated}}
		},
		func(string) []step {
			return []step{{"countries = 'DE'", "Invalid Parameters"}, {"countries = 'de, in'", generated}}
		},
		func(string) []step { return []step{{"otp_length = 99", "ERROR"}, {"otp_length = 8", generated}} },
		func(string) []step {
			return []step{{"cipher_iv = X'" + hex.EncodeToString(short) + "'", "ERROR"}, {"otp_cipher = 'none'", generated}}
		},
		func(address string) []step {
			return []step{{"cipher_iv = X'" + hex.EncodeToString(sealed(address)) + "'", "ERROR"},
				{"otp_cipher = 'aes-ecb'", generated}}
		},
	}
	neighbour := o.servers[0].account(`{}`)
	var slowest atomic.Int64
	var telling sync.WaitGroup
	for _, story := range stories {
		telling.Go(func() {
			account := o.servers[0].account(`{}`)
			for server := range o.servers {
				o.equal(generated, o.generate(server, account.AccessKey), "before any change")
			}
			for _, step := range story(account.Address) {
				took := o.takes("UPDATE otpauthapi.otp_auth_config SET "+step.set+" WHERE esme_address IN ("+account.Address+")",
					5*time.Second,
					func(server int) bool { return o.generate(server, account.AccessKey) == step.answer })
				for seen := slowest.Load(); int64(took) > seen && !slowest.CompareAndSwap(seen,
					int64(took)); seen = slowest.Load() {
				}
				for server := range o.servers {
					o.equal(generated, o.generate(server, neighbour.AccessKey), "another account after %s", step.set)
				}
			}
		})
	}
	telling.Wait()
	o.note("changes were seen on both servers after at most %v", time.Duration(slowest.Load()).Round(10*time.Millisecond))
	o.report(t)
}

func TestPlainSQL_ColumnsMayBeAddedAndReorderedUnderAFault(t *testing.T) {
	o := operate(t)
	cycle := func(server client, key, key64, iv64, lineEnd string) string {
		number := o.number()
		if text := server.servlet("otpgenservlet", key, person(number)); text != "OTP Generated Successfully"+lineEnd {
			return "generate: " + text
		}
		code := server.messages("limit=1&to=" + number)[0].Code
		o.acknowledge(2)
		return server.servlet("otpvalidationservlet", key, person(number, "otp", encrypted(t, key64, iv64, code)))
	}
	for _, change := range []string{
		"ADD COLUMN vendor_notes TEXT FIRST",
		"ADD COLUMN priority INTEGER NOT NULL DEFAULT 7 AFTER cipher_key",
		"MODIFY COLUMN otp_length INTEGER NOT NULL DEFAULT 6 AFTER retention_days",
		"MODIFY COLUMN cipher_iv VARBINARY(512) AFTER esme_address",
		"MODIFY COLUMN created_at BIGINT NOT NULL DEFAULT 0 FIRST",
	} {
		o.run("ALTER TABLE otpauthapi.otp_auth_config " + change)
		o.inject(1)
		late := o.start() // a server that sees the new table at its start
		for n, server := range append(slices.Clone(o.servers), late) {
			o.equal("Verified successfully", cycle(server, documentedKey, sampleKey, sampleIV, ""), "on server %d after %s", n,
				change)
			made := server.account(`{}`)
			o.equal("Verified successfully", cycle(server, made.AccessKey, made.CipherKey, made.CipherIV, ""),
				"a new account on server %d after %s", n, change)
		}
	}
	o.report(t)
}

func TestPlainSQL_AnAccountReadsSensiblyFault(t *testing.T) {
	o := operate(t)
	const query = `SELECT * FROM otpauthapi.otp_auth_config WHERE esme_address IN (10000000000001)`
	for _, shape := range []string{"--table", "--vertical", "--batch"} {
		text := o.run(query, shape)
		o.inject(1)
		o.acknowledge(1)
		for _, r := range text {
			if r == unicode.ReplacementChar || unicode.IsControl(r) && !(r == '\n' || r == '\t' && shape == "--batch") {
				o.violate("%s shows %q, which a terminal obeys or cannot show", shape, r)
				break
			}
		}
	}
	values := map[string]string{}
	for line := range strings.Lines(o.run(query, "--vertical")) {
		if name, value, found := strings.Cut(line, ":"); found {
			values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	columns := strings.Fields(o.run(`SELECT column_name FROM information_schema.columns
		WHERE table_schema = 'otpauthapi' AND table_name = 'otp_auth_config'`, "--skip-column-names"))
	o.equal(slices.Sorted(slices.Values(columns)), slices.Sorted(maps.Keys(values)), "the columns shown")
	for column, want := range map[string]string{
		"esme_address": "10000000000001", "name": "Demo, documented profile", "enabled": "1", "otp_enabled": "1",
		"message_profile": "documented", "otp_length": "6", "otp_ttl_seconds": "300", "max_attempts": "NULL",
		"countries": "IN,AE", "otp_cipher": "aes-cbc", "otp_encoding": "auto", "sends_per_minute": "10",
		"retention_days": "30",
	} {
		o.equal(want, values[column], "%s", column)
	}
	for _, column := range []string{"cipher_key", "cipher_iv"} {
		o.equal(true, len(values[column]) > 60, "%s is shown as the sealed value that it is: %q", column, values[column])
	}
	o.note("cipher_iv reads %s", values["cipher_iv"])
	o.report(t)
}

func TestPlainSQL_ADeletedAccessKeyStopsOnBothServersFault(t *testing.T) {
	o := operate(t)
	kept := o.servers[0].account(`{}`)
	for server := range o.servers {
		o.equal("OTP Generated Successfully", o.generate(server, documentedKey), "before on server %d", server)
	}
	took := o.takes(`DELETE FROM otpauthapi.credentials WHERE esme_address = 10000000000001 AND kind = 'access_key'`,
		time.Second,
		func(server int) bool { return o.generate(server, documentedKey) == "UNAUTHERISED USER" })
	o.note("refused on both servers after %v", took.Round(10*time.Millisecond))
	for server := range o.servers {
		o.equal("UNAUTHERISED USER", o.generate(server, documentedKey), "for good on server %d", server)
		o.equal("OTP Generated Successfully", o.generate(server, kept.AccessKey), "another account's key on server %d",
			server)
	}
	o.report(t)
}
