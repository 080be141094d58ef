package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The OpenAPI document must be usable by others. So these tests run linters on it, generate clients from it, compile
// them, and run them against a server.

const (
	apiDocument   = "v1/openapi.yaml"
	clientsFolder = "testdata/clients"
)

// clientSteps are what the generated clients do, each in its own language.
var clientSteps = []string{
	"send, verify, status", "resend, cancel", "send refused", "verify refused", "status refused", "resend refused",
	"cancel refused", "no key",
}

// clientTools are the tools of package-lock.json, put into clientsFolder once for all tests and left there.
var clientTools struct {
	once sync.Once
	err  error
}

// needsTools installs the linters and the TypeScript generator if they are missing or have another version.
func needsTools(t *testing.T) {
	t.Helper()
	needs(t, "node", "npm")
	clientTools.once.Do(func() {
		const stamp = clientsFolder + "/node_modules/installed.json"
		locked, err := os.ReadFile(clientsFolder + "/package-lock.json")
		if err != nil {
			clientTools.err = err
			return
		}
		if done, err := os.ReadFile(stamp); err == nil && string(done) == string(locked) {
			return
		}
		// Packages must not run scripts at installation.
		command := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		command.Dir = clientsFolder
		if out, err := command.CombinedOutput(); err != nil {
			clientTools.err = fmt.Errorf("npm ci in server/%s: %w\n%s", clientsFolder, err, out)
			return
		}
		clientTools.err = os.WriteFile(stamp, locked, 0o644)
	})
	require.NoError(t, clientTools.err)
}

// tool runs a program of a package in node_modules and returns what it prints on stdout.
func tool(t *testing.T, script string, arguments ...string) (string, error) {
	t.Helper()
	needsTools(t)
	return ran(t, clientsFolder, nil, "node", append([]string{filepath.Join("node_modules", script)}, arguments...)...)
}

// ran runs a program to its end; the error contains its stderr.
func ran(t *testing.T, folder string, environ []string, program string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, arguments...)
	command.Dir, command.WaitDelay = folder, 5*time.Second
	command.Env = slices.Concat(os.Environ(), []string{"REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true",
		"NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"}, environ)
	out, err := command.Output()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%s %s: %w\n%s%s", program, strings.Join(arguments, " "), err, out, ended.Stderr)
	}
	return string(out), err
}

// absolute returns the absolute path.
func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	return path
}

// lintRules are the names of the rules that a linter reports, by document.
type lintRules map[string][]string

// spectral lints documents by the rules for OpenAPI, hints included.
func spectral(t *testing.T, documents ...string) lintRules {
	t.Helper()
	out, err := tool(t, "@stoplight/spectral-cli/dist/index.js",
		append([]string{"lint", "--quiet", "--format=json", "--ruleset=.spectral.yaml"}, documents...)...)
	var results []struct{ Code, Source string }
	require.NoError(t, json.Unmarshal([]byte(out), &results), "%v", err)
	found := lintRules{}
	for _, result := range results {
		found[result.Source] = append(found[result.Source], result.Code)
	}
	return found
}

// redocly lints documents by its recommended rules, warnings included.
func redocly(t *testing.T, documents ...string) lintRules {
	t.Helper()
	out, err := tool(t, "@redocly/cli/bin/cli.js",
		append([]string{"lint", "--format=json", "--config=redocly.yaml", "--max-problems=1000"}, documents...)...)
	found := lintRules{}
	for decoder := json.NewDecoder(strings.NewReader(out)); decoder.More(); { // one object each
		var report struct {
			Problems []struct {
				RuleID   string
				Location []struct {
					Source struct{ Ref string }
				}
			}
		}
		require.NoError(t, decoder.Decode(&report), "%v", err)
		for _, problem := range report.Problems {
			source := absolute(t, filepath.Join(clientsFolder, problem.Location[0].Source.Ref))
			found[source] = append(found[source], problem.RuleID)
		}
	}
	return found
}

// seededFaults are mistakes in a copy of the document, each with the rule by which each linter must find it.
var seededFaults = []struct{ correct, wrong, spectral, redocly string }{
	{"operationId: send\n", "operationld: send\n", "operation-operationId", "struct"},
	{"operationId: verify\n", "operationId: cancel\n", "operation-operationId-unique", "operation-operationId-unique"},
	{"schemas/SendRequest\"", "schemas/Missing\"", "invalid-ref", "no-unresolved-refs"},
	{"- name: id\n          in: path", "- name: other\n          in: path", "path-params", "path-parameters-defined"},
	{"          description: The code was checked.\n", "", "oas3-schema", "struct"},
	{"code: \"123456\"", "code: 123456", "oas3-valid-media-example", "no-invalid-media-type-examples"},
	{"  - bearer: []\n", "  - barer: []\n", "oas3-operation-security-defined", "security-defined"},
	{"status/{id}:", "status/{id}/:", "path-keys-no-trailing-slash", "no-path-trailing-slash"},
	{"tags: [receipts]", "tags: [recipes]", "operation-tag-defined", ""},
	{"name: Apache-2.0\n    identifier: Apache-2.0\n", "name: Apache-2.0\n", "", "info-license-strict"},
	{"ChallengeId: {type: string,", "ChallengeId: {type: text,", "oas3-schema", "struct"},
	{"  /v1/cancel:\n", "  /v1/cancel?now:\n", "path-not-include-query", "path-not-include-query"},
}

