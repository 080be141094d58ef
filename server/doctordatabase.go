package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"otpbridge/config"
	"otpbridge/server/files"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

func (f *findings) database(ctx context.Context, settings config.Settings) *sql.Store {
	store, err := openStore(ctx, settings, sql.AnySchema)
	if err == nil {
		// Opening a MySQL database does not connect yet; this does.
		if _, err = store.Schema(ctx); err != nil {
			err = errors.Join(err, store.Close())
		}
	}
	if err != nil {
		remedy := "see that it runs, that this machine may reach it, and that user and password in OTPBRIDGE_DATABASE_URL " +
			"are right"
		if errors.Is(err, sql.ErrNoDatabase) {
			remedy = "otpbridge migrate up makes it, and so does the first start of a server"
		}
		f.fail("database", remedy, "%v", err)
		return nil
	}
	f.pass("database", "%v answers", settings.DatabaseURL)
	return store
}

func (f *findings) condition(ctx context.Context, settings config.Settings, store *sql.Store) {
	c, err := store.Inspect(ctx)
	if err != nil {
		f.fail("database check", "restore the last backup beside it and compare", "%v", err)
		return
	}
	if c.Damage != "" {
		f.fail("database check", "stop the servers, keep a copy, and restore the last backup", "%s found damage: %s",
			c.Version, c.Damage)
	} else {
		f.pass("database check", "%s", c.Version)
	}
	if len(c.CaseBlind) > 0 {
		f.fail("collation", "ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
			"key columns take one name for another's: %s", strings.Join(c.CaseBlind, ", "))
	} else {
		f.pass("collation", "key columns tell every name apart")
	}
	if c.Forgetful != "" {
		f.warn("durability", "set innodb_flush_log_at_trx_commit=1, or accept that a power cut can bring a used code back",
			"%s: a crash can take acknowledged writes along", c.Forgetful)
	} else {
		f.pass("durability", "what was acknowledged survives a crash")
	}
	f.grants(c)
	f.privacy(settings, c)
}

func (f *findings) grants(c sql.Condition) {
	switch {
	case len(c.Missing) > 0:
		f.fail("grants", "GRANT them on the schema; operating.md has the statement", "the database's user lacks %s",
			strings.Join(c.Missing, ", "))
	case len(c.Excess) > 0:
		f.warn("grants", "give the server a user with SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX on its schema "+
			"alone", "the database's user may more than a server needs: %s", strings.Join(c.Excess, ", "))
	default:
		f.pass("grants", "the database's user may what a server needs")
	}
}

// privacy checks what others can read: on the network to the database, or on the machine of a SQLite file.
func (f *findings) privacy(settings config.Settings, c sql.Condition) {
	if path, isFile := settings.DatabaseURL.File(); isFile {
		if info, err := os.Stat(path); err == nil && files.OpenToOthers(info) {
			f.warn("database access", "chmod 600 "+path+"* and 700 its folder",
				"others than its owner may read or write %s: %v", filepath.Base(path), info.Mode().Perm())
			return
		}
		f.pass("database access", "the file is its owner's alone")
		return
	}
	parsed, err := url.Parse(settings.DatabaseURL.Reveal())
	near := err == nil && (parsed.Query().Get("socket") != "" ||
		listensOnLoopback(net.JoinHostPort(parsed.Hostname(), "0")))
	if !c.Encrypted && !near {
		f.warn("database access", "append ?tls=true to OTPBRIDGE_DATABASE_URL, with tls-ca where the authority is your own",
			"the connection to the database is not encrypted")
		return
	}
	f.pass("database access", "the connection is encrypted, or does not leave this machine")
}

func (f *findings) clock(ctx context.Context, store *sql.Store) {
	skew, err := store.ClockSkew(ctx)
	const remedy = "synchronise both machines with NTP: chronyc tracking, timedatectl"
	switch off := skew.Round(time.Millisecond); {
	case err != nil:
		f.fail("clock", remedy, "%v", err)
	case skew.Abs() > time.Second:
		f.fail("clock", remedy, "this machine's clock is %v off the database's; beyond 1s a server is not ready", off)
	case skew.Abs() > time.Second/4:
		f.warn("clock", remedy, "this machine's clock is %v off the database's; beyond 1s a server is not ready", off)
	default:
		f.pass("clock", "within 250ms of the database's")
	}
}

