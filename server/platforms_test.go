package main

import (
	"errors"
	"fmt"
	"go/ast"
	gobuild "go/build"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A name that not every system has stands in a file with a build constraint. Lint sees one system, make release builds
// for these. This type-checks the programs and their tests in seconds, because of other modules and the standard
// library it reads syscall alone, whose names differ.
func TestPlatforms_EverySystemHasEveryName(t *testing.T) {
	t.Parallel()
	here := missingNames(t, "linux", "..")
	for _, system := range []string{"darwin", "windows"} {
		// What is missing everywhere comes from a package that is not read.
		missing := slices.DeleteFunc(missingNames(t, system, ".."), func(name string) bool {
			return slices.Contains(here, name)
		})
		require.Empty(t, missing, "%s: put these into a file with a build constraint", system)
	}
}

func TestPlatforms_FaultsAreFound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o600))
	}
	write("b/b.go", "package b")
	write("b/here_linux.go", "package b\nfunc Here() int { return 1 }")
	faults := map[string]string{
		`import "syscall"; var x = syscall.O_NOFOLLOW`:                      "undefined: syscall.O_NOFOLLOW",
		`import "syscall"; var x = syscall.Flock(1, 2)`:                     "undefined: syscall.Flock",
		`import "syscall"; var x = new(syscall.Stat_t)`:                     "undefined: syscall.Stat_t",
		`import "syscall"; func f() { if true { _ = syscall.Kill(1, 9) } }`: "undefined: syscall.Kill",
		`import s "syscall"; var x s.Rlimit`:                                "undefined: s.Rlimit",
		`import "syscall"; var x = syscall.SysProcAttr{Credential: nil}`:    "unknown field Credential",
		`import "syscall"; var x = new(syscall.SysProcAttr).Setpgid`:        "Setpgid undefined",
		`import "golang.org/x/sys/unix"; var x = unix.Getpid()`:             "golang.org/x/sys/unix",
		`var x = here()`:                         "undefined: here",
		`import "otpbridge/b"; var x = b.Here()`: "undefined: b.Here",
		`import ("syscall"; "gone.example/x"); var x = x.Y(syscall.Mkfifo)`:                    "undefined: syscall.Mkfifo",
		`import ("syscall"; "gone.example/x"); func f() { y := x.Y(); y.Z(syscall.Dup) }`:      "undefined: syscall.Dup",
		`import ("syscall"; "gone.example/x"); var x, e = x.Y(syscall.SIGTERM), syscall.EROFS`: "",
		`import ("golang.org/x/sys/cpu"; "os"); var x, y = cpu.X86, os.Getuid()`:               "",
	}
	bodies := slices.Sorted(maps.Keys(faults))
	for i, body := range bodies {
		write(fmt.Sprintf("a%d/a.go", i), "package a; "+body)
		write(fmt.Sprintf("a%d/here_unix.go", i), "//go:build unix\n\npackage a\nfunc here() int { return 1 }")
	}
	found := strings.Join(missingNames(t, "windows", root), "\n")
	for i, body := range bodies {
		there := fmt.Sprintf("a%d/a.go:", i)
		if faults[body] == "" {
			require.NotContains(t, found, there, body)
			continue
		}
		require.Regexp(t, there+".*"+regexp.QuoteMeta(faults[body]), found)
	}
	require.Empty(t, missingNames(t, "linux", root))
}

// missingNames returns where the packages below root, tests included, use what a system does not have.
func missingNames(t *testing.T, system, root string) []string {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	context := gobuild.Default
	context.GOROOT = strings.TrimSpace(string(goroot)) // a program without paths does not know it
	context.GOOS, context.GOARCH, context.CgoEnabled = system, "arm64", false
	c := &checker{context: &context, root: root, files: token.NewFileSet(), done: map[string]*types.Package{}}
	for folder := range importsOf(t, root) {
		c.check(t, folder)
	}
	return c.missing
}

// checker type-checks packages for one system. It implements types.Importer.
type checker struct {
	context *gobuild.Context
	root    string
	files   *token.FileSet
	done    map[string]*types.Package // by import path
	missing []string
}

var errNotRead = errors.New("not read")

// lacking are the type checker's words for a name that is not there.
var lacking = regexp.MustCompile(`undefined|unknown field`)

// check checks a package of ours with its tests.
func (c *checker) check(t *testing.T, folder string) {
	t.Helper()
	about, err := c.context.ImportDir(filepath.Join(c.root, folder), 0)
	if none := (*gobuild.NoGoError)(nil); errors.As(err, &none) {
		return
	}
	require.NoError(t, err)
	c.load("otpbridge/"+folder, about.Dir, slices.Concat(about.GoFiles, about.TestGoFiles), &c.missing)
	c.load("otpbridge/"+folder+"_test", about.Dir, about.XTestGoFiles, &c.missing)
}

func (c *checker) load(path, folder string, names []string, missing *[]string) *types.Package {
	var parsed []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(c.files, filepath.Join(folder, name), nil, parser.SkipObjectResolution)
		if err == nil {
			parsed = append(parsed, file)
		}
	}
	config := types.Config{Importer: c, IgnoreFuncBodies: missing == nil, FakeImportC: true, Error: func(err error) {
		if missing != nil && lacking.MatchString(err.Error()) {
			*missing = append(*missing, err.Error())
		}
	}}
	loaded, _ := config.Check(path, c.files, parsed, nil)
	return loaded
}

// Import returns a package of ours without its tests, or syscall. The checker takes every name of others as given.
func (c *checker) Import(path string) (*types.Package, error) {
	unix := path == "golang.org/x/sys/unix" && c.context.GOOS == "windows"
	if unix || path == "golang.org/x/sys/windows" && c.context.GOOS != "windows" {
		return nil, errors.New("undefined for " + c.context.GOOS)
	}
	folder, ours := strings.CutPrefix(path, "otpbridge/")
	folder = filepath.Join(c.root, folder)
	if path == "syscall" {
		folder = filepath.Join(c.context.GOROOT, "src", path)
	} else if !ours {
		return nil, errNotRead
	}
	if loaded := c.done[path]; loaded != nil {
		return loaded, nil
	}
	about, err := c.context.ImportDir(folder, 0)
	if err != nil {
		return nil, err
	}
	c.done[path] = c.load(path, folder, about.GoFiles, nil)
	return c.done[path], nil
}
