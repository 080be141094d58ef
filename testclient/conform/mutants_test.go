package conform

import (
	"cmp"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Tests of the tester: every case passes against the reference server, every mutant of it fails at least one case, and
// every case fails at least one mutant.

// flaws lists the mutants: all flaws that the reference server passes to has.
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
	for _, flaw := range refNamedFlaws {
		add(flaw)
	}
	for _, wrong := range refWrongRefusals {
		add(wrong.flaw())
	}
	for _, filter := range refFilters {
		add(ignored(filter))
	}
	return all
}

// play runs cases against a server, with the accounts of one profile or of both. With an address it uses the network.
func play(t *testing.T, server *reference, address string, profile Profile, cases []Case) []Result {
	t.Helper()
	target, err := NewTarget(cmp.Or(address, "localhost"), time.Minute, nil)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer target.Close()
	if address == "" {
		target.client.Transport = inProcess{server}
	}
	target.patience, target.idle = time.Second/2, server.idle
	report, err := Run(context.Background(), Options{Target: target, Cases: cases, Profile: profile, Parallel: 2,
		Slow: true})
	if err != nil {
		t.Error(err)
		return nil
	}
	return report.Results
}

// inProcess calls a server without a network, which is most of the cost of an exchange.
type inProcess struct{ server http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	path, _, _ := strings.Cut(r.URL.Opaque, "?")
	served := r.Clone(r.Context())
	if path != "" {
		served.URL.RawPath, served.URL.Opaque = path, ""
		var err error
		if served.URL.Path, err = url.PathUnescape(path); err != nil {
			return nil, err
		}
	}
	w := httptest.NewRecorder()
	p.server.ServeHTTP(w, served)
	return w.Result(), nil
}

func TestCases_ReferenceServerPassesEach(t *testing.T) {
	reference := newReference("")
	server := httptest.NewServer(reference)
	defer server.Close()
	for _, r := range play(t, reference, server.URL, Any, Cases()) {
		if r.Status != Pass {
			t.Errorf("%s (%s): %s: %s\n  %s\n  expected %s\n  got      %s", r.Case.ID, r.Profile, r.Status, r.Reason,
				r.Case.Requirement, r.Expected, r.Actual)
		}
	}
	for refusal := range reference.record.refused {
		require.True(t, slices.ContainsFunc(refWrongRefusals, func(w refWrongRefusal) bool {
			return w.section+" "+w.code == refusal
		}), "no mutant answers another status for %s", refusal)
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

// A mutant is named for the section that must find it. Failures elsewhere prove nothing: most cases begin with a
// generate, and a server that cannot generate fails them all.
func TestCases_EachMutantIsFoundAndEachCaseFindsOneInItsSection(t *testing.T) {
	mutants := flaws(t)
	kills := make([][]string, len(mutants)) // ids of cases, by mutant
	var all sync.WaitGroup
	slots := make(chan struct{}, 8) // some mutants wait for a message that never comes
	for i, flaw := range mutants {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			kills[i] = killers(t, flaw)
		})
	}
	all.Wait()

	var table strings.Builder
	killed := make(map[string]int)
	for i, flaw := range mutants {
		for _, id := range kills[i] {
			killed[id]++
		}
		if len(kills[i]) == 0 {
			t.Errorf("no case of its section kills the mutant %q", flaw)
		}
		fmt.Fprintf(&table, "%-80s %s\n", flaw, strings.Join(kills[i], " "))
	}
	for _, c := range Cases() {
		if killed[c.ID] == 0 {
			t.Errorf("%s kills no mutant of its section: %s", c.ID, c.Requirement)
		}
	}
	t.Logf("%d cases kill %d mutants:\n%s", len(Cases()), len(mutants), table.String())
}

// killers returns the cases of a mutant's section that fail against it. The profiles differ only in texts, so the
// second one is tested only for its own cases, and where the first finds nothing.
func killers(t *testing.T, flaw string) []string {
	var of []Case
	for _, c := range Cases() {
		if home(c.ID) == section(flaw) {
			of = append(of, c)
		}
	}
	failed := failures(t, flaw, Documented, of)
	of = slices.DeleteFunc(of, func(c Case) bool { return c.Profile != Live && (len(failed) > 0 || c.Profile == None) })
	if len(of) > 0 {
		failed = append(failed, failures(t, flaw, Live, of)...)
	}
	slices.Sort(failed)
	return slices.Compact(failed)
}

// failures returns the cases that report the mutant as wrong. A case that could not run does not count.
func failures(t *testing.T, flaw string, profile Profile, cases []Case) []string {
	var failed []string
	for _, r := range play(t, newReference(flaw), "", profile, cases) {
		if r.Status == Fail {
			failed = append(failed, r.Case.ID)
		}
	}
	return failed
}

func home(id string) string { return id[:strings.LastIndex(id, "/")] }

// managed are the sections about /api.
var managed = []string{"management", "privacy", "audit", "insight", "webhooks"}

// section returns the section of a flaw's cases. Those of the servlets omit the door.
func section(flaw string) string {
	name, _, _ := strings.Cut(flaw, ": ")
	if name == "parity" || slices.Contains(managed, name) || strings.HasPrefix(name, "v1/") {
		return name
	}
	return "servlet/" + name
}
