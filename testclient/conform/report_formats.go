package conform

import (
	_ "embed"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Parse(page))

// HTML writes a report as one file that opens from disk: without scripts, images or other resources. The browser's
// details element folds the cases, and its default colours make it light or dark.
func HTML(w io.Writer, r *Report) error {
	type row struct {
		Section                 string
		Profile                 Profile
		Pass, Fail, Skip, Error int
	}
	type item struct {
		*Result
		Basis, Duration, Reproduction string
		Last                          *Exchange
	}
	view := struct {
		*Report
		Verdict, Duration string
		Worst             Status
		Rows              []row
		Broken, Rest      []item
	}{Report: r, Verdict: r.verdict(), Duration: inSeconds(r.Took), Worst: r.worst()}
	for _, t := range r.tallies() {
		view.Rows = append(view.Rows, row{t.section, t.profile, t.pass, t.fail, t.skip, t.error})
	}
	for i := range r.Results {
		result := &r.Results[i]
		shown := item{result, result.basis(), inSeconds(result.Took), result.reproduction(), result.last()}
		if result.Status == Fail || result.Status == Error {
			view.Broken = append(view.Broken, shown)
		} else {
			view.Rest = append(view.Rest, shown)
		}
	}
	return pageTemplate.Execute(w, view)
}

