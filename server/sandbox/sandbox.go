// Package sandbox is the door for people and tests who try things: it shows what would have
// been sent, turns clocks forward, makes accounts to throw away and lets parts of the server
// fail on purpose. It exists in mode sandbox only.
//
// It promises strict input (an unknown field, a field given twice or a value of the wrong type
// is refused and named, since a test that sets "otp_lenght" and passes proves nothing) and
// errors in the one form of RFC 9457, which never hold a stack, SQL or a secret.
//
// No credential is asked: whoever reaches the address reads every code. What stands between it
// and the rest of the world is that the sandbox listens on loopback, and the guard that keeps
// web pages in the developer's own browser out. What the calls do is the engine's; this
// package reads requests, calls the engine once and writes answers.
package sandbox

import (
	"log/slog"
	"net/http"

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
	// Stopping is closed when the server begins to stop: whoever waits for a message is
	// answered then, or the wait would hold up the shutdown.
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

	calls.GET("/credentials", d.handler(d.credentials))
	calls.GET("/messages", d.handler(d.messages))
	calls.DELETE("/messages", d.handler(d.clearMessages))
	calls.GET("/messages/stream", d.handler(d.stream))
	calls.POST("/messages/:id/relay", d.handler(d.relay))
	calls.GET("/accounts", d.handler(d.accounts))
	calls.POST("/accounts", d.handler(d.createAccount))
	calls.GET("/clock", d.handler(d.clock))
	calls.PUT("/clock", d.handler(d.setClock))
	calls.GET("/faults", d.handler(d.faults))
	calls.PUT("/faults", d.handler(d.setFaults))
	calls.DELETE("/faults", d.handler(d.clearFaults))
	calls.GET("/requests", d.handler(d.requests))
	calls.POST("/reset", d.handler(d.reset))
}

// handler runs one call. What it returns is rendered here and nowhere else.
func (d *door) handler(call func(c *gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		// Answers hold codes and keys.
		c.Header("Cache-Control", "no-store")
		c.Header("X-Content-Type-Options", "nosniff")
		if err := call(c); err != nil {
			d.errors.Refuse(c, err)
		}
	}
}

// list is the answer of every call that lists something.
type list[T any] struct {
	Data []T    `json:"data"`
	Note string `json:"note,omitempty"` // why it may be empty although something was expected
}

// answerList writes items as a list that is [] and not null when there are none.
func answerList[T any](c *gin.Context, items []T) error {
	if items == nil {
		items = []T{}
	}
	c.PureJSON(http.StatusOK, list[T]{Data: items})
	return nil
}
