// Package sandbox is the API for trying and testing integrations. It shows messages that would have been sent, moves
// clocks forward, makes throwaway accounts and injects faults. It exists only in sandbox mode.
//
// It promises strict input: it refuses and names an unknown field, a field given twice and a value of the wrong type,
// because a test that sets "otp_lenght" and passes proves nothing. Errors have the form of RFC 9457, and never contain
// a stack, SQL or a secret.
//
// It needs no credential: whoever reaches the address can read every code. It is protected because the sandbox listens
// on loopback by default, and because guard refuses web pages in the developer's browser. The package reads requests,
// calls the engine and writes answers; the engine does the work.
package sandbox

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/web"
)

// Options is what the door needs. All of it is required.
type Options struct {
	Engine   *engine.Engine
	Manage   *manage.Manager
	Requests *Recorder
	// Stopping is closed when the server begins to stop. Requests that wait for a message are answered then, so that
	// they do not delay the shutdown.
	Stopping <-chan struct{}
	Log      *slog.Logger
}

type door struct {
	Options
	errors      *web.Writer
	crossOrigin *http.CrossOriginProtection
}

// Mount adds the calls below /sandbox to routes. It panics if an option is missing.
func Mount(routes gin.IRouter, o Options) {
	if o.Engine == nil || o.Requests == nil || o.Stopping == nil || o.Log == nil {
		panic("sandbox: Mount called without all of its options")
	}
	d := &door{Options: o, errors: &web.Writer{Door: "sandbox", Log: o.Log}, crossOrigin: http.NewCrossOriginProtection()}
	calls := routes.Group("/sandbox", d.guard)

	calls.GET("/credentials", d.plain(d.credentials))
	calls.GET("/messages", d.handler(d.messages))
	calls.DELETE("/messages", d.plain(d.clearMessages))
	calls.GET("/messages/stream", d.handler(d.stream))
	calls.POST("/messages/:id/relay", d.plain(d.relay))
	calls.GET("/accounts", d.plain(d.accounts))
	calls.POST("/accounts", d.plain(d.createAccount))
	calls.GET("/clock", d.handler(d.clock))
	calls.PUT("/clock", d.plain(d.setClock))
	calls.GET("/faults", d.plain(d.faults))
	calls.PUT("/faults", d.plain(d.setFaults))
	calls.DELETE("/faults", d.plain(d.clearFaults))
	calls.GET("/requests", d.handler(d.requests))
	calls.POST("/reset", d.plain(d.reset))
}

// Owns reports whether a path belongs to this door, also if no route serves it.
func Owns(path string) bool { return strings.HasPrefix(path, "/sandbox/") }

// handler returns the handler of a call. It answers the call's error.
func (d *door) handler(call func(c *gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		// Answers contain codes and keys.
		c.Header("Cache-Control", "no-store")
		c.Header("X-Content-Type-Options", "nosniff")
		if err := call(c); err != nil {
			d.errors.Refuse(c, err)
		}
	}
}

// plain is the handler of a call without parameters.
func (d *door) plain(call func(c *gin.Context) error) gin.HandlerFunc {
	return d.handler(func(c *gin.Context) error {
		if err := web.ReadQuery(c).Err(); err != nil {
			return err
		}
		return call(c)
	})
}

// list is the answer of every call that lists something.
type list[T any] struct {
	Data []T    `json:"data"`
	Note string `json:"note,omitempty"` // why it may be unexpectedly empty
}

// answerList answers with items; without items the list is [], not null.
func answerList[T any](c *gin.Context, items []T) error {
	if items == nil {
		items = []T{}
	}
	c.PureJSON(http.StatusOK, list[T]{Data: items})
	return nil
}

// guard refuses requests of web pages. The developer's browser runs on this machine, and every page in it can send
// requests to loopback.
//
// A page of another origin can send a POST but cannot read the answer, so calls from another origin that change
// something are refused. A page whose own name resolves to 127.0.0.1 (DNS rebinding) is of the same origin for the
// browser and could read every code. Its requests have the page's name as Host, so on loopback only hosts that do not
// depend on DNS are served. Clients that are not browsers pass, because they send no Origin.
func (d *door) guard(c *gin.Context) {
	if err := d.refusePage(c.Request); err != nil {
		d.errors.Refuse(c, err)
		c.Abort()
	}
}

func (d *door) refusePage(r *http.Request) error {
	if web.ArrivedOnLoopback(r) && !web.HostIsAddress(r.Host) {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_HOST",
			Detail: "the sandbox answers on loopback only to localhost or an IP address as host; call it by one of them",
		}
	}
	if err := web.CheckOrigin(d.crossOrigin, r); err != nil {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_ORIGIN",
			Detail: "a page of another origin may not change the sandbox; call it from a test or a command line",
		}
	}
	return nil
}
