//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// machine is a machine for operating.md, with a folder instead of the root. The program, make install, nginx and the
// database's tools are real. systemctl and journalctl are replaced: they start the server as the unit says, with its
// environment, its credentials and, if root runs the test, its user.
type machine struct {
	t        *testing.T
	root     string // which has etc, usr and var
	address  string // where its server listens
	metrics  string // where it serves its metrics
	variable []string
	replaced []string // what a block says and what it is here, for strings.NewReplacer
	calls    *output
	log      *output
	server   *exec.Cmd
	front    *exec.Cmd
	client
}

func newMachine(t *testing.T, host string, replaced ...string) *machine {
	t.Helper()
	needs(t, "bash", "make", "install", "curl", "sed", "nginx")
	root := t.TempDir()
	for _, path := range []string{root, filepath.Dir(root)} { // another user is to reach what is below
		require.NoError(t, os.Chmod(path, 0o755))
	}
	m := &machine{
		t: t, root: root, address: freeAddressOf(t, host), metrics: freeAddressOf(t, host),
		calls: new(output), log: new(output),
	}
	m.client = newClient(t, "http://"+m.address)
	m.replaced = append(replaced, "/etc/nginx", root+"/etc/nginx", "/etc/otpbridge", root+"/etc/otpbridge",
		"tar -C /etc -x", "tar -C "+root+"/etc -x",
		"/var/lib/otpbridge", root+"/var/lib/otpbridge", "/usr/local/share", root+"/usr/local/share",
		"127.0.0.1:8080", m.address, "10.0.0.12:8080", m.address, "127.0.0.1:9464", m.metrics)
	control := httptest.NewServer(http.HandlerFunc(m.obey))
	t.Cleanup(control.Close)
	t.Cleanup(m.stopFront)
	t.Cleanup(m.stop)
	m.makeCommands(control.URL)
	return m
}

func freeAddressOf(t *testing.T, host string) string {
	t.Helper()
	free, err := net.Listen("tcp", host+":0")
	require.NoError(t, err)
	defer free.Close()
	return free.Addr().String()
}

// makeCommands makes the commands that are replaced on the machine.
func (m *machine) makeCommands(control string) {
	shims := filepath.Join(m.root, "shims")
	require.NoError(m.t, os.Mkdir(shims, 0o755))
	tell := "curl -sS --fail-with-body --data-binary \"$(basename $0) $*\" " + control + "\n"
	build := "[ \"$1\" != build ] || { mkdir -p bin && exec cp " + program(m.t) + " bin/otpbridge; }\n"
	repository, err := filepath.Abs("..")
	require.NoError(m.t, err)
	commands := map[string]string{
		"systemctl": tell, "journalctl": tell, "sleep": tell, "sudo": "exec \"$@\"\n", "ssh": "shift; exec \"$@\"\n",
		"make": tell + build + "exec " + lookPath(m.t, "make") + " -C " + repository + " \"$@\" DESTDIR=" + m.root +
			" BINARY=" + program(m.t) + "\n",
		"nginx": "exec " + lookPath(m.t, "nginx") + " -c " + m.root + "/etc/nginx/nginx.conf \"$@\"\n",
	}
	if os.Getuid() == 0 {
		needs(m.t, "systemd-sysusers", "systemd-tmpfiles")
	} else {
		// Only root can make users and change owners. Otherwise the user of the test owns everything.
		commands["systemd-sysusers"] = "exit 0\n"
		commands["systemd-tmpfiles"] = "sed -n 's|^d /\\([^ ]*\\) \\([0-7]*\\) .*|install -d -m \\2 " + m.root + "/\\1|p' " +
			m.root + "/usr/lib/tmpfiles.d/otpbridge.conf | sh -e\n"
	}
	for name, text := range commands {
		require.NoError(m.t, os.WriteFile(filepath.Join(shims, name), []byte("#!/bin/sh -e\n"+text), 0o700))
	}
	m.variable = []string{
		"HOME=" + m.root, "PATH=" + shims + ":" + m.root + "/usr/local/bin:" + os.Getenv("PATH"),
	}
}

// run runs a script as the page's operator and returns its output. Exported variables stay for the next script.
func (m *machine) run(script string) string {
	m.t.Helper()
	after := filepath.Join(m.root, "exported")
	bash := exec.Command("bash", "-euo", "pipefail", "-c", m.here(script)+"\nenv -0 > "+after)
	bash.Dir, bash.Env = m.root, m.variable
	out, err := bash.CombinedOutput()
	require.NoError(m.t, err, "%s\n%s\n%s", script, out, m.log)
	m.variable = strings.Split(strings.Trim(page(m.t, after), "\x00"), "\x00")
	return string(out)
}

