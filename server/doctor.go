package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"otpbridge/config"
	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

type doctorCommand struct {
	asJSON
	EnvFile string `name:"env-file" placeholder:"FILE" help:"Read settings of this file too, as systemd reads the EnvironmentFile of the service."`
}

// Help is shown below the flags.
func (doctorCommand) Help() string {
	return `Reads the settings of the server beside which it is run, and looks at what they point to: database, keyring, clock, accounts, limits. It changes nothing, and may be run at any time.

Each finding is a pass, a warning or a fault, and says what to do. Exit code 1 says that there is a fault, 0 that there is none; warnings alone do not change it:

    otpbridge doctor && systemctl start otpbridge
    otpbridge doctor --json | jq '.[] | select(.status != "pass")'
    otpbridge doctor --env-file /etc/otpbridge/environment`
}

// A finding's status.
const (
	passed = "pass"
	warned = "warn"
	faulty = "fail"
)

// finding is the outcome of one check. Remedy is empty where it passed.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// findings gathers them in the order of the checks.
type findings []finding

func (f *findings) pass(check, detail string, values ...any) {
	*f = append(*f, finding{check, passed, fmt.Sprintf(detail, values...), ""})
}

func (f *findings) warn(check, remedy, detail string, values ...any) {
	*f = append(*f, finding{check, warned, fmt.Sprintf(detail, values...), remedy})
}

func (f *findings) fail(check, remedy, detail string, values ...any) {
	*f = append(*f, finding{check, faulty, fmt.Sprintf(detail, values...), remedy})
}

// found reports whether a check has said anything but a pass.
func (f findings) found(check string) bool {
	return slices.ContainsFunc(f, func(one finding) bool { return one.Check == check && one.Status != passed })
}

// Run examines and reports.
func (d doctorCommand) Run(p process) error {
	environ, err := withEnvironmentFile(p.environ, d.EnvFile)
	if err != nil {
		return err
	}
	all := examine(environ)
	if d.EnvFile == "" {
		all.elsewhere(environ, serviceEnvironment)
	}
	err = d.print(p.stdout, all, func(w io.Writer) {
		for _, f := range all {
			fmt.Fprintf(w, "%-4s  %-18s %s\n", f.Status, f.Check, f.Detail)
			if f.Remedy != "" {
				fmt.Fprintf(w, "      %-18s → %s\n", "", f.Remedy)
			}
		}
	})
	if err != nil {
		return err
	}
	faults := 0
	for _, f := range all {
		if f.Status == faulty {
			faults++
		}
	}
	if faults > 0 {
		return fmt.Errorf("doctor found %d of %d checks failing", faults, len(all))
	}
	return nil
}

// examine makes every check that can be made: what one of them finds wrong is no reason to say
// nothing of the others.
func examine(environ []string) (all findings) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	settings, err := config.Load(environ)
	if err != nil {
		var faults config.Faults
		if !errors.As(err, &faults) {
			all.fail("settings", "see the message", "%v", err)
		}
		for _, fault := range faults {
			all.fail("settings", fault.Remedy, "%s %s", fault.Name, fault.Problem)
		}
		return all
	}
	all.pass("settings", "%s mode, every setting is usable", settings.Mode)
	all.exposure(settings)
	all.openFiles()
	all.addresses(ctx, settings)
	out := all.outlets(settings)
	all.redis(ctx, settings)
	keyring := all.keyring(settings)
	store := all.database(ctx, settings)
	if store == nil {
		all.state(ctx, settings, nil)
		return all
	}
	defer store.Close()
	all.condition(ctx, settings, store)
	all.clock(ctx, store)
	if !all.schema(ctx, store) {
		all.state(ctx, settings, nil)
		return all
	}
	if !all.tables(ctx, store) {
		return all
	}
	all.writable(ctx, store)
	all.state(ctx, settings, store)
	if keyring == nil {
		return all
	}
	files, err := openFiles(settings)
	if err != nil {
		return all // the outlets' finding says so
	}
	patient := manage.Examine(manage.Options{
		Store: store, Keyring: keyring, Files: files, Guard: openGuard(settings), Sandbox: settings.Sandbox(),
	})
	if err := patient.Keyring(ctx); err != nil {
		all.fail("keyring", "servers refuse to start until it is so", "%v", err)
		return all
	}
	if err := patient.IndexKey(ctx); err != nil {
		all.fail("keyring", "restore the row from a backup; without it no key and no recipient is found", "%v", err)
		return all
	}
	all.pass("keyring", "opens what this database holds")
	all.erasures(ctx, settings, store)
	all.remains(ctx, settings, patient)
	all.bridges(ctx, openGuard(settings), store, all.accounts(ctx, settings, out, patient))
	return all
}

