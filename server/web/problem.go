package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
)

// Problem is a refusal by the door itself, of a request that cannot be read or is not allowed.
type Problem struct {
	Status int
	Code   string
	Detail string
	Faults []Fault
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Fault is one fault of a request: its place, and what to write instead.
type Fault struct {
	Pointer   string `json:"pointer,omitempty"`   // RFC 6901, into the body
	Parameter string `json:"parameter,omitempty"` // of the query or path
	Header    string `json:"header,omitempty"`
	Detail    string `json:"detail"`
}

// String returns f as a sentence without a full stop.
func (f Fault) String() string {
	if f.Header != "" {
		return "header " + f.Header + " " + f.Detail
	}
	if f.Parameter != "" {
		return "parameter " + f.Parameter + " " + f.Detail
	}
	if f.Pointer != "" {
		return f.Pointer + " " + f.Detail
	}
	return "the body " + f.Detail
}

// Invalid returns the refusal of a request with faults, of which there must be at least one.
func Invalid(faults ...Fault) *Problem {
	detail := faults[0].String()
	if more := len(faults) - 1; more > 0 {
		detail += " (and " + strconv.Itoa(more) + " more, see errors)"
	}
	return &Problem{Status: http.StatusBadRequest, Code: CodeInvalid, Detail: detail, Faults: faults}
}

// CodeInvalid is the code of every refusal of a request that cannot be read.
const CodeInvalid = "INVALID_REQUEST"

// details is the body application/problem+json (RFC 9457). Its type is about:blank, so the title is the status in
// words. The code identifies the problem and never changes.
type details struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Code      string  `json:"code"`
	Message   string  `json:"message"`
	RequestID string  `json:"request_id"`
	Errors    []Fault `json:"errors,omitempty"`
}

// statusClientGone is nginx's status for a client that hung up. Only the access log shows it.
const statusClientGone = 499

// Writer writes a door's errors. It answers with a refusal as it is; it logs a fault in full, and answers it without
// details.
type Writer struct {
	Door string // for the log
	Log  *slog.Logger
}

// Refuse answers c with the problem for err.
func (w *Writer) Refuse(c *gin.Context, err error) {
	p := w.ProblemOf(c, err)
	RequestOf(c).Readings.refused(p.Faults)
	if c.Request.Context().Err() != nil {
		c.Status(statusClientGone)
		return
	}
	if refusal, ok := errors.AsType[*otp.Error](err); ok && refusal.RetryAfter > 0 {
		c.Header("Retry-After", Seconds(refusal.RetryAfter))
	}
	c.Header("Content-Type", "application/problem+json")
	c.PureJSON(p.Status, details{
		Type: "about:blank", Title: http.StatusText(p.Status), Status: p.Status,
		Detail: p.Detail, Code: p.Code, Message: p.Detail,
		RequestID: RequestOf(c).ID, Errors: p.Faults,
	})
}

// ProblemOf returns the problem to answer for err. It logs faults, so call it only once for a request.
func (w *Writer) ProblemOf(c *gin.Context, err error) *Problem {
	if own, ok := errors.AsType[*Problem](err); ok {
		return own
	}
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		if row, ok := RowOf(refusal.Kind); ok {
			RequestOf(c).Kind = refusal.Kind.String()
			p := &Problem{Status: row.Status, Code: row.Code, Detail: refusal.Message}
			if refusal.Field == "" {
				return p
			}
			fault := faultOf(c.Request.Method, refusal)
			if p.Faults = []Fault{fault}; fault.Parameter != "" {
				p.Detail = fault.String()
			}
			return p
		}
	}
	if c.Request.Context().Err() == nil || !errors.Is(err, context.Canceled) {
		w.logFault(c, err)
	}
	return &Problem{
		Status: http.StatusInternalServerError, Code: "INTERNAL",
		Detail: "something failed here; the server's log has it under the request id",
	}
}

// faultOf returns the place of a refused field. A GET has no body, so its fields are parameters of the query.
func faultOf(method string, refusal *otp.Error) Fault {
	f := Fault{Detail: strings.TrimPrefix(refusal.Message, refusal.Field+refusal.Path+" ")}
	if method == http.MethodGet {
		f.Parameter = refusal.Field
	} else {
		f.Pointer = "/" + refusal.Field + refusal.Path
	}
	return f
}

func (w *Writer) logFault(c *gin.Context, err error) {
	request := RequestOf(c)
	request.Kind = "fault"
	attributes := []slog.Attr{slog.String("route", c.FullPath()), slog.String("request_id", request.LogID)}
	if request.Account != "" {
		attributes = append(attributes, slog.String("account", request.Account))
	}
	if p, ok := errors.AsType[*panicked](err); ok {
		attributes = append(attributes, slog.String("panic", fmt.Sprint(p.value)), slog.String("stack", string(p.stack)))
	} else {
		attributes = append(attributes, slog.Any("error", err))
	}
	w.Log.LogAttrs(c.Request.Context(), slog.LevelError, w.Door+" call failed", attributes...)
}

// panicked is a recovered panic as an error.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return "panic while serving" }

// Guarded calls call and turns a panic into a fault, so that the log has the request's details.
func Guarded(call func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			if value == http.ErrAbortHandler {
				panic(value) // http.ErrAbortHandler asks net/http to close the connection; it is not a fault
			}
			err = &panicked{value: value, stack: debug.Stack()}
		}
	}()
	return call()
}

// Seconds returns d in whole seconds, rounded up, because a caller that comes back earlier is refused again.
func Seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
