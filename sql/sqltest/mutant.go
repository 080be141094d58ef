package sqltest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mutation is a bug, seeded to see whether a test notices.
type Mutation struct {
	File    string
	Change  func(t testing.TB, source string) string
	Package string // the file's; empty is the store
}

// WithoutGuard lets a write count although the row has changed since it was read.
var WithoutGuard = Mutation{File: "batch_rows.go", Change: func(t testing.TB, source string) string {
	t.Helper()
	source = Replace(t, source, `WHERE id = ? AND version = ?`, `WHERE id = ? AND ? > 0`, 2)
	return Replace(t, source, `WHERE version = ? AND id IN `, `WHERE ? > 0 AND id IN `, 1)
}}

// WithoutLock reads the rows to decide on without locking them, where the database would.
var WithoutLock = Mutation{File: "sql.go", Change: func(t testing.TB, source string) string {
	t.Helper()
	return Replace(t, source, `" FOR UPDATE"`, `""`, 1)
}}

// Replace replaces old, which must be there so many times: a mutation that no longer fits the
// source would make a build without a bug.
func Replace(t testing.TB, source, old, replacement string, times int) string {
	t.Helper()
	if found := strings.Count(source, old); found != times {
		t.Fatalf("the mutation no longer fits the source, which has it %d times and not %d:\n%s", found, times, old)
	}
	return strings.ReplaceAll(source, old, replacement)
}

// Overlay is a file for the -overlay flag of go build and go test, with which they see the mutated
// sources, which stay as they are. No two mutations are of files with one name.
func Overlay(t testing.TB, mutations ...Mutation) string {
	t.Helper()
	folder := t.TempDir()
	replaced := map[string]string{}
	for _, mutation := range mutations {
		original, mutated := filepath.Join(sources(t, mutation.Package), mutation.File), filepath.Join(folder, mutation.File)
		source, err := os.ReadFile(original)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(mutated, []byte(mutation.Change(t, string(source))), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[original] = mutated
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

// sources is the folder of a package.
func sources(t testing.TB, name string) string {
	t.Helper()
	if name == "" {
		name = "otpbridge/sql"
	}
	listed, err := exec.Command("go", "list", "-f", "{{.Dir}}", name).Output()
	if err != nil {
		t.Fatalf("find the sources of %s: %v", name, err)
	}
	return strings.TrimSpace(string(listed))
}
