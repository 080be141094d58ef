package console

import (
	"fmt"
	"strconv"
	"strings"

	"otpbridge/server/insight"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// watchPages show statistics, alerts and the checklist.
var watchPages = []route{
	{method: get, path: "watch", who: person, needs: people.ReadStatistics, serve: (*exchange).watch},
	{method: post, path: "watch/acknowledge", who: person, needs: people.WriteAlerts, serve: (*exchange).acknowledge},
	{method: post, path: "watch/review", who: person, needs: people.WriteAlerts, serve: (*exchange).review},
}

// watchBody is the data of the page for a span of time.
type watchBody struct {
	list
	Account, Environment, Span string
	Accounts                   []string
	Environments               []otp.Environment

	Times            []insight.Line // hours, or days for a week
	Total            insight.Line
	Calls, Sends     []bar
	Tables           []watchTable
	Alerts           []insight.Alert
	Checklist        []insight.Item
	MayRead, MayNote bool
	Item, Note       string // of a review that was refused
}

// watchTable is one table of numbers.
type watchTable struct {
	Title, Of string // Of is the heading of the first column
	Sends     bool   // it shows sends; else calls
	Lines     []insight.Line
}

// bar is one bar of a chart. Height is its filled part, and Mark the marked part of that.
type bar struct {
	X, Width, Y, Height, MarkY, Mark float64
	Title                            string
}

// How many lines and alerts a table shows at most; the API returns the others.
const (
	shownLines  = 20
	shownAlerts = 50
)

func (x *exchange) watch() error { return x.showWatch(nil) }

// showWatch shows the page, or the refusal of one of its forms.
func (x *exchange) showWatch(refused error) error {
	body := watchBody{list: x.list("watch", []string{"account", "environment", "span"}), Account: x.query("account"),
		Environment: x.query("environment"), Span: x.query("span"), Environments: otp.Environments(),
		MayRead: x.who.May(people.ReadAlerts) == nil,
		MayNote: x.who.May(people.WriteAlerts) == nil}
	var err error
	if body.Accounts, err = x.addresses(); err != nil {
		return err
	}
	q, err := x.watched(&body)
	if err != nil {
		return x.refuse(err, "watch", "Security", body)
	}
	if err := x.count(&body, q); err != nil {
		return err
	}
	if body.MayRead {
		before, _ := otp.ParseID(insight.AlertPrefix, body.Cursor) // what is no id starts with the newest
		if body.Alerts, err = x.door.Insight.Alerts(x.ctx, q.Accounts, before, shownAlerts+1); err != nil {
			return err
		}
		body.Alerts = part(&body.list, body.Alerts, shownAlerts, body.ID)
		if body.Checklist, err = x.door.Insight.Checklist(x.ctx, q.Accounts, q.To); err != nil {
			return err
		}
	}
	if refused != nil {
		body.Item, body.Note = x.form("item"), x.form("note")
	}
	return x.page(refused, "watch", "Security", body)
}

// watched returns the query for the counts that the page's URL asks for.
func (x *exchange) watched(body *watchBody) (insight.Query, error) {
	q := insight.Query{Accounts: x.who.Grant.Accounts, Environment: body.Environment, To: now(), By: insight.ByHour}
	if body.Account != "" {
		if err := x.who.See(body.Account); err != nil {
			return q, err
		}
		q.Accounts = []string{body.Account}
	}
	if body.Environment != "" && otp.Environment(body.Environment).Check() != nil {
		return q, otp.RefuseField("environment", "must be live, test or dev")
	}
	q.From = q.To - otp.Day + otp.Hour
	if body.Span == "week" {
		q.From, q.By = q.To-6*otp.Day, insight.ByDay
		q.From -= q.From % otp.Day
	}
	return q, nil
}

// count fills in the page's numbers.
func (x *exchange) count(body *watchBody, q insight.Query) (err error) {
	if body.Times, err = x.door.Insight.Statistics(x.ctx, q); err != nil {
		return err
	}
	body.Total = insight.Total(body.Times)
	times := everyTime(body.Times, q)
	body.Calls = chart(times, "refused or failed", 1,
		func(l *insight.Line) (int64, int64) { return l.Calls, l.Refused + l.Faults })
	body.Sends = chart(times, "verified", 1, func(l *insight.Line) (int64, int64) { return l.Sent, l.Verified })
	for _, t := range []struct {
		title, of, by string
		sends         bool
	}{
		{"Where codes go", "Country", insight.ByCountry, true}, {"Ranges of numbers", "Prefix", insight.ByPrefix, true},
		{"Channels", "Channel", insight.ByChannel, true},
		{"Where calls come from", "Country", insight.ByClientCountry, false}, {"Keys", "Key", insight.ByKey, false},
		{"How calls were answered", "Answer", insight.ByReason, false},
		{"How long calls took", "Up to", insight.ByLatency, false},
	} {
		q.By = t.by
		lines, err := x.door.Insight.Statistics(x.ctx, q)
		if err != nil {
			return err
		}
		body.Tables = append(body.Tables, watchTable{t.title, t.of, t.sends, lines[:min(len(lines), shownLines)]})
	}
	return nil
}

// Open reports whether an alert is raised and not acknowledged.
func (watchBody) Open(a insight.Alert) bool { return a.State == insight.Raised }

// ID returns an alert's id.
func (watchBody) ID(a insight.Alert) string { return a.ID.Text(insight.AlertPrefix) }

// Remedy returns what to do about an alert.
func (watchBody) Remedy(a insight.Alert) string { return insight.RemedyOf(a.Rule) }

// Place returns the page that can do what a remedy's API call does; empty if there is none.
func (watchBody) Place(remedy string) string {
	for _, page := range []string{"keys", "webhooks", "migration", "people", "audit", "accounts"} {
		if strings.Contains(remedy, "/api/"+page) {
			return page
		}
	}
	return ""
}

// Clock returns the hour or day of a line, for people.
func (watchBody) Clock(of string) string {
	return strings.TrimSuffix(strings.Replace(of, "T", " ", 1), ":00Z")
}

// Percent returns a percentage for people.
func (watchBody) Percent(share *float64) string {
	if share == nil {
		return "–"
	}
	return strconv.FormatFloat(*share, 'f', 1, 64) + " %"
}

// chartHeight and chartWidth are the size of a chart in its own units; the style sheet scales it.
const chartHeight, chartWidth = 40.0, 240.0

// everyTime adds empty lines for hours or days without events, so that a chart has a place for each.
func everyTime(lines []insight.Line, q insight.Query) (all []insight.Line) {
	known := map[string]insight.Line{}
	for _, line := range lines {
		known[line.Of] = line
	}
	step := otp.Hour
	if q.By == insight.ByDay {
		step = otp.Day
	}
	for at := q.From; at <= q.To; at += step {
		line := known[insight.TimeOf(at, q.By)]
		line.Of = insight.TimeOf(at, q.By)
		all = append(all, line)
	}
	return all
}

// chart returns the bars for lines, in order of time. of returns a line's number and its marked part, and part is what
// that is. The highest bar is as high as the chart, unless most is more.
func chart(lines []insight.Line, part string, most int64, of func(*insight.Line) (all, marked int64)) (bars []bar) {
	for i := range lines {
		all, _ := of(&lines[i])
		most = max(most, all)
	}
	width := chartWidth / float64(max(1, len(lines)))
	for i := range lines {
		all, marked := of(&lines[i])
		height := chartHeight * float64(all) / float64(most)
		mark := min(height, chartHeight*float64(marked)/float64(most))
		bars = append(bars, bar{X: width * float64(i), Width: width * 0.85, Y: chartHeight - height, Height: height,
			MarkY: chartHeight - mark, Mark: mark,
			Title: fmt.Sprintf("%s: %d, %d %s", lines[i].Of, all, marked, part)})
	}
	return bars
}

func (x *exchange) acknowledge() error {
	err := x.door.Insight.Acknowledge(x.ctx, x.who.Actor(), x.who.Name, x.who.Grant.Accounts, x.form("id"), now())
	return x.after(err, x.showWatch, "watch?done=acknowledged")
}

func (x *exchange) review() error {
	err := x.door.Insight.Review(x.ctx, x.who.Actor(), x.who.Name, x.form("item"), x.form("note"), now())
	return x.after(err, x.showWatch, "watch?done=reviewed")
}
