package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// layers has for each package our packages that it may import, outside tests. Imports point down only. A package
// without a row fails the test, so that adding one is a decision. A row without a package is for a future package.
var layers = map[string][]string{
	"config":        {"server/files"},
	"crypto":        {},
	"server/otp":    {},
	"server/files":  {},             // opens files, on every system
	"server/strict": {"server/otp"}, // reads JSON input, wherever it comes in
	"sql":           {"server/otp", "server/files", "server/strict"},
	"sql/sqltest":   {}, // starts databases for tests
	// Copies databases with the schema for tests.
	"sql/sqltest/migrated": {"sql", "sql/sqltest"},
	"server/deliver":       {"server/otp", "server/files", "server/strict"},
	"server/vault":         {"server/otp", "sql", "crypto"}, // seals and hashes rows, for those above
	"server/engine":        {"server/otp", "sql", "server/deliver", "crypto", "server/vault"},
	"server/manage":        {"server/otp", "sql", "server/deliver", "crypto", "server/vault"},
	"server/people":        {"server/otp", "sql", "crypto", "server/vault"},
	"server/audit":         {"server/otp", "server/files", "sql", "crypto", "server/vault"},
	"server/webhook":       {"server/otp", "sql", "crypto", "server/vault", "server/deliver"},
	"server/insight":       {"server/otp", "server/deliver", "sql"}, // counts and warns
	"server/privacy":       {"server/otp", "server/files", "sql", "crypto", "server/vault", "server/deliver"},
	// Passes calls on to the service that an account comes from
	"server/bridge":  {"server/otp", "server/deliver", "sql"},
	"server/web":     {"server/otp", "server/strict"}, // what the doors have in common
	"server/servlet": {"server/otp", "server/engine", "server/bridge", "server/web"},
	"server/v1": {"server/otp", "server/people", "server/privacy", "server/engine", "server/web", "server/webhook",
		"server/audit"},
	"server/admin": {
		"server/otp", "crypto", "server/audit", "server/manage", "server/people", "server/engine", "server/bridge",
		"server/privacy", "server/web", "server/webhook", "server/insight",
	},
	"server/console": {"crypto", "server/otp", "server/audit", "server/bridge", "server/manage", "server/people",
		"server/engine", "server/web", "server/deliver", "server/privacy", "server/sandbox", "server/webhook",
		"server/insight",
		"server/servlet"}, // to show what the servlets answer, from their own table
	"server/sandbox":  {"server/otp", "server/engine", "server/manage", "server/web"},
	"server/callback": {"server/otp", "server/engine", "server/web"},
	"server": {
		"config", "crypto", "sql", "server/otp", "server/files", "server/vault", "server/deliver", "server/engine",
		"server/manage", "server/people", "server/audit", "server/privacy", "server/bridge", "server/strict", "server/web",
		"server/webhook", "server/insight", "server/servlet", "server/v1", "server/admin", "server/console", "server/sandbox",
		"server/callback",
	},
	"server/people/passkeytest": {},                                // an authenticator for tests
	"server/vault/vaulttest":    {"server/vault", "sql", "crypto"}, // opens databases for tests of what is above
	"server/doc/examples/go":    {},                                // a client to copy
	"testclient":                {"testclient/conform", "testclient/load"},
	"testclient/load":           {}, // makes load, for benchmarks and for the client
	"testclient/conform":        {},
}

// bare are the packages that may import only the standard library.
var bare = []string{"server/otp"}

// topFolders are all folders in the root.
var topFolders = []string{"config", "crypto", "sql", "server", "testclient"}

// poorNames are forbidden names of packages: they do not say what a package is for.
var poorNames = []string{"util", "utils", "common", "models", "helpers"}

func TestLayers(t *testing.T) {
	imports := importsOf(t, "..")
	for folder, imported := range imports {
		allowed, known := layers[folder]
		if !known {
			t.Errorf("package %s has no row in the table of layers: give it one, with what it may import", folder)
		}
		if slices.Contains(poorNames, path.Base(folder)) {
			t.Errorf("package %s: the name does not say what it holds", folder)
		}
		if top, _, _ := strings.Cut(folder, "/"); !slices.Contains(topFolders, top) {
			t.Errorf("package %s is in none of the folders %v", folder, topFolders)
		}
		for _, name := range imported {
			ours, inside := strings.CutPrefix(name, "otpbridge/")
			switch {
			case inside && !slices.Contains(allowed, ours):
				t.Errorf("package %s imports %s, which is not below it", folder, ours)
			case !inside && slices.Contains(bare, folder) && strings.Contains(name, "."):
				t.Errorf("package %s imports %s, and may import the standard library only", folder, name)
			}
		}
	}
	require.Contains(t, imports, "server", "the walk found nothing")
	require.Contains(t, imports, "server/otp")
}

// A tree with one fault of each kind has all of them found.
func TestLayers_FaultsAreFound(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"server/otp/a.go":      `package otp; import "otpbridge/sql"`,
		"server/otp/a_test.go": `package otp; import "otpbridge/server"`,
		"data/b.go":            `package data; import "os"`,
		".hidden/c.go":         `package hidden; import "otpbridge/sql"`,
		"sql/testdata/d.go":    `package broken; import "otpbridge/server"`,
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o600))
	}
	require.Equal(t, map[string][]string{"server/otp": {"otpbridge/sql"}, "data": {"os"}}, importsOf(t, root))
}

