package sqltest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mutation is a seeded bug, to check that a test notices it. Several are built into one program, because a build takes
// half a minute of processor time; SEEDED_BUGS lists the active ones by name. The code that Change writes calls
// seeded("name", with the bug, without it), and dieSoon() to end the process a moment later.
type Mutation struct {
	Name    string // without a comma; empty for a bug that is always active
	File    string
	Change  func(t testing.TB, source string) string
	Package string // the file's; empty means the store
}

// seeded is a file that is added to each package with a bug.
const seeded = `package %s

import (
	"os"
	"slices"
	"strings"
	"time"
)

func seeded[T any](bug string, with, without T) T {
	if slices.Contains(strings.Split(os.Getenv("SEEDED_BUGS"), ","), bug) {
		return with
	}
	return without
}

func dieSoon() {
	time.Sleep(5 * time.Millisecond)
	if itself, err := os.FindProcess(os.Getpid()); err == nil && itself.Kill() == nil {
		select {}
	}
}
`

// Names returns the value of SEEDED_BUGS that activates these bugs.
func Names(mutations ...Mutation) string {
	names := make([]string, len(mutations))
	for i, mutation := range mutations {
		names[i] = mutation.Name
	}
	return strings.Join(names, ",")
}

// Seeded returns the environment for tests that were built with bugs.
func Seeded(mutations ...Mutation) []string {
	return append(os.Environ(), "SEEDED_BUGS="+Names(mutations...), "OTP_MUTANT=1")
}

// WithoutGuard accepts a write although the row has changed since it was read.
var WithoutGuard = Mutation{Name: "without guard", File: "batch_rows.go", Change: func(t testing.TB,
	source string) string {
	t.Helper()
	const guard = "` + seeded(`without guard`, `? > 0`, `version = ?`)"
	source = Replace(t, source, "WHERE id = ? AND version = ?`", "WHERE id = ? AND "+guard, 2)
	return Replace(t, source, "WHERE version = ? AND id IN `", "WHERE "+guard+"+` AND id IN `", 1)
}}

// Replace replaces old, which must occur exactly times times: a mutation that no longer fits the source would build a
// program without the bug.
func Replace(t testing.TB, source, old, replacement string, times int) string {
	t.Helper()
	if found := strings.Count(source, old); found != times {
		t.Fatalf("the mutation no longer fits the source, which has it %d times and not %d:\n%s", found, times, old)
	}
	return strings.ReplaceAll(source, old, replacement)
}

// Overlay returns a file for the -overlay flag of go build and go test, which then use the mutated sources. The
// sources themselves do not change.
func Overlay(t testing.TB, mutations ...Mutation) string {
	t.Helper()
	folder := t.TempDir()
	texts := map[string]string{} // by path
	for _, mutation := range mutations {
		at, name := sources(t, mutation.Package)
		path := filepath.Join(at, mutation.File)
		if texts[path] == "" {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(source)
		}
		texts[path] = mutation.Change(t, texts[path])
		texts[filepath.Join(at, "seeded.go")] = fmt.Sprintf(seeded, name)
	}
	replaced := map[string]string{}
	for path, text := range texts {
		replaced[path] = filepath.Join(folder, fmt.Sprintf("%d.go", len(replaced)))
		if err := os.WriteFile(replaced[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(overlay, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// Tests builds the tests of the current folder with bugs, and returns the program's path.
func Tests(t testing.TB, mutations ...Mutation) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "mutants.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-o", program, "-overlay", Overlay(t, mutations...))
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as other builds of tests, which then share packages
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tests with bugs: %v\n%s", err, output)
	}
	return program
}

// sources returns the folder of a package, and its name.
func sources(t testing.TB, imported string) (folder, name string) {
	t.Helper()
	if imported == "" {
		imported = "otpbridge/sql"
	}
	listed, err := exec.Command("go", "list", "-f", "{{.Dir}}\n{{.Name}}", imported).Output()
	if err != nil {
		t.Fatalf("find the sources of %s: %v", imported, err)
	}
	folder, name, _ = strings.Cut(strings.TrimSpace(string(listed)), "\n")
	return folder, name
}
