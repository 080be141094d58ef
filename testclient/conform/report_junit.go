package conform

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

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
