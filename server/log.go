package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"otpbridge/config"
)

// milliseconds returns a duration as the log writes it: in milliseconds, with the unit in the name. slog would
// write nanoseconds into JSON, without a unit.
func milliseconds(name string, d time.Duration) slog.Attr {
	return slog.Float64(name+"_ms", float64(d.Microseconds())/1000)
}

// withUnits is a handler that writes every duration of a line in milliseconds.
type withUnits struct{ slog.Handler }

// Handle implements slog.Handler.
func (u withUnits) Handle(ctx context.Context, r slog.Record) error {
	durations := false
	r.Attrs(func(a slog.Attr) bool {
		durations = isDuration(a)
		return !durations
	})
	if !durations {
		return u.Handler.Handle(ctx, r)
	}
	line := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		line.AddAttrs(inMilliseconds(a))
		return true
	})
	return u.Handler.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (u withUnits) WithAttrs(attrs []slog.Attr) slog.Handler {
	attrs = slices.Clone(attrs)
	for i := range attrs {
		attrs[i] = inMilliseconds(attrs[i])
	}
	return withUnits{u.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (u withUnits) WithGroup(name string) slog.Handler { return withUnits{u.Handler.WithGroup(name)} }

func isDuration(a slog.Attr) bool {
	switch a.Value.Kind() {
	case slog.KindDuration, slog.KindLogValuer:
		return true
	case slog.KindGroup:
		return slices.ContainsFunc(a.Value.Group(), isDuration)
	}
	return false
}

func inMilliseconds(a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindDuration:
		return milliseconds(a.Key, value.Duration())
	case slog.KindGroup:
		members := slices.Clone(value.Group())
		for i := range members {
			members[i] = inMilliseconds(members[i])
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(members...)}
	}
	return slog.Attr{Key: a.Key, Value: value}
}

// writesJSON reports whether a server with this environment logs JSON. It does not read Settings, because
// errors of the settings themselves are logged in the same form.
func writesJSON(environ []string) bool {
	value := func(name string) string {
		for _, variable := range slices.Backward(environ) {
			if set, found := strings.CutPrefix(variable, config.Prefix+name+"="); found {
				return set
			}
		}
		return ""
	}
	switch value("LOG_FORMAT") {
	case string(config.JSONFormat):
		return true
	case "":
		return value("MODE") == string(config.Production)
	}
	return false
}

// A system call for each request's line would take a twentieth of the request's time. So lines are
// buffered and written together. A warning or an error is written at once, with what is buffered: it may
// be the process's last line.
const (
	logGathers = 100 * time.Millisecond
	logBuffer  = 64 << 10
)

// logWriter buffers the log and writes it at least every logGathers.
type logWriter struct {
	mu   sync.Mutex
	out  *bufio.Writer
	stop chan struct{}
	done chan struct{}
}

func newLogWriter(out io.Writer) *logWriter {
	w := &logWriter{out: bufio.NewWriterSize(out, logBuffer), stop: make(chan struct{}), done: make(chan struct{})}
	go w.keepFlushing()
	return w
}

func (w *logWriter) keepFlushing() {
	defer close(w.done)
	ticker := time.NewTicker(logGathers)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = w.Flush() // there is nowhere to report that the log cannot be written
		case <-w.stop:
			return
		}
	}
}

// Write implements io.Writer. It escapes characters that reorder their neighbours on a screen, which
// JSON does not.
func (w *logWriter) Write(line []byte) (int, error) {
	plain := line
	if bytes.ContainsFunc(line, func(r rune) bool { return r >= utf8.RuneSelf }) {
		plain = []byte(escaped(string(line), "\n\t"))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.out.Write(plain); err != nil {
		return 0, err
	}
	return len(line), nil
}

// Flush writes what is buffered.
func (w *logWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Flush()
}

// Close writes what is buffered and stops the periodic flush.
func (w *logWriter) Close() error {
	close(w.stop)
	<-w.done
	return w.Flush()
}

// urgent is a handler that flushes the writer after a warning or an error.
type urgent struct {
	slog.Handler
	writer *logWriter
}

// Handle implements slog.Handler.
func (u urgent) Handle(ctx context.Context, r slog.Record) error {
	err := u.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		err = errors.Join(err, u.writer.Flush())
	}
	return err
}

// WithAttrs implements slog.Handler.
func (u urgent) WithAttrs(attrs []slog.Attr) slog.Handler {
	return urgent{u.Handler.WithAttrs(attrs), u.writer}
}

// WithGroup implements slog.Handler.
func (u urgent) WithGroup(name string) slog.Handler {
	return urgent{u.Handler.WithGroup(name), u.writer}
}
