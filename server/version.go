package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

type versionCommand struct{ asJSON }

// Run prints it.
func (v versionCommand) Run(p process) error {
	about := struct {
		Version  string `json:"version"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	return v.print(p.stdout, about, func(w io.Writer) {
		fmt.Fprintf(w, "otpbridge %s %s %s\n", about.Version, about.Go, about.Platform)
	})
}

// version is what the Go toolchain recorded when it built the program; nothing is stamped in.
func version() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		return build.Main.Version
	}
	return "unknown"
}
