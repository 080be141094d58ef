//go:build unix

package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

// TestProfile is make profile. It puts the CPU profiles of servers under load, one on each
// database, together in production.pgo.
func TestProfile(t *testing.T) {
	if os.Getenv("PROFILE") == "" {
		t.Skip("overwrites " + profileFile + "; make profile runs it")
	}
	folder := t.TempDir()
	measuredProgram = filepath.Join(folder, "otpbridge")
	require.NoError(t, build(measuredProgram, "-trimpath", "-pgo=off"))
	onSQLite, onMariaDB := newContender(t, "SQLite"), newContender(t, "MariaDB")
	merge := []string{"tool", "pprof", "-proto", "-output=" + filepath.Join(folder, "merged")}
	for _, c := range []*contender{onSQLite, onMariaDB} {
		metrics := freeAddress(t)
		c.more = []string{"OTPBRIDGE_METRICS_ADDR=" + metrics}
		if c == onSQLite {
			c.onSQLite()
		} else {
			c.onMariaDB(sqltest.Own(t))
		}
		part := filepath.Join(folder, c.name)
		merge = append(merge, part)
		require.NoError(t, os.WriteFile(part, c.profile(metrics), 0o600))
		c.measured.stop(t)
	}
	out, err := exec.Command("go", merge...).CombinedOutput()
	require.NoError(t, err, string(out))
	writeProfile(t, readProfile(t, filepath.Join(folder, "merged")), folder)
}

// profile is what c spends its time on while it is under load.
func (c *contender) profile(metrics string) []byte {
	c.t.Helper()
	client, answered := newClient(c.t, "http://"+metrics), make(chan answer, 1)
	go func() {
		time.Sleep(2 * time.Second)
		profile, _ := client.try("GET", "/debug/pprof/profile?seconds=20", "")
		answered <- profile
	}()
	c.load(benchConcurrency, 25*time.Second)
	profile := <-answered
	require.Equal(c.t, 200, profile.status, profile.body)
	return []byte(profile.body)
}

// writeProfile leaves out where the program was that was profiled, which is the only thing in it
// that is this machine's. A text that is as long keeps the lengths around it right.
func writeProfile(t *testing.T, profile []byte, folder string) {
	var packed bytes.Buffer
	pack, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	require.NoError(t, err)
	_, err = pack.Write(bytes.ReplaceAll(profile, []byte(folder), []byte(strings.Repeat("-", len(folder)))))
	require.NoError(t, err)
	require.NoError(t, pack.Close())
	require.NoError(t, os.WriteFile(profileFile, packed.Bytes(), 0o644))
}
