package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/audit"
	"otpbridge/server/bridge"
	"otpbridge/server/engine"
	"otpbridge/server/insight"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
)

// patience is how long one call may take. Only a few passwords are hashed at a time; a call that waits longer is
// refused with Overloaded.
const patience = 10 * time.Second

// Options are what the door needs.
type Options struct {
	People   *people.People
	Manage   *manage.Manager
	Reports  *bridge.Reports
	Audit    *audit.Log
	Webhooks *webhook.Webhooks
	Insight  *insight.Insight
	Privacy  *privacy.Privacy
	Engine   *engine.Engine // reads API keys; nil where there are none
	Plain    *web.Plain     // refuses credentials over plain HTTP
	Log      *slog.Logger
	// PublicURL is where browsers reach the server; empty for the host that each request names.
	PublicURL string
	// Sandbox allows a cookie over plain HTTP on loopback.
	Sandbox bool
}

// door serves the calls.
type door struct {
	Options
	errors  *web.Writer
	browser *web.Browser
}

// answer is the answer of a call; body is nil for 204.
type answer struct {
	status int
	body   any
}

var done = answer{status: http.StatusNoContent}

// Mount registers the calls under /api. It panics if the public URL is not an origin; the settings refuse that.
func Mount(router gin.IRouter, o Options) {
	d := &door{Options: o, errors: &web.Writer{Door: "api", Log: o.Log}, browser: web.NewBrowser(o.PublicURL, o.Sandbox)}
	for _, r := range routes {
		router.Handle(r.method, r.path, d.serve(r))
	}
}

// Owns reports whether a path belongs to this door, also if no route serves it.
func Owns(path string) bool { return strings.HasPrefix(path, "/api/") }

// NotFound answers a path of this door that no route serves.
func NotFound(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	new(web.Writer).Refuse(c, &web.Problem{Status: http.StatusNotFound, Code: "NOT_FOUND",
		Detail: "there is no such call"})
}

// exchange is one request and its state.
type exchange struct {
	door   *door
	gin    *gin.Context
	ctx    context.Context
	from   people.Client
	who    people.Principal // set for calls that need a credential
	apiKey *engine.Caller   // nil for other credentials

	checks  []check // of the credential, in order
	refusal error   // of the credential, for calls that accept bad ones
}

// serve answers one request. All errors are rendered here. A client that hangs up does not gain a guess: a guess is
// counted before it is checked.
func (d *door) serve(r route) gin.HandlerFunc {
	return func(c *gin.Context) {
		// Answers contain secrets and personal data.
		c.Header("Cache-Control", "no-store")
		c.Header("X-Content-Type-Options", "nosniff")
		ctx, cancel := context.WithTimeout(c.Request.Context(), patience)
		defer cancel()
		x := &exchange{door: d, gin: c, ctx: ctx, from: people.Client{
			Address: web.Peer(c.Request), Agent: c.Request.UserAgent(), Request: web.RequestOf(c).LogID,
		}}
		var result answer
		err := web.Guarded(func() (err error) {
			result, err = x.decide(r)
			return err
		})
		if err != nil {
			x.refuse(err)
			return
		}
		web.RequestOf(c).Kind = "ok"
		switch body := result.body.(type) {
		case nil:
			c.Status(result.status)
			return
		case file:
			if err := web.Stream(c, d.Log, body.contentType, body.name, body.write); err != nil {
				x.refuse(err)
			}
			return
		case encoded:
			c.Data(result.status, "application/json; charset=utf-8", body)
			return
		}
		c.PureJSON(result.status, result.body)
	}
}

func (x *exchange) decide(r route) (answer, error) {
	if err := x.admit(r.who); err != nil {
		return answer{}, err
	}
	if r.who != anybody {
		web.RequestOf(x.gin).Actor = x.who.Actor()
	}
	if r.needs != "" {
		if err := x.who.May(r.needs); err != nil {
			return answer{}, err
		}
	} else if r.who == person && x.who.Kind != people.PersonKind {
		return answer{}, otp.Refuse(otp.Forbidden, "this call is about a person's own login, which a "+x.who.Kind+" has not")
	}
	if account := x.gin.Param("account"); account != "" {
		if err := x.who.See(account); err != nil {
			return answer{}, err
		}
		web.RequestOf(x.gin).About(account)
	}
	if r.live && !x.door.Sandbox {
		if err := x.who.ProvedTwice(); err != nil {
			return answer{}, err
		}
	}
	if err := web.ReadQuery(x.gin, r.parameters...).Filled().Err(); err != nil {
		return answer{}, err
	}
	if r.once {
		return x.once(r.call)
	}
	return r.call(x)
}

// file is an answer that is streamed.
type file struct {
	contentType, name string
	write             func(ctx context.Context, w io.Writer) error
}

// read decodes the body, and refuses members that are missing or empty if their tag says so. A body needs a
// Content-Type of JSON.
func (x *exchange) read(target any) error {
	body, err := web.ReadBody(x.gin)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := web.RequireJSON(x.gin.Request.Header); err != nil {
			return err
		}
	}
	if err := web.Decode(body, target); err != nil {
		return err
	}
	if faults := empties(reflect.ValueOf(target).Elem(), ""); len(faults) > 0 {
		return web.Invalid(faults...)
	}
	return nil
}

// empties returns the members with the tag missing:"refused" that have no value, in a body or in an object within it.
// at is the pointer to v.
func empties(v reflect.Value, at string) (faults []web.Fault) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	for _, field := range reflect.VisibleFields(v.Type()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch value := v.FieldByIndex(field.Index); {
		case name == "" || name == "-":
		case field.Tag.Get("missing") == "refused" && value.IsZero():
			faults = append(faults, missing(at+"/"+name))
		default:
			faults = append(faults, empties(value, at+"/"+name)...)
		}
	}
	return faults
}

// missing is the fault of a member that a call needs.
func missing(pointer string) web.Fault { return web.Fault{Pointer: pointer, Detail: "is missing"} }

// refuse answers with an error and the headers that its status requires.
func (x *exchange) refuse(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		err = &otp.Error{Kind: otp.Overloaded, RetryAfter: time.Second, Message: "the server has too much to do; try again"}
	}
	kind := otp.KindOf(err)
	switch row, _ := web.RowOf(kind); {
	case row.Status == http.StatusUnauthorized:
		challenge := `Bearer realm="otpbridge"`
		if kind == otp.UnknownCredential || kind == otp.ExpiredCredential {
			challenge += `, error="invalid_token"` // RFC 6750, section 3
		}
		x.gin.Header("WWW-Authenticate", challenge)
	case row.Status == http.StatusServiceUnavailable:
		x.gin.Header("Retry-After", "1")
	}
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		web.RequestOf(x.gin).Reason = refusal.Reason
	}
	x.door.errors.Refuse(x.gin, err)
}
