package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"otpbridge/config"
	"otpbridge/crypto"
	"otpbridge/server/files"
	"otpbridge/server/manage"
	"otpbridge/sql"
)

type doctorCommand struct {
	asJSON
	EnvFile string `name:"env-file" placeholder:"FILE" help:"Read settings of this file too, as systemd reads the EnvironmentFile of the service."`
}

// Help implements kong.HelpProvider.
func (doctorCommand) Help() string {
	return `Reads the settings of the server, and checks what they point to: database, keyring, clock, accounts, limits. Run it with the server's environment. It changes nothing, and may be run at any time.

Each finding is a pass, a warning or a fault, and says what to do. The exit code is 1 if there is a fault and 0 if there is none; warnings do not change it:

    otpbridge doctor && systemctl start otpbridge
    otpbridge doctor --json | jq '.[] | select(.status != "pass")'
    otpbridge doctor --env-file /etc/otpbridge/environment`
}

// The values of finding.Status.
const (
	passed = "pass"
	warned = "warn"
	faulty = "fail"
)

// finding is the outcome of one check. Remedy is empty if it passed.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// findings are the outcomes in the order of the checks.
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

// found reports whether a check has warned or failed.
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

// examine makes every check that is possible, also after one has failed.
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
	all.checkpoints(settings)
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
	all.kept(ctx, settings, store, keyring, out)
	return all
}

// kept checks what the database keeps under the keyring.
func (f *findings) kept(ctx context.Context, settings config.Settings, store *sql.Store, keyring *crypto.Keyring,
	out outlets) {
	files, err := openFiles(settings)
	if err != nil {
		return // outlets has said why
	}
	patient := manage.Examine(manage.Options{
		Store: store, Keyring: keyring, Files: files, Guard: openGuard(settings), Sandbox: settings.Sandbox(),
	})
	if err := patient.Keyring(ctx); err != nil {
		f.fail("keyring", "servers refuse to start until it is so", "%v", err)
		return
	}
	if err := patient.IndexKey(ctx); err != nil {
		f.fail("keyring", "restore the row from a backup; without it no key and no recipient is found", "%v", err)
		return
	}
	f.pass("keyring", "opens what this database holds")
	f.erasures(ctx, settings, store)
	f.remains(ctx, settings, patient)
	f.bridges(ctx, openGuard(settings), store, f.accounts(ctx, settings, out, patient))
}

// The shortest prefixes, in bits, of a trusted network that do not look like a mistake.
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

// certificate checks the TLS certificate that the server would use.
func (f *findings) certificate(settings config.Settings) {
	opened, err := openCertificate(settings.TLSCertFile, settings.TLSKeyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		f.fail("transport", "put a certificate and the key that belongs to it where OTPBRIDGE_TLS_CERT_FILE and "+
			"OTPBRIDGE_TLS_KEY_FILE say",
			"the TLS certificate cannot be used: %v", err)
		return
	}
	switch pair := opened.current; {
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

// enoughFiles is the limit on open files below which doctor warns: two thousand connections and what else the
// server has open.
const enoughFiles = 4096

func (f *findings) openFiles() {
	switch limit, err := files.OpenLimit(); {
	case err != nil:
		f.warn("open files", "look at ulimit -n", "the limit cannot be read: %v", err)
	case limit == 0:
		f.pass("open files", "this system has no limit")
	case limit < enoughFiles:
		f.warn("open files", "raise it: LimitNOFILE=65536 in the systemd unit, ulimits in compose, ulimit -n in a shell",
			"%d may be open at once, and every connection is one", limit)
	default:
		f.pass("open files", "%d may be open at once", limit)
	}
}

// keyring reads the keyring as a server would, but never makes one.
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
	if info, err := os.Stat(source); err == nil && files.OpenToOthers(info) {
		f.warn("keyring file", "chmod 600 "+source,
			"others than its owner may read %s, and with it every code and recipient: %v", source, info.Mode().Perm())
	} else {
		f.pass("keyring file", "%s is its owner's alone", source)
	}
	return keyring
}
