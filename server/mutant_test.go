package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// These tests prove that the races, kills and cuts find bugs: they build the store with such bugs, and each must be
// found.

// mutant returns the program with the given bugs. Bugs with a name are all in one build, which switches them on by
// name.
func mutant(t *testing.T, mutations ...sqltest.Mutation) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "otpbridge")
	if slices.ContainsFunc(mutations, func(m sqltest.Mutation) bool { return m.Name == "" }) {
		require.NoError(t, build(program, "-overlay", sqltest.Overlay(t, mutations...)))
		return program
	}
	every := builtOnce(t, "otpbridge-with-bugs", func() []string {
		return []string{"-overlay", sqltest.Overlay(t, withoutLock, sqltest.WithoutGuard, diesBeforeTheMark,
			diesBeforeTheHandOver, servletsDoNotMark, v1DoesNotMark, skipsRecipientAtV1, slowCommits)}
	})
	// exec replaces the shell, so that killing the process kills the program.
	script := "#!/bin/sh\nSEEDED_BUGS='" + sqltest.Names(mutations...) + "' exec " + every + " \"$@\"\n"
	require.NoError(t, os.WriteFile(program, []byte(script), 0o700))
	return program
}

// withoutLock reads the rows to decide on without locking them.
var withoutLock = sqltest.Mutation{Name: "without lock", File: "dialect_mysql.go", Change: func(t testing.TB,
	source string) string {
	t.Helper()
	return sqltest.Replace(t, source, `" FOR UPDATE"`, `seeded("without lock", "", " FOR UPDATE")`, 1)
}}

// slowCommits makes every COMMIT take 300 ms longer.
var slowCommits = sqltest.Mutation{Name: "slow commits", File: "writer.go",
	Change: func(t testing.TB, source string) string {
		t.Helper()
		return beforeCommit(t, source, `time.Sleep(seeded("slow commits", 300*time.Millisecond, 0))`)
	}}

func beforeCommit(t testing.TB, source, statement string) string {
	t.Helper()
	const commit = "	if err := s.control(ctx, \"COMMIT\"); err != nil {\n"
	return sqltest.Replace(t, source, commit, "\t"+statement+"\n"+commit, 1)
}

// Without lock and guard the two servers must fail the race. With the guard alone they must pass: each protects even
// if the other fails.
func TestHarness_CatchesTwoServersWithoutLockAndGuardRace(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	race := func(rounds int, mutations ...sqltest.Mutation) *ledger {
		servers, db := twoOnMariaDB(t, mutant(t, mutations...))
		raced := new(ledger)
		raceServlets(t, raced, servers, rounds, asking(t, db, newestWrong))
		l.inject(1)
		l.acknowledge(raced.acknowledged)
		return raced
	}
	caught := race(100, withoutLock, sqltest.WithoutGuard)
	l.equal(true, caught.broken(), "the race notices that lock and guard are missing")
	guarded := race(times(100, 20), withoutLock)
	l.equal(false, guarded.broken(), "the guard alone passes: %v", guarded)
	l.report(t)
	t.Logf("without lock and guard, in race %d: %s", caught.injections, caught.violations[0])
	t.Logf("with the guard alone: %v", guarded)
}

// answersEarly answers callers before the COMMIT.
var answersEarly = sqltest.Mutation{File: "batch.go", Change: func(t testing.TB, source string) string {
	t.Helper()
	source = sqltest.Replace(t, source, `		for _, op := range operations {
			op.done <- struct{}{}
		}
`, "", 1)
	return sqltest.Replace(t, source, "	return s.writeBatch(ctx, w, b)\n", `	for _, op := range operations {
		op.done <- struct{}{}
	}
	return s.writeBatch(ctx, w, b)
`, 1)
}}

func TestHarness_CatchesAStoreThatAnswersBeforeItsCommitKill(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("this runs with FULL=1")
	}
	l := new(ledger)
	environ := variables(t)
	db := sqltest.Connect(t, databaseOf(t, environ))
	s := &strikes{ledger: new(ledger)}
	s.killServer(t, mutant(t, answersEarly), 50, db, environ)
	l.inject(1)
	l.acknowledge(s.acknowledged)
	l.equal(true, s.broken(), "the kills notice that answers are early")
	l.report(t)
	t.Logf("noticed after kill %d, for example: %s", s.injections, s.violations[0])
}

// neverLooks repeats a batch without checking whether its unanswered COMMIT happened.
var neverLooks = sqltest.Mutation{File: "batch.go", Change: func(t testing.TB, source string) string {
	t.Helper()
	return sqltest.Replace(t, source, "\tif retry {\n", "\tif retry && len(operations) == 0 {\n", 1)
}}

// looksTooEarly checks before it has waited for the rows' locks, when a COMMIT that is still running cannot be seen.
var looksTooEarly = sqltest.Mutation{File: "batch.go", Change: func(t testing.TB, source string) string {
	t.Helper()
	source = neverLooks.Change(t, source)
	return sqltest.Replace(t, source, "\tb.reset()\n", `	if retry {
		happened, err := s.happened(ctx, w, operations)
		if err != nil || happened {
			return err
		}
	}
	b.reset()
`, 1)
}}

// The cuts around COMMIT must find a store that does not check whether its COMMIT happened, and one that checks too
// early.
func TestHarness_CatchesAStoreThatDoesNotLookUpItsCommitFault(t *testing.T) {
	if os.Getenv("FULL") != "1" || os.Getenv("OTP_MUTANT") != "" {
		t.Skip("this runs with FULL=1, and not inside itself")
	}
	l := new(ledger)
	for name, bug := range map[string]struct {
		mutation sqltest.Mutation
		noticed  string
	}{
		"never looks":     {neverLooks, "cut after it ran: "},
		"looks too early": {looksTooEarly, "cut while it is on its way: "},
	} {
		command := exec.Command("go", "test", "-overlay", sqltest.Overlay(t, bug.mutation), "-count=1", "-timeout", "5m",
			"-run", "TestFault_ConnectionCutAroundCommit", ".")
		command.Env = append(os.Environ(), "OTP_MUTANT=1", "FULL=")
		output, err := command.CombinedOutput()
		l.inject(1)
		l.acknowledge(1)
		l.equal(true, err != nil && strings.Contains(string(output), bug.noticed), "a store that %s is noticed: %s", name,
			output)
	}
	l.report(t)
}
