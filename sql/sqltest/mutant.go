package sqltest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mutation is a bug for a file of the store, seeded to see whether a test notices.
type Mutation struct {
	File   string // of package sql
	Change func(t testing.TB, source string) string
}

// WithoutGuard lets a write count although the row has changed since it was read.
var WithoutGuard = Mutation{"batch_rows.go", func(t testing.TB, source string) string {
	t.Helper()
	return Replace(t, source, `WHERE id = ? AND version = ?`, `WHERE id = ? AND ? > 0`, 2)
}}

// WithoutLock reads the rows to decide on without locking them, where the database would.
var WithoutLock = Mutation{"sql.go", func(t testing.TB, source string) string {
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
// store. The sources stay as they are.
func Overlay(t testing.TB, mutations ...Mutation) string {
	t.Helper()
	listed, err := exec.Command("go", "list", "-f", "{{.Dir}}", "otpbridge/sql").Output()
	if err != nil {
		t.Fatalf("find the store's sources: %v", err)
	}
	sources, folder := strings.TrimSpace(string(listed)), t.TempDir()
	replaced := map[string]string{}
	for _, mutation := range mutations {
		original, mutated := filepath.Join(sources, mutation.File), filepath.Join(folder, mutation.File)
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
