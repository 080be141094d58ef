package v1

import (
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"otpbridge/server/web"
)

// A web page may call the API if its origin is on the account's list, compared byte by byte.
// Whose the request is shows only once its key is read, and a preflight carries no key. So a
// preflight, and the refusal of a key, go by every account's list together: such an answer says
// nothing that a request without a browser could not ask. Every other answer goes by the one
// account's list. Cookies are never read here, so credentials are never allowed.

const (
	allowedHeaders = "Authorization, X-API-Key, access_key, Content-Type, Idempotency-Key, X-Request-Id, X-Debug-Auth, " +
		"X-Timestamp, X-Nonce, X-Signature, " + accountHeader + ", " + environmentHeader
	exposedHeaders = "Location, Retry-After, X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, " +
		"X-RateLimit-Reset, X-RateLimit-Window, Idempotent-Replayed"
	preflightAge = "600" // seconds for which a browser need not ask again
)

// preflight answers a browser's question ahead of a call.
func (d *door) preflight(r route) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		d.allowAnyListedOrigin(c)
		if c.Writer.Header().Get("Access-Control-Allow-Origin") != "" {
			c.Header("Access-Control-Allow-Methods", r.method)
			c.Header("Access-Control-Allow-Headers", allowedHeaders)
			c.Header("Access-Control-Max-Age", preflightAge)
		}
		c.Status(http.StatusNoContent)
	}
}

// allowAnyListedOrigin lets a page read the answer whose origin some account lists.
func (d *door) allowAnyListedOrigin(c *gin.Context) {
	c.Header("Vary", "Origin")
	origin, err := web.Single(c.Request.Header, "Origin")
	if err != nil || origin == "" {
		return
	}
	listed, err := d.engine.AllowedOrigins(c.Request.Context())
	if err != nil {
		d.errors.Log.ErrorContext(c.Request.Context(), "v1 could not read the allowed origins", "request_id",
			web.RequestOf(c).LogID, "error", err)
		return
	}
	if slices.Contains(listed, origin) {
		allow(c, origin)
	}
}

// allowOrigin goes by the account's own list, now that it is known.
func (x *exchange) allowOrigin() {
	origin := x.gin.GetHeader("Origin")
	if origin == "" {
		return
	}
	account := x.caller.Account
	methods := account.CORSMethods
	if slices.Contains(account.CORSOrigins, origin) && (len(methods) == 0 ||
		slices.Contains(methods, x.gin.Request.Method)) {
		allow(x.gin, origin)
		return
	}
	x.gin.Writer.Header().Del("Access-Control-Allow-Origin")
	x.gin.Writer.Header().Del("Access-Control-Expose-Headers")
}

func allow(c *gin.Context, origin string) {
	c.Header("Access-Control-Allow-Origin", origin)
	c.Header("Access-Control-Expose-Headers", exposedHeaders)
}
