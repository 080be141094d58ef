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
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/sql/sqltest"
)

// Each script in testdata/commands has an operator's commands and their output. It runs in its own folder, with a
// keyring and an empty production database. Every script runs on both databases.
func TestCommands_Transcripts(t *testing.T) {
	scripts, err := filepath.Abs("testdata/commands") // commands change the folder
	require.NoError(t, err)
	path := filepath.Dir(program(t)) + string(os.PathListSeparator) + os.Getenv("PATH")
	run := func(t *testing.T, database func(work string) string) {
		testscript.Run(t, testscript.Params{
			Dir: scripts,
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
				"otpbridge": inProcess,
				"exits":     exits,
				"guess":     guess,
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

// environOf are the settings of a script.
func environOf(ts *testscript.TestScript) (environ []string) {
	for _, setting := range config.Reference() {
		if value := ts.Getenv(setting.Name); value != "" {
			environ = append(environ, setting.Name+"="+value)
		}
	}
	return environ
}

// inFolder is locked by the script whose folder is the process's working directory.
var inFolder sync.Mutex

// otpbridge runs a command of the program in this process, in the script's folder, because starting a process takes
// longer than most commands. A script that needs a process, for its input or a terminal, uses exec.
func otpbridge(ts *testscript.TestScript, args []string) (code int) {
	inFolder.Lock()
	defer inFolder.Unlock()
	before, err := os.Getwd()
	ts.Check(err)
	ts.Check(os.Chdir(ts.MkAbs(".")))
	defer func() { ts.Check(os.Chdir(before)) }()
	return run(args, process{environ: environOf(ts), stdin: strings.NewReader(""), stdout: ts.Stdout(),
		stderr: ts.Stderr()})
}

func inProcess(ts *testscript.TestScript, neg bool, args []string) {
	if code := otpbridge(ts, args); (code != exitOK) != neg {
		ts.Fatalf("exit code %d", code)
	}
}

// exits runs a command and requires its exit code: exits 2 otpbridge account list.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if args[1] == "otpbridge" {
		code = otpbridge(ts, args[2:])
	} else if err = ts.Exec(args[1], args[2:]...); err != nil {
		exited := (*exec.ExitError)(nil)
		if !errors.As(err, &exited) {
			ts.Check(err)
		}
		code = exited.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, not %d", code, want)
	}
}

// guess makes wrong guesses at a server with this script's settings: guess 20 ACCESS_KEY NUMBER.
func guess(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: guess COUNT KEY NUMBER")
	}
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	settings, err := config.Load(environOf(ts))
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
