package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// released runs make release for one program on this platform, and returns the checksums. It makes no bills of
// materials, whose tool would have to be built first.
func released(t *testing.T, folder string) string {
	t.Helper()
	out, err := exec.Command("make", "-C", "..", "release", "RELEASE="+folder, "VERSION=v0.0.1-test",
		"PROGRAMS=testclient", "PLATFORMS="+runtime.GOOS+"/"+runtime.GOARCH, "SBOM=true").CombinedOutput()
	require.NoError(t, err, "%s", out)
	sums, err := os.ReadFile(filepath.Join(folder, "SHA256SUMS"))
	require.NoError(t, err)
	return string(sums)
}

func TestRelease_RunsHasItsVersionAndIsReproducible(t *testing.T) {
	needs(t, "make", "sha256sum")
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	sums := released(t, first)
	name := "otpbridge-testclient-v0.0.1-test-" + runtime.GOOS + "-" + runtime.GOARCH
	require.Regexp(t, "^[0-9a-f]{64}  "+name+"\n$", sums)
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = first
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)

	says, err := exec.Command(filepath.Join(first, name), "--version").CombinedOutput()
	require.NoError(t, err, "%s", says)
	require.Contains(t, string(says), "v0.0.1-test")
	content, err := os.ReadFile(filepath.Join(first, name))
	require.NoError(t, err)
	here, err := filepath.Abs("..")
	require.NoError(t, err)
	require.False(t, bytes.Contains(content, []byte(here)), "where it was built is not in it")

	require.Equal(t, sums, released(t, second))
}

func TestRelease_HasBothProgramsForEveryPlatform(t *testing.T) {
	needs(t, "make")
	out, err := exec.Command("make", "-C", "..", "--dry-run", "release").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, processor := range []string{"amd64", "arm64"} {
			require.Contains(t, string(out), " "+system+"/"+processor)
		}
	}
	require.Contains(t, string(out), "for program in server testclient;")
	for _, must := range []string{"CGO_ENABLED=0", "-trimpath", "-X main.stamped=", "cyclonedx-gomod@v1.", "sha256sum"} {
		require.Contains(t, string(out), must)
	}
}

// The release workflow uses make release and the changelog's section for the version.
func TestRelease_TheChangelogHasASectionForTheVersion(t *testing.T) {
	needs(t, "awk")
	workflow, err := os.ReadFile("../.github/workflows/release.yml")
	require.NoError(t, err)
	require.Contains(t, string(workflow), "make release")
	_, script, found := strings.Cut(string(workflow), "awk -v version=\"${GITHUB_REF_NAME#v}\" '")
	require.True(t, found)
	script, _, _ = strings.Cut(script, "'")
	for version, holds := range map[string]bool{"0.1.0": true, "9.9.9": false, "0": false, "": false} {
		out, err := exec.Command("awk", "-v", "version="+version, script, "../CHANGELOG.md").Output()
		require.NoError(t, err)
		require.Equal(t, holds, strings.Contains(string(out), "### Added"), version)
		require.NotContains(t, string(out), "\n## [")
	}
}
