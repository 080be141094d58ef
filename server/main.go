// Command otpbridge is the server and its command line. This package wires the others together. It has
// the routes, the client's address, readiness, the order in which everything starts and stops, and the
// text that a sandbox prints when it starts.
//
// It promises: an accepted request is answered within the time in the settings, also during a shutdown;
// the log contains no recipient, code or secret; and a server that cannot start says why, and what to do
// about it.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"otpbridge/config"
	"otpbridge/server/vault"
)

// Exit codes. A supervisor may restart the server after 1, but not after 2: it would fail the same way.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUnusable = 2
)

func main() {
	os.Exit(run(os.Args[1:], process{environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// process is what a command uses of the operating system's process. Tests run commands with their own.
type process struct {
	environ []string
	stdin   io.Reader // nil: nothing to read
	stdout  io.Writer
	stderr  io.Writer
}

type commandLine struct {
	Serve      serveCommand      `cmd:"" default:"1" help:"Serve until SIGTERM or SIGINT. This is what happens without a command."`
	Health     healthCommand     `cmd:"" help:"Ask a running server whether it is ready; exit code 0 means yes."`
	Doctor     doctorCommand     `cmd:"" help:"Find what is wrong here or soon will be, and say what to do."`
	Config     configCommand     `cmd:"" help:"Show every setting, its value and where the value comes from."`
	Migrate    migrateCommand    `cmd:"" help:"Update the database's schema, or show its versions."`
	Account    accountCommand    `cmd:"" help:"Manage accounts: the customers' systems that send codes."`
	Key        keyCommand        `cmd:"" help:"Manage the accounts' keys for the servlets and the JSON API."`
	Migration  migrationCommand  `cmd:"" help:"Follow how accounts move from the servlets to the JSON API."`
	Privacy    privacyCommand    `cmd:"" help:"Report which personal data is kept, and repeat erasures after a restore."`
	Service    serviceCommand    `cmd:"" help:"Manage service accounts, which automation uses."`
	Recipient  recipientCommand  `cmd:"" help:"Help a person who is locked out."`
	Setup      setupCommand      `cmd:"" help:"Print a link with which the first owner registers."`
	User       userCommand       `cmd:"" help:"Manage the people who may log in."`
	Keyring    keyringCommand    `cmd:"" help:"Manage the keys that encrypt stored data."`
	Audit      auditCommand      `cmd:"" help:"Verify and export the log of what happened."`
	SendTest   sendTestCommand   `cmd:"" name:"send-test" help:"Send one message through the configured channels, and say whether it was sent."`
	Param      paramCommand      `cmd:"" help:"Make or read the encrypted otp parameter of the servlets."`
	Completion completionCommand `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	Help       helpCommand       `cmd:"" help:"Show the help of a command, and the exit codes."`
	Version    versionCommand    `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// description returns the first part of the help.
func description() string {
	var text strings.Builder
	text.WriteString("OTPBridge sends one-time codes and verifies them, for integrations written against the OTP " +
		"servlets.\n\n" +
		"Exit codes:\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&text, "\n    %d  %s", e.code, e.meaning)
	}
	return text.String()
}

// unusable is an error that a retry cannot solve: a person has to change something first.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// exited carries an exit code out of kong, which exits when it has shown help.
type exited int

func newParser(p process) *kong.Kong {
	return kong.Must(new(commandLine),
		kong.Name("otpbridge"),
		kong.Description(description()),
		kong.Writers(p.stdout, p.stderr),
		kong.Vars{"version": versionLine()},
		kong.TypeMapper(reflect.TypeFor[[]string](), kong.MapperFunc(list)),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100, NoExpandSubcommands: true}),
	)
}

// run runs a command line and returns the exit code.
func run(arguments []string, p process) (code int) {
	defer func() {
		if value := recover(); value != nil {
			early, ok := value.(exited)
			if !ok {
				panic(value)
			}
			code = int(early)
		}
	}()
	command, err := newParser(p).Parse(arguments)
	if err == nil {
		err = refuseEmpty(command)
	}
	if err != nil && len(arguments) > 0 && arguments[0] == "access-key" {
		err = errors.New(`there is no access-key: write "otpbridge key create ACCOUNT --kind access_key", and key list, show, rotate and revoke`)
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "otpbridge: %v\nRun \"otpbridge --help\" for what there is.\n", err)
		return exitUnusable
	}
	err = command.Run(p)
	if err == nil {
		return exitOK
	}
	if _, shown := errors.AsType[told](err); !shown {
		fmt.Fprintf(p.stderr, "otpbridge: %v\n", err)
	}
	_, misused := errors.AsType[unusable](err)
	_, misset := errors.AsType[config.Faults](err)
	_, misskeyed := errors.AsType[vault.KeyringError](err)
	if misused || misset || misskeyed {
		return exitUnusable
	}
	return exitFailed
}
