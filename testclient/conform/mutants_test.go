package conform

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tester is tested: every case passes against the reference server, every mutant of it fails
// at least one case, and every case fails at least one mutant.

// flaws are the mutants: all that the reference server asks has for.
func flaws(t *testing.T) []string {
	t.Helper()
	var all []string
	add := func(flaw string) {
		if !slices.Contains(all, flaw) {
			all = append(all, flaw)
		}
	}
	files, err := filepath.Glob("reference*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatal("the reference server's source is not here:", err)
	}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			literal, text := call.Args[0].(*ast.BasicLit)
			if ok && text && (method.Sel.Name == "has" || method.Sel.Name == "yield") {
				flaw, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				add(flaw)
			}
			return true
		})
	}
	for _, wrong := range refWrongTexts {
		add(wrong.flaw)
	}
	for _, wrong := range refWrongStatuses {
		add(wrong.flaw)
	}
	for _, wrong := range refFifthTexts {
		add(wrong.flaw)
	}
	return all
}

// play runs all cases, with the accounts of one profile or of both, against a reference server in
// this process.
func play(t *testing.T, flaw string, profile Profile, parallel int) []Result {
	t.Helper()
	server := newReference(flaw)
	target, err := NewTarget("http://127.0.0.1:1", time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	target.client.Transport = inProcess{server}
	report, err := Run(context.Background(), Options{Target: target, Cases: Cases(), Profile: profile, Parallel: parallel})
	if err != nil {
		t.Fatal(err)
	}
	return report.Results
}

// inProcess calls a server without a network: 50,000 exchanges need no ports.
type inProcess struct{ server http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	path, _, _ := strings.Cut(r.URL.Opaque, "?")
	served := r.Clone(r.Context())
	if path != "" {
		served.URL.Path, served.URL.Opaque = path, ""
	}
	served.Header = make(http.Header)
	for name, values := range r.Header {
		for _, value := range values {
			served.Header.Add(name, value) // as the network's reader spells names
		}
	}
	w := httptest.NewRecorder()
	p.server.ServeHTTP(w, served)
	if r.Method == http.MethodHead {
		w.Body.Reset()
	}
	return w.Result(), nil
}

func TestCases_ReferenceServerPassesEach(t *testing.T) {
	for _, r := range play(t, "", Any, 4) {
		if r.Status != Pass {
			t.Errorf("%s (%s): %s: %s\n  %s\n  expected %s\n  got      %s", r.Case.ID, r.Profile, r.Status, r.Reason, r.Case.Requirement, r.Expected, r.Actual)
		}
	}
}

func TestCases_EachIsOneSentenceWithItsEvidence(t *testing.T) {
	seen := make(map[string]string)
	for _, c := range Cases() {
		if !strings.HasSuffix(c.Requirement, ".") || strings.Contains(c.Requirement, "  ") {
			t.Errorf("%s: the requirement is no sentence: %q", c.ID, c.Requirement)
		}
		if other := seen[c.Requirement]; other != "" {
			t.Errorf("%s requires the same as %s", c.ID, other)
		}
		seen[c.Requirement] = c.ID
		level := map[Source]Level{Article: Must, Captured: Should, Client: Should, Choice: May}[c.Source]
		if c.Level != level || level == 0 {
			t.Errorf("%s: level %v does not follow from its source %q", c.ID, c.Level, c.Source)
		}
	}
}

func TestCases_EachMutantIsKilledAndEachCaseKillsOne(t *testing.T) {
	mutants := flaws(t)
	kills := make([][]string, len(mutants)) // ids of cases, by mutant
	failures := make([][]string, len(mutants))
	var all sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i, flaw := range mutants {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for _, r := range append(play(t, flaw, Documented, 2), play(t, flaw, Live, 2)...) {
				switch {
				case r.Status == Fail && !slices.Contains(kills[i], r.Case.ID):
					kills[i] = append(kills[i], r.Case.ID)
				case r.Status == Error:
					failures[i] = append(failures[i], r.Case.ID+": "+r.Reason)
				}
			}
		})
	}
	all.Wait()

	var table bytes.Buffer
	killed := make(map[string]int)
	for i, flaw := range mutants {
		fmt.Fprintf(&table, "%-70s %s\n", flaw, strings.ReplaceAll(strings.Join(kills[i], " "), "servlet/", ""))
		if len(kills[i]) == 0 {
			t.Errorf("nothing kills the mutant %q %v", flaw, failures[i])
		}
		for _, id := range kills[i] {
			killed[id]++
		}
	}
	for _, c := range Cases() {
		fmt.Fprintf(&table, "%-70s kills %d\n", c.ID, killed[c.ID])
		if killed[c.ID] == 0 {
			t.Errorf("%s kills no mutant: %s", c.ID, c.Requirement)
		}
	}
	t.Logf("%d mutants, %d cases\n%s", len(mutants), len(Cases()), table.String())
	if file := os.Getenv("MUTANT_TABLE"); file != "" {
		if err := os.WriteFile(file, table.Bytes(), 0o644); err != nil {
			t.Error(err)
		}
	}
}
