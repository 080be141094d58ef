package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/sql/sqltest"
)

// pages are what an operator reads.
var pages = []string{"../README.md", "../SECURITY.md", "doc/operating.md"}

func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// blocks are a page's code blocks behind a marker, in order.
func blocks(t *testing.T, text, marker, language string) []string {
	t.Helper()
	var found []string
	for _, part := range strings.Split(text, "<!-- "+marker+" -->\n```"+language+"\n")[1:] {
		block, _, closed := strings.Cut(part, "```\n")
		require.True(t, closed)
		found = append(found, block)
	}
	require.NotEmpty(t, found, marker)
	return found
}

func TestOperating_TheExitCodesAreThePrograms(t *testing.T) {
	rows := "<!-- exit-codes -->\n| code | meaning |\n|---|---|\n"
	for _, e := range exitCodes {
		rows += fmt.Sprintf("| %d | %s |\n", e.code, e.meaning)
	}
	require.Contains(t, page(t, "doc/operating.md"), rows+"\n")
}

func TestPages_LinksLeadSomewhere(t *testing.T) {
	for _, path := range pages {
		for _, found := range regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`).FindAllStringSubmatch(page(t, path), -1) {
			require.FileExists(t, filepath.Join(filepath.Dir(path), found[1]), path)
		}
	}
}

// Every command and flag that a page, a help text or an example names is one.
func TestPages_NameOnlyCommandsThatExist(t *testing.T) {
	model := newParser(process{stdout: new(output), stderr: new(output)}).Model.Node
	named := regexp.MustCompile(`(?m)otpbridge((?: [a-z][a-z-]*)+)([^\n` + "`" + `|]*)`)
	texts := make(map[string]string)
	for _, path := range pages {
		texts[path] = page(t, path)
	}
	for _, c := range completions(model, nil) {
		_, help, _ := command(append(c.path, "--help")...)
		help = strings.TrimPrefix(help, "Usage: otpbridge")
		texts[strings.Join(c.path, " ")+" --help"] = help
	}
	seen := 0
	for where, text := range texts {
		for _, found := range named.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(found[2], " <") {
				continue // speaks of any command
			}
			words := strings.Fields(found[1])
			node, rest := model, words
			for len(rest) > 0 {
				i := slices.IndexFunc(node.Children, func(child *kong.Node) bool { return child.Name == rest[0] })
				if i < 0 {
					break
				}
				node, rest = node.Children[i], rest[1:]
			}
			if node == model {
				require.NotContains(t, []string{"account", "keyring", "access-key"}, words[0])
				continue // prose, such as "otpbridge is"
			}
			require.Empty(t, node.Children, "%s: %q is no whole command", where, found[0])
			for _, flag := range regexp.MustCompile(` --([a-z][a-z-]*)`).FindAllStringSubmatch(found[2], -1) {
				known := flag[1] == "help" || slices.ContainsFunc(node.Flags, func(f *kong.Flag) bool { return f.Name == flag[1] })
				require.True(t, known, "%s: %q has no flag --%s", where, found[0], flag[1])
			}
			seen++
		}
	}
	require.Greater(t, seen, 40)
}

// The page is followed to the letter, as somebody would who has never seen the program: with a
// MariaDB that is empty, and another folder in place of /etc.
func TestOperating_TheInstallationWorks(t *testing.T) {
	needs(t, "bash", "env")
	database := sqltest.Own(t)
	here, err := url.Parse(database.SchemaTCP(t))
	require.NoError(t, err)
	text := page(t, "doc/operating.md")
	var statements []string
	for statement := range strings.SplitSeq(blocks(t, text, "grants", "sql")[0], ";\n") {
		if strings.TrimSpace(statement) != "" {
			statements = append(statements, statement)
		}
	}
	require.NoError(t, database.Exec(statements...))

	folder := t.TempDir()
	steps := blocks(t, text, "operator", "sh")
	require.Len(t, steps, 5)
	script := strings.NewReplacer("/etc/otpbridge", filepath.Join(folder, "etc"), "127.0.0.1:3306", here.Host).Replace(strings.Join(steps, "\n"))
	script += "\nenv > environment\n"
	bash := exec.Command("bash", "-euo", "pipefail", "-c", script)
	bash.Dir = folder
	bash.Env = []string{"PATH=" + filepath.Dir(program(t)) + ":" + os.Getenv("PATH"), "HOME=" + folder}
	out, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, says := range []string{
		"Made a keyring with key", "is version", `Made account 4711 ("Shop"): texts live`, "pass  database ", "pass  grants", "pass  keyring ",
	} {
		require.Contains(t, string(out), says)
	}
	require.NotContains(t, string(out), "fail ")

	// The server starts on what was made, with the privileges that serving takes.
	environ := []string{"OTPBRIDGE_ADDR=127.0.0.1:0", "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0", "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s",
		"OTPBRIDGE_STATE_DIR=" + filepath.Join(folder, "state")}
	for line := range strings.Lines(page(t, filepath.Join(folder, "environment"))) {
		if strings.HasPrefix(line, config.Prefix) {
			environ = append(environ, strings.TrimSpace(line))
		}
	}
	s := boot(t, environ...)
	require.Equal(t, "ready\n", s.do("GET", "/readyz", "").body)
	require.Equal(t, "UNAUTHERISED USER", s.servlet("otpgenservlet", "another-key", person("919551492394")))
	answer := s.servlet("otpgenservlet", "the-key-that-the-integration-sends", person("919551492394"))
	require.Contains(t, []string{"SMSEMAILFAIL\r\n", "OTP Generated Successfully\r\n"}, answer, "with and without a channel")
	require.Equal(t, "Wrong PIN . No of Retries remaining # 2\r\n",
		s.servlet("otpvalidationservlet", "the-key-that-the-integration-sends", person("919551492394", "otp", "AAAA")))
	require.NoError(t, s.Shutdown(t.Context()))
	theFirstVerification(t, text, environ)
}

// theFirstVerification follows the rest of the page on the installation that environ is for: a gateway is named and
// tried, the proxy stands in front, and a code goes out and comes back encrypted.
func theFirstVerification(t *testing.T, text string, environ []string) {
	t.Helper()
	messages := make(chan url.Values, 10)
	gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { messages <- r.URL.Query() }))
	defer gateway.Close()
	_, block, found := strings.Cut(text, "```sh\nexport OTPBRIDGE_SMS_CHANNELS=")
	require.True(t, found)
	block, _, _ = strings.Cut("export OTPBRIDGE_SMS_CHANNELS="+block, "```")
	script := strings.ReplaceAll(block, "https://gateway.example", gateway.URL) + "\nprintenv OTPBRIDGE_SMS_CHANNELS > channels\n"
	bash := exec.Command("bash", "-euo", "pipefail", "-c", script)
	bash.Dir = t.TempDir()
	bash.Env = append([]string{"PATH=" + filepath.Dir(program(t)) + ":" + os.Getenv("PATH")}, environ...)
	out, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "919551492394", (<-messages).Get("to"), "send-test sends")

	channels := strings.TrimSpace(page(t, filepath.Join(bash.Dir, "channels")))
	s := boot(t, append(environ, "OTPBRIDGE_SMS_CHANNELS="+channels, "OTPBRIDGE_TRUSTED_PROXIES=127.0.0.1")...)
	front := startFront(t, nil, s.Addr())
	const key, number = "the-key-that-the-integration-sends", "919551492395"
	require.Equal(t, "OTP Generated Successfully\r\n", front.servlet("otpgenservlet", key, person(number)))
	message := <-messages
	require.Equal(t, number, message.Get("to"))
	code := regexp.MustCompile(`[0-9]{6}`).FindString(message.Get("text"))
	cipher := regexp.MustCompile(`"cipher_key": +"([^"]+)"`).FindStringSubmatch(text)[1]
	exit, otp, stderr := command("param", "encrypt", code, "--key", cipher)
	require.Equal(t, exitOK, exit, stderr)
	require.Equal(t, "Verified successfully\r\n", front.servlet("otpvalidationservlet", key, person(number, "otp", strings.TrimSpace(otp))))
	require.Equal(t, "OTPEXPIRED\r\n", front.servlet("otpvalidationservlet", key, person(number, "otp", strings.TrimSpace(otp))))
}

