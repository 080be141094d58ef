package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

//go:embed pages
var pageFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// version is a hash of the embedded assets. It is part of their URLs, so that browsers may cache them for ever and
// still get new ones at once.
var version = func() string {
	sum := sha256.New()
	err := fs.WalkDir(assetFiles, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := assetFiles.ReadFile(name)
		sum.Write(content)
		return err
	})
	if err != nil {
		panic("what is embedded can be read: " + err.Error())
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}()

// templates has each page's template, with the layout and the common parts, by the page's name.
var templates = func() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(functions).ParseFS(pageFiles, "pages/layout.html", "pages/parts.html"))
	all := map[string]*template.Template{}
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		panic("the pattern is right: " + err.Error())
	}
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".html")
		if page == "layout" || page == "parts" {
			continue
		}
		all[page] = template.Must(template.Must(base.Clone()).ParseFS(pageFiles, name))
	}
	return all
}()

var functions = template.FuncMap{
	"moment": func(t any) moment {
		switch t := t.(type) {
		case time.Time:
			return moment{t.UTC()}
		case *time.Time:
			if t == nil {
				return moment{}
			}
			return moment{t.UTC()}
		case otp.Millis:
			if t == 0 {
				return moment{}
			}
			return moment{t.Time().UTC()}
		case int64: // seconds, as in certificates
			if t == 0 {
				return moment{}
			}
			return moment{time.Unix(t, 0).UTC()}
		}
		panic("console: moment of something that is no time")
	},
	"join":    strings.Join,
	"split":   strings.Split,
	"words":   func(code string) string { return strings.ReplaceAll(code, "_", " ") },
	"path":    func(parts ...string) string { return Path + path.Join(parts...) },
	"money":   money,
	"options": func(pairs ...any) []any { return pairs },
}

// moment is a time on a page: UTC in the HTML, which a script changes to the reader's own zone.
type moment struct{ t time.Time }

// Known reports whether the time is set.
func (m moment) Known() bool { return !m.t.IsZero() }

// Machine returns the time in RFC 3339, for the attribute datetime.
func (m moment) Machine() string { return m.t.Format(time.RFC3339Nano) }

// String returns the time for people.
func (m moment) String() string { return m.t.Format("2006-01-02 15:04:05") + " UTC" }

// field is one field of a form. Wrong says why its value was refused.
type field struct {
	Label, Name, Type, Value, Hint, Autocomplete, Wrong string
	Required, Checked, Multiline                        bool
}

func (f *field) set(name string, value any) {
	switch name {
	case "type":
		f.Type = value.(string)
	case "value":
		f.Value = value.(string)
	case "hint":
		f.Hint = value.(string)
	case "autocomplete":
		f.Autocomplete = value.(string)
	case "required":
		f.Required = value.(bool)
	case "checked":
		f.Checked = value.(bool)
	case "multiline":
		f.Multiline = value.(bool)
	default:
		panic("console: a field has no " + name)
	}
}

// view is the data of the layout and of a page.
type view struct {
	Title    string
	Page     string // its name in the navigation
	Nav      []group
	Sandbox  bool
	Who      string // empty if nobody is logged in
	CSRF     string
	Assets   string
	Problem  string // why the request was refused
	wrong    string // the field that Problem is about, or empty
	Notice   string // what has been done
	Prove    bool   // the reader has to prove their identity first
	Base     string // the server's URL for a shell
	Servlets string // the servlets' URL for a shell
	Body     any
}

// Field returns a field of a form. rest has its other attributes: name, value, name, value.
func (v view) Field(label, name string, rest ...any) field {
	f := field{Label: label, Name: name, Type: "text"}
	for i := 0; i+1 < len(rest); i += 2 {
		f.set(rest[i].(string), rest[i+1])
	}
	if name == v.wrong {
		f.Wrong = v.Problem
	}
	return f
}

// page renders a page, again with the refusal of its form if there was one.
func (x *exchange) page(refused error, name, title string, body any) error {
	if refused != nil {
		return x.refuse(refused, name, title, body)
	}
	return x.show(name, title, body)
}

// show renders a page.
func (x *exchange) show(name, title string, body any) error {
	return x.render(http.StatusOK, name, view{Title: title, Body: body, Notice: notices[x.query("done")]})
}

