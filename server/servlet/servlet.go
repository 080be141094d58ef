// Package servlet is the legacy door: the vendor's four servlets, for existing integrations that cannot be changed.
//
// It translates a request into one call of the engine, and the result into one line of text. It guarantees the
// vendor's bytes in either of two profiles, status 200 for every business answer unless an account asks for others,
// and no text outside the vendor's table whatever goes wrong, including panics: some clients take an unknown text for
// success.
//
// The engine decides who may call, what a number looks like, whether a code is right and what a guess costs. The
// protocol page, doc/servlets.md, says which behaviours are the vendor's and which are this project's.
package servlet

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/gin-gonic/gin"

	"otpbridge/server/bridge"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// Options configure the door.
type Options struct {
	Engine *engine.Engine
	// Profile words the answers for accounts that set none, and for every request with a refused key, so that all of
	// those get the same bytes. Empty is otp.Documented.
	Profile otp.Profile
	// StrictHTTP gives a refused key the status 401; other statuses are set per account.
	StrictHTTP bool
	// ContentType of every answer; empty is text/plain; charset=utf-8.
	ContentType string
	// Plain counts keys that came over plain HTTP; nil counts none. The requests are served.
	Plain *web.Plain
	// Upstreams forwards the calls of accounts that ask for it.
	Upstreams *bridge.Upstreams
	// Log gets the faults, each once; nil is slog.Default().
	Log *slog.Logger
}

// Mount registers the servlets under contextPath, which starts with a slash and does not end with one, or is empty for
// the root. It panics on an unknown profile.
//
// Only GET and POST are registered. To answer all other methods with 405, the router must have HandleMethodNotAllowed
// set. Mount sets it if routes is the gin engine itself; for a group its owner must.
func Mount(routes gin.IRouter, contextPath string, o Options) {
	if router, ok := routes.(*gin.Engine); ok {
		router.HandleMethodNotAllowed = true
	}
	d := newDoor(o)
	routes.GET(contextPath+"/:servlet", d.serve)
	routes.POST(contextPath+"/:servlet", d.serve)
}

// door serves the servlets.
type door struct {
	engine      *engine.Engine
	processWide voice
	contentType []string
	plain       *web.Plain
	upstreams   *bridge.Upstreams
	log         *slog.Logger
}

func newDoor(o Options) *door {
	if o.Profile == "" {
		o.Profile = otp.Documented
	}
	words, known := profiles[o.Profile]
	if !known {
		panic("servlet: unknown profile " + string(o.Profile))
	}
	if o.ContentType == "" {
		o.ContentType = "text/plain; charset=utf-8"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &door{
		engine:      o.Engine,
		plain:       o.Plain,
		upstreams:   o.Upstreams,
		processWide: voice{profile: words, strictHTTP: o.StrictHTTP},
		contentType: []string{o.ContentType},
		log:         o.Log,
	}
}

// step is what a servlet does in the flow of the vendor's article.
type step int

const (
	generate step = iota
	validate
	regenerate
)

// permissions are what a key needs for each step. Access keys have them all.
var permissions = [...]string{generate: otp.PermitSend, validate: otp.PermitVerify, regenerate: otp.PermitResend}

// servlet is one endpoint.
type servlet struct {
	name  string
	step  step
	plain bool // its otp is not encrypted
}

var servlets = []servlet{
	{name: "otpgenservlet", step: generate},
	{name: "otpvalidationservlet", step: validate},
	{name: "otpregenservlet", step: regenerate},
	{name: "plainotpvalidationservlet", step: validate, plain: true},
}

// servletNamed finds the servlet named by a path's last segment, in any letter case. A path parameter, such as the
// ;jsessionid= that Java clients append, is ignored.
func servletNamed(segment string) (s servlet, known bool) {
	name, _, _ := strings.Cut(segment, ";")
	for _, s := range servlets {
		if otp.SameName(name, s.name) {
			return s, true
		}
	}
	return servlet{}, false
}

// serve answers one request.
func (d *door) serve(c *gin.Context) {
	s, known := servletNamed(c.Param("servlet"))
	if !known {
		d.write(c, http.StatusNotFound, "Not Found")
		return
	}
	web.RequestOf(c).Call = s.name
	if len(c.Request.Header["Access_key"]) > 0 {
		d.plain.Note(c, "servlet")
	}
	x := exchange{door: d, servlet: s, request: c.Request, inTheClear: web.RequestOf(c).Plain,
		readings: web.RequestOf(c).Readings}
	d.answer(c, &x, x.run())
}

// exchange is one request on its way through a servlet.
type exchange struct {
	door    *door
	servlet servlet
	request *http.Request
	// the request came over plain HTTP from another machine
	inTheClear bool

	account     *otp.Account    // nil until the key is accepted
	key         otp.ID          // of the credential; set together with account
	environment otp.Environment // the key's
	// for the log only: why the upstream failed, or in a sandbox why the code cannot be read
	reason string

	readings *web.Readings // nil outside of a sandbox

	inside   bool           // counted as in progress
	passed   string         // the class of the upstream's answer
	differs  string         // the local rules' decision, if it differs
	upstream *bridge.Answer // sent instead of our own text
}

// run decides the request. A panic becomes a fault here, where the request's account is still known, because the
// client must get one of the vendor's texts even then.
func (x *exchange) run() (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicked{value: value, stack: debug.Stack()}
		}
	}()
	if err := x.door.engine.Admission.Enter(); err != nil {
		return err
	}
	x.inside = true
	defer x.leave()
	// A complete request is served and charged even if the client hangs up; otherwise a client that hangs up after
	// each guess would guess for free. Every engine call below continues when its context ends.
	return x.decide(x.request.Context())
}

