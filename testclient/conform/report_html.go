package conform

import (
	_ "embed"
	"html/template"
	"io"
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
