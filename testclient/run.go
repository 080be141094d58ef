package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"otpbridge/testclient/conform"
)

// reach holds the flags for reaching a server.
type reach struct {
	CA      string        `name:"ca" placeholder:"FILE" type:"existingfile" help:"Certificates (PEM) of the authority that signed the target's."`
	Timeout time.Duration `default:"10s" help:"How long one answer may take."`
}

func (r reach) target(address string) (*conform.Target, error) {
	var roots *x509.CertPool
	if r.CA != "" {
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, &conform.Trouble{Tried: "read the certificates of --ca", Err: err,
				Remedy: "Name a file that can be read."}
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, &conform.Trouble{Tried: r.CA + " holds no certificate",
				Remedy: "--ca wants certificates as PEM: -----BEGIN CERTIFICATE-----."}
		}
	}
	return conform.NewTarget(address, r.Timeout, roots)
}

// given holds the flags for the account to use if the target does not create one.
type given struct {
	AccessKey string `placeholder:"KEY" env:"TESTCLIENT_ACCESS_KEY" help:"Access key of the account to test with. A sandbox makes its own accounts."`
	CipherKey string `placeholder:"KEY" env:"TESTCLIENT_CIPHER_KEY" help:"Its cipher key: base64, hex, or with the IV as iv~key."`
	CipherIV  string `name:"cipher-iv" placeholder:"IV" env:"TESTCLIENT_CIPHER_IV" help:"Its cipher IV: base64 or hex."`
	Mobile    string `placeholder:"NUMBERS" env:"TESTCLIENT_MOBILE" help:"Numbers of your own that may be sent to: one, several with commas, or a range from-to."`
	Codes     string `placeholder:"SOURCE" help:"Where codes come from: sandbox, inbox=ADDR (serves an inbox for the target's SMS gateway), command=CMD (gets the number, prints the code), ask (a person types)."`
}

// keys holds the flags for the keys to use at /v1 if the target does not create an account.
type keys struct {
	APIKey        string `name:"api-key" placeholder:"KEY" env:"TESTCLIENT_API_KEY" help:"API key of the same account, for /v1. Without one the cases of /v1 are skipped."`
	SigningSecret string `placeholder:"SECRET" env:"TESTCLIENT_SIGNING_SECRET" help:"What requests with the API key may be signed with, if it may sign."`
	OtherAPIKey   string `name:"other-api-key" placeholder:"KEY" env:"TESTCLIENT_OTHER_API_KEY" help:"API key of the same account in another environment, of live, test and dev."`
}

// codes opens the source that --codes names; nil means the target's default.
func (g given) codes(p process) (source conform.CodeSource, closing func(), err error) {
	kind, argument, _ := strings.Cut(g.Codes, "=")
	closing = func() {}
	switch {
	case g.Codes == "" || g.Codes == "sandbox":
		return nil, closing, nil
	case g.Codes == "ask":
		return conform.AskedCodes(p.stdin, p.stderr), closing, nil
	case kind == "command" && argument != "":
		return conform.CommandCodes(argument), closing, nil
	case kind == "inbox" && argument != "":
		box, err := conform.NewInbox(argument)
		if err != nil {
			return nil, closing, err
		}
		fmt.Fprintf(p.stderr, "Waiting for messages at %s; point the SMS gateway of the target there.\n", box.URL())
		return box, func() { _ = box.Close() }, nil
	}
	return nil, closing, &conform.Trouble{Tried: "--codes does not know " + strconv.Quote(kind),
		Remedy: "Write sandbox, inbox=ADDR, command=CMD or ask."}
}

const maxMobiles = 100_000

// mobiles reads --mobile.
func (g given) mobiles() ([]string, error) {
	if g.Mobile == "" {
		return nil, nil
	}
	wrong := &conform.Trouble{Tried: "--mobile cannot be read",
		Remedy: "Write digits with the country code: one number, several with commas, or a range such as " +
			"919876543000-919876543099."}
	var list []string
	for part := range strings.SplitSeq(g.Mobile, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 63)
		if err != nil || first[0] == '+' {
			return nil, wrong
		}
		to, err := strconv.ParseUint(last, 10, 63)
		if err != nil || to < from || to-from >= maxMobiles {
			return nil, wrong
		}
		for number := from; number <= to; number++ {
			list = append(list, strconv.FormatUint(number, 10))
		}
	}
	return list, nil
}

type picks struct {
	Profile string   `default:"auto" enum:"auto,documented,live" help:"Which texts to expect: ${enum}."`
	Level   string   `default:"may" enum:"must,should,may" help:"Up to which level to go: must (the vendor's article), should (evidence), may (this project's choices)."`
	Cases   []string `arg:"" optional:"" name:"case" help:"Beginnings of ids such as servlet/validate, or globs such as 'servlet/*/1'."`
}

