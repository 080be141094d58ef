package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"otpbridge/sql/sqltest"
)

// neverLooks decides a batch again without asking whether its unanswered COMMIT happened.
var neverLooks = sqltest.Mutation{File: "batch.go", Change: func(t testing.TB, source string) string {
	t.Helper()
	return sqltest.Replace(t, source, "\tif retry {\n", "\tif retry && len(operations) == 0 {\n", 1)
}}

// looksTooEarly asks before it has waited for the rows, when a COMMIT that is still on its way
// cannot be seen yet.
var looksTooEarly = sqltest.Mutation{File: "batch.go", Change: func(t testing.TB, source string) string {
	t.Helper()
	source = neverLooks.Change(t, source)
	return sqltest.Replace(t, source, "\tb, err := s.load(ctx, w, operations)\n", `	if retry {
		happened, err := s.happened(ctx, w, operations)
		if err != nil || happened {
			return err
		}
	}
	b, err := s.load(ctx, w, operations)
`, 1)
}}

// The cuts around COMMIT must tell a store that looks up what happened from one that does not, and
// from one that looks a moment too early.
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
		command := exec.Command("go", "test", "-overlay", sqltest.Overlay(t, bug.mutation), "-count=1", "-timeout", "5m", "-run", "TestFault_ConnectionCutAroundCommit", ".")
		command.Env = append(os.Environ(), "OTP_MUTANT=1", "FULL=")
		output, err := command.CombinedOutput()
		l.inject(1)
		l.acknowledge(1)
		l.equal(true, err != nil && strings.Contains(string(output), bug.noticed), "a store that %s is noticed: %s", name, output)
	}
	l.report(t)
}
