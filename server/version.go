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
		fmt.Fprintln(w, versionLine())
	})
}

// versionLine is what --version prints.
func versionLine() string {
	return fmt.Sprintf("otpbridge %s %s %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// stamped is the version that make build links in. Go's own stamping is off (-buildvcs=false): it fails the build in
// another user's checkout.
var stamped string

// version returns the stamped version, or else the module's version that the Go toolchain recorded, which in
// a repository consists of tag and commit. Without either it says so, with the commit if there is one.
func version() string {
	if stamped != "" {
		return stamped
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if build.Main.Version != "" && build.Main.Version != "(devel)" {
		return build.Main.Version
	}
	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			return "devel-" + setting.Value[:min(12, len(setting.Value))]
		}
	}
	return "devel"
}
