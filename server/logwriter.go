package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"
)

// A line for every request is a system call for every request, a twentieth of what a request
// costs. So lines gather for a moment and are written together; a warning or an error takes what
// has gathered along at once, since it may be the last thing that the process says.
const (
	logGathers = 100 * time.Millisecond
	logBuffer  = 64 << 10
)

// logWriter is the end of a log.
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
			_ = w.Flush() // a log that cannot be written has nowhere to say so
		case <-w.stop:
			return
		}
	}
}

// Write implements io.Writer. JSON leaves characters as they are that move their neighbours on a
// screen; here they are escaped.
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

// Flush writes what has gathered.
func (w *logWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Flush()
}

// Close writes what has gathered and ends the gathering.
func (w *logWriter) Close() error {
	close(w.stop)
	<-w.done
	return w.Flush()
}

// urgent is a handler that lets no warning or error wait.
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
