package main

import (
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// ledger records what a test of races or faults did and found. It is always printed. A run that injected nothing, or
// in which nothing was acknowledged, proves nothing and fails.
type ledger struct {
	mu           sync.Mutex
	injections   int      // races run, processes killed, connections cut, bugs seeded
	acknowledged int      // operations that were answered with a decision
	checked      int      // acknowledged facts that were looked up again
	violations   []string // what must not be
	notes        []string
}

func (l *ledger) inject(n int)      { l.add(&l.injections, n) }
func (l *ledger) acknowledge(n int) { l.add(&l.acknowledged, n) }
func (l *ledger) recheck(n int)     { l.add(&l.checked, n) }

func (l *ledger) add(to *int, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*to += n
}

// note adds a figure to what is printed.
func (l *ledger) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

func (l *ledger) violate(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations = append(l.violations, fmt.Sprintf(format, args...))
}

// equal checks that two values are equal, and counts the check.
func (l *ledger) equal(want, got any, format string, args ...any) bool {
	l.recheck(1)
	if reflect.DeepEqual(want, got) {
		return true
	}
	l.violate("%s: want %v, got %v", fmt.Sprintf(format, args...), want, got)
	return false
}

// broken reports whether anything was violated so far.
func (l *ledger) broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.violations) > 0
}

func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf("%d injections, %d acknowledged operations, %d facts checked, %d violations",
		l.injections, l.acknowledged, l.checked, len(l.violations))
	for _, note := range l.notes {
		text += "; " + note
	}
	for i, violation := range l.violations {
		if i == 10 {
			text += fmt.Sprintf("\n\tand %d more", len(l.violations)-i)
			break
		}
		text += "\n\t" + violation
	}
	return text
}

// report prints the ledger, and fails the test for violations.
func (l *ledger) report(t *testing.T) {
	t.Helper()
	t.Log(l)
	require.NotZero(t, l.injections, "nothing was injected")
	require.NotZero(t, l.acknowledged, "nothing was acknowledged")
	require.NotZero(t, l.checked, "nothing was checked")
	require.False(t, l.broken(), "the ledger above tells what was violated")
}
