package conform

import (
	"encoding/json"
	"io"
	"time"
)

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
