// Command testclient tests whether a server speaks the OTP servlet protocol and, if it has one, the JSON API. This
// package is the command line; testclient/conform has the cases and their evaluation.
//
// There are three exit codes: 0 all pass, 1 the server is wrong, 2 the test could not run. An error names its remedy,
// and no secret given to the command is printed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"otpbridge/testclient/conform"
)

func main() {
	os.Exit(run(os.Args[1:], process{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// process holds the streams of the process that a command runs in.
type process struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

type commandLine struct {
	Run    runCommand    `cmd:"" default:"withargs" help:"Test a server. This is what happens without a command."`
	List   listCommand   `cmd:"" help:"List the cases. Needs no server."`
	Diff   diffCommand   `cmd:"" help:"Play one conversation against two servers and print what differs, byte for byte."`
	Record recordCommand `cmd:"" help:"Stand between an integration and its server, and write down what they say, without secrets."`
	Replay replayCommand `cmd:"" help:"Play a recorded conversation against a server and print what differs."`
	Load   loadCommand   `cmd:"" help:"Generate and validate as fast as a server can, and show how fast that was."`
	Help   helpCommand   `cmd:"" help:"Show this."`

	Version kong.VersionFlag `help:"Show which version this is."`
}

const description = `Does this server speak the OTP servlet protocol, and the JSON API /v1 where it has one?

Exit codes: 0 all pass, 1 the server is wrong or differs, 2 the test could not run.`

// stamped is the version that make release links in.
var stamped string

// version returns the stamped version, else what the Go toolchain recorded.
func version() string {
	if build, ok := debug.ReadBuildInfo(); ok && stamped == "" {
		return build.Main.Version
	}
	return stamped
}

// exited carries an exit code out of kong, which exits when it has shown help.
type exited int

// verdict is an exit code without a message.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }

// run runs the program and returns its exit code.
func run(arguments []string, p process) (code int) {
	defer func() {
		switch value := recover().(type) {
		case nil:
		case exited:
			code = int(value)
		default:
			// A stack trace does not help someone who tests a server.
			fmt.Fprintf(p.stderr, "testclient: a fault of this client: %v\n  Please report it, with the command line but "+
				"without its secrets.\n", value)
			code = conform.ExitCouldNot
		}
	}()
	parser := kong.Must(new(commandLine),
		kong.Name("testclient"),
		kong.Description(description),
		kong.Vars{"version": "testclient " + version()},
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100, NoExpandSubcommands: true}),
	)
	command, err := parser.Parse(arguments)
	if err != nil {
		fmt.Fprintf(p.stderr, "testclient: %v\n  Run \"testclient --help\" for what there is.\n", err)
		return conform.ExitCouldNot
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run(p, parser)
	if err == nil {
		return conform.ExitPass
	}
	if v, ok := errors.AsType[verdict](err); ok {
		return int(v)
	}
	fmt.Fprintf(p.stderr, "testclient: %v\n", err)
	return conform.ExitCouldNot
}

type helpCommand struct{}

// Run shows the help.
func (helpCommand) Run(parser *kong.Kong) error {
	_, err := parser.Parse([]string{"--help"})
	return err
}
