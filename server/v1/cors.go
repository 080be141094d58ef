package v1

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/web"
)

// A web page may call the API if its origin is on the account's list, compared byte by byte. The account is known only
// once the key is read, and a preflight carries no key. So preflights and refusals of keys use the lists of all
// accounts together; such answers reveal nothing that a client without a browser could not get. All other answers use
// the account's own list. Cookies are never read, so credentials are never allowed.

const (
	allowedHeaders = "Authorization, X-API-Key, access_key, Content-Type, Idempotency-Key, X-Request-Id, X-Debug-Auth, " +
		"X-Timestamp, X-Nonce, X-Signature, " + accountHeader + ", " + environmentHeader
	exposedHeaders = "Location, Retry-After, X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, " +
		"X-RateLimit-Reset, X-RateLimit-Window, Idempotent-Replayed"
	preflightAge = "600" // seconds that a browser may cache the answer
)

// preflight answers a browser's preflight request.
func (d *door) preflight(r route) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		if pages, allowed := d.allowAnyListedOrigin(c, r.method); allowed {
			c.Header("Access-Control-Allow-Methods", r.method)
			c.Header("Access-Control-Allow-Headers", cmp.Or(strings.Join(pages.Headers, ", "), allowedHeaders))
			c.Header("Access-Control-Max-Age", preflightAge)
		}
		c.Status(http.StatusNoContent)
	}
}

// allowAnyListedOrigin lets a page read the answer if any account lists its origin for the method.
func (d *door) allowAnyListedOrigin(c *gin.Context, method string) (pages engine.Pages, allowed bool) {
	c.Header("Vary", "Origin")
	origin, err := web.Single(c.Request.Header, "Origin")
	if err != nil || origin == "" {
		return pages, false
	}
	listed, err := d.engine.AllowedOrigins(c.Request.Context())
	if err != nil {
		d.errors.Log.ErrorContext(c.Request.Context(), "v1 could not read the allowed origins", "request_id",
			web.RequestOf(c).LogID, "error", err)
		return pages, false
	}
	pages, allowed = listed[origin]
	if allowed = allowed && has(pages.Methods, method); allowed {
		allow(c, origin)
	}
	return pages, allowed
}

// has reports whether an account's list has a method; no list has all.
func has(methods []string, method string) bool {
	return len(methods) == 0 || slices.Contains(methods, method)
}

// allowOrigin applies the account's own list, now that the account is known.
func (x *exchange) allowOrigin() {
	origin := x.gin.GetHeader("Origin")
	if origin == "" {
		return
	}
	account := x.caller.Account
	if slices.Contains(account.CORSOrigins, origin) && has(account.CORSMethods, x.gin.Request.Method) {
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
