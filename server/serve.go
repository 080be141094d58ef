package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"otpbridge/config"
)

type serveCommand struct{}

// Help implements kong.HelpProvider.
func (serveCommand) Help() string {
	var text strings.Builder
	text.WriteString("Everything is set by environment variables, for example:\n\n" +
		"    OTPBRIDGE_ADDR=127.0.0.1:9000 OTPBRIDGE_LOG_LEVEL=debug otpbridge serve\n\n" +
		"These exist, with their defaults:\n\n")
	for _, setting := range config.Reference() {
		fmt.Fprintf(&text, "    %-32s %s\n", setting.Name, strings.ReplaceAll(setting.Default, "'", ""))
	}
	text.WriteString("\nAt the first SIGTERM or SIGINT the server finishes the requests in flight; at the second it " +
		"ends at once. After SIGTERM, and in production also after SIGINT, it first says that it is not ready, and " +
		"goes on serving for a fifth of OTPBRIDGE_SHUTDOWN_TIMEOUT.")
	return text.String()
}

// Run serves until a signal stops it. If the log is JSON, an error of the start or the end is logged as a
// line too, because a collector reads only those; otherwise it is printed as text.
func (serveCommand) Run(p process) error {
	writer := newLogWriter(p.stderr)
	defer writer.Close()
	err := serve(p, writer)
	if err != nil && writesJSON(p.environ) {
		newLog(config.Settings{LogFormat: config.JSONFormat}, writer).Error("the server ended", "error", err.Error())
		return told{err}
	}
	return err
}

// told is an error that has already been shown.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

func serve(p process, writer *logWriter) error {
	settings, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	log := newLog(settings, writer)
	stopAsked, stopListening := untilTold()
	defer stopListening()

	server := New(settings, log)
	if err := server.Start(stopAsked); err != nil {
		return err
	}
	if settings.Sandbox() {
		password, err := server.openDemo()
		if err != nil {
			return errors.Join(err, server.Shutdown(context.Background()))
		}
		fmt.Fprint(p.stdout, welcome(server.URL(), settings.ContextPath, password))
	}
	debug.FreeOSMemory() // what only the start needed
	select {
	case <-stopAsked.Done():
	case <-server.Broken():
	case <-server.Outdated():
	}
	if wasTerminated(stopAsked) {
		return server.Terminate(context.Background())
	}
	return server.Shutdown(context.Background())
}

func newLog(settings config.Settings, out *logWriter) *slog.Logger {
	options := &slog.HandlerOptions{Level: settings.LogLevel}
	if settings.LogFormat == config.JSONFormat {
		return slog.New(withUnits{urgent{slog.NewJSONHandler(out, options), out}})
	}
	return slog.New(withUnits{urgent{slog.NewTextHandler(out, options), out}})
}

// untilTold returns a context that ends with the first SIGTERM or SIGINT. A second one ends the process at
// once, with the exit code that shells use for that signal. The signal's default action cannot be used: the
// kernel ignores it for process 1, which the server is in a container. Stop restores the signals and ends
// the context.
func untilTold() (told context.Context, stop func()) {
	told, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case received := <-signals:
				if !first {
					os.Exit(128 + int(received.(syscall.Signal)))
				}
				cancel(bySignal{received.(syscall.Signal)})
			case <-done:
				return
			}
		}
	}()
	return told, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// bySignal is why a context of untilTold ended.
type bySignal struct{ signal syscall.Signal }

func (b bySignal) Error() string { return b.signal.String() }

// wasTerminated reports whether SIGTERM, which a supervisor sends, ended a context of untilTold.
func wasTerminated(told context.Context) bool {
	return context.Cause(told) == error(bySignal{syscall.SIGTERM})
}
