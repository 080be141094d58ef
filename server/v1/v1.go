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

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// Options is what the door needs.
type Options struct {
	Engine *engine.Engine
	// Log gets the faults, each once; nil is slog.Default().
	Log *slog.Logger
	// Plain decides about keys that came over plain HTTP; nil lets them pass.
	Plain *web.Plain
	// DemoKey is a key that the page of the API may show, as a sandbox's is; empty for none.
	DemoKey string
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
	engine *engine.Engine
	errors *web.Writer
	plain  *web.Plain
}

func newDoor(o Options) *door {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &door{engine: o.Engine, plain: o.Plain, errors: &web.Writer{Door: "v1", Rows: refusals, Log: o.Log}}
}

// Mount registers the API and its documents. Calls is where the calls themselves are
// registered; a caller puts what should see only those in front of it.
func Mount(documents, calls gin.IRouter, o Options) {
	d := newDoor(o)
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

// Owns tells whether a path that no route serves would be this door's.
func Owns(path string) bool { return strings.HasPrefix(path, ownedPrefix) }

// NotFound answers a path of this door that no route serves.
func NotFound(c *gin.Context) {
	refuseUnserved(c, http.StatusNotFound, "NOT_FOUND", "there is no such call; "+docsPath+" lists those there are")
}

// MethodNotAllowed answers a path of this door under a method that it does not have.
func MethodNotAllowed(c *gin.Context) {
	refuseUnserved(c, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "this call has another method; the Allow header names it")
}

func refuseUnserved(c *gin.Context, status int, code, detail string) {
	c.Header("Cache-Control", "no-store")
	new(web.Writer).Refuse(c, &web.Problem{Status: status, Code: code, Detail: detail})
}

// refusals is how each kind of refusal looks on this door. The OpenAPI document has the same
// table for people. A wrong code is no refusal here: verify answers it with 200 and a reason.
var refusals = web.Refusals{
	otp.MissingCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_003"},
	otp.UnknownCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_004"},
	otp.ExpiredCredential:      {Status: http.StatusUnauthorized, Code: "AUTH_002"},
	otp.ForbiddenNetwork:       {Status: http.StatusForbidden, Code: "AUTH_005"},
	otp.BrokenAccount:          {Status: http.StatusInternalServerError, Code: "ACCOUNT_BROKEN"},
	otp.FeatureOff:             {Status: http.StatusForbidden, Code: "FEATURE_OFF"},
	otp.Invalid:                {Status: http.StatusBadRequest, Code: web.CodeInvalid},
	otp.MissingDepartment:      {Status: http.StatusBadRequest, Code: "DEPARTMENT_REQUIRED"},
	otp.NotFound:               {Status: http.StatusNotFound, Code: "NOT_FOUND"},
	otp.Canceled:               {Status: http.StatusConflict, Code: "CANCELED"},
	otp.Replaced:               {Status: http.StatusConflict, Code: "REPLACED"},
	otp.Locked:                 {Status: http.StatusTooManyRequests, Code: "RECIPIENT_LOCKED"},
	otp.AttemptsExhausted:      {Status: http.StatusConflict, Code: "MAX_ATTEMPTS"},
	otp.Used:                   {Status: http.StatusConflict, Code: "ALREADY_VERIFIED"},
	otp.Expired:                {Status: http.StatusConflict, Code: "EXPIRED"},
	otp.WrongCode:              {Status: http.StatusBadRequest, Code: "MISMATCH"},
	otp.RegenerationsExhausted: {Status: http.StatusConflict, Code: "MAX_RESENDS"},
	otp.OverLimit:              {Status: http.StatusTooManyRequests, Code: "RATE_LIMIT_EXCEEDED"},
	otp.Undelivered:            {Status: http.StatusBadGateway, Code: "UNDELIVERED"},
	otp.CostLimited:            {Status: http.StatusTooManyRequests, Code: "SPEND_LIMIT_EXCEEDED"},
	otp.Overloaded:             {Status: http.StatusServiceUnavailable, Code: "OVERLOADED"},
	otp.AccountExists:          {Status: http.StatusConflict, Code: "ACCOUNT_EXISTS"},
	otp.ClockBackwards:         {Status: http.StatusConflict, Code: "CLOCK_BACKWARDS"},
	otp.Forbidden:              {Status: http.StatusForbidden, Code: "PERMISSION_DENIED"},
	otp.ForbiddenOrigin:        {Status: http.StatusForbidden, Code: "ORIGIN_NOT_ALLOWED"},
	otp.BadSignature:           {Status: http.StatusUnauthorized, Code: "SIGNATURE_INVALID"},
	otp.RateLimited:            {Status: http.StatusTooManyRequests, Code: "RATE_LIMIT_EXCEEDED"},
	otp.IdempotencyMismatch:    {Status: http.StatusUnprocessableEntity, Code: "IDEMPOTENCY_MISMATCH"},
	otp.IdempotencyBusy:        {Status: http.StatusConflict, Code: "IDEMPOTENCY_BUSY"},

	otp.WrongPassword:            {Status: http.StatusUnauthorized, Code: "AUTH_001"},
	otp.FactorRequired:           {Status: http.StatusUnauthorized, Code: "AUTH_006"},
	otp.PersonLocked:             {Status: http.StatusLocked, Code: "AUTH_007"},
	otp.ReauthenticationRequired: {Status: http.StatusForbidden, Code: "REAUTHENTICATION_REQUIRED"},
	otp.RegistrationClosed:       {Status: http.StatusForbidden, Code: "REGISTRATION_CLOSED"},
	otp.PersonExists:             {Status: http.StatusConflict, Code: "PERSON_EXISTS"},
	otp.LastOwner:                {Status: http.StatusConflict, Code: "LAST_OWNER"},
	otp.Outdated:                 {Status: http.StatusPreconditionFailed, Code: "PRECONDITION_FAILED"},
}
