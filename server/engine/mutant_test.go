package engine_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// loadsEarly is the classic bug: rows are loaded before the transaction begins.
var loadsEarly = sqltest.Mutation{File: "batch.go", Change: func(t testing.TB, source string) string {
	t.Helper()
	source = sqltest.Replace(t, source, `		err := s.transact(context.Background(), func(w *session) error {
			return s.runBatch(w, operations, try > 1)
		})`, `		if err := s.writer.connect(context.Background()); err != nil {
			return err
		}
		s.batch.reset()
		err := s.writer.conn.Raw(func(conn any) error {
			return s.load(context.Background(), &session{writer: s.writer, conn: conn.(driver.Conn)}, s.batch, operations)
		})
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
		err = s.transact(context.Background(), func(w *session) error {
			return s.runBatch(w, operations, try > 1)
		})`, 1)
	source = sqltest.Replace(t, source, `	"context"
`, `	"context"
	"database/sql/driver"
`, 1)
	return sqltest.Replace(t, source, `	b.reset()
	if err := s.load(ctx, w, b, operations); err != nil {
		return err
	}
	if retry`, `	if retry`, 1)
}}

// A harness is trusted only if it has caught a bug. Here the store is built with one, with and without the guard: the
// build without the guard must fail the race, the other must pass it.
func TestHarness_CatchesABuildThatLoadsBeforeBeginAndDropsTheGuard(t *testing.T) {
	if os.Getenv("OTP_MUTANT") != "" {
		t.Skip("this is the mutant")
	}
	tests := sqltest.Tests(t, loadsEarly, sqltest.WithoutGuard)
	output, err := runMutant(tests, sqltest.WithoutGuard)
	require.Error(t, err, "without the guard the race must fail:\n%s", output)
	require.Contains(t, output, "--- FAIL: TestVerify_ExactlyTheLimitIsEvaluatedOfManyWrongAtOnceRace")

	output, err = runMutant(tests)
	require.NoError(t, err, "with the guard the race must pass:\n%s", output)
}

// runMutant runs this package's races with a mutated store.
func runMutant(tests string, mutations ...sqltest.Mutation) (string, error) {
	command := exec.Command(tests, "-test.timeout", "2m", "-test.run", "OfManyWrongAtOnceRace")
	command.Env = sqltest.Seeded(mutations...)
	output, err := command.CombinedOutput()
	return string(output), err
}
