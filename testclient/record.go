package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"otpbridge/testclient/conform"
)

type recordCommand struct {
	Target string `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server behind. A path in it stands before the names of the servlets."`
	Listen string `default:"127.0.0.1:8090" placeholder:"ADDR" help:"Where to listen; point the integration there instead."`
	File   string `arg:"" help:"What to write. It must not exist yet."`
	reach
}

// stopWait is how long exchanges in progress may take once the recording is stopped.
const stopWait = 5 * time.Second

// Run records until it is interrupted.
func (c *recordCommand) Run(ctx context.Context, p process) error {
	target, err := c.reach.target(c.Target)
	if err != nil {
		return err
	}
	defer target.Close()
	file, err := os.OpenFile(c.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return &conform.Trouble{Tried: "make the transcript", Err: err,
			Remedy: "Name a file that does not exist yet, in a folder that can be written."}
	}
	defer file.Close()
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return &conform.Trouble{Tried: "listen", Err: err,
			Remedy: "Give --listen an address of this machine with a free port."}
	}

	recorder := conform.NewRecorder(target, file, func(text string) { fmt.Fprintln(p.stderr, text) })
	server := &http.Server{Handler: recorder, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(p.stderr, "Recording what is said to http://%s, for %s. Stop with Ctrl-C.\n", listener.Addr(), c.Target)
	select {
	case <-ctx.Done():
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	}
	// Streams never end by themselves, so the wait is bounded.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop listening: %w", err)
	}
	n, err := recorder.Count()
	if err != nil {
		return &conform.Trouble{Tried: "write the transcript", Err: err, Remedy: "Is there room on the disk? Record again."}
	}
	fmt.Fprintf(p.stderr, "%d exchanges written to %s.\n", n, c.File)
	return nil
}
