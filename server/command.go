package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"otpbridge/config"
	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// exitCodes are the program's exit codes, as the help and the operator's page list them.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitOK, "done"},
	{exitFailed, "failed, or doctor found a fault: trying again can help"},
	{exitUnusable, "refused: the command line, a setting or what it points to has to change first"},
}

// asJSON is the --json flag of every command that prints data.
type asJSON struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// print writes data as JSON with the flag, and calls text to write it for a person without.
func (a asJSON) print(w io.Writer, data any, text func(w io.Writer)) error {
	if !a.JSON {
		var out strings.Builder
		text(&out)
		_, err := io.WriteString(w, out.String())
		return err
	}
	return printJSON(w, data)
}

// printJSON writes data as indented JSON, with invisible characters escaped.
func printJSON(w io.Writer, data any) error {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(data); err != nil {
		return err
	}
	_, err := io.WriteString(w, escaped(out.String(), "\n"))
	return err
}

// escaped writes characters that are invisible or that reorder their neighbours as JSON escapes
// (\u202e), except those in keep. The API refuses such names, but plain SQL can write them.
func escaped(text, keep string) string {
	hidden := func(r rune) bool { return !otp.Visible(r) && !strings.ContainsRune(keep, r) }
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if !hidden(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	return out.String()
}

// table writes rows, whose cells are separated by tabs, in aligned columns.
func table(w io.Writer, rows ...string) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(columns, escaped(row, "\t"))
	}
	_ = columns.Flush() // into memory
}

// say writes what came of a command.
func (p process) say(format string, args ...any) error {
	_, err := fmt.Fprintf(p.stdout, format, args...)
	return err
}

// shown formats a time for people, in UTC.
func shown(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05Z") }

func shownOr(at *time.Time, otherwise string) string {
	if at == nil {
		return otherwise
	}
	return shown(*at)
}

// workplace is what a command that runs beside the servers works with: their database and keyring.
type workplace struct {
	settings config.Settings
	store    *sql.Store
	keyring  *crypto.Keyring
	*manage.Manager
}

// work opens the workplace that the settings name, calls do and closes it. Interrupts end do's context.
// It creates no database, schema, keyring or demo account.
func work(p process, do func(ctx context.Context, at *workplace) error) (err error) {
	settings, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	ctx, stop := untilTold()
	defer stop()
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if settings.MayMakeKeyringFile() {
		if _, err := os.Stat(settings.KeyringFile); errors.Is(err, fs.ErrNotExist) {
			return unusable{fmt.Errorf("there is no keyring at %s: set %sKEYRING_FILE and %sDATABASE_URL to what the server "+
				"has", settings.KeyringFile, config.Prefix, config.Prefix)}
		}
	}
	keyring, err := openKeyring(settings, log)
	if err != nil {
		return err
	}
	files, err := openFiles(settings)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, settings, sql.RequireSchema)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	manager, err := manage.Open(ctx, manage.Options{Store: store, Keyring: keyring, Files: files,
		Guard: openGuard(settings), Sandbox: settings.Sandbox()})
	if err != nil {
		return keyringRemedy(err, settings)
	}
	return remedied(do(ctx, &workplace{settings, store, keyring, manager}))
}

// openStore opens the database; schema says what to do with an outdated one.
func openStore(ctx context.Context, settings config.Settings, schema sql.SchemaPolicy) (*sql.Store, error) {
	store, err := sql.Open(ctx, settings.DatabaseURL.Reveal(), sql.Options{Sandbox: settings.Sandbox(), Schema: schema})
	switch {
	case errors.Is(err, sql.ErrNoDatabase):
		return nil,
			unusable{fmt.Errorf(`%w: set %sDATABASE_URL to what the server has, or make one with "otpbridge migrate up"`, err,
				config.Prefix)}
	case err != nil:
		err = databaseRemedy(fmt.Errorf("open database %v: %w", settings.DatabaseURL, err), settings)
		if _, outdated := errors.AsType[sql.SchemaError](err); outdated || errors.Is(err, sql.ErrMayNotMigrate) {
			return nil, unusable{err}
		}
		return nil, err
	}
	return store, nil
}

// remedied replaces a refusal by its message for people, as unusable: the same command would be
// refused again. Other errors stay as they are.
func remedied(err error) error {
	if refusal, ok := errors.AsType[*otp.Error](err); ok && refusal.Message != "" {
		return unusable{errors.New(refusal.Message)}
	}
	return err
}

// isTerminal reports whether r is a terminal, so that a person can be asked.
func isTerminal(r io.Reader) bool {
	file, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	nowhere, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, nowhere)
}

// maxInput is how many bytes of a file or of the standard input a command reads at most.
const maxInput = 16 << 20

// readInput reads a file, or the standard input for "-".
func (p process) readInput(path string) ([]byte, error) {
	from, err := p.openInput(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	content, err := io.ReadAll(io.LimitReader(from, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(content) > maxInput {
		return nil, unusable{fmt.Errorf("%s is larger than %d MiB", path, maxInput>>20)}
	}
	return content, nil
}

// openInput opens a file, or for "-" the standard input.
func (p process) openInput(path string) (io.ReadCloser, error) {
	switch {
	case path == "-" && p.stdin == nil:
		return nil, unusable{errors.New("there is no standard input to read")}
	case path == "-":
		return io.NopCloser(p.stdin), nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, unusable{err}
	}
	return file, nil
}

// readSecret reads a file that holds only a secret. A secret on the command line would be visible to
// other users of the machine.
func (p process) readSecret(path string) (string, error) {
	content, err := p.readInput(path)
	return strings.TrimRight(string(content), "\r\n"), err
}
