// Package callback receives providers' delivery reports. It reads a report in any form, by GET or POST, and passes it
// to the engine, which decides whether to believe it.
//
// It promises that a stranger learns nothing: neither which channels or messages exist, nor whether a secret is nearly
// right.
package callback

import (
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// Options are what the door works with.
type Options struct {
	Engine *engine.Engine
	Log    *slog.Logger
}

// Mount adds the routes: /callbacks/{channel} for the server's channels, and /callbacks/{channel}/{account} for an
// account's own. The secret is the query parameter secret.
func Mount(router gin.IRoutes, o Options) {
	for _, path := range []string{"/callbacks/:channel", "/callbacks/:channel/:account"} {
		router.GET(path, o.receive)
		router.POST(path, o.receive)
	}
}

func (o Options) receive(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	if err := o.Engine.Admission.Enter(); err != nil {
		o.refuse(c, engine.Callback{}, err)
		return
	}
	defer o.Engine.Admission.Leave()
	query := c.Request.URL.Query()
	if len(query["secret"]) > 1 {
		c.String(http.StatusBadRequest, "The parameter secret is given twice; send it once.\n")
		return
	}
	contentType, err := web.Single(c.Request.Header, "Content-Type")
	if err != nil {
		c.String(http.StatusBadRequest, "The header Content-Type is given twice; send it once.\n")
		return
	}
	b := engine.Callback{Channel: c.Param("channel"), Account: c.Param("account"), Secret: query.Get("secret"),
		Peer: web.Peer(c.Request)}
	query.Del("secret")
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, engine.MaxReport))
	if err != nil {
		c.String(http.StatusBadRequest, "The report cannot be read, or has more than %d KiB.\n", engine.MaxReport>>10)
		return
	}
	b.Query, b.ContentType, b.Body = query, contentType, body
	err = o.Engine.RecordReport(c.Request.Context(), b)
	if err == nil {
		c.Status(http.StatusNoContent)
		return
	}
	o.refuse(c, b, err)
}

// refuse answers a report that was not recorded.
func (o Options) refuse(c *gin.Context, b engine.Callback, err error) {
	refusal, isRefusal := errors.AsType[*otp.Error](err)
	if !isRefusal {
		o.Log.ErrorContext(c.Request.Context(), "callback failed", "channel", b.Channel, "error", err)
		c.String(http.StatusInternalServerError, "The report could not be recorded; send it again.\n")
		return
	}
	web.RequestOf(c).Kind = refusal.Kind.String()
	if refusal.RetryAfter > 0 {
		c.Header("Retry-After", web.Seconds(refusal.RetryAfter))
	}
	c.String(status(refusal.Kind), "%s\n", refusal.Message)
}

// status returns the status of a refusal. Providers repeat a report after 404 or 5xx, which is needed: a report may
// arrive before its message is recorded as sent.
func status(kind otp.Kind) int {
	switch kind {
	case otp.UnknownCredential:
		return http.StatusUnauthorized
	case otp.Invalid:
		return http.StatusBadRequest
	case otp.NotFound:
		return http.StatusNotFound
	case otp.RateLimited:
		return http.StatusTooManyRequests
	case otp.Overloaded:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