func (k picks) profile() conform.Profile {
	if k.Profile == "auto" {
		return conform.Any
	}
	return conform.Profile(k.Profile)
}

func (k picks) level() conform.Level {
	level, _ := conform.ParseLevel(k.Level) // kong has checked it
	return level
}

type runCommand struct {
	Target   string   `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server. A path in it stands before the names of the servlets, /otpauthapi if there is none."`
	Report   []string `placeholder:"FORMAT=PATH" sep:"none" help:"Write a report as text, junit, json, markdown or html; - is stdout. May be repeated."`
	Slow     bool     `help:"Really wait where time has to pass and the target has no clock to turn."`
	Parallel int      `default:"8" help:"How many cases at once, against a sandbox."`
	Verbose  bool     `short:"v" help:"Name every case."`
	given
	keys
	reach
	picks
}

// Run tests a server.
func (c *runCommand) Run(ctx context.Context, p process) error {
	reports, err := readReports(c.Report)
	if err != nil {
		return err
	}
	target, err := c.reach.target(c.Target)
	if err != nil {
		return err
	}
	defer target.Close()
	mobiles, err := c.mobiles()
	if err != nil {
		return err
	}
	codes, closing, err := c.codes(p)
	if err != nil {
		return err
	}
	defer closing()

	out := p.stdout
	if writesStdout(reports) {
		out = p.stderr // the report for machines goes to stdout alone
	}
	screen := conform.Terminal{Out: out, Fancy: isTerminal(out), Verbose: c.Verbose}
	report, err := conform.Run(ctx, conform.Options{
		Target: target, Cases: conform.Cases(), Profile: c.profile(), Level: c.level(), Patterns: c.Cases,
		AccessKey: c.AccessKey, CipherKey: c.CipherKey, CipherIV: c.CipherIV, Mobiles: mobiles, Codes: codes,
		APIKey: c.APIKey, SigningSecret: c.SigningSecret, OtherAPIKey: c.OtherAPIKey,
		Slow: c.Slow, Parallel: c.Parallel, Progress: screen.Progress,
	})
	if err != nil {
		return err
	}
	if err := screen.Write(report); err != nil {
		return fmt.Errorf("write to the terminal: %w", err)
	}
	for _, wanted := range reports {
		if err := wanted.write(report, p); err != nil {
			return err
		}
	}
	if code := report.ExitCode(); code != conform.ExitPass {
		return verdict(code)
	}
	return nil
}

type wantedReport struct{ format, path string }

// readReports checks before the run, which may be long, that its reports can be written.
func readReports(arguments []string) ([]wantedReport, error) {
	var list []wantedReport
	for _, argument := range arguments {
		format, path, _ := strings.Cut(argument, "=")
		if conform.Formats[format] == nil || path == "" {
			return nil, &conform.Trouble{Tried: "--report does not know " + strconv.Quote(argument),
				Remedy: "Write FORMAT=PATH, with text, junit, json, markdown or html as the format."}
		}
		if path != "-" {
			file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				return nil, &conform.Trouble{Tried: "open the report", Err: err,
					Remedy: "Name a path in --report that can be written."}
			}
			_ = file.Close()
		}
		list = append(list, wantedReport{format, path})
	}
	return list, nil
}

func writesStdout(reports []wantedReport) bool {
	for _, wanted := range reports {
		if wanted.path == "-" {
			return true
		}
	}
	return false
}

func (w wantedReport) write(report *conform.Report, p process) error {
	var text bytes.Buffer
	if err := conform.Formats[w.format](&text, report); err != nil {
		return fmt.Errorf("make the report %s: %w", w.format, err)
	}
	if w.path == "-" {
		_, err := p.stdout.Write(text.Bytes())
		return err
	}
	if err := os.WriteFile(w.path, text.Bytes(), 0o644); err != nil {
		return &conform.Trouble{Tried: "write the report", Err: err, Remedy: "Name a path in --report that can be written."}
	}
	return nil
}

// isTerminal reports whether w is a terminal that shows colours (see no-color.org).
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

type listCommand struct {
	picks
}

// Run lists the cases that the arguments select.
func (c *listCommand) Run(p process) error {
	cases, err := conform.Selected(conform.Cases(), c.Cases, c.level(), c.profile())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tlevel\tfrom\tprofile\trequirement")
	for _, one := range cases {
		profile := string(one.Profile)
		switch one.Profile {
		case conform.Any:
			profile = "both"
		case conform.None:
			profile = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", one.ID, one.Level, one.Source, profile, one.Requirement)
	}
	return table.Flush()
}