// Only its dialect and the settings know a database by its name.
func TestLayers_ADatabasesNameIsInItsDialect(t *testing.T) {
	named := regexp.MustCompile(`^(?i:sqlite|mysql|mariadb)`)
	found := map[string]bool{}
	eachProduct(t, "..", func(name string, file *ast.File) {
		ast.Inspect(file, func(node ast.Node) bool {
			literal, ok := node.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			if named.MatchString(text) {
				found[name] = true
			}
			return true
		})
	})
	for name := range found {
		folder := path.Dir(name)
		dialect := folder == "sql" && strings.HasPrefix(path.Base(name), "dialect_")
		if !dialect && !strings.HasPrefix(folder, "sql/sqltest") && folder != "config" {
			t.Errorf("%s names a database", name)
		}
	}
	require.True(t, found["sql/dialect_all.go"], "the walk found nothing")
}

// importsOf returns the imports of each package below root outside its tests, for all build constraints.
func importsOf(t *testing.T, root string) map[string][]string {
	t.Helper()
	imports := make(map[string][]string)
	eachProduct(t, root, func(name string, file *ast.File) {
		folder := path.Dir(name)
		imports[folder] = append(imports[folder], []string{}...)
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if !slices.Contains(imports[folder], imported) {
				imports[folder] = append(imports[folder], imported)
			}
		}
	})
	return imports
}

// eachProduct visits every Go file below root that is no test, by its name there.
func eachProduct(t *testing.T, root string, visit func(name string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			hidden := strings.HasPrefix(entry.Name(), ".") && name != root
			if hidden || entry.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err == nil {
			visit(filepath.ToSlash(below), file)
		}
		return err
	})
	require.NoError(t, err)
}

// The SQLite driver is C translated to Go. It works only with the version of the C library that it was translated for.
// Another dependency may raise that version; then this test fails, and go.mod must be corrected.
func TestModules_SQLiteHasTheLibcItWasMadeFor(t *testing.T) {
	driver := module(t, "modernc.org/sqlite")
	wanted, err := os.ReadFile(driver.GoMod)
	require.NoError(t, err)
	require.Contains(t, strings.Fields(string(wanted)), "modernc.org/libc")
	words := strings.Fields(string(wanted))
	version := words[slices.Index(words, "modernc.org/libc")+1]
	require.Equal(t, version, module(t, "modernc.org/libc").Version, "modernc.org/libc in go.mod")
}

type moduleInfo struct{ Version, GoMod string }

func module(t *testing.T, name string) (info moduleInfo) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-json", name).Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &info))
	return info
}

// The packages and files that the page on architecture names exist.
func TestArchitecture_ThePageIsTrue(t *testing.T) {
	text, err := os.ReadFile("doc/architecture.md")
	require.NoError(t, err)
	page := string(text)
	for folder := range importsOf(t, "..") {
		name := strings.TrimPrefix(folder, "server/")
		if strings.Contains(folder, "doc/examples") || strings.HasPrefix(folder, "sql/sqltest") ||
			strings.HasSuffix(folder, "test") {
			continue
		}
		require.True(t, strings.Contains(page, name+"`"), "the page says nothing of package %s", folder)
	}
	_, changes, found := strings.Cut(page, "## Where each change is made")
	require.True(t, found)
	file := regexp.MustCompile("`((?:server|sql|config|testclient|crypto)[a-z0-9/_*]*(?:\\.[a-z]+)?)`")
	named := file.FindAllStringSubmatch(changes, -1)
	require.Greater(t, len(named), 15)
	for _, path := range named {
		there, err := filepath.Glob(filepath.Join("..", path[1]))
		require.NoError(t, err)
		require.NotEmpty(t, there, "the page names %s, which is not there", path[1])
	}
}

// The diagram on the page has the packages of the page's table, and every import leads to a line below.
func TestArchitecture_TheDiagramIsTrue(t *testing.T) {
	text, err := os.ReadFile("doc/architecture.md")
	require.NoError(t, err)
	diagram := blocks(t, string(text), "diagram", "")[0]
	var packages []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile("`([a-z0-9/]+)`").FindAllStringSubmatch(row[1], -1) {
			packages = append(packages, path.Base(name[1]))
		}
	}
	lines := map[string]int{}
	for n, line := range strings.Split(diagram, "\n") {
		for _, word := range regexp.MustCompile("[a-z0-9]+").FindAllString(line, -1) {
			if slices.Contains(packages, word) {
				require.NotContains(t, lines, word, "it stands in two lines")
				lines[word] = n
			}
		}
	}
	for _, name := range packages {
		require.Contains(t, lines, name, "the diagram lacks a package of the table")
	}
	for folder, imported := range importsOf(t, "..") {
		from, shown := lines[path.Base(folder)]
		require.True(t, shown || strings.Contains(folder, "test") || strings.Contains(folder, "examples"), folder)
		for _, name := range imported {
			if ours, inside := strings.CutPrefix(name, "otpbridge/"); inside && shown {
				require.Greater(t, lines[path.Base(ours)], from, "%s imports %s", folder, ours)
			}
		}
	}
}
