// Package v1 is the JSON API for applications: send a code, verify it, resend it, cancel it, read its status.
//
// It translates a request into one call of the engine, and the result into JSON. It guarantees that a request is read
// strictly or refused (a refused request has changed nothing and costs only one request of the key's limit), that
// every error is a problem of RFC 9457 with a stable code, that a request whose body has arrived is decided even if
// its client hangs up, and that all of it matches openapi.yaml: tests compare the routes, the table of refusals and
// every request and answer with that document.
//
// The engine decides whether a code is right, what a guess costs, which limits apply and what a key may do. The user
// documentation is doc/v1.md.
package v1

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"otpbridge/server/audit"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
)

// Options configure the door.
type Options struct {
	Engine *engine.Engine
	// People reads the access tokens of persons and service accounts; nil if there are none.
	People *people.People
	// Log gets the faults, each once; nil is slog.Default().
	Log *slog.Logger
	// Plain decides about keys that came over plain HTTP; nil allows them.
	Plain *web.Plain
	// DemoKey is a key that the API's page may show, such as a sandbox's; empty for none.
	DemoKey string
	// Webhooks manages webhook endpoints; nil switches these calls off.
	Webhooks *webhook.Webhooks
	// Privacy exports and erases the records about a person; nil switches these calls off.
	Privacy *privacy.Privacy
	// Audit is the log whose entries about their account keys may read; nil for none.
	Audit *audit.Log
}

// route is one call of the API. Its path is written as in the OpenAPI document.
type route struct {
	method, path string
	permission   string
	call         func(*exchange) (engine.Answer, error)
	query        []string // the parameters that it knows
}

// pattern returns the path in gin's form.
func (r route) pattern() string { return strings.NewReplacer("{", ":", "}", "").Replace(r.path) }

// routes are the calls that need a credential.
var routes = []route{
	{http.MethodPost, "/v1/send", otp.PermitSend, (*exchange).send, nil},
	{http.MethodPost, "/v1/verify", otp.PermitVerify, (*exchange).verify, nil},
	{http.MethodPost, "/v1/resend", otp.PermitResend, (*exchange).resend, nil},
	{http.MethodPost, "/v1/cancel", otp.PermitCancel, (*exchange).cancel, nil},
	{http.MethodGet, "/v1/status", otp.PermitRead, (*exchange).statusByRecipient, byRecipient},
	{http.MethodGet, "/v1/status/{id}", otp.PermitRead, (*exchange).status, nil},
}

// The public paths.
const (
	keysPath    = "/.well-known/jwks.json"
	jsonPath    = "/openapi.json"
	yamlPath    = "/openapi.yaml"
	docsPath    = "/docs"
	docsFile    = "/docs/:file"
	ownedPrefix = "/v1/"
)

// door serves the API.
type door struct {
	engine   *engine.Engine
	people   *people.People
	webhooks *webhook.Webhooks
	privacy  *privacy.Privacy
	audit    *audit.Log
	errors   *web.Writer
	plain    *web.Plain
}

func newDoor(o Options) *door {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &door{engine: o.Engine, people: o.People, webhooks: o.Webhooks, audit: o.Audit, privacy: o.Privacy,
		plain:  o.Plain,
		errors: &web.Writer{Door: "v1", Log: o.Log}}
}

// Mount registers the API and its documents. The calls themselves are registered on calls, so that the caller can put
// middleware in front of them only.
func Mount(documents, calls gin.IRouter, o Options) {
	d := newDoor(o)
	if o.Webhooks != nil {
		for _, r := range webhookRoutes { // not for web pages, so no preflight
			calls.Handle(r.method, r.pattern(), d.serve(r))
		}
	}
	if o.Privacy != nil {
		for _, r := range userRoutes { // the same
			calls.Handle(r.method, r.pattern(), d.serve(r))
		}
	}
	if o.Audit != nil {
		calls.Handle(auditRoute.method, auditRoute.pattern(), d.serve(auditRoute))
	}
	for _, r := range routes {
		calls.Handle(r.method, r.pattern(), d.serve(r))
		documents.OPTIONS(r.pattern(), d.preflight(r))
	}
	documents.GET(keysPath, d.keys)
	documents.GET(jsonPath, document("application/json", openapiJSON))
	documents.GET(yamlPath, document("application/yaml", openapiYAML))
	documents.GET(docsPath, docsPage(o.DemoKey))
	documents.GET(docsFile, docsAsset)
}

// Owns reports whether a path without a route belongs to this door.
func Owns(path string) bool { return strings.HasPrefix(path, ownedPrefix) }

// NotFound answers a path of this door without a route.
func NotFound(c *gin.Context) {
	refuseUnserved(c, http.StatusNotFound, "NOT_FOUND", "there is no such call; "+docsPath+" lists those there are")
}

// MethodNotAllowed answers a path of this door with a method that it does not have.
func MethodNotAllowed(c *gin.Context) {
	refuseUnserved(c, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED",
		"this call has another method; the Allow header names it")
}

func refuseUnserved(c *gin.Context, status int, code, detail string) {
	c.Header("Cache-Control", "no-store")
	new(web.Writer).Refuse(c, &web.Problem{Status: status, Code: code, Detail: detail})
}
