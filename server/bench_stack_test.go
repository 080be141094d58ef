//go:build unix

package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/sql/sqltest"
	"otpbridge/testclient/load"
)

// BenchmarkServlets runs cycles through the whole server in this process, sockets included, on 64 connections. The
// load generator allocates nothing, so all allocations are the server's. With -cpuprofile it shows where the server
// spends its time.
func BenchmarkServlets(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		benchmarkCycle(b, startStack(b, "sqlite:"+filepath.Join(b.TempDir(), "otp.db")), benchServlets(b).Cycle())
	})
	b.Run("mariadb", func(b *testing.B) {
		benchmarkCycle(b, startStack(b, sqltest.Own(b).SchemaTCP(b)), benchServlets(b).Cycle())
	})
}

// BenchmarkV1 does the same with send and verify by id.
func BenchmarkV1(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		benchmarkCycle(b, startStack(b, "sqlite:"+filepath.Join(b.TempDir(), "otp.db")), benchV1.Cycle())
	})
	b.Run("mariadb", func(b *testing.B) {
		benchmarkCycle(b, startStack(b, sqltest.Own(b).SchemaTCP(b)), benchV1.Cycle())
	})
}

func benchmarkCycle(b *testing.B, s *stack, cycle []load.Step) {
	s.drive(b, 100, cycle) // connections, caches and prepared statements
	b.ReportAllocs()
	b.ResetTimer()
	s.drive(b, b.N, cycle)
}

// stack is a whole server in this process and its load generator.
type stack struct {
	*Server
	servlets load.Servlets
	asked    int
}

// startStack starts a server for benchmarks; its log is written but discarded.
func startStack(t testing.TB, databaseURL string, more ...string) *stack {
	t.Helper()
	settings, err := config.Load(append([]string{
		"OTPBRIDGE_ADDR=127.0.0.1:0",
		"OTPBRIDGE_DATABASE_URL=" + databaseURL,
		"OTPBRIDGE_KEYRING=" + benchKeyring,
		"OTPBRIDGE_SANDBOX_FIXED_CODE=" + benchCode,
		"OTPBRIDGE_STATE_DIR=" + t.TempDir(),
	}, more...))
	require.NoError(t, err)
	s := New(settings, slog.New(slog.NewTextHandler(io.Discard, nil)))
	require.NoError(t, s.Start(context.Background()))
	t.Cleanup(func() { require.NoError(t, s.Shutdown(context.Background())) })
	return &stack{Server: s, servlets: benchServlets(t)}
}

// drive runs a number of cycles on 64 connections; every answer must be right.
func (s *stack) drive(t testing.TB, cycles int, cycle []load.Step) {
	t.Helper()
	result, err := load.Run(context.Background(), load.Options{
		URL: s.URL(), Cycle: cycle, Concurrency: benchConcurrency, Cycles: cycles, First: s.asked,
	})
	require.NoError(t, err)
	require.Empty(t, result.Failures)
	require.Equal(t, cycles, result.Cycles)
	s.asked += cycles
}
