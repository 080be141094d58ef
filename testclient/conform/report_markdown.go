package conform

import (
	"fmt"
	"io"
	"strings"
)

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