// widest is how many addresses a trusted network may have before it looks like a mistake.
const (
	widestIPv4 = 8
	widestIPv6 = 32
)

func (f *findings) exposure(settings config.Settings) {
	loopback := listensOnLoopback(settings.Addr)
	switch {
	case settings.Sandbox() && !loopback:
		f.warn("exposure", "set OTPBRIDGE_ADDR=127.0.0.1:8080, or keep others out with a firewall; a container's port is "+
			"published with -p 127.0.0.1:8080:8080",
			"a sandbox shows every code to whoever reaches it, and listens on %s", settings.Addr)
	case settings.Sandbox():
		f.warn("exposure", "set OTPBRIDGE_MODE=production for anything that guards something",
			"this is a sandbox: it shows codes, and delivers none")
	default:
		f.pass("exposure", "production, on %s", settings.Addr)
	}
	switch {
	case settings.TLSCertFile != "":
		f.certificate(settings)
	case settings.Sandbox() || loopback:
		f.pass("transport", "nothing crosses a network without a proxy in front")
	case len(settings.TrustedProxies) == 0:
		f.warn("transport", "set OTPBRIDGE_TLS_CERT_FILE and OTPBRIDGE_TLS_KEY_FILE; or end TLS in a proxy in front, have "+
			"it send Strict-Transport-Security, set OTPBRIDGE_TRUSTED_PROXIES to its address, and OTPBRIDGE_ADDR to one that "+
			"only it reaches",
			"keys and codes may cross the network in clear: the server listens on %s and no proxy is trusted", settings.Addr)
	default:
		f.pass("transport", "behind %d trusted proxies, which end TLS", len(settings.TrustedProxies))
	}
	if settings.MetricsAddr != "" && !listensOnLoopback(settings.MetricsAddr) {
		f.warn("metrics", "set OTPBRIDGE_METRICS_ADDR=127.0.0.1:9464, or keep all but the scraper out with a firewall",
			"metrics and profiles are served on %s to whoever reaches it, without a credential", settings.MetricsAddr)
	}
	switch {
	case settings.Sandbox():
	case settings.SMSChannels.Reveal() == "" && settings.EmailChannels.Reveal() == "":
		f.warn("delivery", "set OTPBRIDGE_SMS_CHANNELS or OTPBRIDGE_EMAIL_CHANNELS, and try it with otpbridge send-test; "+
			"or give every account channels of its own",
			"no channel is set, so generate answers SMSEMAILFAIL for every account without channels of its own")
	default:
		f.pass("delivery", "channels are set; otpbridge send-test tries them")
	}
	var wide []string
	for _, network := range settings.TrustedProxies {
		least := widestIPv4
		if network.Addr().Is6() {
			least = widestIPv6
		}
		if network.Bits() < least {
			wide = append(wide, network.String())
		}
	}
	if len(wide) > 0 {
		f.warn("trusted proxies", "name the proxies themselves in OTPBRIDGE_TRUSTED_PROXIES",
			"%s is so wide that clients in it can name any address as theirs, which access keys and limits go "+
				"by", strings.Join(wide, ", "))
	} else {
		f.pass("trusted proxies", "%d networks", len(settings.TrustedProxies))
	}
}