// do runs the page's blocks after a marker. Each command has to succeed; bash -e ignores failures before &&.
func (m *machine) do(text, marker string, before ...string) string {
	m.t.Helper()
	m.t.Log(marker)
	return m.run(strings.ReplaceAll(strings.Join(append(before, blocks(m.t, text, marker, "sh")...), "\n"), " && ", "\n"))
}

func (m *machine) here(script string) string {
	user, group := m.ids()
	return strings.NewReplacer(append(m.replaced, "the-key-that-the-integration-sends", integrationKey, "-o otpbridge",
		fmt.Sprint("-o ", user), "-g otpbridge", fmt.Sprint("-g ", group),
		"chown otpbridge:", fmt.Sprintf("chown %d:%d", user, group))...).Replace(script)
}

// ids returns the user and the group of the service, which make install made.
func (m *machine) ids() (user, group int) {
	users, err := os.ReadFile(filepath.Join(m.root, "etc/passwd"))
	if err != nil {
		return os.Getuid(), os.Getgid()
	}
	found := regexp.MustCompile(`(?m)^otpbridge:x:(\d+):(\d+):`).FindStringSubmatch(string(users))
	require.NotNil(m.t, found, "%s", users)
	user, _ = strconv.Atoi(found[1])
	group, _ = strconv.Atoi(found[2])
	return user, group
}

// obey does the work of systemctl, journalctl and sleep.
func (m *machine) obey(w http.ResponseWriter, r *http.Request) {
	told, _ := io.ReadAll(r.Body)
	fmt.Fprintln(m.calls, string(told))
	var err error
	switch words := strings.Fields(string(told)); strings.Join(words[:min(2, len(words))], " ") {
	case "systemctl reload":
		m.stopFront()
		err = m.startFront()
	case "systemctl stop":
		m.stop()
	case "systemctl restart", "systemctl enable", "systemctl start":
		m.stop()
		err = m.start()
	default:
		switch words[0] {
		case "journalctl":
			fmt.Fprint(w, m.log)
		case "sleep":
			m.untilReady()
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// start starts the server as the installed unit says.
func (m *machine) start() error {
	unit, err := os.ReadFile(filepath.Join(m.root, "etc/systemd/system/otpbridge.service"))
	if err != nil {
		return err
	}
	user, group := m.ids()
	credentials := filepath.Join(m.root, "run/credentials")
	if err := os.MkdirAll(credentials, 0o755); err != nil {
		return err
	}
	service := exec.Command("")
	service.Env = []string{"PATH=" + os.Getenv("PATH")}
	for _, found := range regexp.MustCompile(`(?m)^(\w+)=(.*)$`).FindAllStringSubmatch(string(unit), -1) {
		value := strings.NewReplacer("%d/", credentials+"/", "%S/", m.root+"/var/lib/", "/etc/", m.root+"/etc/",
			"/usr/local/bin", m.root+"/usr/local/bin").Replace(found[2])
		switch found[1] {
		case "ExecStart":
			service.Path, _, _ = strings.Cut(value, " ")
			service.Args = strings.Fields(value)
		case "Environment":
			service.Env = append(service.Env, value)
		case "WorkingDirectory":
			service.Dir = value
		case "LoadCredential":
			name, path, _ := strings.Cut(value, ":")
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			copied := filepath.Join(credentials, name)
			os.Remove(copied)
			if err := os.WriteFile(copied, text, 0o400); err != nil {
				return err
			}
			if err := os.Chown(copied, user, group); err != nil {
				return err
			}
		}
	}
	service.Env, err = withEnvironmentFile(service.Env, filepath.Join(m.root, "etc/otpbridge/environment"))
	if err != nil {
		return err
	}
	service.Stdout, service.Stderr = m.log, m.log
	if os.Getuid() == 0 {
		service.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(group)}}
	}
	m.server = service
	return service.Start()
}

func (m *machine) stop() {
	if m.server != nil && m.server.Process != nil {
		_ = m.server.Process.Signal(syscall.SIGTERM)
		_ = m.server.Wait()
	}
	m.server = nil
}

func (m *machine) untilReady() {
	m.t.Helper()
	eventually(m.t, "the server is ready", func() bool {
		a, err := m.try("GET", "/readyz", "")
		return err == nil && a.status == 200
	})
}

// startFront starts nginx with the page's files in conf.d.
func (m *machine) startFront() error {
	m.front = exec.Command("nginx", "-e", "stderr", "-c", filepath.Join(m.root, "etc/nginx/nginx.conf"), "-g",
		"daemon off;")
	m.front.Stderr = m.log
	return m.front.Start()
}

func (m *machine) stopFront() {
	if m.front != nil && m.front.Process != nil {
		_ = m.front.Process.Signal(syscall.SIGTERM)
		_ = m.front.Wait()
	}
	m.front = nil
}
