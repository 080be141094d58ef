package engine_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A harness that has never caught a bug is not trusted. Here the store is built with the classic
// one, rows loaded before the transaction begins, once without and once with the guard: the first
// build must fail the race, the second must pass it.
func TestHarness_CatchesABuildThatLoadsBeforeBeginAndDropsTheGuard(t *testing.T) {
	if os.Getenv("OTP_MUTANT") != "" {
		t.Skip("this is the mutant")
	}
	loadsEarly := func(source string) string {
		source = replace(t, source, `		err := s.writer.transaction(context.Background(), s.dialect.begin, func(w *session) error {
			return s.runBatch(w, operations, try > 1)
		})`, `		if err := s.writer.connect(context.Background()); err != nil {
			return err
		}
		var loaded *batch
		err := s.writer.conn.Raw(func(conn any) (err error) {
			loaded, err = s.load(context.Background(), &session{writer: s.writer, conn: conn.(driver.Conn)}, operations)
			return err
		})
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
		err = s.writer.transaction(context.Background(), s.dialect.begin, func(w *session) error {
			return s.runBatch(w, operations, try > 1, loaded)
		})`)
		source = replace(t, source, `	"context"
`, `	"context"
	"database/sql/driver"
`)
		source = replace(t, source, `operations []*Operation, retry bool) error {`, `operations []*Operation, retry bool, b *batch) error {`)
		return replace(t, source, `	b, err := s.load(ctx, w, operations)
	if err != nil {
		return err
	}
	if retry`, `	if retry`)
	}
	dropsGuard := func(source string) string {
		source = replace(t, source, `		if err == nil && n != 1 {
			err = errGuard
		}
		return err`, `		_ = n
		return err`)
		return replace(t, source, `		if w.guarded && affected[i] != 1 {`, `		if w.guarded && affected[i] > 1 {`)
	}
	dropsVersion := func(source string) string {
		return strings.ReplaceAll(source, `WHERE id = ? AND version = ?`, `WHERE id = ? AND ? > 0`)
	}
	output, err := runMutant(t, map[string]func(string) string{
		"batch.go": loadsEarly, "writer.go": dropsGuard, "batch_rows.go": dropsVersion,
	})
	require.Error(t, err, "without the guard the race must fail:\n%s", output)
	require.Contains(t, output, "--- FAIL: TestVerify_ExactlyTheLimitIsEvaluatedOfManyWrongAtOnceRace")

	output, err = runMutant(t, map[string]func(string) string{"batch.go": loadsEarly})
	require.NoError(t, err, "with the guard the race must pass:\n%s", output)
}

func replace(t *testing.T, source, old, new string) string {
	t.Helper()
	require.Equal(t, 1, strings.Count(source, old), "the mutation no longer fits the source:\n%s", old)
	return strings.Replace(source, old, new, 1)
}

// runMutant runs this package's races over a store whose files are changed, leaving the sources alone.
func runMutant(t *testing.T, changes map[string]func(string) string) (string, error) {
	t.Helper()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	folder := t.TempDir()
	for name, change := range changes {
		original, err := filepath.Abs(filepath.Join("..", "..", "sql", name))
		require.NoError(t, err)
		source, err := os.ReadFile(original)
		require.NoError(t, err)
		mutated := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(mutated, []byte(change(string(source))), 0o600))
		overlay.Replace[original] = mutated
	}
	encoded, err := json.Marshal(overlay)
	require.NoError(t, err)
	file := filepath.Join(folder, "overlay.json")
	require.NoError(t, os.WriteFile(file, encoded, 0o600))
	command := exec.Command("go", "test", "-overlay", file, "-count=1", "-timeout", "2m", "-run", "OfManyWrongAtOnceRace", ".")
	command.Env = append(os.Environ(), "OTP_MUTANT=1")
	output, err := command.CombinedOutput()
	return string(output), err
}
