// Package v1 is the JSON API for applications: send a code, verify it, send it again, call it
// off, ask how it stands.
//
// It translates a request into one call of the engine, and what the engine answers into JSON. It
// promises that a request is read strictly or not at all (what is refused has changed nothing and
// cost nothing but one request of the key's limit), that every error is a problem of RFC 9457
// with a code that stays, that a request whose body has arrived is decided whether or not its
// client still listens, and that all of it is as openapi.yaml says: tests hold the routes, the
// table of refusals and every request and answer to that document.
//
// Whether a code is right, what a guess costs, which limits there are and which key may do what
// is left to the engine. For people the API is described in doc/v1.md.
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

// Options is what the door needs.
type Options struct {
	Engine *engine.Engine
	// People read the access tokens of persons and service accounts; nil where there are none.
	People *people.People
	// Log gets the faults, each once; nil is slog.Default().
	Log *slog.Logger
	// Plain decides about keys that came over plain HTTP; nil lets them pass.
	Plain *web.Plain
	// DemoKey is a key that the page of the API may show, as a sandbox's is; empty for none.
	DemoKey string
	// Webhooks are managed through the API if there are any.
	Webhooks *webhook.Webhooks
	// Privacy exports and erases what is kept of a person; nil where nothing does.
	Privacy *privacy.Privacy
	// Audit is the log that keys may read of their account, if there is one.
	Audit *audit.Log
}

// route is one call of the API, its path written as the OpenAPI document writes it.
type route struct {
	method, path string
	permission   string
	call         func(*exchange) (engine.Answer, error)
	query        []string // the parameters that it knows
}

// pattern is the path as gin writes it.
func (r route) pattern() string { return strings.NewReplacer("{", ":", "}", "").Replace(r.path) }

// routes are the calls that ask for a credential.
var routes = []route{
	{http.MethodPost, "/v1/send", otp.PermitSend, (*exchange).send, nil},
	{http.MethodPost, "/v1/verify", otp.PermitVerify, (*exchange).verify, nil},
	{http.MethodPost, "/v1/resend", otp.PermitResend, (*exchange).resend, nil},
	{http.MethodPost, "/v1/cancel", otp.PermitCancel, (*exchange).cancel, nil},
	{http.MethodGet, "/v1/status", otp.PermitRead, (*exchange).statusByRecipient, byRecipient},
	{http.MethodGet, "/v1/status/{id}", otp.PermitRead, (*exchange).status, nil},
}

// The paths that anybody may read.
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

// Mount registers the API and its documents. Calls is where the calls themselves are
// registered; a caller puts what should see only those in front of it.
func Mount(documents, calls gin.IRouter, o Options) {
	d := newDoor(o)
	if o.Webhooks != nil {
		for _, r := range webhookRoutes { // no call for web pages, so that none asks ahead
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

// Owns reports whether a path that no route serves would be this door's.
func Owns(path string) bool { return strings.HasPrefix(path, ownedPrefix) }

// NotFound answers a path of this door that no route serves.
func NotFound(c *gin.Context) {
	refuseUnserved(c, http.StatusNotFound, "NOT_FOUND", "there is no such call; "+docsPath+" lists those there are")
}

// MethodNotAllowed answers a path of this door under a method that it does not have.
func MethodNotAllowed(c *gin.Context) {
	refuseUnserved(c, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED",
		"this call has another method; the Allow header names it")
}

func refuseUnserved(c *gin.Context, status int, code, detail string) {
	c.Header("Cache-Control", "no-store")
	new(web.Writer).Refuse(c, &web.Problem{Status: status, Code: code, Detail: detail})
}
