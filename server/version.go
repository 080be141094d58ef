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

// stamped is the version that make build links in, because it builds without asking
// the repository: a checkout of another user's, or a container without .git, would fail the build.
var stamped string

// version is the one that was stamped in, else what the Go toolchain recorded: the module's version, which
// within a repository is made of tag and commit. Without either it says so, and gives the commit if there
// is one.
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
