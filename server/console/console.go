// Package console is the web console, for developers of an integration and for operators of a server.
//
// It promises that every page works as plain HTML, without scripts; that nothing is loaded from another host or runs
// inline; and that a page can do nothing that the JSON API cannot: both call the same functions, which check the same
// permissions.
//
// In a sandbox on loopback it needs no login. Everywhere else it does.
package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/audit"
	"otpbridge/server/bridge"
	"otpbridge/server/engine"
	"otpbridge/server/insight"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/sandbox"
	"otpbridge/server/servlet"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
)

// Path is the path of the console.
const Path = "/console/"

// patience is how long making one page may take.
const patience = 10 * time.Second

// Options are what the door needs.
type Options struct {
	Engine      *engine.Engine
	Manage      *manage.Manager
	People      *people.People
	Webhooks    *webhook.Webhooks
	Audit       *audit.Log
	Insight     *insight.Insight
	Privacy     *privacy.Privacy
	Reports     *bridge.Reports
	Plain       *web.Plain
	Log         *slog.Logger
	PublicURL   string // where browsers reach the server; empty for the host that each request names
	ContextPath string // of the servlets
	Servlets    servlet.Options
	System      System

	// The following are for a sandbox; nil and false elsewhere.
	Sandbox  bool
	Requests *sandbox.Recorder
	// Server answers the calls of the page "Try it".
	Server http.Handler
	// Stopping is closed when the server begins to stop. It ends live updates of pages.
	Stopping <-chan struct{}
}

type door struct {
	Options
	browser *web.Browser
}

// route is one page, or one action of a page.
type route struct {
	method, path string // the path follows Path
	who          asked
	needs        string // the permission, one of people's
	live         bool   // affects the sending of real codes: in production a person needs a second factor for it
	serve        func(*exchange) error
}

// asked is who may open a page.
type asked int

const (
	anybody asked = iota // also without a login
	person               // a person who is logged in; everybody in an open sandbox
	tester               // like person, but only in a sandbox
)

// Mount adds the pages to routes.
func Mount(routes gin.IRouter, o Options) {
	d := &door{Options: o, browser: web.NewBrowser(o.PublicURL, o.Sandbox)}
	routes.GET(Path+"assets/:version/:file", asset)
	for _, r := range pages() {
		if r.who == tester && !o.Sandbox {
			continue
		}
		routes.Handle(r.method, Path+r.path, d.serve(r))
	}
}

// exchange is one request and its state.
type exchange struct {
	door     *door
	gin      *gin.Context
	ctx      context.Context
	from     people.Client
	who      people.Principal
	loggedIn bool // with a session; false in an open sandbox without one
}

func (d *door) serve(r route) gin.HandlerFunc {
	return func(c *gin.Context) {
		setHeaders(c)
		ctx, cancel := context.WithTimeout(c.Request.Context(), patience)
		defer cancel()
		x := &exchange{door: d, gin: c, ctx: ctx, from: people.Client{
			Address: web.Peer(c.Request), Agent: c.Request.UserAgent(), Request: web.RequestOf(c).LogID,
		}}
		web.RequestOf(c).Kind = "ok"
		err := web.Guarded(func() error {
			if err := x.admit(r); err != nil {
				return err
			}
			return r.serve(x)
		})
		if err != nil {
			x.fail(err)
		}
	}
}

// policy allows a page to load only what this server serves; data: is for QR codes.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func setHeaders(c *gin.Context) {
	c.Header("Content-Security-Policy", policy)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("X-Frame-Options", "DENY")
	c.Header("Referrer-Policy", "same-origin")
	c.Header("Cross-Origin-Opener-Policy", "same-origin")
	c.Header("Cache-Control", "no-store") // pages contain personal data
}

// loginNeeded redirects the reader to the login, and back afterwards.
type loginNeeded struct{}

func (loginNeeded) Error() string { return "nobody is logged in" }

