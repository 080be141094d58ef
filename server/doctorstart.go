package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"otpbridge/config"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/files"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The checks in this file take the steps of a start, with the server's own functions, and undo them.

// addresses listens on the server's addresses and closes the listeners. If one is in use by a running server,
// that passes: it is the server that doctor is run beside.
func (f *findings) addresses(ctx context.Context, settings config.Settings) {
	for setting, address := range map[string]string{"ADDR": settings.Addr, "METRICS_ADDR": settings.MetricsAddr} {
		if address == "" {
			continue
		}
		listener, err := listen(ctx, address, config.Prefix+setting)
		switch {
		case err == nil:
			listener.Close()
			f.pass("addresses", "%s%s is free", config.Prefix, setting)
		case answersAsServer(settings):
			f.pass("addresses", "%s%s is taken, by a server that runs", config.Prefix, setting)
		default:
			f.fail("addresses", "stop the other program, or choose an address of this machine that is free", "%v", err)
		}
	}
}

// answersAsServer reports whether a server with these settings runs, ready or not.
func answersAsServer(settings config.Settings) bool {
	out := new(strings.Builder)
	environ := []string{config.Prefix + "ADDR=" + settings.Addr}
	if settings.TLSCertFile != "" {
		environ = append(environ, config.Prefix+"TLS_CERT_FILE="+settings.TLSCertFile,
			config.Prefix+"TLS_KEY_FILE="+settings.TLSKeyFile)
	}
	err := healthCommand{}.Run(process{environ: environ, stdout: out})
	return err == nil && strings.Contains(out.String(), "keyring ") || err != nil &&
		strings.Contains(err.Error(), "not ready: ")
}

// outlets opens the delivery channels.
func (f *findings) outlets(settings config.Settings) outlets {
	out, err := openOutlets(settings, deliver.NewInbox())
	if err != nil {
		f.fail("delivery", "correct it; delivery.md has every form", "%v", err)
	}
	return out
}

// sender warns of an account whose messages would have no sender: the account has none, and neither has a channel
// that tells its gateway one.
func (f *findings) sender(settings config.Settings, out outlets, m *manage.ManagedAccount) {
	for _, medium := range []struct {
		name, column string
		used         bool
		own, sender  *string
		channels     []deliver.Channel
	}{
		{"sms", "sms_sender", m.SMSEnabled, m.SMSChannels, m.SMSSender, out.sms},
		{"email", "email_sender", m.EmailEnabled, m.EmailChannels, m.EmailSender, out.email},
	} {
		if !medium.used || medium.sender != nil && *medium.sender != "" {
			continue
		}
		channels := medium.channels
		if medium.own != nil && strings.TrimSpace(*medium.own) != "" {
			channels, _ = deliver.Parse(*medium.own, deliver.Options{ // accounts reports its faults
				Medium: medium.name, Sandbox: settings.Sandbox(), Inbox: deliver.NewInbox(), Files: out.files, Account: true,
			})
		}
		if names := deliver.Anonymous(channels); len(names) > 0 {
			f.warn("senders", "otpbridge account set "+m.Address+" "+medium.column+"=NAME, or #sender=NAME behind the "+
				"channel's URL",
				"account %s: the channel %s tells its gateway who sends, and neither has a name for "+
					"it", m.Address, strings.Join(names, ", "))
		}
	}
}

// state checks the state folder, and compares it with the database.
func (f *findings) state(ctx context.Context, settings config.Settings, store *sql.Store) {
	const remedy = "set OTPBRIDGE_STATE_DIR to a folder of this server's own that it may write, outside the database's " +
		"backup"
	if _, err := os.Stat(settings.StateDir); settings.StateDir != "" && errors.Is(err, os.ErrNotExist) {
		// Do not make it: it would belong to the user who runs doctor, and the server might not be able to write it.
		f.pass("state folder", "there is none yet at %s; the first start makes it", settings.StateDir)
		return
	}
	folder, err := stateFolder(settings, slog.New(slog.DiscardHandler))
	switch {
	case err != nil:
		f.fail("state folder", remedy, "%v", err)
		return
	case folder == "":
		f.warn("state folder", remedy, "without one a backup of the database that is restored is not noticed, and used "+
			"codes verify again")
		return
	}
	f.pass("state folder", "%s can be written", folder)
	if store == nil {
		return
	}
	restored, err := store.Compare(ctx, folder)
	if err != nil {
		f.fail("restored backup", "see the message", "%v", err)
		return
	}
	if restored != nil {
		f.warn("restored backup", restoredRemedy,
			"the database lacks what was committed between %s and %s; the next start ends every code in it",
			shownMillis(restored.From), shownMillis(restored.Until))
	}
	before, err := store.Restores(ctx, otp.At(time.Now().Add(-restoresTold)))
	if err != nil {
		f.fail("restored backup", "see the message", "%v", err)
		return
	}
	for _, r := range before {
		f.warn("restored backup", restoredRemedy,
			"a server found at %s that a backup was restored, and ended %d codes; lost is what was committed between %s and %s",
			shownMillis(r.FoundAt), r.Ended, shownMillis(r.From), shownMillis(r.Until))
	}
	if !f.found("restored backup") {
		f.pass("restored backup", "none was found in the last seven days")
	}
}

