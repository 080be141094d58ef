package main

import (
	"debug/elf"
	"encoding/json"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
)

// dockerfile is the parsed Dockerfile. The tests read it as text, because they cannot build it.
type dockerfile struct {
	bases   []string   // of all stages
	build   [][]string // the RUN instructions of all stages but the last, in words
	last    [][]string // the instructions of the last stage, in words
	environ []string
	health  []string
}

func readDockerfile(t *testing.T) dockerfile {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	require.NoError(t, err)
	var d dockerfile
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case words[0] == "FROM":
			d.bases, d.last = append(d.bases, words[1]), nil
		default:
			if words[0] == "RUN" {
				d.build = append(d.build, words[1:])
			}
			d.last = append(d.last, words)
		}
	}
	for _, words := range d.last {
		switch words[0] {
		case "ENV":
			d.environ = append(d.environ, words[1:]...)
		case "HEALTHCHECK":
			_, command, found := strings.Cut(strings.Join(words, " "), " CMD ")
			require.True(t, found)
			require.NoError(t, json.Unmarshal([]byte(command), &d.health), "a list of words: there is no shell to split a line")
		}
	}
	return d
}

// instruction returns the words after the only instruction of this name in the last stage.
func (d dockerfile) instruction(t *testing.T, name string) []string {
	t.Helper()
	var found [][]string
	for _, words := range d.last {
		if words[0] == name {
			found = append(found, words[1:])
		}
	}
	require.Len(t, found, 1, name)
	return found[0]
}

// goBuild returns the only command that builds the program.
func (d dockerfile) goBuild(t *testing.T) string {
	t.Helper()
	var builds []string
	for _, run := range d.build {
		if line := strings.Join(run, " "); strings.Contains(line, "go build") {
			builds = append(builds, line)
		}
	}
	require.Len(t, builds, 1)
	return builds[0]
}

// The Dockerfile builds the program with the same command as make, and so as make bench.
func TestDockerfile_BuildsAsMakeDoes(t *testing.T) {
	command := readDockerfile(t).goBuild(t)
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	made := strings.NewReplacer(" go build ", " $(GO) build ", " /out/", " bin/", "$VERSION",
		"$(VERSION)").Replace(command)
	require.Contains(t, string(makefile), "\n\t"+made+"\n")
}

func TestDockerfile_BuildsAStaticProgramOnAnEmptyBase(t *testing.T) {
	d := readDockerfile(t)
	require.Len(t, d.bases, 2)
	require.Equal(t, "scratch", d.bases[1])
	require.Regexp(t, `^CGO_ENABLED=0 go build .*-trimpath .*-o /out/otpbridge \./server$`, d.goBuild(t))
	for _, words := range d.last {
		require.NotContains(t, []string{"RUN", "ADD", "SHELL"}, words[0], "an empty base runs nothing")
	}
}

// The processes that these tests start are built as the Dockerfile builds the server.
func TestDockerfile_TheProgramIsStatic(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("images hold Linux programs")
	}
	file, err := elf.Open(program(t))
	require.NoError(t, err)
	defer file.Close()
	for _, header := range file.Progs {
		require.NotEqual(t, elf.PT_INTERP, header.Type, "it asks for a dynamic linker, which the image lacks")
	}
	libraries, err := file.ImportedLibraries()
	require.NoError(t, err)
	require.Empty(t, libraries)
}

func TestDockerfile_GoIsPinnedAndNewEnough(t *testing.T) {
	found := regexp.MustCompile(`^golang:(1\.\d+)\.\d+-[a-z]+$`).FindStringSubmatch(readDockerfile(t).bases[0])
	require.NotNil(t, found)
	module, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	require.Contains(t, string(module), "\ngo "+found[1]+".")
}

func TestDockerfile_RunsAsNobodyInParticular(t *testing.T) {
	d := readDockerfile(t)
	user := d.instruction(t, "USER")[0]
	require.Regexp(t, `^[1-9][0-9]*:[1-9][0-9]*$`, user)
	defaults, err := config.Load(d.environ)
	require.NoError(t, err)
	// A volume that is mounted there takes its owner from the image.
	for _, folder := range []string{"/data", "/" + defaults.StateDir} {
		owned := false
		for _, words := range d.last {
			owned = owned || words[0] == "COPY" && words[len(words)-1] == folder && slices.Contains(words, "--chown="+user)
		}
		require.True(t, owned, "the user owns the folder of the default database, and that of the state: %s", folder)
	}
}

func TestDockerfile_StartsWhatTheProgramHas(t *testing.T) {
	d := readDockerfile(t)
	require.Equal(t, []string{`["/otpbridge"]`}, d.instruction(t, "ENTRYPOINT"))
	require.Equal(t, []string{`["serve"]`}, d.instruction(t, "CMD"))
	require.Equal(t, "/otpbridge", d.health[0])
	for _, arguments := range [][]string{{"serve"}, d.health[1:]} {
		code, out, problems := command(append(arguments, "--help")...)
		require.Equal(t, exitOK, code, problems)
		require.Contains(t, out, "Usage: otpbridge "+arguments[0])
	}
	settings, err := config.Load(d.environ)
	require.NoError(t, err)
	require.Equal(t, ":"+d.instruction(t, "EXPOSE")[0], settings.Addr)
}

func TestDockerfile_HoldsNoSecret(t *testing.T) {
	d := readDockerfile(t)
	text, err := os.ReadFile("../Dockerfile")
	require.NoError(t, err)
	instructions := regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(string(text), "")
	require.NotRegexp(t, `(?i)(password|secret|token|_key|keyring=)`, string(text))
	// The one argument is public. An argument's value stays in the image's history.
	require.Equal(t, []string{"ARG VERSION"}, regexp.MustCompile(`(?i)\bARG\b.*`).FindAllString(instructions, -1))
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	require.Equal(t, []string{"--build-arg VERSION=$(VERSION)"},
		regexp.MustCompile(`--build-arg \S+`).FindAllString(string(makefile), -1))
	require.Equal(t, []string{"OTPBRIDGE_ADDR=:8080"}, d.environ)

	// The build copies only listed folders, so that a key in another file stays out of the image.
	ignored, err := os.ReadFile("../.dockerignore")
	require.NoError(t, err)
	var rules []string
	for line := range strings.Lines(string(ignored)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			rules = append(rules, line)
		}
	}
	require.Equal(t, []string{"*", "!go.mod", "!go.sum", "!config", "!crypto", "!server", "!sql", "**/*_test.go",
		"**/testdata"}, rules)
}

func TestDockerfile_IsLabelled(t *testing.T) {
	labels := strings.Join(readDockerfile(t).instruction(t, "LABEL"), " ")
	for _, label := range []string{"title", "description", "licenses"} {
		require.Contains(t, labels, "org.opencontainers.image."+label+"=")
	}
}