// admit identifies the reader, and refuses requests of other sites' pages.
func (x *exchange) admit(r route) error {
	if err := x.door.browser.KeepPagesOut(x.gin.Request); err != nil {
		return err
	}
	if err := x.door.browser.KeepHostsOut(x.gin.Request); err != nil {
		return err
	}
	cookie, err := x.door.browser.Cookie(x.gin.Request)
	if err != nil {
		return err
	}
	if cookie != "" || r.who == anybody && r.method == http.MethodPost {
		if err := x.door.Plain.Admit(x.gin, "console"); err != nil {
			return err
		}
	}
	if cookie != "" {
		who, err := x.door.People.FromCookie(x.ctx, cookie, x.from)
		switch kind := otp.KindOf(err); {
		case err == nil:
			x.who, x.loggedIn = who, true
		case kind != otp.MissingCredential && kind != otp.ExpiredCredential:
			return err
		}
	}
	if !x.loggedIn && x.open() {
		x.who = people.Operator()
		x.who.From = x.from
	}
	if r.who != anybody {
		return x.allow(r)
	}
	return x.checkForm()
}

func (x *exchange) allow(r route) error {
	if !x.loggedIn && !x.open() {
		return loginNeeded{}
	}
	if r.needs != "" {
		if err := x.who.May(r.needs); err != nil {
			return err
		}
	}
	if r.live && !x.door.Sandbox {
		if err := x.who.ProvedTwice(); err != nil {
			return err
		}
	}
	return x.checkForm()
}

func now() otp.Millis { return otp.At(time.Now()) }

// open reports whether the console needs no login.
func (x *exchange) open() bool { return x.door.Sandbox && web.ArrivedOnLoopback(x.gin.Request) }

// maxForm is the size of a posted form at most, in bytes. The form with a signing key is the longest.
const maxForm = 256 << 10

// checkForm reads the form of a POST. It refuses a query or form that none of our pages sends, and a form that another
// site's page sent: browsers send the cookie also with its requests. If nobody is logged in, only the origin is
// checked.
func (x *exchange) checkForm() error {
	r := x.gin.Request
	if r.Method != http.MethodPost {
		return web.CheckPage(r.URL.Query())
	}
	r.Body = http.MaxBytesReader(x.gin.Writer, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return &web.Problem{Status: http.StatusBadRequest, Code: web.CodeInvalid,
			Detail: "the form cannot be read, or is longer than 256 KiB"}
	}
	if err := web.CheckPage(r.URL.Query(), r.PostForm); err != nil {
		return err
	}
	if x.loggedIn && !x.door.People.IsCSRFToken(x.who, r.PostForm.Get("csrf")) {
		return &web.Problem{Status: http.StatusForbidden, Code: "CSRF_TOKEN_INVALID",
			Detail: "this page is of another login; go back, load it again and repeat what you did"}
	}
	return nil
}

// form returns a posted field.
func (x *exchange) form(name string) string { return x.gin.Request.PostForm.Get(name) }

// isForm reports whether the request is the form of a route.
func (x *exchange) isForm(route string) bool {
	return x.gin.Request.Method == http.MethodPost && x.gin.FullPath() == Path+route
}

// query returns a parameter of the URL.
func (x *exchange) query(name string) string { return x.gin.Query(name) }

// goTo redirects the browser to another page after a change, so that a reload does not repeat the change.
func (x *exchange) goTo(page string) error {
	x.gin.Redirect(http.StatusSeeOther, Path+page)
	return nil
}

// after is goTo after a change, unless the change was refused: then refused shows why.
func (x *exchange) after(err error, refused func(error) error, page string) error {
	if err != nil {
		return refused(err)
	}
	return x.goTo(page)
}

// loginPage returns the URL of the login that leads back to this page.
func (x *exchange) loginPage() string {
	if x.gin.Request.Method != http.MethodGet {
		return Path + "login"
	}
	return Path + "login?" + url.Values{"to": {x.gin.Request.URL.RequestURI()}}.Encode()
}
