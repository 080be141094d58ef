// Command otpbridge is the server and its command line. This package wires the others together
// and owns what none of them does: the routes, who a request comes from, readiness, the order
// in which everything starts and stops, and what a person reads when they start it.
//
// It promises that a request which was accepted is answered, a shutdown included, within the
// time the settings give it; that nothing which is written to the log names a recipient, a code
// or a secret; and that whatever keeps the server from starting is said with its remedy before
// it ends.
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

// Exit codes. A supervisor may restart after 1 and should not after 2: nothing will have changed.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUnusable = 2
)

func main() {
	os.Exit(run(os.Args[1:], process{environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// process is what a command has of the process it runs in.
type process struct {
	environ []string
	stdin   io.Reader // nil: nothing to read
	stdout  io.Writer
	stderr  io.Writer
}

type commandLine struct {
	Serve      serveCommand      `cmd:"" default:"1" help:"Serve until SIGTERM or SIGINT. This is what happens without a command."`
	Health     healthCommand     `cmd:"" help:"Ask a running server whether it is ready; exit code 0 says that it is."`
	Doctor     doctorCommand     `cmd:"" help:"Look for what is or will go wrong here, with the remedy."`
	Config     configCommand     `cmd:"" help:"Show every setting, its value and where that comes from."`
	Migrate    migrateCommand    `cmd:"" help:"Look after the database's schema."`
	Account    accountCommand    `cmd:"" help:"Look after accounts: the customers' systems that send codes."`
	Key        keyCommand        `cmd:"" help:"Look after the keys of accounts: of the servlets and of the JSON API."`
	Migration  migrationCommand  `cmd:"" help:"Follow accounts on their way from the servlets."`
	Privacy    privacyCommand    `cmd:"" help:"Report what is kept of people, and erase again after a restore."`
	Service    serviceCommand    `cmd:"" help:"Look after service accounts: what automation manages with."`
	Recipient  recipientCommand  `cmd:"" help:"Help a person who is locked out."`
	Setup      setupCommand      `cmd:"" help:"Print a link with which the first owner registers."`
	User       userCommand       `cmd:"" help:"Look after the people who may log in."`
	Keyring    keyringCommand    `cmd:"" help:"Look after the keys that protect everything at rest."`
	Audit      auditCommand      `cmd:"" help:"Verify and export the log of what happened."`
	SendTest   sendTestCommand   `cmd:"" name:"send-test" help:"Send one message through the channels that are set, and say how it ended."`
	Param      paramCommand      `cmd:"" help:"Make or read the encrypted otp parameter of the servlets."`
	Completion completionCommand `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	Help       helpCommand       `cmd:"" help:"Show the help of a command, and the exit codes."`
	Version    versionCommand    `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// description is what the help begins with.
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

// unusable is an error that stays until a person changes something.
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

// run is the program; it returns its exit code.
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
