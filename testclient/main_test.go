package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/testclient/conform"
)

// said is a command's output and exit code.
type said struct {
	code           int
	stdout, stderr string
}

func say(t *testing.T, arguments ...string) said {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(arguments, process{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
	return said{code, stdout.String(), stderr.String()}
}

func TestList_NeedsNoServer(t *testing.T) {
	all := say(t, "list")
	require.Zero(t, all.code, all.stderr)
	require.Equal(t, len(conform.Cases())+1, strings.Count(all.stdout, "\n"), "a head and a line for each case")
	must := say(t, "list", "--level", "must", "--profile", "live", "servlet/validate")
	require.Zero(t, must.code)
	for line := range strings.Lines(must.stdout) {
		require.NotContains(t, line, "SHOULD")
	}
	require.Less(t, len(must.stdout), len(all.stdout))
}

func TestHelp(t *testing.T) {
	for _, arguments := range [][]string{{"help"}, {"--help"}, {"run", "--help"}, {"record", "--help"}} {
		help := say(t, arguments...)
		require.Zero(t, help.code)
		require.Contains(t, help.stdout, "Usage: testclient")
	}
}

// Exit code 2, what was tried, what to do; never a stack trace, never a secret.
func TestRun_WhatCannotRunIsExplained(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	down := "http://" + closed.Addr().String()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>hello</html>"))
	}))
	defer page.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/sandbox") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("UNAUTHERISED USER"))
	}))
	defer plain.Close()
	for _, c := range []struct{ arguments, remedy string }{
		{"--target " + down, "Nothing listens there"},
		{"run --target " + down + " servlet/validate", "Nothing listens there"},
		{"--target " + page.URL, "Something else stands at this address"},
		{"--target " + plain.URL, "--access-key"},
		{"--target " + plain.URL + " --access-key SECRET --cipher-key SECRET --mobile 919876543210", "--cipher-key"},
		{"--target " + plain.URL + " --mobile nonsense", "--mobile"},
		{"--target ftp://x", "http://host:port"},
		{"servlet/nothing --target " + plain.URL, "The command list shows them"},
		{"--codes pigeon=home --target " + plain.URL, "inbox=ADDR"},
		{"--codes inbox=256.0.0.1:1 --target " + plain.URL, "free port"},
		{"--report pdf=x", "html"},
		{"--report html=/no/such/folder/x", "can be written"},
		{"--ca " + os.Args[0] + " --target " + plain.URL, "PEM"},
		{"--level never", "--help"},
		{"diff " + down + " " + plain.URL, "Nothing listens there"},
		{"replay /no/such/file", "--help"},
		{"record /no/such/folder/x", "does not exist yet"},
	} {
		out := say(t, strings.Fields(c.arguments)...)
		require.Equal(t, conform.ExitCouldNot, out.code, c.arguments)
		require.Contains(t, out.stderr, c.remedy, c.arguments)
		require.NotContains(t, out.stderr, "goroutine", c.arguments)
		require.NotContains(t, out.stderr+out.stdout, "SECRET", c.arguments)
	}
}

func TestReports_WithoutARunKeepWhatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	require.NoError(t, os.WriteFile(path, []byte("yesterday's"), 0o600))
	out := say(t, "--target", "http://127.0.0.1:1", "--report", "json="+path)
	require.Equal(t, conform.ExitCouldNot, out.code)
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "yesterday's", string(kept))
}

func TestMobiles(t *testing.T) {
	for given, want := range map[string]string{
		"": "", "919876543210": "919876543210", "1, 2": "1 2", "8-11": "8 9 10 11", "5-6,9": "5 6 9",
	} {
		list, err := givenMobile(given).mobiles()
		require.NoError(t, err)
		require.Equal(t, want, strings.Join(list, " "))
	}
	for _, wrong := range []string{"x", "+91", "9-8", "1-", "1-9999999999", "-1", ","} {
		_, err := givenMobile(wrong).mobiles()
		require.Error(t, err, wrong)
	}
}

func givenMobile(text string) given { return given{Mobile: text} }
