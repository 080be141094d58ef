package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"otpbridge/config"
)

// pages are the pages for operators.
var pages = []string{"../README.md", "../SECURITY.md", "doc/operating.md"}

func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// blocks returns a page's code blocks after a marker, in order.
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

// blockTests are the tests that run the code blocks of operating.md, by the blocks' marker.
var blockTests = map[string][]string{
	"TestOperating_TheInstallationWorks": {
		"install", "grants", "operator", "channel", "start", "front", "second", "upstream", "backup", "leak", "restore",
		"restored", "password", "receipts", "cipher", "locked", "upgrade", "gateway", "log", "metrics", "limits", "flood",
		"stop",
	},
	"TestOperating_TheRotationWorksTwiceOnOneDay": {"rotation"},
	"TestOperating_TheCopyOfAFileIsABackup":       {"sqlite", "backup-sqlite", "restore-sqlite"},
	"TestOperating_AFullDiskIsGotOver":            {"disk"},
}

// unrun returns the code blocks of a page that no test runs, by the lines before them.
func unrun(text string) []string {
	run := slices.Concat(slices.Collect(maps.Values(blockTests))...)
	var found []string
	before, open := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "```") {
			before = line
			continue
		}
		if open = !open; !open {
			before = ""
			continue
		}
		marker := regexp.MustCompile(`^<!-- (.*) -->$`).FindStringSubmatch(before)
		if marker == nil || !slices.Contains(run, marker[1]) {
			found = append(found, before)
		}
	}
	return found
}

// A test runs every code block of the page, also future ones.
func TestOperating_EveryBlockIsRun(t *testing.T) {
	t.Parallel()
	text := page(t, "doc/operating.md")
	require.Empty(t, unrun(text), "the lines before blocks that no test runs")
	tests := testNames(t, "..")["server"]
	var sources string
	for _, file := range mustGlob(t, "*_test.go") {
		sources += page(t, file)
	}
	for test, markers := range blockTests {
		require.Contains(t, tests, test)
		for _, marker := range markers {
			require.Contains(t, text, "<!-- "+marker+" -->\n```", "a marker without a block")
			require.Regexp(t, `(blocks\(t, .*|\.do\(o?\.?text), "`+marker+`"`, sources, marker)
		}
	}
	for _, block := range []string{
		"```sh\nrm\n```\n", "<!-- new -->\n```sh\nrm\n```\n", "<!-- start -->\n\nand\n```\nrm\n```\n",
		"start\n```sql\nDROP\n```\n", "<!-- start -->\n```sh\na\n```\n```sh\nb\n```\n", "<!--start-->\n```sh\na\n```\n",
		"<!-- START -->\n```sh\na\n```\n", "- item\n  ```sh\n  a\n  ```\n", "<!-- exit-codes -->\n```sh\na\n```\n",
		"<!-- start -->.\n```sh\na\n```\n", "<!-- start -->\n```sh\n<!-- start -->\n```\n```sh\nb\n```\n",
	} {
		require.Len(t, unrun(block), 1, block)
	}
}

// Prose ends before column 120. The rows of a table cannot.
func TestOperating_LinesAreNotTooLong(t *testing.T) {
	for line := range strings.Lines(page(t, "doc/operating.md")) {
		line = strings.TrimRight(line, "\n")
		require.True(t, strings.HasPrefix(line, "|") || utf8.RuneCountInString(line) < 120, line)
	}
}

func TestPages_LinksLeadSomewhere(t *testing.T) {
	for _, path := range pages {
		for _, found := range regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`).FindAllStringSubmatch(page(t, path), -1) {
			require.FileExists(t, filepath.Join(filepath.Dir(path), found[1]), path)
		}
	}
}

// Every command and flag in a page, a help text or an example exists.
func TestPages_NameOnlyCommandsThatExist(t *testing.T) {
	t.Parallel()
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

// Prometheus' own tool confirms when the alerts fire, if it is installed.
func TestAlerts_FireAsTheySay(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not on PATH, and too large to install for this alone")
	}
	rules, err := filepath.Abs("doc/alerts.yml")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "alerts.yml")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(page(t, "testdata/alerts.yml"), "[ALERTS]",
		"["+rules+"]")), 0o600))
	out, err := exec.Command(promtool, "test", "rules", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// The unit names only existing settings and an existing command, and systemd accepts it, if it is installed.
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
