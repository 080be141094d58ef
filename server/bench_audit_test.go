//go:build unix

package main

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// BenchmarkAudit measures what recording every call costs. Two servers in this process, one with and one without the
// record, take turns. It reports how much more processor time the first needs for a cycle of the servlets: the median
// of the turns, in percent. With MariaDB, the database's own processor time is not counted.
func BenchmarkAudit(b *testing.B) {
	for name, url := range map[string]func() string{
		"sqlite":  func() string { return "sqlite:" + filepath.Join(b.TempDir(), "otp.db") },
		"mariadb": func() string { return sqltest.Own(b).SchemaTCP(b) },
	} {
		b.Run(name, func(b *testing.B) {
			with := startStack(b, url(), "OTPBRIDGE_AUDIT_CALLS=all")
			without := startStack(b, url(), "OTPBRIDGE_AUDIT_CALLS=off")
			cycle := benchServlets(b).Cycle()
			const turns, cycles = 7, 3000
			for _, s := range []*stack{with, without} {
				s.drive(b, 1000, cycle)
			}
			b.ResetTimer()
			var costs []float64
			for range turns {
				one, other := processorTime(b, func() { with.drive(b, cycles, cycle) }),
					processorTime(b, func() { without.drive(b, cycles, cycle) })
				costs = append(costs, 100*(one/other-1))
			}
			slices.Sort(costs)
			b.ReportMetric(costs[turns/2], "%cost")
			b.ReportMetric(0, "ns/op") // hide a meaningless number
		})
	}
}

// processorTime returns the processor time that the process needs for do, in seconds.
func processorTime(t testing.TB, do func()) float64 {
	t.Helper()
	used := func() float64 {
		var usage syscall.Rusage
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
		seconds := func(v syscall.Timeval) float64 { return float64(v.Sec) + float64(v.Usec)/1e6 }
		return seconds(usage.Utime) + seconds(usage.Stime)
	}
	before := used()
	do()
	return used() - before
}
