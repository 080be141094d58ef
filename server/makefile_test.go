package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A target whose test pattern matches nothing succeeds without running anything. So each word of each pattern in the
// Makefile must match a test in the target's packages.

// testNames returns the names of the tests and benchmarks of each package, by its folder below root.
func testNames(t *testing.T, root string) map[string][]string {
	t.Helper()
	names := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, _ := filepath.Rel(root, filepath.Dir(path))
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if ok && function.Recv == nil && regexp.MustCompile(`^(Test|Benchmark|Fuzz)`).MatchString(function.Name.Name) {
				names[folder] = append(names[folder], function.Name.Name)
			}
		}
		return nil
	})
	require.NoError(t, err)
	return names
}

// unmatched returns the words of a Makefile's go test patterns that match no test of the packages after them, and the
// number of all words.
func unmatched(makefile string, names map[string][]string) (missing []string, words int) {
	makefile = strings.ReplaceAll(makefile, "$$", "$")
	call := regexp.MustCompile(`\$\(GO\) test ([^\n;]*)`)
	flag := regexp.MustCompile(`-(run|bench|fuzz) (?:'([^']*)'|"([^"]*)"|(\S+))`)
	for _, found := range call.FindAllStringSubmatch(makefile, -1) {
		prefixes := map[string]string{"run": "Test", "bench": "Benchmark", "fuzz": "Fuzz"}
		packages := regexp.MustCompile(`\./[\w./]*`).FindAllString(found[1], -1)
		for _, pattern := range flag.FindAllStringSubmatch(found[1], -1) {
			text := pattern[2] + pattern[3] + pattern[4]
			if text == "^$" || strings.Contains(text, "$name") { // none on purpose; a variable of a loop
				continue
			}
			for word := range strings.SplitSeq(text, "|") {
				words++
				if !matchesAny(regexp.MustCompile(word), prefixes[pattern[1]], packages, names) {
					missing = append(missing, word+" in "+strings.Join(packages, " "))
				}
			}
		}
	}
	return missing, words
}

func matchesAny(word *regexp.Regexp, prefix string, packages []string, names map[string][]string) bool {
	for folder, tests := range names {
		for _, wanted := range packages {
			if wanted != "./..." && filepath.Clean(wanted) != folder {
				continue
			}
			for _, name := range tests {
				if strings.HasPrefix(name, prefix) && word.MatchString(name) {
					return true
				}
			}
		}
	}
	return false
}

func TestMakefile_EveryPatternMatchesATest(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	names := testNames(t, "..")
	require.Contains(t, names["server"], "TestMakefile_EveryPatternMatchesATest")
	missing, words := unmatched(string(text), names)
	require.Empty(t, missing)
	require.GreaterOrEqual(t, words, 8, "the patterns were read")
}

func TestMakefile_APatternThatMatchesNothingIsFound(t *testing.T) {
	names := map[string][]string{"sql": {"TestA_Race", "BenchmarkB"}, "server/otp": {"TestTiming"}}
	for line, missing := range map[string]int{
		"$(GO) test -run 'Race' ./sql":                   0,
		"$(GO) test -run 'Race|Kill' ./sql":              1,
		"$(GO) test -run 'Timing' ./sql":                 1,
		"$(GO) test -run 'Timing' ./...":                 0,
		"$(GO) test -run '^TestTiming$$' ./server/otp":   0,
		"$(GO) test -run '^Timing$$' ./server/otp":       1,
		"$(GO) test -bench . ./sql":                      0,
		"$(GO) test -bench . ./server/otp":               1,
		"$(GO) test -run '^$$' -bench B ./sql":           0,
		"$(GO) test -run \"Distribution\" ./...":         1,
		"$(GO) test -run Race ./sql ./server/otp":        0,
		"$(GO) test -run 'race' ./sql":                   1,
		"@FULL=1 $(GO) test -v -run 'Kill|Cut' ./...; x": 2,
	} {
		found, _ := unmatched(line, names)
		require.Len(t, found, missing, line)
	}
}

// Every target that a page mentions exists.
func TestMakefile_HasEveryTargetThatIsWrittenAbout(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	pages, err := filepath.Glob("doc/*.md")
	require.NoError(t, err)
	checked := 0
	for _, page := range append(pages, "../README.md", "../testclient/README.md", "../CHANGELOG.md", "../SECURITY.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, found := range regexp.MustCompile("`make ([a-z][a-z-]*)`").FindAllStringSubmatch(string(text), -1) {
			require.Regexp(t, `(?m)^`+found[1]+`:`, string(makefile), page)
			checked++
		}
	}
	require.NotZero(t, checked)
}
