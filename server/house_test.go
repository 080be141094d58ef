package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Figures about the size and complexity of the source. `make house` prints them for this tree, and `make house
// REF=v0.1.0` also those of a commit.

// house has the figures of a tree of Go sources. Tests and generated files do not count, except for packages.
type house struct {
	lines       int // with code or comments; blank lines do not count
	comments    int // with nothing but a comment
	packages    int
	methods     int    // exported, of the type that has most
	methodsOf   string // that type
	longFuncs   int    // functions over 60 lines, without the table that one returns
	longestFile int
	longestName string
	wide        []string // lines over 120 columns, in Go, SQL and Markdown, tests included; see unbreakable
	duplicated  int      // lines in runs of eight or more that stand in two places
}

const (
	mostFuncLine = 60  // lines of a function
	mostColumns  = 120 // of a line
	mostMethods  = 25  // exported, of a type
	sameRun      = 8   // lines that make a duplicate
)

// measure returns the figures of the tree below root.
func measure(root string) (house, error) {
	var h house
	methods := map[string]int{}
	packages := map[string]bool{}
	runs := map[string]int{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		kind := filepath.Ext(name)
		if kind != ".go" && kind != ".md" && kind != ".sql" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		fixed := unbreakable(kind, text)
		for n, line := range lines {
			if utf8.RuneCountInString(line) > mostColumns && !fixed[n] {
				h.wide = append(h.wide, fmt.Sprintf("%s:%d", filepath.ToSlash(mustRel(root, path)), n+1))
			}
		}
		if kind != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		packages[filepath.Dir(path)] = true
		if len(lines) > h.longestFile {
			h.longestFile, h.longestName = len(lines), filepath.ToSlash(mustRel(root, path))
		}
		h.countLines(lines, runs)
		return h.countDeclarations(path, text, methods)
	})
	for _, count := range runs {
		if count > 1 {
			h.duplicated += count - 1
		}
	}
	for name, count := range methods {
		if count > h.methods || count == h.methods && name < h.methodsOf {
			h.methods, h.methodsOf = count, name
		}
	}
	h.packages = len(packages)
	return h, err
}

// unbreakable returns the lines of a file that cannot be broken, from 0: tables and code in Markdown, and in Go tags
// and other raw strings.
func unbreakable(kind string, text []byte) map[int]bool {
	fixed := map[int]bool{}
	switch kind {
	case ".md":
		code := false
		for n, line := range strings.Split(string(text), "\n") {
			fence := strings.HasPrefix(strings.TrimSpace(line), "```")
			code = code != fence
			fixed[n] = code || strings.HasPrefix(line, "|")
		}
	case ".go":
		var tokens scanner.Scanner
		file := token.NewFileSet().AddFile("", -1, len(text))
		tokens.Init(file, text, nil, 0)
		for at, kind, literal := tokens.Scan(); kind != token.EOF; at, kind, literal = tokens.Scan() {
			if kind == token.STRING && literal[0] == '`' {
				for n := range 1 + strings.Count(literal, "\n") {
					fixed[file.Line(at)-1+n] = true
				}
			}
		}
	}
	return fixed
}

func mustRel(root, path string) string {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return path
	}
	return rel
}

// countLines counts a file's lines, and the runs of sameRun lines of code, without blank lines and comments.
func (h *house) countLines(lines []string, runs map[string]int) {
	var code []string
	for _, line := range lines {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "//"):
			h.comments++
		default:
			code = append(code, line)
		}
		h.lines++
	}
	for i := 0; i+sameRun <= len(code); i++ {
		run := strings.Join(code[i:i+sameRun], "\n")
		if len(run) > 20*sameRun { // not a run of closing braces
			runs[run]++
		}
	}
}

// countDeclarations counts exported methods by type, and long functions.
func (h *house) countDeclarations(path string, text []byte, methods map[string]int) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if function.Body != nil {
			for _, length := range lengths(files, function) {
				if length > mostFuncLine {
					h.longFuncs++
				}
			}
		}
		if function.Recv != nil && function.Name.IsExported() {
			methods[file.Name.Name+"."+methodOwner(function)]++
		}
	}
	return nil
}