// What the alerts do over time is told by Prometheus' own tool, where there is one to ask.
func TestAlerts_FireAsTheySay(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not on PATH, and too large to install for this alone")
	}
	rules, err := filepath.Abs("doc/alerts.yml")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "alerts.yml")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(page(t, "testdata/alerts.yml"), "[ALERTS]", "["+rules+"]")), 0o600))
	out, err := exec.Command(promtool, "test", "rules", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// The unit names only settings and a command that exist, and systemd understands it where there is
// one to ask.
func TestOperating_TheUnitIsUsable(t *testing.T) {
	unit := page(t, "doc/otpbridge.service")
	var known []string
	for _, setting := range config.Reference() {
		known = append(known, setting.Name)
	}
	for _, found := range regexp.MustCompile(`OTPBRIDGE_[A-Z_]+`).FindAllString(unit, -1) {
		require.Contains(t, known, found)
	}
	require.Contains(t, unit, "RestartPreventExitStatus="+fmt.Sprint(exitUnusable))
	require.Contains(t, unit, "ExecStart=/usr/local/bin/otpbridge serve")
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not on PATH; the directives are not checked")
		return
	}
	path := filepath.Join(t.TempDir(), "otpbridge.service")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(unit, "/usr/local/bin/otpbridge", program(t))), 0o600))
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