// leave ends the admission, once.
func (x *exchange) leave() {
	if x.inside {
		x.inside = false
		x.door.engine.Admission.Leave()
	}
}

// decide checks in the order that the protocol page states: key, feature flag, admission, the key's request limit;
// then, for calls that are not forwarded, parameters, department, engine.
func (x *exchange) decide(ctx context.Context) error {
	caller, err := x.authenticate(ctx)
	if err != nil {
		return err
	}
	if x.inTheClear && x.account.RequireHTTPS {
		return otp.Refuse(otp.Forbidden, "the account takes no requests over plain HTTP; the key was readable on its way, "+
			"so replace it").Because("HTTPS_REQUIRED")
	}
	handling, err := x.door.engine.Handling(ctx, caller)
	if err != nil {
		return err
	}
	passesOn := handling.HandOver || handling.Mode != otp.BridgeLocal
	if !passesOn {
		if err := x.switchedOff(); err != nil {
			return err
		}
		if err := x.door.engine.Admission.Refusal(permissions[x.servlet.step]); err != nil {
			return err
		}
	}
	if _, err := x.door.engine.Limits.CountRequest(ctx, caller); err != nil {
		return err
	}
	if err := x.door.engine.Faults.Inject(string(otp.ServletDoor), x.account.Address); err != nil {
		return err
	}
	if passesOn {
		return x.passOn(ctx, caller, handling)
	}
	return x.answerHere(ctx, caller, nil)
}

// answerHere has the engine answer. handOver is not nil if the account's upstream may have made the code in question.
func (x *exchange) answerHere(ctx context.Context, caller *engine.Caller, handOver *otp.Handling) error {
	p, target, err := x.asked(caller)
	if err != nil {
		return err
	}
	target.HandOver = handOver

	switch x.servlet.step {
	case generate:
		_, err = x.door.engine.Generate(ctx, caller, target)
	case regenerate:
		_, err = x.door.engine.Resend(ctx, caller, target)
	case validate:
		err = x.door.engine.Verify(ctx, caller, target, x.guess(caller, p))
	}
	return err
}

// asked reads the request's parameters and recipient, or refuses it.
func (x *exchange) asked(caller *engine.Caller) (parameters, engine.Target, error) {
	p, target, err := x.read(caller)
	if x.readings != nil {
		x.tell(caller, &p, &target, err)
	}
	return p, target, err
}

