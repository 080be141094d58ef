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

	"github.com/alecthomas/kong"

	"otpbridge/config"
)

// Exit codes. A supervisor may restart after 1 and should not after 2: nothing will have changed.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUnusable = 2
)

func main() {
	os.Exit(run(os.Args[1:], process{environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr}))
}

// process is what a command has of the process it runs in.
type process struct {
	environ []string
	stdout  io.Writer
	stderr  io.Writer
}

type commandLine struct {
	Serve    serveCommand    `cmd:"" default:"1" help:"Serve until SIGTERM or SIGINT. This is what happens without a command."`
	Health   healthCommand   `cmd:"" help:"Ask a running server whether it is ready; exit code 0 says that it is."`
	SendTest sendTestCommand `cmd:"" name:"send-test" help:"Send one message through the channels that are set, and say how it ended."`
	Param    paramCommand    `cmd:"" help:"Make or read the encrypted otp parameter of the servlets."`
	Key      keyCommand      `cmd:"" help:"Make, list, rotate and revoke keys."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

const description = `OTPBridge sends one-time codes and verifies them, for integrations written against the OTP servlets.

Exit codes: 0 done, 1 failed, 2 the command line, a setting or what it points to has to be changed first.`

// unusable is an error that stays until a person changes something.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// exited carries an exit code out of kong, which exits when it has shown help.
type exited int

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
	parser := kong.Must(new(commandLine),
		kong.Name("otpbridge"),
		kong.Description(description),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100, NoExpandSubcommands: true}),
	)
	command, err := parser.Parse(arguments)
	if err != nil {
		fmt.Fprintf(p.stderr, "otpbridge: %v\nRun \"otpbridge --help\" for what there is.\n", err)
		return exitUnusable
	}
	err = command.Run(p)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(p.stderr, "otpbridge: %v\n", err)
	_, misused := errors.AsType[unusable](err)
	_, misset := errors.AsType[config.Faults](err)
	if misused || misset {
		return exitUnusable
	}
	return exitFailed
}