// checkpoints looks whether a server could write the audit log's checkpoints where they are to be kept. Without it
// nothing is sealed, and servers say so in their log alone.
func (f *findings) checkpoints(settings config.Settings) {
	path := settings.AuditCheckpointFile
	if path == "" {
		return
	}
	file, err := files.Open(path, os.O_APPEND|os.O_WRONLY)
	if errors.Is(err, os.ErrNotExist) { // a server makes it
		if file, err = os.CreateTemp(filepath.Dir(path), ".try-*"); err == nil {
			defer os.Remove(file.Name())
		}
	}
	if err != nil {
		f.fail("audit checkpoints", "name a file in a folder that the server's user may write in",
			"OTPBRIDGE_AUDIT_CHECKPOINT_FILE %v", err)
		return
	}
	file.Close()
	f.pass("audit checkpoints", "%s can be written", path)
}

// tables compares every table and column with those that the migrations make.
func (f *findings) tables(ctx context.Context, store *sql.Store) bool {
	missing, err := store.MissingColumns(ctx)
	switch {
	case err != nil:
		f.fail("tables", "see the message", "%v", err)
	case len(missing) > 0:
		f.fail("tables", "restore them from a backup; the schema's version says that they are there, so migrate up does "+
			"not make them", "the database lacks %s", strings.Join(missing, ", "))
	default:
		f.pass("tables", "every table and column is there")
		return true
	}
	return false
}

// redis checks that the servers can count requests together. A server also starts without Redis.
func (f *findings) redis(ctx context.Context, settings config.Settings) {
	if settings.RedisURL.Reveal() == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := engine.ProbeRedis(ctx, settings.RedisURL.Reveal()); err != nil {
		f.warn("redis", "see that it runs, that this machine may reach it, and that the user of OTPBRIDGE_REDIS_URL may "+
			"write and run scripts",
			"it does not count, so each server counts requests for itself: %v", err)
		return
	}
	f.pass("redis", "it counts")
}

// serviceEnvironment is the EnvironmentFile of the systemd unit that comes with the program.
const serviceEnvironment = "/etc/otpbridge/environment"

// elsewhere warns if the service has settings that this shell does not have: then doctor has examined
// another installation.
func (f *findings) elsewhere(environ []string, path string) {
	text, err := files.Read(path, maxInput)
	if err != nil {
		return
	}
	theirs, err := parseEnvironmentFile(string(text))
	if err != nil {
		return
	}
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if strings.HasPrefix(name, config.Prefix) && !slices.Contains(environ, name+"="+theirs[name]) {
			differ = append(differ, name)
		}
	}
	if len(differ) > 0 {
		f.warn("service settings", "otpbridge doctor --env-file "+path,
			"the service has other values than this shell for %s", strings.Join(differ, ", "))
	}
}

// withEnvironmentFile returns the environment that systemd makes with a unit's EnvironmentFile: the file's values
// win.
func withEnvironmentFile(environ []string, path string) ([]string, error) {
	if path == "" {
		return environ, nil
	}
	text, err := files.Read(path, maxInput)
	if err != nil {
		return nil, unusable{files.Named("--env-file", err)}
	}
	theirs, err := parseEnvironmentFile(string(text))
	if err != nil {
		return nil, unusable{fmt.Errorf("--env-file %s: %w", path, err)}
	}
	environ = slices.Clone(environ)
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		environ = append(environ, name+"="+theirs[name])
	}
	return environ, nil
}

// parseEnvironmentFile reads NAME=VALUE lines as systemd.exec(5) describes them. Blank lines and those
// that start with # or ; are skipped. A backslash at the end of a line continues it on the next. Quotes
// of either kind around a value or a part of it are removed; text in single quotes is literal. Blanks
// around an unquoted value are dropped.
func parseEnvironmentFile(text string) (map[string]string, error) {
	values := map[string]string{}
	for len(text) > 0 {
		text = strings.TrimLeft(text, " \t\r\n")
		if text == "" {
			break
		}
		if text[0] == '#' || text[0] == ';' {
			_, text, _ = strings.Cut(text, "\n")
			continue
		}
		name, rest, found := strings.Cut(text, "=")
		if !found || strings.ContainsAny(name, "\n\"'") {
			return nil, errors.New("a line has no NAME=VALUE")
		}
		value, left, err := environmentValue(strings.TrimLeft(rest, " \t"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.TrimSpace(name), err)
		}
		values[strings.TrimSpace(name)], text = value, left
	}
	return values, nil
}

// environmentValue reads up to the end of the line that the value ends on.
func environmentValue(text string) (value, rest string, err error) {
	var out strings.Builder
	quote, solid := byte(0), 0 // solid is the length of out up to the last byte that was quoted or is not blank
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote == 0 && (c == '\n' || c == '\r'):
			return out.String()[:solid], text[i:], nil
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			if text[i] != '\n' {
				out.WriteByte(text[i])
				solid = out.Len()
			}
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote, solid = 0, out.Len()
		default:
			out.WriteByte(c)
			if quote != 0 || c != ' ' && c != '\t' {
				solid = out.Len()
			}
		}
	}
	if quote != 0 {
		return "", "", errors.New("a quote is not closed")
	}
	return out.String()[:solid], "", nil
}
