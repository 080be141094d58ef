package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"otpbridge/config"
)

type serveCommand struct{}

// Help is shown below the flags.
func (serveCommand) Help() string {
	var text strings.Builder
	text.WriteString("Everything is set by environment variables, for example:\n\n" +
		"    OTPBRIDGE_ADDR=127.0.0.1:9000 OTPBRIDGE_LOG_LEVEL=debug otpbridge serve\n\n" +
		"These exist, with their defaults:\n\n")
	for _, setting := range config.Reference() {
		fmt.Fprintf(&text, "    %-32s %s\n", setting.Name, strings.ReplaceAll(setting.Default, "'", ""))
	}
	text.WriteString("\nA first SIGTERM or SIGINT finishes the requests in flight; a second one ends at once. After " +
		"SIGTERM the server first " +
		"says that it is not ready, and goes on serving for a fifth of OTPBRIDGE_SHUTDOWN_TIMEOUT; so it does after " +
		"SIGINT in production.")
	return text.String()
}

// Run serves until the process is told to stop. What keeps it from starting, or goes wrong at its end, is
// a line of the log where the log is JSON, since a collector reads nothing else; a person reads it as text.
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

// told is an error that has been shown.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

func serve(p process, writer *logWriter) error {
	settings, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	log := newLog(settings, writer)
	collectLess(p.environ)
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

// collectLess trades memory, of which the server needs little, for time: its live heap is a few
// megabytes, and collecting whenever that has doubled takes a tenth of the processor under load.
// Whoever sets GOGC has decided otherwise.
func collectLess(environ []string) {
	if !set(environ, "GOGC") {
		debug.SetGCPercent(300)
	}
}

func set(environ []string, name string) bool {
	return slices.ContainsFunc(environ, func(variable string) bool { return strings.HasPrefix(variable, name+"=") })
}