// schema checks the schema's version, and reports whether the checks that read its tables can follow.
func (f *findings) schema(ctx context.Context, store *sql.Store) bool {
	schema, err := store.Schema(ctx)
	switch {
	case err != nil:
		f.fail("schema", "see the message", "%v", err)
	case schema.Version > schema.Latest:
		f.fail("schema", "use the program that made it, or restore the backup from before the upgrade",
			"version %d is newer than this program, which knows %d", schema.Version, schema.Latest)
	case schema.Version < schema.Latest:
		f.warn("schema", "otpbridge migrate up, or start a server, which does it too", "version %d of %d", schema.Version,
			schema.Latest)
	default:
		f.pass("schema", "version %d", schema.Version)
		return true
	}
	return false
}

func (f *findings) writable(ctx context.Context, store *sql.Store) {
	if err := store.Ready(ctx); err != nil {
		f.fail("writing", "make it writable: free space on its disk, leave no lock on it, use no replica, grant INSERT, "+
			"UPDATE and DELETE on every table",
			"the database cannot be written: %v", err)
		return
	}
	f.pass("writing", "the database takes writes")
}

func (f *findings) remains(ctx context.Context, settings config.Settings, patient manage.Examiner) {
	if settings.Sandbox() {
		return
	}
	remains, err := patient.Remains(ctx)
	switch {
	case err != nil:
		f.fail("sandbox remains", "see the message", "%v", err)
	case len(remains) > 0:
		f.fail("sandbox remains", "use a database that no sandbox has used; accounts move with otpbridge account export "+
			"and import",
			"a sandbox was run on this database: %d accounts or clocks of its own", len(remains))
	default:
		f.pass("sandbox remains", "none")
	}
}

// longTTL is the lifetime of codes, in seconds, above which doctor warns: NIST SP 800-63B, section 5.1.3.2,
// allows ten minutes for out-of-band codes.
const longTTL = 600

// accounts checks every account, and returns them.
func (f *findings) accounts(ctx context.Context, settings config.Settings, out outlets,
	patient manage.Examiner) []manage.ManagedAccount {
	accounts, err := patient.Accounts(ctx)
	if err != nil {
		f.fail("accounts", "see the message", "%v", err)
		return nil
	}
	if len(accounts) == 0 {
		f.warn("accounts", "otpbridge account import --help", "there is none, so nobody can send a code")
		return nil
	}
	for i := range accounts {
		f.account(&accounts[i])
		f.sender(settings, out, &accounts[i])
	}
	sealed, err := patient.Unsealable(ctx)
	if err != nil {
		f.fail("account keys", "see the message", "%v", err)
	} else if len(sealed) > 0 {
		f.fail("account keys", "restore their rows from a backup, or revoke them and make others",
			"signing_secret cannot be opened, it is damaged or of another row: %s", strings.Join(sealed, ", "))
	}
	keyless, err := patient.Keyless(ctx, otp.At(time.Now()))
	if err != nil {
		f.fail("account keys", "see the message", "%v", err)
	} else if len(keyless) > 0 {
		f.warn("account keys", "otpbridge key create "+keyless[0]+" --kind access_key",
			"nobody can use account %s: no key of it works", strings.Join(keyless, ", "))
	} else if !f.found("account keys") {
		f.pass("account keys", "every account has a key that works")
	}
	for _, check := range []string{"accounts", "code lifetime", "plain codes", "send limits", "senders"} {
		if !f.found(check) {
			f.pass(check, "in order, %d looked at", len(accounts))
		}
	}
	return accounts
}

func (f *findings) account(m *manage.ManagedAccount) {
	set := func(assignment string) string { return "otpbridge account set " + m.Address + " " + assignment }
	switch {
	case m.Broken != nil && strings.Contains(m.Broken.Error(), "published sample key"):
		f.fail("sample secrets", set("cipher_key=@FILE"), "account %s: %v", m.Address, m.Broken)
	case m.Broken != nil:
		f.fail("accounts", set("COLUMN=VALUE"), "account %s is out of service: %v", m.Address, m.Broken)
		return
	}
	if m.TTLSeconds > longTTL {
		f.warn("code lifetime", set("otp_ttl_seconds=300"),
			"account %s: codes live %d seconds, and ten minutes are the most that guidance allows", m.Address, m.TTLSeconds)
	}
	if m.PlainValidation || m.Cipher == "none" {
		f.warn("plain codes", set("plain_validation_enabled=false otp_cipher=aes-cbc"),
			"account %s takes codes in clear, which ends up in the logs of proxies", m.Address)
	}
	if m.SendsPerMinute == 0 || m.SendsPerHour == 0 || m.SendsPerDay == 0 {
		f.warn("send limits", set("sends_per_minute=10 sends_per_hour=20 sends_per_day=40"),
			"account %s: a limit on messages to one person is lifted, and somebody pays for each", m.Address)
	}
}
