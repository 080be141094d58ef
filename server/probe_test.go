package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// askHealth runs "otpbridge health" in an environment.
func askHealth(environ []string, arguments ...string) (code int, stdout, stderr string) {
	var out, problems output
	code = run(append([]string{"health"}, arguments...), process{environ: environ, stdout: &out, stderr: &problems})
	return code, out.String(), problems.String()
}

func TestHealth_AReadyServerIsHealthy(t *testing.T) {
	s := boot(t, variables(t)...)
	for _, url := range []string{s.url, s.url + "/"} {
		code, out, problems := askHealth(nil, "--url", url)
		require.Equal(t, exitOK, code, problems)
		require.Equal(t, "database ok\nclock ok\nkeyring ok\nqueue ok\nshutdown ok\nready\n", out)
	}
}

// The image runs the command without an address: it asks at the address of the same settings.
func TestHealth_AsksWhereTheSettingsListen(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_ADDR=:0")...)
	_, port, err := net.SplitHostPort(s.Addr())
	require.NoError(t, err)
	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port, "127.0.0.1:" + port, "localhost:" +
		port} {
		code, _, problems := askHealth([]string{"OTPBRIDGE_ADDR=" + addr})
		require.Equal(t, exitOK, code, "%s: %s", addr, problems)
	}
}

// In production a server that stops continues serving for a while, so that balancers notice.
func TestHealth_AServerThatStopsIsNot(t *testing.T) {
	s := boot(t, productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=5s"))...)
	stopped := make(chan error)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	var code int
	var out, problems string
	eventually(t, "the server says that it stops", func() bool {
		code, out, problems = askHealth(nil, "--url", s.url)
		return code != exitOK
	})
	require.Equal(t, exitFailed, code)
	require.Empty(t, out)
	require.Contains(t, problems, "503")
	require.Contains(t, problems, "database ok")
	require.Contains(t, problems, "not ready: shutdown")
	require.NoError(t, <-stopped)
}

func TestHealth_OnlyTwoHundredIsHealthy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		says   string
	}{
		{"another program", http.NotFound, "404"},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "204"},
		{"a redirect to what is healthy", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/readyz" {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			}
		}, "302"},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(strings.Repeat("x", 1<<20)))
		}, "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.answer)
			defer server.Close()
			code, out, problems := askHealth(nil, "--url", server.URL)
			require.Equal(t, exitFailed, code)
			require.Empty(t, out)
			require.Contains(t, problems, tt.says)
			require.Less(t, len(problems), 2*maxHealth)
		})
	}
}

func TestHealth_NobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	code, out, problems := askHealth([]string{"OTPBRIDGE_ADDR=" + addr})
	require.Equal(t, exitFailed, code)
	require.Empty(t, out)
	require.Contains(t, problems, "connection refused")
}

func TestHealth_WhatCannotBeAskedIsSaid(t *testing.T) {
	for _, tt := range []struct {
		name      string
		environ   []string
		arguments []string
		says      string
	}{
		{"a port that the system chose", []string{"OTPBRIDGE_ADDR=127.0.0.1:0"}, nil, "--url"},
		{"settings with a fault", []string{"OTPBRIDGE_ADDR=8080"}, nil, "OTPBRIDGE_ADDR"},
		{"no scheme", nil, []string{"--url", "127.0.0.1:8080"}, "--url"},
		{"another scheme", nil, []string{"--url", "file:///readyz"}, "--url"},
		{"no host", nil, []string{"--url", "http://"}, "--url"},
		{"a password, which would be shown", nil, []string{"--url", "http://me:secret@127.0.0.1:8080"}, "--url"},
		{"a query", nil, []string{"--url", "http://127.0.0.1:8080/?a"}, "--url"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, problems := askHealth(tt.environ, tt.arguments...)
			require.Equal(t, exitUnusable, code, problems)
			require.Empty(t, out)
			require.Contains(t, problems, tt.says)
			require.NotContains(t, problems, "secret")
		})
	}
}
