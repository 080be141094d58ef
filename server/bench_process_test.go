//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
)

// measured is a server under load, as a separate process.
type measured struct {
	url     string
	command *exec.Cmd
	ready   time.Duration // from its start until it said that it was ready
}

// benchCode is the code that the servers under load use for every challenge. They still derive codes, but do not use
// the result.
const benchCode = "123456"

var benchKeyring = crypto.NewKeyringText("k1")

// measuredProgram is the path of the measured program.
var measuredProgram string

// buildMeasured builds it by the Dockerfile's command, whose profile makes the compiler take
// minutes the first time.
func buildMeasured(t *testing.T) {
	t.Helper()
	measuredProgram = filepath.Join(t.TempDir(), "otpbridge")
	command := exec.Command("sh", "-c", strings.Replace(readDockerfile(t).goBuild(t), "/out/otpbridge", `"$PROGRAM"`, 1))
	command.Dir = ".."
	command.Env = append(os.Environ(), "PROGRAM="+measuredProgram)
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
}

// startMeasured runs the program with default limits, events and log, except for the settings in more. The log goes to
// a file in folder.
func startMeasured(t *testing.T, folder, databaseURL string, more ...string) *measured {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(folder, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer log.Close()
	command := exec.Command(measuredProgram, "serve")
	command.Dir = folder
	command.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"OTPBRIDGE_ADDR=127.0.0.1:0",
		"OTPBRIDGE_DATABASE_URL=" + databaseURL,
		"OTPBRIDGE_KEYRING=" + benchKeyring,
		"OTPBRIDGE_SANDBOX_FIXED_CODE=" + benchCode,
	}, more...)
	command.Stderr = log
	return startProcess(t, command, "sandbox on ", "/readyz")
}

func startBare(t *testing.T) *measured {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), bareVariable+"=1")
	command.Stderr = os.Stderr
	// The process ends with this pipe, so it cannot outlive a test binary that is killed.
	_, err := command.StdinPipe()
	require.NoError(t, err)
	return startProcess(t, command, "", "/otpauthapi/otpgenservlet")
}

// startProcess starts a server and waits until it answers at path. It reads the URL from the first line of output that
// has one after the words in before.
func startProcess(t *testing.T, command *exec.Cmd, before, path string) *measured {
	t.Helper()
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, command.Start())
	m := &measured{command: command}
	t.Cleanup(m.kill)
	lines := bufio.NewReader(stdout)
	for m.url == "" {
		line, err := lines.ReadString('\n')
		require.NoError(t, err, "the server ended; its log is in %s", command.Dir)
		if _, address, found := strings.Cut(line, before+"http://"); found {
			m.url = "http://" + strings.TrimRight(address, "/\n")
		}
	}
	client := newClient(t, m.url)
	eventually(t, "the server is ready", func() bool { return client.do("GET", path, "").status == http.StatusOK })
	m.ready = time.Since(began)
	client.agent.CloseIdleConnections()
	return m
}

// pause stops a server between its turns, so that it does not, for example, sweep during another's turn.
func (m *measured) pause(t *testing.T) {
	t.Helper()
	require.NoError(t, m.command.Process.Signal(syscall.SIGSTOP))
}

func (m *measured) resume(t *testing.T) {
	t.Helper()
	require.NoError(t, m.command.Process.Signal(syscall.SIGCONT))
}

// stop ends the process in order, also a paused one.
func (m *measured) stop(t *testing.T) {
	t.Helper()
	m.resume(t)
	require.NoError(t, m.command.Process.Signal(syscall.SIGTERM))
	require.NoError(t, m.command.Wait())
}

func (m *measured) kill() {
	if m.command.ProcessState == nil {
		_ = m.command.Process.Kill()
		_ = m.command.Wait()
	}
}

func (m *measured) pid() int { return m.command.Process.Pid }

// cpuOf returns the CPU time that a process has used, 0 if the system has no /proc.
func cpuOf(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in parentheses may contain anything. After it comes the state, and eleven fields later user and system
	// time in hundredths of a second.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// machineCPU returns the CPU time that the whole machine has used, 0 if the system has no /proc.
func machineCPU() (used time.Duration) {
	raw, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(raw), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return 0
	}
	// user, nice, system, idle, iowait, irq, softirq, steal, in hundredths of a second
	for i, field := range fields[1:9] {
		if ticks, _ := strconv.Atoi(field); i != 3 && i != 4 {
			used += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return used
}

// residentOf returns the resident memory of a process in bytes, 0 if the system has no /proc.
func residentOf(pid int) int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.Atoi(fields[0])
	return kilobytes << 10
}

func TestBare_AnswersEveryServletAlike(t *testing.T) {
	c := newClient(t, startBare(t).url)
	for _, servlet := range []string{"otpgenservlet", "otpvalidationservlet"} {
		a := c.do("GET", "/otpauthapi/"+servlet+"?mobile=919876543210", "", "access_key", documentedKey)
		require.Equal(t, bareText, a.body)
		require.Equal(t, fmt.Sprint(len(bareText)), strings.Join(a.header["Content-Length"], ", "))
	}
}
