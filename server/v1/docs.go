package v1

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"

	"otpbridge/server/web"
)

// The document of the API, written by hand, and the same as JSON, which a test makes of it.
//
//go:embed openapi.yaml
var openapiYAML []byte

//go:embed openapi.json
var openapiJSON []byte

//go:embed docs.html
var docsHTML string

var docsTemplate = template.Must(template.New("docs").Parse(docsHTML))

//go:embed docs.js
var docsScript []byte

// document serves one of the two. They are no secret, and a page elsewhere may show them.
func document(contentType string, body []byte) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Cache-Control", "no-cache")
		c.Header("Access-Control-Allow-Origin", "*")
		c.Data(http.StatusOK, contentType, body)
	}
}

// docsPolicy lets the page load what this server serves and nothing else. Swagger UI sets styles
// on elements, and its icons are data: images; it runs no inline script and evaluates no text, so
// a document that was tampered with could still run none. Its "try it out" may call this server.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func docsHeaders(c *gin.Context) {
	c.Header("Content-Security-Policy", docsPolicy)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("X-Frame-Options", "DENY")
	c.Header("Referrer-Policy", "no-referrer")
	c.Header("Cache-Control", "no-cache")
}

// docsPage is the API as a page, which needs nothing from beyond this server. It begins with calls that can
// be pasted: with key, which is a sandbox's that everybody knows, as they stand; empty for the reader's own.
func docsPage(key string) gin.HandlerFunc {
	return func(c *gin.Context) {
		var page bytes.Buffer
		shown := struct{ Key, Base string }{key, strings.TrimPrefix(web.BaseOf(c.Request), "http://")} // curl takes http without a scheme
		if err := docsTemplate.Execute(&page, shown); err != nil {
			panic("v1: the template of the page does not fit its values: " + err.Error())
		}
		docsHeaders(c)
		c.Data(http.StatusOK, "text/html; charset=utf-8", page.Bytes())
	}
}

// docsFiles are what the page loads; there is more in Swagger UI that it does not.
var docsFiles = map[string]bool{
	"swagger-ui.css": true, "swagger-ui-bundle.js": true, "favicon-32x32.png": true,
}

var swaggerUI = statigz.FileServer(static.FS)

func docsAsset(c *gin.Context) {
	name := c.Param("file")
	switch {
	case name == "docs.js":
		docsHeaders(c)
		c.Data(http.StatusOK, "text/javascript; charset=utf-8", docsScript)
	case docsFiles[name]:
		docsHeaders(c)
		c.Status(http.StatusOK)
		http.StripPrefix(docsPath, swaggerUI).ServeHTTP(c.Writer, c.Request)
	default:
		c.String(http.StatusNotFound, "Not found.\n")
	}
}
