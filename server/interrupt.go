package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

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
