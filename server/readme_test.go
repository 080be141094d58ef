package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	return string(text)
}

// The page of settings has every setting. UPDATE=1 rewrites its table.
func TestReadme_SettingsTableIsTheConfigs(t *testing.T) {
	const begin, end = "<!-- settings:begin -->\n", "<!-- settings:end -->"
	require.Contains(t, readme(t), "(server/doc/settings.md)")
	const path = "doc/settings.md"
	before, rest, found := strings.Cut(page(t, path), begin)
	require.True(t, found)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found)
	made := strings.TrimSpace(markdownTable()) + "\n"
	if os.Getenv("UPDATE") == "1" {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+made+end+after), 0o600))
		return
	}
	require.Equal(t, made, table, "run UPDATE=1 go test -run TestReadme_Settings ./server")
}

// markdownTable returns the reference of the settings as a Markdown table, with a line break at its end. All columns
// but the last are aligned, so that the source is readable too.
func markdownTable() string {
	rows := [][]string{{"Variable", "Default", "Values", "Meaning"}}
	for _, s := range config.Reference() {
		row := []string{"'" + s.Name + "'", s.Default, s.Values, s.Meaning}
		for i, cell := range row {
			row[i] = strings.NewReplacer("'", "`", "|", `\|`).Replace(cell)
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(rows[0])-1)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	rule := make([]string, len(rows[0]))
	for i := range rule {
		rule[i] = "---"
		if i < len(widths) {
			rule[i] = strings.Repeat("-", widths[i])
		}
	}
	var table strings.Builder
	for _, row := range slices.Insert(rows, 1, rule) {
		for i, width := range widths {
			fmt.Fprintf(&table, "| %-*s ", width, row[i])
		}
		fmt.Fprintf(&table, "| %s |\n", row[len(widths)])
	}
	return table.String()
}

func TestMarkdownTable_HasARowForEverySetting(t *testing.T) {
	lines := strings.Split(markdownTable(), "\n")
	require.Len(t, lines, 2+len(config.Reference())+1, "a head, a rule, the rows and the last line break")
	require.Regexp(t, `^\| Variable +\| Default +\| Values +\| Meaning \|$`, lines[0])
	require.Regexp(t, `^(\| -+ ){3}\| --- \|$`, lines[1])
	last := strings.LastIndex(lines[0], "| Meaning")
	for i, s := range config.Reference() {
		row := lines[i+2]
		require.True(t, strings.HasPrefix(row, "| `"+s.Name+"` "), row)
		require.True(t, strings.HasPrefix(row[last:], "| "), "the columns of %q are not aligned", row)
		require.NotContains(t, row, "'")
	}
	require.Empty(t, lines[len(lines)-1])
}

// demoBlocks are the code blocks that a text marks as runnable, in order.
func demoBlocks(t *testing.T, text string) []string {
	t.Helper()
	var blocks []string
	for _, part := range strings.Split(text, "<!-- demo -->\n```bash\n")[1:] {
		block, _, found := strings.Cut(part, "```")
		require.True(t, found)
		blocks = append(blocks, block)
	}
	return blocks
}

// The README's commands, run against a server that was started as the README says, print what it has after the #.
func TestReadme_TheDemoWorks(t *testing.T) {
	needs(t, "bash", "curl", "openssl", "sed")
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "bin"), 0o700))
	require.NoError(t, os.Symlink(program(t), filepath.Join(folder, "bin", "otpbridge")))
	c := startChild(t, folder)

	script := strings.Join(append(demoBlocks(t, readme(t)), demoBlocks(t, page(t, "doc/sandbox.md"))...), "\n")
	require.Contains(t, script, "http://127.0.0.1:8080")
	var expected []string
	for _, found := range regexp.MustCompile(`(?m)  # (.*)$`).FindAllStringSubmatch(script, -1) {
		expected = append(expected, found[1])
	}
	require.Equal(t, []string{
		"OTP Generated Successfully", "Verified successfully", "OTP Generated Successfully", "Verified successfully",
	}, expected)

	bash := exec.Command("bash", "-euo", "pipefail", "-c", strings.ReplaceAll(script, "http://127.0.0.1:8080", c.url))
	bash.Dir = folder
	out, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", out)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Equal(t, expected[:2], lines[:2])
	require.Contains(t, lines[2], `"access_key":"the-access-key-that-your-integration-sends"`)
	require.Equal(t, expected[2:], lines[len(lines)-2:])
	require.Equal(t, "OTP Generated Successfully\r\n",
		c.servlet("otpgenservlet", "the-access-key-that-your-integration-sends",
			person("919876543210")), "it serves that integration")
}

// So do the calls of the page on the JSON API.
func TestDoc_TheCallsOfTheAPIWork(t *testing.T) {
	needs(t, "bash", "curl", "openssl", "sed")
	page, err := os.ReadFile("doc/v1.md")
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "bin"), 0o700))
	require.NoError(t, os.Symlink(program(t), filepath.Join(folder, "bin", "otpbridge")))
	c := startChild(t, folder)

	script := strings.Join(demoBlocks(t, string(page)), "\n")
	var expected []string
	for _, found := range regexp.MustCompile(`(?m)   # (.*)$`).FindAllStringSubmatch(script, -1) {
		expected = append(expected, found[1])
	}
	bash := exec.Command("bash", "-euo", "pipefail", "-c", strings.ReplaceAll(script, "http://127.0.0.1:8080", c.url))
	bash.Dir = folder
	out, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, expected, strings.Split(strings.TrimSpace(string(out)), "\n"))
	require.Len(t, expected, 15)

	for _, found := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(page), -1) {
		require.FileExists(t, filepath.Join("doc", found[1]))
	}
}

// The calls on the sandbox's page work too; they use the demo's variable.
func TestSandboxPage_TheCallsForTestsWork(t *testing.T) {
	needs(t, "bash", "curl")
	t.Parallel()
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919876543210"))
	_, rest, found := strings.Cut(page(t, "doc/sandbox.md"), "## Test against it")
	require.True(t, found)
	section, _, _ := strings.Cut(rest, "\n## ")
	calls := 0
	for i, part := range strings.Split(section, "```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		// Nothing is sent meanwhile, so the waits last to their ends; shorten them.
		block = strings.ReplaceAll(block, "wait=10s", "wait=500ms")
		bash := exec.Command("bash", "-euo", "pipefail", "-c", block)
		bash.Env = append(os.Environ(), "B="+s.url)
		out, err := bash.CombinedOutput()
		require.NoError(t, err, "%s: %s", block, out)
		require.NotContains(t, string(out), `"status":4`, block)
		calls += strings.Count(block, "curl ")
		if i == 0 {
			require.Empty(t, s.messages(""), "the last one resets")
		}
	}
	require.Equal(t, 9, calls)
	require.Contains(t, s.servlet("otpgenservlet", "key-for-the-first-test", person("919876543210")), "OTP Generated")
}

func TestReadme_LinksLeadSomewhere(t *testing.T) {
	for _, found := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(readme(t), -1) {
		require.FileExists(t, filepath.Join("..", found[1]))
	}
}

func TestReadme_NamesOnlyCallsThatExist(t *testing.T) {
	s := boot(t, variables(t)...)
	for _, path := range regexp.MustCompile("[ `\"B](/(?:sandbox/[a-z]+|livez|readyz))").FindAllStringSubmatch(
		readme(t)+page(t, "doc/sandbox.md")+page(t, "doc/operating.md"), -1) {
		require.NotEqual(t, http.StatusNotFound, s.do("GET", path[1], "").status, path[1])
	}
}
