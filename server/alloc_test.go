//go:build unix && !race

// The race detector allocates too, so this is counted without it, by make bench.

package main

import (
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/testclient/load"
)

// The garbage collector uses the cores that serve, so allocations are limited. The test counts all allocations of the
// process at 64 connections: net/http, routing, the log, the engine, and the store's work for a batch, divided among
// its operations. The load generator allocates nothing.
func TestServlets_ARequestStaysBelowItsCeilingOfAllocations(t *testing.T) {
	s := startStack(t, "sqlite:"+filepath.Join(t.TempDir(), "otp.db"))
	cycle := s.servlets.Cycle()
	generate := s.allocations(t, cycle[:1])
	both := s.allocations(t, cycle)

	bare := httptest.NewServer(bareHandler())
	defer bare.Close()
	nothing := allocations(t, func() {
		_, err := load.Run(t.Context(), load.Options{
			URL: bare.URL, Cycle: s.servlets.Bare(bareText), Concurrency: benchConcurrency, Cycles: allocationCycles,
		})
		require.NoError(t, err)
	})
	t.Logf("allocations: generate %.1f, validate %.1f, a request %.1f; of bare Gin %.1f", generate, both-generate,
		both/2, nothing/2)
	require.LessOrEqual(t, both/2, float64(allocationCeiling))
}

// The same at the JSON API, send and verify by id. Its verify signs a receipt.
func TestV1_ARequestStaysBelowItsCeilingOfAllocations(t *testing.T) {
	s := startStack(t, "sqlite:"+filepath.Join(t.TempDir(), "otp.db"))
	cycle := benchV1.Cycle()
	send := s.allocations(t, cycle[:1])
	both := s.allocations(t, cycle)
	t.Logf("allocations: send %.1f, verify %.1f, a request %.1f", send, both-send, both/2)
	require.LessOrEqual(t, both/2, float64(v1AllocationCeiling))
}

// The ceilings are how much a request may allocate. They are just above the current numbers, so that these do not
// creep up.
const (
	allocationCeiling   = 76
	v1AllocationCeiling = 220
	allocationCycles    = 10_000
)

// allocations returns the number of allocations of one cycle on a warm server.
func (s *stack) allocations(t *testing.T, cycle []load.Step) float64 {
	s.drive(t, 1000, cycle)
	return allocations(t, func() { s.drive(t, allocationCycles, cycle) })
}

// allocations returns the number of allocations of do, divided by its cycles.
func allocations(t *testing.T, do func()) float64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / allocationCycles
}