// lengths returns the number of a function's lines. A table that it returns is data: its lines do not count, but each
// function in it counts for itself.
func lengths(files *token.FileSet, function *ast.FuncDecl) []int {
	line := func(at token.Pos) int { return files.Position(at).Line }
	all := []int{line(function.End()) - line(function.Pos()) + 1}
	if len(function.Body.List) == 0 {
		return all
	}
	last, returns := function.Body.List[len(function.Body.List)-1].(*ast.ReturnStmt)
	if !returns || len(last.Results) != 1 {
		return all
	}
	table, is := last.Results[0].(*ast.CompositeLit)
	if !is {
		return all
	}
	if _, list := table.Type.(*ast.ArrayType); !list {
		return all
	}
	all[0] -= line(table.End()) - line(table.Pos())
	ast.Inspect(table, func(node ast.Node) bool {
		if inner, is := node.(*ast.FuncLit); is {
			all = append(all, line(inner.End())-line(inner.Pos())+1)
		}
		return true
	})
	return all
}

// methodOwner returns the name of a method's type.
func methodOwner(method *ast.FuncDecl) string {
	kind := method.Recv.List[0].Type
	for {
		switch of := kind.(type) {
		case *ast.StarExpr:
			kind = of.X
		case *ast.IndexExpr:
			kind = of.X
		case *ast.IndexListExpr:
			kind = of.X
		case *ast.Ident:
			return of.Name
		default:
			return fmt.Sprintf("%T", kind)
		}
	}
}

// String returns the table that `make house` prints.
func (h house) String() string {
	var b bytes.Buffer
	row := func(name string, value any) { fmt.Fprintf(&b, "%-44s %v\n", name, value) }
	row("product lines (Go, no tests, no blanks)", h.lines)
	row("share of comments", fmt.Sprintf("%.0f %%", 100*float64(h.comments)/float64(max(h.lines, 1))))
	row("packages", h.packages)
	row("exported methods of the largest type", fmt.Sprintf("%d (%s)", h.methods, h.methodsOf))
	row("functions over 60 lines", h.longFuncs)
	row("longest file", fmt.Sprintf("%d (%s)", h.longestFile, h.longestName))
	row("lines over 120 columns (Go, SQL, Markdown)", len(h.wide))
	row("duplicated lines, in runs of 8 or more", h.duplicated)
	return b.String()
}

func TestHouse_Table(t *testing.T) {
	root, here := os.Getenv("HOUSE"), false
	if root == "" {
		root, here = "..", true
	}
	h, err := measure(root)
	require.NoError(t, err)
	t.Logf("\n%s", h)
	require.NotZero(t, h.lines)
	if here { // a past commit is only measured
		require.LessOrEqual(t, h.methods, mostMethods, "give methods of %s to another type", h.methodsOf)
		require.Zero(t, h.longFuncs, "functions over %d lines", mostFuncLine)
		require.Empty(t, h.wide, "lines over %d columns", mostColumns)
	}
}

// A tree with one of each fault has all of them found.
func TestHouse_FaultsAreFound(t *testing.T) {
	root := t.TempDir()
	long := "func long() {\n" + strings.Repeat("\t_ = 1\n", 60) + "}\n"
	long += "func table() []func() {\n\treturn []func(){\n" + strings.Repeat("\t\tnil,\n", 60) +
		"\t\tfunc() {\n" + strings.Repeat("\t\t\t_ = 1\n", 60) + "\t\t},\n\t}\n}\n"
	run := "/*\n" + strings.Repeat("this line is long enough to count as one of a run\n", sameRun) + "*/\n"
	for name, text := range map[string]string{
		"a.go": "package a\n\n// T is one.\ntype T struct{}\n\nfunc (T) A() {}\n\nfunc (*T) B() {}\n\nfunc (T) c() " +
			"{}\n\n" + long + run,
		"b.go":      "package a\n\n" + run,
		"b_test.go": "package a\n\nfunc (T) D() {}\n",
		"c.md": strings.Repeat("é", 121) + "\n" + strings.Repeat("é", 120) + "\n```sh\n" + strings.Repeat("é", 121) +
			"\n```\n| " + strings.Repeat("é", 121) + "\n",
		"d_test.go": "package a\n\nconst d = `" + strings.Repeat("é\n"+strings.Repeat("é", 121)+"\n", 2) + "`\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o600))
	}
	h, err := measure(root)
	require.NoError(t, err)
	require.Equal(t, 2, h.methods)
	require.Equal(t, "a.T", h.methodsOf)
	require.Equal(t, 2, h.longFuncs)
	require.Equal(t, []string{"c.md:1"}, h.wide)
	require.Equal(t, 1, h.packages)
	require.Equal(t, "a.go", h.longestName)
	require.Positive(t, h.duplicated)
	require.Equal(t, 1, h.comments)
}