// certificate looks at what the server would show.
func (f *findings) certificate(settings config.Settings) {
	pair, err := tls.LoadX509KeyPair(settings.TLSCertFile, settings.TLSKeyFile)
	switch {
	case err != nil:
		f.fail("transport", "put a certificate and the key that belongs to it where OTPBRIDGE_TLS_CERT_FILE and "+
			"OTPBRIDGE_TLS_KEY_FILE say",
			"the TLS certificate cannot be used: %v", err)
	case time.Now().After(pair.Leaf.NotAfter):
		f.fail("transport", "renew it", "the TLS certificate ended on %s", pair.Leaf.NotAfter.Format(time.DateOnly))
	case time.Until(pair.Leaf.NotAfter) < certificateEndsSoon:
		f.warn("transport", "renew it; servers take the new one within ten seconds", "the TLS certificate ends on %s",
			pair.Leaf.NotAfter.Format(time.DateOnly))
	default:
		f.pass("transport", "TLS, with a certificate until %s", pair.Leaf.NotAfter.Format(time.DateOnly))
	}
}

func listensOnLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// enoughFiles is two thousand connections and what the server has open besides.
const enoughFiles = 4096

func (f *findings) openFiles() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		f.warn("open files", "look at ulimit -n", "the limit cannot be read: %v", err)
		return
	}
	if limit.Cur < enoughFiles {
		f.warn("open files", "raise it: LimitNOFILE=65536 in the systemd unit, ulimits in compose, ulimit -n in a shell",
			"%d may be open at once, and every connection is one", limit.Cur)
		return
	}
	f.pass("open files", "%d may be open at once", limit.Cur)
}

// keyring reads the keyring as a server would, and never makes one.
func (f *findings) keyring(settings config.Settings) *crypto.Keyring {
	if settings.MayMakeKeyringFile() {
		if _, err := os.Stat(settings.KeyringFile); errors.Is(err, os.ErrNotExist) {
			f.pass("keyring", "there is none yet at %s; the first start of the sandbox makes it", settings.KeyringFile)
			return nil
		}
	}
	text, source, err := keyringText(settings, slog.New(slog.DiscardHandler))
	var keyring *crypto.Keyring
	if err == nil {
		keyring, err = crypto.ParseKeyring(text)
	}
	if err != nil {
		f.fail("keyring", "put the keyring there, a key a line; the first of an installation is made by otpbridge keyring "+
			"new --file PATH", "%v", err)
		return nil
	}
	if samples := keyring.SampleIDs(); len(samples) > 0 {
		remedy := "make a new one with otpbridge keyring add, and rotate to it"
		if settings.Sandbox() {
			f.warn("sample secrets", remedy, "key %s of the keyring is the published sample key", strings.Join(samples, ", "))
		} else {
			f.fail("sample secrets", remedy, "key %s of the keyring is the published sample key, which all the world knows",
				strings.Join(samples, ", "))
		}
	}
	if settings.KeyringFile == "" {
		return keyring
	}
	if info, err := os.Stat(source); err == nil && info.Mode().Perm()&0o077 != 0 {
		f.warn("keyring file", "chmod 600 "+source,
			"others than its owner may read %s, and with it every code and recipient: %v", source, info.Mode().Perm())
	} else {
		f.pass("keyring file", "%s is its owner's alone", source)
	}
	return keyring
}

func (f *findings) database(ctx context.Context, settings config.Settings) *sql.Store {
	store, err := openStore(ctx, settings, sql.AnySchema)
	if err == nil {
		// Opening a MySQL database connects to nothing yet.
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

// privacy looks at what others on the way to the database, or on its machine, can see.
func (f *findings) privacy(settings config.Settings, c sql.Condition) {
	if settings.DatabaseURL.Scheme() == "sqlite" {
		path := strings.TrimPrefix(settings.DatabaseURL.Reveal(), "sqlite:")
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
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

// schema reports whether the rest can be looked at.
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

// longTTL is what a code may live before a warning: NIST SP 800-63B, section 5.1.3.2, gives codes
// that travel out of band ten minutes.
const longTTL = 600

// accounts looks at all, and returns them.
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
