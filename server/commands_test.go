package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"otpbridge/config"
	"otpbridge/sql/sqltest"
)

// Each script in testdata/commands is what an operator does with the program and reads from it, in
// a folder of its own, with a keyring and an empty production database. Every script runs on both
// databases.
func TestCommands_Transcripts(t *testing.T) {
	path := filepath.Dir(program(t)) + string(os.PathListSeparator) + os.Getenv("PATH")
	run := func(t *testing.T, database func(work string) string) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/commands",
			Setup: func(env *testscript.Env) error {
				env.Setenv("PATH", path)
				env.Setenv("OTPBRIDGE_MODE", "production")
				env.Setenv("OTPBRIDGE_METRICS_ADDR", "127.0.0.1:0")
				env.Setenv("OTPBRIDGE_ADDR", "127.0.0.1:0")
				env.Setenv("OTPBRIDGE_SHUTDOWN_TIMEOUT", "1s")
				env.Setenv("OTPBRIDGE_KEYRING_FILE", filepath.Join(env.WorkDir, "keyring"))
				env.Setenv("OTPBRIDGE_DATABASE_URL", database(env.WorkDir))
				env.Setenv("OTPBRIDGE_STATE_DIR", filepath.Join(env.WorkDir, "state"))
				return nil
			},
			Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"exits": exits,
				"guess": guess,
			},
			RequireExplicitExec: true,
			RequireUniqueNames:  true,
		})
	}
	t.Run("sqlite", func(t *testing.T) {
		run(t, func(work string) string { return "sqlite:" + filepath.Join(work, "otp.db") })
	})
	t.Run("mariadb", func(t *testing.T) {
		server := sqltest.Shared(t)
		run(t, func(string) string { return server.Schema(t) })
	})
}

// exits runs a command and insists on its exit code: exits 2 otpbridge account list.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if exited := (*exec.ExitError)(nil); errors.As(err, &exited) {
		code = exited.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, not %d", code, want)
	}
}

// guess has a server of this script's settings take wrong guesses: guess 20 ACCESS_KEY NUMBER.
func guess(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: guess COUNT KEY NUMBER")
	}
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	var environ []string
	for _, name := range []string{"MODE", "ADDR", "METRICS_ADDR", "SHUTDOWN_TIMEOUT", "KEYRING_FILE", "DATABASE_URL",
		"STATE_DIR"} {
		environ = append(environ, "OTPBRIDGE_"+name+"="+ts.Getenv("OTPBRIDGE_"+name))
	}
	settings, err := config.Load(environ)
	ts.Check(err)
	s := New(settings, slog.New(slog.DiscardHandler))
	ts.Check(s.Start(context.Background()))
	defer func() { ts.Check(s.Shutdown(context.Background())) }()
	agent := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(servlet string, more ...string) string {
		request, err := http.NewRequest("GET", s.URL()+"/otpauthapi/"+servlet+"?"+person(args[2], more...).Encode(), nil)
		ts.Check(err)
		request.Header.Set("access_key", args[1])
		response, err := agent.Do(request)
		ts.Check(err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		ts.Check(err)
		return string(text)
	}
	ask("otpgenservlet")
	for wrong, tries := 0, 0; wrong < count; tries++ {
		if tries > 2*count {
			ts.Fatalf("%d wrong guesses, not %d", wrong, count)
		}
		if strings.HasPrefix(ask("otpvalidationservlet", "otp", "AAAA"), "Wrong PIN") {
			wrong++
			continue
		}
		ask("otpgenservlet") // no attempt is left
	}
}
