package conform

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// PlainText writes a report for people, without colour.
func PlainText(w io.Writer, r *Report) error { return Terminal{Out: w}.Write(r) }

// Terminal shows a run on a terminal.
type Terminal struct {
	Out io.Writer
	// Fancy uses colours and a line that overwrites itself, which only terminals show correctly.
	Fancy bool
	// Verbose names every case as it ends.
	Verbose bool
}

var colours = map[Status]string{Pass: "\x1b[32m", Fail: "\x1b[31m", Skip: "\x1b[33m", Error: "\x1b[35m"}

func (t Terminal) coloured(status Status, text string) string {
	if !t.Fancy {
		return text
	}
	return colours[status] + text + "\x1b[0m"
}

// clear returns to the beginning of the line and empties it.
func (t Terminal) clear() string {
	if !t.Fancy {
		return ""
	}
	return "\r\x1b[K"
}

// Progress shows one result as it comes.
func (t Terminal) Progress(r Result, done, total int) {
	if t.Verbose || r.Status == Fail || r.Status == Error {
		with := string(r.Profile) + ", "
		if r.Profile == None {
			with = ""
		}
		fmt.Fprintf(t.Out, "%s%s %s (%s%s)\n", t.clear(), t.coloured(r.Status, fmt.Sprintf("%-5s", r.Status)), r.Case.ID,
			with, inSeconds(r.Took))
	}
	if t.Fancy {
		const width = 30
		filled := width * done / total
		fmt.Fprintf(t.Out, "\r\x1b[K[%s%s] %d/%d %s", strings.Repeat("=", filled), strings.Repeat(" ", width-filled), done,
			total, r.Case.ID)
		if done == total {
			fmt.Fprint(t.Out, t.clear())
		}
	}
}

// Write shows a whole report: the failures with all details, then the sections.
func (t Terminal) Write(r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Target %s\n", r.Target)
	for _, sentence := range r.Detection.Found {
		fmt.Fprintf(&b, "  %s\n", sentence)
	}
	for i := range r.Results {
		result := &r.Results[i]
		if result.Status == Fail || result.Status == Error {
			t.detail(&b, result)
		}
	}
	t.skips(&b, r)
	b.WriteString("\n")
	t.table(&b, r)
	fmt.Fprintf(&b, "\n%s\n%d cases in %s.\n", t.coloured(r.worst(), r.verdict()), len(r.Results), inSeconds(r.Took))
	_, err := io.WriteString(t.Out, b.String())
	return err
}

// worst returns the status that decides the overall result.
func (r *Report) worst() Status {
	for _, status := range []Status{Fail, Error} {
		if r.Count(status) > 0 {
			return status
		}
	}
	if r.Count(Pass) == 0 {
		return Skip
	}
	return Pass
}

func (t Terminal) detail(b *strings.Builder, r *Result) {
	fmt.Fprintf(b, "\n%s %s: %s\n", t.coloured(r.Status, string(r.Status)), r.Case.ID, r.Case.Requirement)
	fmt.Fprintf(b, "  requirement  %s\n", r.basis())
	if r.Status == Fail {
		fmt.Fprintf(b, "  expected     %s\n  came         %s\n", r.Expected, r.Actual)
	} else {
		fmt.Fprintf(b, "  reason       %s\n", strings.ReplaceAll(r.Reason, "\n", "\n             "))
	}
	if last := r.last(); last != nil {
		fmt.Fprintf(b, "  request\n%s\n  answer\n%s\n  to see it again (bash)\n%s\n",
			indent(last.Request, "    "), indent(last.Answer, "    "), indent(r.reproduction(), "    "))
	}
}

// skips lists each reason once, with the number of cases it skipped.
func (t Terminal) skips(b *strings.Builder, r *Report) {
	counts := map[string]int{}
	var order []string
	for _, result := range r.Results {
		if result.Status == Skip {
			if counts[result.Reason] == 0 {
				order = append(order, result.Reason)
			}
			counts[result.Reason]++
		}
	}
	for _, reason := range order {
		fmt.Fprintf(b, "\n%s (%d): %s\n", t.coloured(Skip, "skip"), counts[reason], reason)
	}
}

func (t Terminal) table(b *strings.Builder, r *Report) {
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "section\tprofile\tpass\tfail\tskip\terror")
	for _, row := range r.tallies() {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\n", row.section, row.profile, row.pass, row.fail, row.skip, row.error)
	}
	_ = table.Flush() // into a builder
}
