//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// machineFacts returns a line about the machine. Facts that the system does not provide are left out.
func machineFacts() string {
	facts := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if processor := lineOf("/proc/cpuinfo", "model name"); processor != "" {
		facts = append([]string{processor}, facts...)
	}
	system := runtime.GOOS + "/" + runtime.GOARCH
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		system += " " + strings.TrimSpace(string(kernel))
	}
	return strings.Join(append(facts, system, runtime.Version()), ", ")
}

// lineOf returns the value of the first "name : value" line of a file.
func lineOf(file, name string) string {
	raw, _ := os.ReadFile(file)
	for line := range strings.Lines(string(raw)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystemOf returns the type of a folder's file system: that of the longest mount point above it.
func fileSystemOf(folder string) string {
	mounts, _ := os.ReadFile("/proc/mounts")
	kind, longest := "unknown file system", -1
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || len(fields[1]) < longest {
			continue
		}
		if relative, err := filepath.Rel(fields[1], folder); err == nil && filepath.IsLocal(relative) {
			kind, longest = fields[2], len(fields[1])
		}
	}
	return kind
}

// fsyncProbe returns how long it takes to append 4 KiB to a file in folder and sync it to disk.
func fsyncProbe(t *testing.T, folder string) (median, p99 time.Duration) {
	t.Helper()
	file, err := os.CreateTemp(folder, "fsync-*")
	require.NoError(t, err)
	defer os.Remove(file.Name())
	defer file.Close()
	page := make([]byte, 4<<10)
	all := make([]time.Duration, 1000)
	for i := range all {
		began := time.Now()
		_, err := file.Write(page)
		require.NoError(t, err)
		require.NoError(t, file.Sync())
		all[i] = time.Since(began)
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}

func median[T int | float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