// JSON writes a report for machines. Fields are only ever added to this format.
func JSON(w io.Writer, r *Report) error {
	type exchange struct {
		Request string `json:"request"`
		Answer  string `json:"answer"`
		Curl    string `json:"curl"`
	}
	type result struct {
		ID          string     `json:"id"`
		Section     string     `json:"section"`
		Profile     Profile    `json:"profile"`
		Level       string     `json:"level"`
		Source      Source     `json:"source"`
		Requirement string     `json:"requirement"`
		Status      Status     `json:"status"`
		Reason      string     `json:"reason,omitempty"`
		Expected    string     `json:"expected,omitempty"`
		Actual      string     `json:"actual,omitempty"`
		Exchange    []exchange `json:"exchange,omitempty"`
		Seconds     float64    `json:"seconds"`
	}
	report := struct {
		Target   string         `json:"target"`
		Sandbox  bool           `json:"sandbox"`
		Profiles []Profile      `json:"profiles"`
		Found    []string       `json:"found"`
		Verdict  string         `json:"verdict"`
		ExitCode int            `json:"exit_code"`
		Counts   map[Status]int `json:"counts"`
		Started  time.Time      `json:"started"`
		Seconds  float64        `json:"seconds"`
		Results  []result       `json:"results"`
	}{
		Target: r.Target, Sandbox: r.Sandbox, Profiles: r.Detection.Profiles, Found: append([]string{}, r.Detection.Found...),
		Verdict: r.verdict(), ExitCode: r.ExitCode(),
		Counts:  map[Status]int{Pass: r.Count(Pass), Fail: r.Count(Fail), Skip: r.Count(Skip), Error: r.Count(Error)},
		Started: r.Started.UTC().Truncate(time.Millisecond), Seconds: r.Took.Seconds(), Results: []result{},
	}
	for _, from := range r.Results {
		to := result{
			ID: from.Case.ID, Section: from.Case.Section(), Profile: from.Profile, Level: from.Case.Level.String(),
			Source: from.Case.Source, Requirement: from.Case.Requirement, Status: from.Status, Reason: from.Reason,
			Expected: from.Expected, Actual: from.Actual, Seconds: from.Took.Seconds(),
		}
		for _, e := range from.Exchange {
			to.Exchange = append(to.Exchange, exchange(e))
		}
		report.Results = append(report.Results, to)
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(report)
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string     `xml:"classname,attr"`
	Name    string     `xml:"name,attr"`
	Time    string     `xml:"time,attr"`
	Failure *junitNote `xml:"failure,omitempty"`
	Error   *junitNote `xml:"error,omitempty"`
	Skipped *junitNote `xml:"skipped,omitempty"`
}

type junitNote struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes a report for the test view of a CI service: a suite for each section and profile.
func JUnit(w io.Writer, r *Report) error {
	suites := junitSuites{
		Name: "conformance of " + r.Target, Tests: len(r.Results),
		Failures: r.Count(Fail), Errors: r.Count(Error), Skipped: r.Count(Skip), Time: plainSeconds(r.Took),
	}
	for _, t := range r.tallies() {
		suite := junitSuite{
			Name:  strings.ReplaceAll(t.section, "/", ".") + "." + string(t.profile),
			Tests: t.pass + t.fail + t.skip + t.error, Failures: t.fail, Errors: t.error, Skipped: t.skip,
			Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
		}
		var took time.Duration
		for i := range r.Results {
			result := &r.Results[i]
			if result.Case.Section() == t.section && result.Profile == t.profile {
				suite.Cases = append(suite.Cases, junitCaseOf(result, suite.Name))
				took += result.Took
			}
		}
		suite.Time = plainSeconds(took)
		suites.Suites = append(suites.Suites, suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	out := xml.NewEncoder(w)
	out.Indent("", "  ")
	if err := out.Encode(suites); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitCaseOf(r *Result, class string) junitCase {
	c := junitCase{Class: class, Name: r.Case.ID + " " + r.Case.Requirement, Time: plainSeconds(r.Took)}
	switch r.Status {
	case Fail:
		c.Failure = &junitNote{Message: "expected " + r.Expected + ", came " + r.Actual, Type: r.Case.Level.String(),
			Text: plainDetail(r)}
	case Error:
		c.Error = &junitNote{Message: r.Reason, Text: plainDetail(r)}
	case Skip:
		c.Skipped = &junitNote{Message: r.Reason}
	}
	return c
}

// plainDetail returns what the terminal shows of a result.
func plainDetail(r *Result) string {
	var b strings.Builder
	Terminal{}.detail(&b, r)
	return b.String()
}

func plainSeconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// Markdown writes a report for a page of a repository or the summary of a CI job.
func Markdown(w io.Writer, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Conformance of %s\n\n**%s** %d cases in %s.\n\n", markdownText(r.Target),
		markdownText(r.verdict()), len(r.Results), inSeconds(r.Took))
	for _, sentence := range r.Detection.Found {
		fmt.Fprintf(&b, "- %s\n", markdownText(sentence))
	}
	b.WriteString("\n| section | profile | pass | fail | skip | error |\n| --- | --- | ---: | ---: | ---: | ---: |\n")
	for _, t := range r.tallies() {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d |\n", t.section, t.profile, t.pass, t.fail, t.skip, t.error)
	}
	for i := range r.Results {
		result := &r.Results[i]
		if result.Status == Fail || result.Status == Error {
			markdownDetail(&b, result)
		}
	}
	var skipped []string
	for _, result := range r.Results {
		if result.Status == Skip {
			skipped = append(skipped, fmt.Sprintf("- `%s` (%s): %s", result.Case.ID, result.Profile,
				markdownText(result.Reason)))
		}
	}
	if len(skipped) > 0 {
		b.WriteString("\n## Skipped\n\n" + strings.Join(skipped, "\n") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownDetail(b *strings.Builder, r *Result) {
	fmt.Fprintf(b, "\n## %s: `%s`, %s\n\n%s (%s)\n\n", r.Status, r.Case.ID, r.Profile, markdownText(r.Case.Requirement),
		r.basis())
	if r.Status == Fail {
		fmt.Fprintf(b, "- expected %s\n- came %s\n", markdownText(r.Expected), markdownText(r.Actual))
	} else {
		fmt.Fprintf(b, "%s\n", markdownText(r.Reason))
	}
	if last := r.last(); last != nil {
		fence := longestFence(last.Request + last.Answer + r.reproduction())
		fmt.Fprintf(b, "\nRequest and answer:\n\n%[1]s\n%[2]s\n\n%[3]s\n%[1]s\n\nTo see it "+
			"again:\n\n%[1]sbash\n%[4]s\n%[1]s\n",
			fence, last.Request, last.Answer, r.reproduction())
	}
}

// longestFence returns a fence that nothing in text can close.
func longestFence(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence
}

var markdownSpecial = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", "|", `\|`, "#",
	`\#`, "[", `\[`, "\n", " ")

func markdownText(text string) string { return markdownSpecial.Replace(text) }