// refuse renders a page again with the refusal of its form. It returns errors that are not refusals.
func (x *exchange) refuse(err error, name, title string, body any) error {
	refusal, known := errors.AsType[*otp.Error](err)
	if !known {
		return err
	}
	web.RequestOf(x.gin).Kind = refusal.Kind.String()
	row, _ := web.RowOf(refusal.Kind)
	return x.render(row.Status, name, view{Title: title, Body: body, Problem: sentence(refusal), wrong: fieldOf(refusal),
		Prove: name != "security" && refusal.Kind == otp.ReauthenticationRequired})
}

// leading matches the column's name at the beginning of a text about an account.
var leading = regexp.MustCompile(`^(?:account \d+: )?([a-z_]+)`)

// fieldOf returns the field that a refusal is about, empty if it names none.
func fieldOf(e *otp.Error) string {
	if found := leading.FindStringSubmatch(e.Message); e.Field == "" && found != nil {
		return found[1]
	}
	return e.Field
}

// sentence returns a refusal as a sentence.
func sentence(e *otp.Error) string {
	text := e.Message
	if text == "" {
		text = e.Kind.String()
	}
	if e.Field == "" { // do not capitalise a field's name
		text = capital(text)
	}
	return text + "."
}

// capital returns text with a capital letter at its beginning.
func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func (x *exchange) render(status int, name string, v view) error {
	v.Page, v.Sandbox, v.Assets = name, x.door.Sandbox, Path+"assets/"+version+"/"
	v.Nav = x.navigation()
	if x.loggedIn {
		v.Who, v.CSRF = x.who.Email, x.door.People.CSRFToken(x.who)
	}
	v.Base = x.base()
	v.Servlets = v.Base + x.door.ContextPath
	var page bytes.Buffer
	part := "layout"
	if x.gin.GetHeader("X-Part") == "live" { // our script asks for the live part only
		part = "live"
	}
	if err := templates[name].ExecuteTemplate(&page, part, v); err != nil {
		return err
	}
	x.gin.Data(status, "text/html; charset=utf-8", page.Bytes())
	return nil
}

// base returns the URL with which the reader reaches this server.
func (x *exchange) base() string {
	if x.door.PublicURL != "" {
		return strings.TrimSuffix(x.door.PublicURL, "/")
	}
	return web.BaseOf(x.gin.Request)
}

// fail renders an error of a page.
func (x *exchange) fail(err error) {
	if _, ok := errors.AsType[loginNeeded](err); ok {
		x.gin.Redirect(http.StatusSeeOther, x.loginPage())
		return
	}
	status, text := http.StatusInternalServerError, "Something went wrong on the server. Its log has the reason, under "+
		"the request's id "+web.RequestOf(x.gin).LogID+"."
	problem, isProblem := errors.AsType[*web.Problem](err)
	refusal, isRefusal := errors.AsType[*otp.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		return
	case errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusServiceUnavailable, "The server has too much to do. Try again in a moment."
	case isProblem:
		status, text = problem.Status, capital(strings.TrimSuffix(problem.Detail, "."))+"."
	case isRefusal:
		row, _ := web.RowOf(refusal.Kind)
		status, text = row.Status, sentence(refusal)
		web.RequestOf(x.gin).Kind = refusal.Kind.String()
	}
	if status == http.StatusInternalServerError {
		web.RequestOf(x.gin).Kind = "fault"
		x.door.Log.ErrorContext(x.ctx, "a page failed", "request_id", web.RequestOf(x.gin).LogID, "error", err)
	}
	v := view{Title: http.StatusText(status), Body: text, Prove: otp.KindOf(err) == otp.ReauthenticationRequired}
	if err := x.render(status, "problem", v); err != nil {
		x.door.Log.ErrorContext(x.ctx, "a page failed", "request_id", web.RequestOf(x.gin).LogID, "error", err)
		x.gin.String(http.StatusInternalServerError, "Something went wrong.\n")
	}
}

// asset serves the style sheet and the scripts.
func asset(c *gin.Context) {
	setHeaders(c)
	content, err := assetFiles.ReadFile("assets/" + path.Base(c.Param("file")))
	if err != nil {
		c.String(http.StatusNotFound, "Not found.\n")
		return
	}
	kinds := map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}
	if c.Param("version") == version {
		c.Header("Cache-Control", "public, max-age=31536000, immutable")
	}
	c.Data(http.StatusOK, kinds[path.Ext(c.Param("file"))], content)
}

// money returns an amount of millionths, with two decimals or as many as it takes: a message can cost less than a cent.
func money(micros int64) string {
	decimals := 2
	if micros%10_000 != 0 {
		decimals = -1
	}
	return strconv.FormatFloat(float64(micros)/1e6, 'f', decimals, 64)
}