// read is asked without telling the sandbox.
func (x *exchange) read(caller *engine.Caller) (parameters, engine.Target, error) {
	if err := x.switchedOff(); err != nil {
		return parameters{}, engine.Target{}, err
	}
	p, err := readParameters(x.request)
	if err != nil {
		return p, engine.Target{}, err
	}
	target, err := x.address(caller, p)
	if err != nil {
		return p, target, err
	}
	if x.departmentMissing() {
		return p, target, otp.Refuse(otp.MissingDepartment, "the department-id header names no department of the account").
			Because(x.departmentReason())
	}
	target.Department = x.department()
	return p, target, nil
}

// switchedOff refuses the plain servlet if the account has not switched it on.
func (x *exchange) switchedOff() error {
	if x.servlet.plain && !x.account.PlainValidation {
		return otp.Refuse(otp.FeatureOff, "plain_validation_enabled is 0 for this account")
	}
	return nil
}

// authenticate resolves the access key, and checks that it has the permission and that the account has the feature.
func (x *exchange) authenticate(ctx context.Context) (*engine.Caller, error) {
	key, single := one(x.request.Header["Access_key"])
	if !single {
		return nil, otp.Refuse(otp.UnknownCredential, "the access_key headers differ")
	}
	peer := web.Peer(x.request)
	caller, err := x.door.engine.Authenticate(ctx, otp.ServletDoor, key, peer)
	switch otp.KindOf(err) {
	case otp.UnknownCredential, otp.ExpiredCredential:
		// The failure is counted. The answer is that of any wrong key: the servlets have no text for the limit.
		_, _ = x.door.engine.Limits.CountFailure(ctx, peer)
	}
	if caller != nil {
		x.account, x.environment = caller.Account, caller.Environment
		if caller.Key != nil {
			x.key = caller.Key.ID
		}
	}
	if err != nil {
		return nil, err
	}
	if err := caller.May(permissions[x.servlet.step]); err != nil {
		return nil, err
	}
	return caller, nil
}

// address reads the request's recipient, and refuses a validation without a code.
func (x *exchange) address(caller *engine.Caller, p parameters) (engine.Target, error) {
	if x.servlet.step == validate {
		if trim(p.otp) == "" {
			return engine.Target{}, otp.Refuse(otp.Invalid, "otp is missing").Because("otp: " + p.absent(nameOTP))
		}
		p.email = ""
	}
	for _, required := range []struct {
		name  names
		value string
	}{{nameMobile, p.mobile}, {nameIPAddress, p.ipaddress}} {
		if required.value == "" {
			name := required.name.String()
			return engine.Target{}, otp.Refuse(otp.Invalid, name+" is missing").Because(name + ": " + p.absent(required.name))
		}
	}
	return caller.Target(p.mobile, p.ipaddress, p.email)
}

// guess returns the code of a validation. A code that cannot be read becomes the empty guess, which is wrong and costs
// an attempt: a separate answer would reveal why it could not be read.
func (x *exchange) guess(caller *engine.Caller, p parameters) string {
	if !x.servlet.plain {
		code := caller.DecryptCode(p.otp)
		if code == "" {
			x.reason = inName("otp", x.door.engine.UnreadableReason(caller, p.otp))
		}
		x.tellCode(code, "decrypted with the account's key")
		return code
	}
	digits := trim(p.otp)
	if !otp.Digits(digits) {
		x.reason = "otp: not digits, which is what this servlet takes"
		digits = ""
	}
	x.tellCode(digits, "in the clear, as this servlet takes it")
	return digits
}

// one returns the value of a header that may be repeated only with the same value; empty if there is none. If one of
// two values were used, a proxy in front of this server could have checked the other.
func one(values []string) (value string, single bool) {
	for i, v := range values {
		v = trim(v)
		if i > 0 && v != value {
			return "", false
		}
		value = v
	}
	return value, true
}

// panicked is a panic on its way to the log.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return "panic while serving" }
