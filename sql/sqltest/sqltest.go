// Package sqltest starts databases for tests: a mariadbd from PATH, with its own socket and data folder, independent
// of other configuration. Only tests import it.
//
// Without a mariadbd, a test that needs one is skipped on a developer's machine and fails with CI=true, so that a
// green run there has tested both databases.
package sqltest

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is one mariadbd.
type Server struct {
	folder  string
	port    int
	process *exec.Cmd
	exited  chan struct{}
	schemas atomic.Int64
}

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main is the TestMain of a package that needs no other set-up.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run runs a package's tests, then stops the shared server and returns the exit code.
func Run(m *testing.M) int {
	code := m.Run()
	if shared.server != nil {
		shared.server.Stop()
		os.RemoveAll(shared.server.folder)
	}
	if made.folder != "" {
		os.RemoveAll(made.folder)
	}
	return code
}

// Shared returns the server that a package's tests share, started by the first caller. The package's TestMain must
// call Main or Run.
func Shared(t testing.TB) *Server {
	t.Helper()
	needed(t)
	shared.once.Do(func() {
		folder, err := os.MkdirTemp("", "mariadb")
		if err != nil {
			shared.err = err
			return
		}
		shared.server, shared.err = start(folder)
	})
	if shared.err != nil {
		t.Fatalf("start mariadbd: %v", shared.err)
	}
	return shared.server
}

// Own returns a server for one test, which may kill and restart it.
func Own(t testing.TB) *Server {
	t.Helper()
	needed(t)
	// A socket's path may have at most 107 bytes, which t.TempDir easily exceeds.
	folder, err := os.MkdirTemp("", "mariadb")
	if err != nil {
		t.Fatal(err)
	}
	s, err := start(folder)
	if err != nil {
		t.Fatalf("start mariadbd: %v", err)
	}
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(folder)
	})
	return s
}

func needed(t testing.TB) {
	t.Helper()
	for _, program := range []string{"mariadbd", "mariadb-install-db"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		const hint = "%s is not on PATH; install Debian's mariadb-server-core"
		if os.Getenv("CI") == "true" {
			t.Fatalf(hint, program)
		}
		t.Skipf(hint, program)
	}
}

func start(folder string) (*Server, error) {
	s := &Server{folder: folder}
	if err := s.makeData(); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// smallLog is a tenth of the default, because tests copy the log and search it for secrets.
const smallLog = "--innodb-log-file-size=10M"

// measuring reports whether benchmarks run. They use the default log size.
func measuring() bool {
	return os.Getenv("BENCH") != "" || flag.Lookup("test.bench").Value.String() != ""
}

// made is the first data folder before its server started. Others are copies of it.
var made struct {
	sync.Mutex
	folder string
}

func (s *Server) makeData() error {
	made.Lock()
	defer made.Unlock()
	if made.folder != "" {
		return os.CopyFS(s.Data(), os.DirFS(made.folder))
	}
	install := exec.Command("mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal",
		"--skip-test-db", "--datadir="+s.Data(), smallLog, userFlag())
	var err error
	if install.Env, err = s.environ(); err != nil {
		return err
	}
	if output, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	if made.folder, err = os.MkdirTemp("", "mariadb"); err != nil {
		return err
	}
	return os.CopyFS(made.folder, os.DirFS(s.Data()))
}

// Data returns the server's data folder.
func (s *Server) Data() string { return filepath.Join(s.folder, "data") }

func (s *Server) socket() string { return filepath.Join(s.folder, "s") }

// userFlag makes mariadbd run as the test's user; it refuses to run as root without the flag.
func userFlag() string {
	if os.Getuid() == 0 {
		return "--user=root"
	}
	return "--skip-name-resolve"
}

// environ gives the server its own folder for temporary files. A starting server removes the temporary tables in its
// folder, including those of other running servers.
func (s *Server) environ() ([]string, error) {
	temporary := filepath.Join(s.folder, "tmp")
	return append(os.Environ(), "TMPDIR="+temporary), os.MkdirAll(temporary, 0o700)
}

// Start starts the server, also again after Kill or Stop, and returns when it answers.
func (s *Server) Start() error {
	log, err := os.Create(filepath.Join(s.folder, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.process = exec.Command("mariadbd", "--no-defaults", userFlag(), "--datadir="+s.Data(), "--socket="+s.socket(),
		"--bind-address=127.0.0.1", fmt.Sprint("--port=", s.port), "--pid-file="+filepath.Join(s.folder, "pid"),
		"--innodb-buffer-pool-size=256M", "--innodb-flush-log-at-trx-commit=1", "--max-connections=400", "--skip-log-bin")
	if !measuring() {
		s.process.Args = append(s.process.Args, smallLog)
	}
	if s.process.Env, err = s.environ(); err != nil {
		return err
	}
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.exited = exited
	go func(process *exec.Cmd) {
		_ = process.Wait() // killed ones end with an error, as expected
		close(exited)
	}(s.process)
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := s.Exec("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			output, _ := os.ReadFile(log.Name())
			return fmt.Errorf("mariadbd ended: %s", output)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("mariadbd does not answer"), err)
		}
	}
}

// PID returns the id of the current process, to measure what it uses.
func (s *Server) PID() int { return s.process.Process.Pid }

// Kill ends the server at once, like a power cut.
func (s *Server) Kill() {
	_ = s.process.Process.Kill()
	<-s.exited
}

// Stop shuts the server down.
func (s *Server) Stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		s.Kill()
	}
}

// Exec runs statements as root.
func (s *Server) Exec(statements ...string) error {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", s.socket()
	config.Logger = mysql.Logger(silent{})
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	return nil
}

type silent struct{}

func (silent) Print(...any) {}

// Schema creates an empty schema and returns its database URL, over the socket.
func (s *Server) Schema(t testing.TB) string {
	t.Helper()
	return s.url(t, s.nextName(), url.Values{"socket": {s.socket()}})
}

// SchemaNamed is Schema with a given name, which must be free.
func (s *Server) SchemaNamed(t testing.TB, name string) string {
	t.Helper()
	return s.url(t, name, url.Values{"socket": {s.socket()}})
}

// SchemaTCP is Schema over the loopback network, for tests that put a proxy in between.
func (s *Server) SchemaTCP(t testing.TB) string {
	t.Helper()
	return s.url(t, s.nextName(), nil)
}

func (s *Server) nextName() string { return fmt.Sprintf("otp%d", s.schemas.Add(1)) }

func (s *Server) url(t testing.TB, name string, options url.Values) string {
	t.Helper()
	// The worst default that a server may have; the migrations must not depend on it.
	if err := s.Exec("CREATE DATABASE " + name + " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"); err != nil {
		t.Fatalf("make schema: %v", err)
	}
	made := url.URL{Scheme: "mysql", User: url.UserPassword("root", ""), Host: fmt.Sprintf("127.0.0.1:%d", s.port),
		Path: "/" + name, RawQuery: options.Encode()}
	return made.String()
}

// Client returns the command line client, as operators use it, with statements to run. It is found on PATH like the
// server.
func (s *Server) Client(statements string, options ...string) *exec.Cmd {
	options = append([]string{"--no-defaults", "--user=root", "--socket=" + s.socket(),
		"--default-character-set=utf8mb4"}, options...)
	return exec.Command("mariadb", append(options, "--execute="+statements)...)
}

// DSN returns the driver's data source name for the schema of one of this server's URLs.
func (s *Server) DSN(databaseURL string) string {
	parsed, err := url.Parse(databaseURL)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("root@unix(%s)/%s", s.socket(), strings.Trim(parsed.Path, "/"))
}