// faultyCopy writes a copy of a document with all seeded faults.
func faultyCopy(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	for _, fault := range seededFaults {
		require.True(t, strings.Contains(string(text), fault.correct), fault.correct)
		text = []byte(strings.Replace(string(text), fault.correct, fault.wrong, 1))
	}
	path := filepath.Join(t.TempDir(), "faulty.yaml")
	require.NoError(t, os.WriteFile(path, text, 0o644))
	return path
}

func TestClients_LintersFindNothingInTheDocumentAndEveryFaultInACopy(t *testing.T) {
	t.Parallel()
	document, broken := absolute(t, apiDocument), faultyCopy(t, apiDocument)
	ofSpectral, ofRedocly := spectral(t, document, broken), redocly(t, document, broken)
	require.Empty(t, ofSpectral[document])
	require.Empty(t, ofRedocly[document])
	for _, fault := range seededFaults {
		requireRule(t, ofSpectral, broken, fault.spectral, fault.wrong)
		requireRule(t, ofRedocly, broken, fault.redocly, fault.wrong)
	}
}

// requireRule removes one finding of this rule from a document's findings, so that each fault needs a separate
// finding.
func requireRule(t *testing.T, found lintRules, document, rule, fault string) {
	t.Helper()
	if rule == "" {
		return
	}
	at := slices.Index(found[document], rule)
	require.GreaterOrEqual(t, at, 0, "%s finds no %q", rule, fault)
	found[document] = slices.Delete(found[document], at, at+1)
}

// goClient generates a Go client for a document, adds the Go files in sources, makes a module of them, and returns its
// folder.
func goClient(t *testing.T, document, sources string) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(folder, os.DirFS(sources)))
	_, err := ran(t, folder, nil,
		"go", "tool", "oapi-codegen", "-generate=types,client", "-package=main", "-o=api.go", document)
	require.NoError(t, err)
	return folder
}

// typescriptClient generates a TypeScript client for a document, adds a source file, and returns the folder.
func typescriptClient(t *testing.T, document, source string) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.Symlink(absolute(t, clientsFolder+"/node_modules"), filepath.Join(folder, "node_modules")))
	for from, to := range map[string]string{
		source:                           "story.ts",
		clientsFolder + "/package.json":  "package.json",
		clientsFolder + "/tsconfig.json": "tsconfig.json",
	} {
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, to), text, 0o644))
	}
	_, err := tool(t, "openapi-typescript/bin/cli.js", document, "--output="+filepath.Join(folder, "api.ts"))
	require.NoError(t, err)
	return folder
}

// rename renames a member in the generated client, as a wrong document would.
func rename(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, strings.Contains(string(text), from), from)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o644))
}

// goesThrough runs a client, which must take all its steps.
func goesThrough(t *testing.T, s *booted, program string, arguments ...string) {
	t.Helper()
	environ := []string{"TARGET=" + s.URL(), "API_KEY=" + s.account("{}").APIKey, "MOBILE=+919876543210"}
	out, err := ran(t, ".", environ, program, arguments...)
	require.NoError(t, err)
	require.Equal(t, "ok "+strings.Join(clientSteps, "\nok ")+"\n", out)
}

func TestClients_AGeneratedClientInGoWorks(t *testing.T) {
	t.Parallel()
	s := boot(t, variables(t)...)
	folder := goClient(t, absolute(t, apiDocument), clientsFolder+"/go")
	compile := func() error {
		_, err := ran(t, folder, nil, "go", "build", "-o", "client", ".")
		return err
	}
	require.NoError(t, compile())
	goesThrough(t, s, filepath.Join(folder, "client"))

	rename(t, filepath.Join(folder, "api.go"), "ExpiresAt", "Expiry")
	require.ErrorContains(t, compile(), "ExpiresAt")
}

func TestClients_AGeneratedClientInTypeScriptWorks(t *testing.T) {
	t.Parallel()
	needsTools(t)
	s := boot(t, variables(t)...)
	folder := typescriptClient(t, absolute(t, apiDocument), clientsFolder+"/story.ts")
	compile := func() error {
		_, err := tool(t, "typescript/bin/tsc", "--project", folder)
		return err
	}
	require.NoError(t, compile())
	goesThrough(t, s, "node", filepath.Join(folder, "out", "story.js"))

	rename(t, filepath.Join(folder, "api.ts"), "expires_at", "expiry")
	require.ErrorContains(t, compile(), "expires_at")
}

// The lock file identifies packages by hash and names no registry: that is the machine's setting.
func TestClients_TheLockNamesNoRegistry(t *testing.T) {
	text, err := os.ReadFile(clientsFolder + "/package-lock.json")
	require.NoError(t, err)
	require.False(t, strings.Contains(string(text), "resolved"),
		"make it with npm install --package-lock-only --omit-lockfile-registry-resolved")
	require.Equal(t, strings.Count(string(text), `"version": `),
		strings.Count(string(text), `"integrity": "sha512-`))
}
