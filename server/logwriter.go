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
